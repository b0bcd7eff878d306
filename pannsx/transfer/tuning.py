"""Fine-tuning of a PANN: embeddings, training with a new head, and the result as a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pannsx.inference.pipeline import Pipeline
from pannsx.labels import LabelSet
from pannsx.models.convert import to_published
from pannsx.models.heads import ClipHead
from pannsx.models.pann import Augment, Pann
from pannsx.models.zoo import build
from pannsx.transfer.clips import Waveforms, batch_of
from pannsx.transfer.head import Head, batches, learning_rate_at, loss_of
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint, save_checkpoint
from pannsx.weights.record import Checkpoint, Scores


class Augmented(NamedTuple):
    """A batch after its augmentation.

    Attributes:
        waveform: ``(B, S)``.
        targets: ``(B, K)``; with mixup, of the ``B / 2`` mixed clips.
        representations: augmentation of log-mel and wavegram inside the network, if any.
    """

    waveform: Tensor
    targets: Tensor
    representations: Augment | None = None


Augmenter = Callable[[Tensor, Tensor, int, Pann], Augmented]
"""``(B, S)`` clips, ``(B, K)`` targets, a seed for this step and the model -> the batch to train on."""

GAIN_DB, ROLL_S = 6.0, 0.5


def gain_and_roll(waveform: Tensor, targets: Tensor, seed: int, model: Pann) -> Augmented:
    """Each clip up to 6 dB softer or louder, and rolled in time by up to half a second."""
    rng = np.random.default_rng(seed)
    gains = 10.0 ** (rng.uniform(-GAIN_DB, GAIN_DB, len(waveform)) / 20.0)
    rolls = np.round(rng.uniform(-ROLL_S, ROLL_S, len(waveform)) * model.sample_rate).astype(int)
    clips = [clip.roll(roll) * gain for clip, roll, gain in zip(waveform, rolls, gains, strict=True)]
    return Augmented(torch.stack(clips).to(waveform.dtype), targets)


def unchanged(waveform: Tensor, targets: Tensor, seed: int, model: Pann) -> Augmented:
    """No augmentation."""
    return Augmented(waveform, targets)


@dataclass(frozen=True)
class TuneSettings:
    """Settings of the joint training of network and head.

    Attributes:
        epochs: passes over the clips.
        learning_rate: maximum learning rate of Adam.
        batch_size: clips per step.
        clip_s: longest part of a clip used in training, in seconds.
        device: such as ``cpu`` or ``cuda``.
        augment: augmentation of a batch.
    """

    epochs: int = 10
    learning_rate: float = 1e-4
    batch_size: int = 32
    clip_s: float = 10.0
    device: str = "cpu"
    augment: Augmenter = unchanged


class Tuned(nn.Module):
    """``(B, S)`` -> ``(B, K)``: a network up to its embedding, and the head of another task."""

    def __init__(self, model: Pann, head: Head) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(self, waveform: Tensor, augment: Augment | None = None) -> Tensor:
        """``(B, S)`` waveform -> ``(B, K)`` logits; ``(B / 2, K)`` with mixup."""
        features = self.model.forward_features(waveform, augment=augment)
        head = self.model.head
        # The new head has its own dropout.
        embedding = head.embed(features) if isinstance(head, ClipHead) else head.clip(features)[1]
        logits: Tensor = self.head(embedding)
        return logits


def embed(base: LoadedCheckpoint, waveforms: Iterable[FloatArray], *, device: str = "cpu") -> FloatArray:
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
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate_at(step, n_steps, settings.learning_rate)
                waveform = torch.from_numpy(batch_of(waveforms, drawn, longest, rng)).to(device)
                batch = settings.augment(waveform, wanted[drawn].to(device), _seed_of(seed, step), model)
                loss = loss_of(tuned(batch.waveform, batch.representations), batch.targets)
                if not torch.isfinite(loss):
                    raise ValueError(f"the loss is {loss.item()} in step {step}; use a smaller learning rate")
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                step += 1
    tuned.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return base._replace(model=tuned.model), tuned.head


def _seed_of(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


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
