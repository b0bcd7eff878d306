"""Fine-tuning of a PANN: embeddings, training with a new head, and the result as a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pannsx.inference.pipeline import Pipeline
from pannsx.labels import LabelSet
from pannsx.models.convert import to_published
from pannsx.models.heads import ClipHead
from pannsx.models.pann import Pann
from pannsx.models.zoo import build
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint, save_checkpoint
from pannsx.weights.record import Checkpoint, Scores
from train.loop.augment import Choices, choose
from train.recipe import Augment
from train.transfer.head import Head, batches, learning_rate_at, loss_of
from train.transfer.waveforms import Waveforms, batch_of

NO_AUGMENT = Augment(
    mixup="none",
    mixup_alpha=1.0,
    time_stripes=0,
    time_width=64,
    band_stripes=0,
    band_width=8,
    gain_db=0.0,
    roll_s=0.0,
    soften_db=0.0,
)
AUGMENT = replace(NO_AUGMENT, mixup="representation", time_stripes=2, band_stripes=2)
"""Mixup and SpecAugment as in pretraining; stripes are narrower where clips are short."""


@dataclass(frozen=True)
class TuneSettings:
    """Settings of the joint training of network and head.

    Attributes:
        epochs: passes over the clips.
        learning_rate: maximum learning rate of Adam.
        batch_size: clips per step.
        clip_s: longest part of a clip used in training, in seconds.
        device: such as ``cpu`` or ``cuda``.
        augment: augmentation of clips (:mod:`train.loop.augment`).
    """

    epochs: int = 10
    learning_rate: float = 1e-4
    batch_size: int = 32
    clip_s: float = 10.0
    device: str = "cpu"
    augment: Augment = NO_AUGMENT


class Tuned(nn.Module):
    """``(B, S)`` -> ``(B, K)``: a network up to its embedding, and the head of another task."""

    def __init__(self, model: Pann, head: Head) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(self, waveform: Tensor, choices: Choices) -> Tensor:
        """``(B, S)`` waveform -> ``(B, K)`` logits; ``(B / 2, K)`` with mixup."""
        waveform = choices.waveform(waveform)
        features = self.model.forward_features(waveform, augment=choices.representations)
        head = self.model.head
        # The new head has its own dropout.
        embedding = head.embed(features) if isinstance(head, ClipHead) else head.clip(features)[1]
        logits: Tensor = self.head(embedding)
        return logits


def embed(base: LoadedCheckpoint, waveforms: Waveforms, *, device: str = "cpu") -> FloatArray:
    """``N`` clips at the model's rate -> ``(N, D)`` embeddings, those of :class:`pannsx.FeatureExtractor`."""
    pipeline = Pipeline(base, device=device)
    return np.stack([analysis.answer.embedding for analysis in pipeline.analyse(waveforms)])


def fresh(base: LoadedCheckpoint, *, seed: int) -> LoadedCheckpoint:
    """The same architecture with random initial weights."""
    record = base.record
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(record.architecture, record.sample_rate, record.frontend, record.n_classes)
    return base._replace(model=model)


def tune(
    base: LoadedCheckpoint,
    waveforms: Waveforms,
    targets: NDArray[np.bool_],
    rows: Sequence[int],
    settings: TuneSettings,
    head: Head,
    *,
    seed: int,
) -> tuple[LoadedCheckpoint, Head]:
    """Train a copy of a network together with a copy of a head on some clips.

    With a head already trained on the network's embeddings, the first gradients do not distort the network
    (Kumar et al. 2022, arXiv:2202.10054).

    Args:
        base: the initial network; not changed.
        waveforms: ``N`` clips at the model's rate.
        targets: ``(N, K)``.
        rows: positions of the training clips.
        settings: settings of the training.
        head: the initial head; not changed.
        seed: seed of order, parts, augmentation and dropout.

    Raises:
        ValueError: the loss is not finite.
    """
    rng = np.random.default_rng(seed)
    device = torch.device(settings.device)
    longest = max(base.model.min_samples, round(settings.clip_s * base.model.sample_rate))
    wanted = torch.from_numpy(targets.astype(np.float32))
    model = copy.deepcopy(base.model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        tuned = Tuned(model, copy.deepcopy(head)).to(device).train()
        if device.type == "cpu":
            tuned.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
        optimiser = torch.optim.Adam(tuned.parameters())
        n_steps, step = settings.epochs * len(batches(rows, settings.batch_size, rng)), 0
        for _ in range(settings.epochs):
            for drawn in batches(rows, settings.batch_size, rng):
                chosen = drawn if settings.augment.mixup == "none" else drawn[: len(drawn) // 2 * 2]
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate_at(step, n_steps, settings.learning_rate)
                waveform = torch.from_numpy(batch_of(waveforms, chosen, longest, rng)).to(device)
                choices = _choices(settings.augment, seed, step, model, tuple(waveform.shape))
                loss = loss_of(tuned(waveform, choices), choices.targets(wanted[chosen].to(device)))
                if not torch.isfinite(loss):
                    raise ValueError(f"the loss is {loss.item()} in step {step}; use a smaller learning rate")
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                step += 1
    tuned.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return base._replace(model=tuned.model), tuned.head


def _choices(augment: Augment, seed: int, step: int, model: Pann, shape: tuple[int, ...]) -> Choices:
    """Augmentation of a ``(B, S)`` batch; each stripe covers at most a quarter of the axis."""
    log_mel = None
    if model.frontend is not None:
        log_mel = (model.frontend.n_frames(max(shape[1], model.min_samples)), model.frontend.n_mels)
        augment = replace(
            augment,
            time_width=min(augment.time_width, log_mel[0] // 4),
            band_width=min(augment.band_width, log_mel[1] // 4),
        )
    return choose(augment, seed, step, n_clips=shape[0], sample_rate=model.sample_rate, log_mel=log_mel)


def clip_head_of(model: Pann) -> ClipHead:
    """The head of a network that can be saved with another one.

    Raises:
        ValueError: it decides frame by frame.
    """
    if not isinstance(model.head, ClipHead):
        raise ValueError(f"{model.architecture} decides frame by frame; take a model with a clip head")
    return model.head


def save(
    path: Path,
    base: LoadedCheckpoint,
    head: Head,
    labels: LabelSet,
    *,
    description: str,
    trained_on: str,
    scores: dict[str, float] | None = None,
) -> Checkpoint:
    """A network with a new head as a checkpoint with its own labels: ``AudioTagger(checkpoint=path)``.

    Args:
        path: ends in ``.safetensors``; its stem becomes the checkpoint's name.
        base: the network.
        head: its head.
        labels: labels of the ``K`` classes.
        description: one sentence.
        trained_on: data and method.
        scores: further scores by name.

    Raises:
        ValueError: the network decides frame by frame.
        WeightsError: the files cannot be written.
    """
    model = copy.deepcopy(base.model)
    own = clip_head_of(model)
    *hidden, last = copy.deepcopy(head.layers())
    own.hidden, own.fc_audioset = nn.ModuleList(hidden), last
    record = replace(
        base.record,
        name=path.stem,
        labels="own",
        n_classes=len(labels),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        unused_parameters=0,
        description=description,
        trained_on=trained_on,
        scores=None
        if scores is None
        else Scores(mAP=None, auc=None, d_prime=None, source=None, other=scores),
        recipe=None,
        example=None,
        notes=f"Begun from {base.record.name}.",
    )
    return save_checkpoint(path, to_published(model), record, labels=labels)
