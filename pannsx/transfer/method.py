"""A training method: its settings, and learning from clips with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pannsx.inference.engine import Precision
from pannsx.transfer.adapters import DEFAULT_RANK, Adapt, check_adapt
from pannsx.transfer.augment import gain_and_roll, unchanged
from pannsx.transfer.balance import Balance
from pannsx.transfer.best_epoch import measure_of
from pannsx.transfer.clips import Waveforms
from pannsx.transfer.embedding import embed_all
from pannsx.transfer.experiment import Divide, Fitted, Learn, head_on, network_and_head
from pannsx.transfer.head import Head, HeadSettings
from pannsx.transfer.kept import ExtendedHead, clip_head_of
from pannsx.transfer.prototypes import prototypes_of
from pannsx.transfer.resume import NOWHERE, Progress
from pannsx.transfer.tuning import TuneSettings
from pannsx.transfer.wanted import Opinion, TeacherTargets
from pannsx.transfer.watching import Watcher
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint

_OF_TRAINING = ("tune", "layers", "epochs", "learning_rate", "balance", "validation")
"""Settings without effect on prototypes."""
ADAPTED_RATE = 1e-3
"""Highest learning rate of a part of a network: ten times that of the whole, as few weights are trained."""


@dataclass(frozen=True)
class Method:
    """A way of training.

    Attributes:
        tune: train the whole network with its new head, not only the head.
        prototypes: no training; the head is the mean direction of each class's clips
            (:mod:`pannsx.transfer.prototypes`).
        adapt: train the head and this part of the network, and save a delta: see
            :mod:`pannsx.transfer.adapters`; not with ``tune``.
        rank: of ``adapt="low-rank"``.
        keep_audioset: the network's own classes, such as AudioSet's 527, stay beside the new ones
            (:mod:`pannsx.transfer.kept`).
        teacher_weight: with a teacher, its share in each target; the label has the rest.
        teacher_targets: ``"all"``, or ``"absent"``: labels that are present are kept as they are.
        layers: of the head.
        epochs: passes over the clips; None: 100 for a head, 10 for a network.
        learning_rate: highest rate; None: 3e-3 for a head, 1e-4 for a network, 1e-3 for a part of it.
        batch_size: clips a step.
        augment: random gain and roll in time, where more than the head is trained.
        balance: see :data:`pannsx.transfer.balance.Balance`.
        validation: share of the training clips that is held apart to find the best epoch; 0: the last counts.
        patience: with a validation part, epochs without improvement after which training ends.
        layer_decay: share of the learning rate from one part of the network to the part below, where more
            than the head is trained.
        freeze_norms: batch norms stay as they are; with ``tune`` only.
        seed: of all random choices.
        device: such as ``cpu`` or ``cuda``.
        precision: of embeddings; training is in float32.
    """

    tune: bool = False
    prototypes: bool = False
    adapt: Adapt | None = None
    rank: int = DEFAULT_RANK
    keep_audioset: bool = False
    teacher_weight: float = 0.5
    teacher_targets: TeacherTargets = "all"
    layers: int = 1
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int = 32
    augment: bool = True
    balance: Balance = "none"
    validation: float = 0.0
    patience: int = 5
    layer_decay: float = 1.0
    freeze_norms: bool = False
    seed: int = 0
    device: str = "cpu"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_adapt(self.adapt, self.rank)
        if self.adapt is not None and self.tune:
            raise ValueError(
                f"tune trains the whole network, and adapt={self.adapt!r} a part of it; choose one of them"
            )
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation is {self.validation}; a share from 0 to below 1 is needed")
        if not 0 <= self.teacher_weight <= 1:
            raise ValueError(f"teacher_weight is {self.teacher_weight}; a share from 0 to 1 is needed")
        if self.prototypes:
            self._check_untrained()
        self.head_settings()
        self.tune_settings(1.0)

    @classmethod
    def of(cls, settings: object, **given: Any) -> Method:
        """The settings that an object has as attributes of these names; ``given`` take precedence.

        Raises:
            ValueError: an invalid setting.
        """
        found = {
            each.name: getattr(settings, each.name) for each in fields(cls) if hasattr(settings, each.name)
        }
        return cls(**{**found, **given})

    @property
    def trains_network(self) -> bool:
        """Whether more than the head is trained."""
        return self.tune or self.adapt not in (None, "head")

    @property
    def how(self) -> str:
        """The method in a word or two, for a record."""
        if self.prototypes:
            return "prototypes"
        if self.adapt in (None, "head"):
            return "tuned" if self.tune else "frozen"
        return "norms adapted" if self.adapt == "norms" else f"adapted at rank {self.rank}"

    def _check_untrained(self) -> None:
        given = [name for name in _OF_TRAINING if getattr(self, name) != getattr(type(self), name)]
        if self.trains_network and not self.tune:
            given.append("adapt")
        if given:
            raise ValueError(
                f"prototypes are not trained, but {' and '.join(given)} {'is' if len(given) == 1 else 'are'} "
                "given; leave out one or the other"
            )

    def head_settings(self) -> HeadSettings:
        """Settings of the head, alone or before the network is trained with it."""
        head = HeadSettings(
            layers=self.layers, batch_size=self.batch_size, balance=self.balance, patience=self.patience
        )
        if self.trains_network:
            return head
        return replace(
            head,
            epochs=head.epochs if self.epochs is None else self.epochs,
            learning_rate=head.learning_rate if self.learning_rate is None else self.learning_rate,
        )

    def tune_settings(self, clip_s: float) -> TuneSettings:
        """Settings for training the network, or a part of it, on clips of at most ``clip_s`` seconds."""
        usual = TuneSettings.learning_rate if self.adapt is None else ADAPTED_RATE
        return TuneSettings(
            epochs=TuneSettings.epochs if self.epochs is None else self.epochs,
            learning_rate=usual if self.learning_rate is None else self.learning_rate,
            batch_size=self.batch_size,
            clip_s=clip_s,
            device=self.device,
            precision=self.precision,
            augment=gain_and_roll if self.augment else unchanged,
            balance=self.balance,
            layer_decay=self.layer_decay,
            freeze_norms=self.freeze_norms,
            patience=self.patience,
            adapt=self.adapt,
            rank=self.rank,
        )

    def learner(
        self,
        base: LoadedCheckpoint,
        clips: Waveforms,
        targets: NDArray[np.bool_],
        *,
        clip_s: float,
        multi_label: bool,
        divide: Divide,
        known: NDArray[np.bool_] | None = None,
        teacher: FloatArray | None = None,
        progress: Progress = NOWHERE,
        watch: Watcher | None = None,
    ) -> Learn:
        """Learning from clips by this method; the clips' embeddings are computed at once.

        Args:
            base: the network to begin with.
            clips: ``N`` clips at its rate.
            targets: ``(N, K)``.
            clip_s: longest part of a clip in the training of the network, in seconds.
            multi_label: whether a clip may have several labels.
            divide: gives the validation part.
            known: ``(N, K)``, which targets are known; None: all.
            teacher: ``(N, K)`` probabilities of a teacher; without effect on prototypes.
            progress: stores finished parts.
            watch: notified of clips, steps and epochs.
        """
        _, measure = measure_of(multi_label=multi_label)
        head = self.head_settings()
        opinion = (
            None
            if teacher is None
            else Opinion(teacher, self.teacher_weight, only_absent=self.teacher_targets == "absent")
        )
        if self.trains_network:
            return network_and_head(
                base, clips, targets, self.tune_settings(clip_s), head,
                divide=divide, measure=measure, known=known, opinion=opinion, keep=self.keep_audioset,
                progress=progress, watch=watch,
            )  # fmt: skip
        embeddings = embed_all(
            base, clips, device=self.device, precision=self.precision, progress=progress, watch=watch
        )
        learn = (
            prototypes_of(embeddings, targets, base, divide)
            if self.prototypes
            else head_on(
                embeddings, targets, head, base, divide=divide, measure=measure, known=known, opinion=opinion
            )
        )
        return _keeping(learn) if self.keep_audioset else learn


def _keeping(learn: Learn) -> Learn:
    """The same, with a head of the network's own classes and the new ones."""

    def extended(rows: Sequence[int], seed: int) -> Fitted:
        fitted = learn(rows, seed)
        if fitted.base is None or not isinstance(fitted.head, Head):
            raise ValueError("keep_audioset needs a network and a new head")
        return fitted._replace(head=ExtendedHead(clip_head_of(fitted.base.model), fitted.head))

    return extended
