"""A PANN: stem, trunk and head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor, nn
from torch.nn import functional

from pannsx.errors import did_you_mean
from pannsx.models.heads import LEVELS, Head, Output, at_level
from pannsx.models.settings import LOCAL_POOLING
from pannsx.models.stems import Stem
from pannsx.models.timing import FrameTimes, ReceptiveField, TimeGrid
from pannsx.models.trunks import Trunk
from pannsx.types import FrameSource

if TYPE_CHECKING:
    from pannsx.frontend.settings import FrontEnd

PannT = TypeVar("PannT", bound="Pann")
Augment = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]


class Pann(nn.Module):
    """A pretrained audio neural network (Kong et al. 2020): ``head(trunk(stem(waveform)))``.

    Attributes:
        stem: from samples to the trunk's input.
        trunk: from the stem's output to features ``(B, C, T')``.
        head: from features to :class:`Output`.
        architecture: its key in ``ARCHITECTURES``.
        sample_rate: sample rate of its input, in Hz.
        frontend: settings of its log-mel; None for models of the waveform alone.
        n_classes: number ``K`` of classes.
        embedding_size: size ``D`` of the embedding.
        grid: times of its frames.
        receptive_field: range of samples that a frame depends on.
        min_samples: shortest input in samples; shorter ones are zero-padded at the end.
        frame_source: ``"native"`` or ``"local_pooling"``, the origin of the frame logits
            (see :mod:`pannsx.models.heads`).
        front_end_mismatch: how the front end that its weights were trained with differs from ``frontend``;
            None: it does not.
        int8_steps: for products in 8 bits, the value of one unit of each pointwise convolution's input, by
            published name; empty: not calibrated. Training mode empties it, since the ranges change.
    """

    stem: Stem
    trunk: Trunk
    head: Head
    front_end_mismatch: str | None = None

    def __init__(
        self,
        stem: Stem,
        trunk: Trunk,
        head: Head,
        *,
        architecture: str,
        sample_rate: int,
        frontend: FrontEnd | None,
        n_classes: int,
        embedding_size: int,
    ) -> None:
        super().__init__()
        self.stem, self.trunk, self.head = stem, trunk, head
        self.architecture = architecture
        self.sample_rate = sample_rate
        self.frontend = frontend
        self.n_classes = n_classes
        self.embedding_size = embedding_size
        self._times = FrameTimes([(*path, *trunk.time_layers) for path in stem.paths], LOCAL_POOLING)
        self.grid: TimeGrid = self._times.grid
        self.receptive_field: ReceptiveField = self._times.receptive_field
        self.min_samples: int = self._times.min_samples
        self.frame_source: FrameSource = head.frame_source
        self.int8_steps: Mapping[str, float] = {}

    def train(self: PannT, mode: bool = True) -> PannT:
        """As in torch; a network that is trained further loses its ``int8_steps``."""
        if mode:
            self.int8_steps = {}
        return super().train(mode)

    def forward(
        self, waveform: Tensor, log_mel: Tensor | None = None, augment: Augment | None = None
    ) -> Output:
        """``(B, S)`` waveform -> logits ``(B, K)``, embedding ``(B, D)``, frame logits ``(B, T', K)``.

        Args:
            waveform: float32 samples in [-1, 1] at ``sample_rate``; one sample is enough.
            log_mel: precomputed ``(B, T, F)`` in dB, of the waveform as padded by :meth:`pad`; None: it is
                computed here.
            augment: for training (mixup, SpecAugment): maps the stem's representations, after
                ``bn0`` and before the first block, to as many of the same kind. These are
                ``((B, 1, T, F),)`` log-mel, ``((B, 64, T / 2, F / 2),)`` wavegram, both in this
                order, or ``((B, 1, S),)`` samples. The batch may shrink, as in mixup.

        Raises:
            ValueError: the waveform is not ``(B, S)`` with ``S >= 1``, or ``log_mel`` does not fit it.
        """
        return self.head(self.forward_features(waveform, log_mel, augment))  # type: ignore[no-any-return]

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels of :meth:`forward_features`, from the first block to the logits."""
        return (*self.trunk.levels, "trunk", *LEVELS)

    def check_level(self, level: str) -> None:
        """ValueError, with the near name, if the network has no such level."""
        if level not in self.levels:
            raise ValueError(
                f"{self.architecture} has no level {level!r}{did_you_mean(level, self.levels)}; its levels "
                f"are {', '.join(self.levels)}"
            )

    def forward_features(
        self,
        waveform: Tensor,
        log_mel: Tensor | None = None,
        augment: Augment | None = None,
        *,
        level: str = "trunk",
    ) -> Tensor:
        """``(B, S)`` waveform -> the features at a level of the network, with their gradients.

        * ``block1``, ``block2``, ...: ``(B, C, T, F)``, the map after a block; ``(B, C, T)`` in networks on
          raw samples
        * ``trunk``: ``(B, C, T')``, after the last block, averaged over frequency
        * ``frame_pooled``: ``(B, T', C)``, each frame and its two neighbours, maximum plus mean: before
          ``fc1``
        * ``frame_fc1``: ``(B, T', D)``, the embedding of each frame
        * ``frame_logits``: ``(B, T', K)``, the logits of each frame
        * ``pooled``: ``(B, C)``, the clip, maximum plus mean over all frames; before ``fc1``
        * ``fc1``: ``(B, D)``, the embedding, without dropout after it
        * ``logits``: ``(B, K)``, before the sigmoid

        In decision-level networks, ``pooled`` and ``fc1`` are means of the frames'. The blocks have the
        numbers of the published code, so those of ``Wavegram_Cnn14`` begin with ``block2``; :attr:`levels`
        lists all. Nothing beyond the level is computed.

        Args:
            waveform, log_mel, augment: as in :meth:`forward`.
            level: one of :attr:`levels`.

        Raises:
            ValueError: as :meth:`forward`, or the network has no such level.
        """
        self.check_level(level)
        waveform = self.pad(waveform)
        if log_mel is not None and self.frontend is not None:
            needed = (waveform.shape[0], self.frontend.n_frames(waveform.shape[1]), self.frontend.n_mels)
            if tuple(log_mel.shape) != needed:
                raise ValueError(
                    f"log_mel has shape {tuple(log_mel.shape)}; {needed} is needed for a waveform padded to "
                    f"{tuple(waveform.shape)}. Compute it from model.pad(waveform) with model.frontend"
                )
        representations = self.stem(waveform, log_mel)
        if augment is not None:
            representations = augment(representations)
        if level in self.trunk.levels:
            return self.trunk(*representations, until=level)  # type: ignore[no-any-return]
        features = self.trunk(*representations)
        return features if level == "trunk" else at_level(self.head, features, level)

    def replace_classifier(self, n_classes: int) -> None:
        """Replace the last layer by one for ``n_classes`` classes, initialised as in the paper.

        Everything before it, including the embedding, is kept.

        Raises:
            ValueError: ``n_classes`` is less than 1.
        """
        if n_classes < 1:
            raise ValueError(f"n_classes is {n_classes}; at least 1 is needed")
        self.head.replace_classifier(n_classes)
        self.n_classes = n_classes

    def pad(self, waveform: Tensor) -> Tensor:
        """``(B, S)`` -> ``(B, max(S, min_samples))``, zeros at the end.

        Raises:
            ValueError: the waveform is not ``(B, S)`` with ``S >= 1``.
        """
        if waveform.ndim != 2 or waveform.shape[1] == 0:
            raise ValueError(
                f"the waveform has shape {tuple(waveform.shape)}; (batch, samples) with at least one sample "
                "is needed: for a single mono waveform give waveform[None]"
            )
        missing = self.min_samples - waveform.shape[1]
        return functional.pad(waveform, (0, missing)) if missing > 0 else waveform

    def n_frames(self, n_samples: int) -> int:
        """Number ``T'`` of frames of a waveform of ``n_samples`` samples."""
        return self._times.n_frames(n_samples)
