"""Fine-tuning of a PANN: its training with a new head."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pannsx.inference.engine import Precision
from pannsx.models.heads import ClipHead
from pannsx.models.pann import Augment, Pann
from pannsx.models.zoo import build
from pannsx.transfer.adapters import DEFAULT_RANK, Adapt, check_adapt, merge, prepare
from pannsx.transfer.augment import Augmenter, unchanged
from pannsx.transfer.balance import Balance, class_weights, clip_weights, epoch_batches
from pannsx.transfer.best_epoch import BestEpoch, Measure
from pannsx.transfer.clips import Waveforms, batch_of, chosen
from pannsx.transfer.depth import parameter_groups, set_training
from pannsx.transfer.embedding import embed
from pannsx.transfer.head import apply
from pannsx.transfer.kept import AnyHead, ExtendedHead
from pannsx.transfer.loss import learning_rate_at, loss_of
from pannsx.transfer.resume import NOWHERE, Progress, rows_digest
from pannsx.transfer.wanted import Wanted, wanted_of
from pannsx.transfer.watching import Watcher
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint
from pannsx.weights.delta import Factors


@dataclass(frozen=True)
class TuneSettings:
    """Settings of the joint training of network and head.

    Attributes:
        epochs: passes over the clips.
        learning_rate: maximum learning rate of Adam.
        batch_size: clips per step.
        clip_s: longest part of a clip used in training, in seconds.
        device: such as ``cpu`` or ``cuda``.
        precision: of embeddings and predictions; training is in float32.
        augment: augmentation of a batch.
        balance: see :data:`pannsx.transfer.balance.Balance`.
        layer_decay: share of the learning rate from one part of the network to the part below it.
        freeze_norms: batch norms keep their statistics, scale and shift.
        patience: with a validation part, epochs without improvement after which training ends.
        adapt: the part of the network to train: see :mod:`pannsx.transfer.adapters`; None: all of it.
        rank: of ``low-rank``.
    """

    epochs: int = 10
    learning_rate: float = 1e-4
    batch_size: int = 32
    clip_s: float = 10.0
    device: str = "cpu"
    precision: Precision = "float32"
    augment: Augmenter = unchanged
    balance: Balance = "none"
    layer_decay: float = 1.0
    freeze_norms: bool = False
    patience: int = 5
    adapt: Adapt | None = None
    rank: int = DEFAULT_RANK

    def __post_init__(self) -> None:
        check_adapt(self.adapt, self.rank)
        for name in ("epochs", "learning_rate", "batch_size", "clip_s", "patience"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; a number above 0, up to 1, is needed")


class Watched(NamedTuple):
    """The validation part of a training.

    Attributes:
        rows: positions of its clips.
        measure: its score.
        known: ``(N, K)`` of all clips, which targets are known; None: all.
    """

    rows: Sequence[int]
    measure: Measure
    known: NDArray[np.bool_] | None = None


class Trained(NamedTuple):
    """Result of a training.

    Attributes:
        base: the network.
        head: its head.
        factors: the changes of weights at low rank, which the network's weights contain, by published key.
    """

    base: LoadedCheckpoint
    head: AnyHead
    factors: Mapping[str, Factors]


class Tuned(nn.Module):
    """``(B, S)`` -> ``(B, K)``: a network up to its embedding, and the head of another task."""

    def __init__(self, model: Pann, head: AnyHead) -> None:
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
    head: AnyHead,
    *,
    seed: int,
    validation: Watched | None = None,
    wanted: Wanted | None = None,
    progress: Progress = NOWHERE,
    watch: Watcher | None = None,
) -> Trained:
    """Train a copy of a network together with a copy of a head on some clips.

    With a head already trained on the network's embeddings, the first gradients do not distort the network
    (Kumar et al. 2022, arXiv:2202.10054). Every random number is a function of the seed and the epoch or the
    step, so a resumed training is, on the same device, the same as an uninterrupted one.

    Args:
        base: the initial network; not changed.
        waveforms: ``N`` clips at the model's rate.
        targets: ``(N, K)``, of the last ``K`` outputs of the head.
        rows: positions of the training clips.
        settings: settings of the training.
        head: the initial head; not changed.
        seed: seed of order, parts, augmentation and dropout.
        validation: clips to choose the best epoch by, and to stop early; None: the last epoch counts.
        wanted: the aim of each clip for all outputs, if that is more than its labels.
        progress: where each epoch is kept.
        watch: notified of steps and epochs.

    Raises:
        ValueError: the loss is not finite, or no layer is large enough for the rank.
    """
    run = _Tuning(
        base, waveforms, targets, rows, settings, head, seed, wanted_of(targets) if wanted is None else wanted
    )
    best = None if validation is None else BestEpoch(settings.patience, validation.measure)
    stage, watch = (
        rows_digest([*rows, -1, *(validation.rows if validation else ())], seed),
        watch or Watcher(),
    )
    first, best_weights = 0, None
    state = progress.load("training")
    if state is not None and state["stage"] == stage:
        run.restore(state)
        first, best_weights = state["epoch"] + 1, state["best_weights"]
        if best is not None:
            best.restore(state["best"])
    watch.begin(settings.epochs, settings.epochs * run.steps_an_epoch, done=first * run.steps_an_epoch)
    for epoch in range(first, settings.epochs):
        if best is not None and best.is_over:
            break
        loss = run.epoch(epoch, watch)
        score = None
        if best is not None and validation is not None:
            known = None if validation.known is None else validation.known[validation.rows]
            if best.is_better(epoch, targets[validation.rows], run.predict(validation.rows), known):
                best_weights = run.weights()
            score = best.last_score
        progress.save("training", {
            "stage": stage, "epoch": epoch, "best_weights": best_weights,
            "best": None if best is None else best.state(), **run.state(),
        })  # fmt: skip
        watch.epoch(epoch + 1, loss, score)
    if best_weights is not None:
        run.tuned.load_state_dict(best_weights, strict=True)
    watch.end(None if best is None else best.epoch + 1)
    return run.result()


class _Tuning:
    """A network and head in training, epoch by epoch; arguments as for :func:`tune`."""

    def __init__(
        self,
        base: LoadedCheckpoint,
        waveforms: Waveforms,
        targets: NDArray[np.bool_],
        rows: Sequence[int],
        settings: TuneSettings,
        head: AnyHead,
        seed: int,
        wanted: Wanted,
    ) -> None:
        self._base, self._waveforms, self._targets, self._rows = base, waveforms, targets, rows
        self._settings, self._seed = settings, seed
        self._device = torch.device(settings.device)
        self._longest = max(base.model.min_samples, round(settings.clip_s * base.model.sample_rate))
        self._wanted = wanted
        self._class_weights = (
            class_weights(targets[rows]).to(self._device) if settings.balance == "weights" else None
        )
        self.steps_an_epoch = len(self._batches(0))
        model = copy.deepcopy(base.model)
        if settings.adapt is not None:
            prepare(model, settings.adapt, settings.rank, seed=seed)
        self.tuned = Tuned(model, copy.deepcopy(head)).to(self._device)
        if self._device.type == "cpu":
            self.tuned.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
        self._set_training()
        groups = parameter_groups(self.tuned.model, self.tuned.head, settings.layer_decay)
        self._optimiser = torch.optim.Adam(groups)

    def epoch(self, epoch: int, watch: Watcher) -> float:
        """A pass over the clips; the mean loss."""
        losses = []
        self._set_training()
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(_seed_of(self._seed, epoch))
            rng = self._rng(epoch, 1)
            for number, drawn in enumerate(self._batches(epoch)):
                losses.append(self._step(epoch * self.steps_an_epoch + number, drawn, rng))
                watch.step()
        return float(np.mean(losses))

    def predict(self, rows: Sequence[int]) -> FloatArray:
        """``(n, K)`` logits of the last ``K`` outputs, as those of the finished checkpoint would be."""
        finished = self._finished(copy.deepcopy(self.tuned))
        embeddings = embed(
            finished.base,
            chosen(self._waveforms, rows),
            device=self._settings.device,
            precision=self._settings.precision,
        )
        return apply(finished.head, embeddings)[:, -self._targets.shape[1] :]

    def weights(self) -> dict[str, Tensor]:
        """A copy of all weights and statistics."""
        return {key: tensor.detach().clone() for key, tensor in self.tuned.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Weights and optimiser, for a file."""
        return {"weights": self.tuned.state_dict(), "optimiser": self._optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self.tuned.load_state_dict(state["weights"], strict=True)
        self._optimiser.load_state_dict(state["optimiser"])

    def result(self) -> Trained:
        """The network and the head, on the CPU and in evaluation mode."""
        return self._finished(self.tuned)

    def _finished(self, tuned: Tuned) -> Trained:
        tuned.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        factors = merge(tuned.model)
        tuned.requires_grad_(True)  # frozen parts are a setting of this training, not of the network
        return Trained(self._base._replace(model=tuned.model), tuned.head, factors)

    def _set_training(self) -> None:
        settings = self._settings
        # The statistics of few clips of the new classes would be the largest change of all to old classes.
        keeps = settings.adapt is not None or isinstance(self.tuned.head, ExtendedHead)
        set_training(self.tuned, freeze_norms=settings.freeze_norms, keep_statistics=keeps)

    def _step(self, step: int, drawn: Sequence[int], rng: np.random.Generator) -> float:
        settings = self._settings
        rate = learning_rate_at(step, settings.epochs * self.steps_an_epoch, settings.learning_rate)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        waveform = torch.from_numpy(batch_of(self._waveforms, drawn, self._longest, rng)).to(self._device)
        seed, aim = _seed_of(self._seed, step), self._wanted.of(drawn).joined().to(self._device)
        batch = settings.augment(waveform, aim, seed, self.tuned.model)
        wanted, shares = self._wanted.parted(batch.targets)
        weights = (
            None
            if self._class_weights is None
            else clip_weights(wanted[:, -self._targets.shape[1] :], self._class_weights)
        )
        loss = loss_of(self.tuned(batch.waveform, batch.representations), wanted, weights, shares)
        if not torch.isfinite(loss):
            raise ValueError(f"the loss is {loss.item()} in step {step}; use a smaller learning rate")
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return loss.item()

    def _batches(self, epoch: int) -> list[list[int]]:
        settings = self._settings
        return epoch_batches(
            self._rows, self._targets, settings.batch_size, self._rng(epoch, 0), balance=settings.balance
        )

    def _rng(self, epoch: int, use: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, epoch, use))


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
