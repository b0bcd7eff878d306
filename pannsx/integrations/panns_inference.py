"""The interface of the package panns_inference, on pannsx.

>>> from pannsx.integrations.panns_inference import AudioTagging, SoundEventDetection, config, labels
>>> clipwise_output, embedding = AudioTagging(checkpoint_path=None, device="cuda").inference(audio)

Signatures, shapes and layout are panns_inference's, and the same checkpoint gives the same numbers. The
differences: weights come from the Hub and are checked by digest; a file of weights cannot run code; a missing
file is an error, where panns_inference would download it; and nothing is printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pannsx.labels import audioset
from pannsx.tagger import AudioTagger
from pannsx.types import FloatArray, PathLike

_HOP = 320  # samples from frame to frame of framewise_output: 10 ms


@dataclass(frozen=True)
class Config:
    """The names of panns_inference's ``config``.

    Attributes:
        sample_rate: in Hz.
        labels, ids: names and MIDs of the classes, in the order of the results.
        classes_num: their number.
        lb_to_ix, ix_to_lb, id_to_ix, ix_to_id: from name or MID to number, and back.
    """

    sample_rate: int
    labels: list[str]
    ids: list[str]

    @property
    def classes_num(self) -> int:
        return len(self.labels)

    @property
    def lb_to_ix(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.labels)}

    @property
    def ix_to_lb(self) -> dict[int, str]:
        return dict(enumerate(self.labels))

    @property
    def id_to_ix(self) -> dict[str, int]:
        return {mid: number for number, mid in enumerate(self.ids)}

    @property
    def ix_to_id(self) -> dict[int, str]:
        return dict(enumerate(self.ids))


@cache
def _config() -> Config:
    known = audioset()
    return Config(32_000, list(known.names), list(known.ids or ()))


def __getattr__(name: str) -> Any:
    """``config`` and ``labels``, read when they are first asked for."""
    if name == "config":
        return _config()
    if name == "labels":
        return _config().labels
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class AudioTagging:
    """Tags of clips.

    Args:
        model: a name of ``pannsx.list_models()``; None: ``"Cnn14"``.
        checkpoint_path: file of its weights, in the published layout or ours; None: fetched from the Hub.
        device: ``"cuda"``, which is the CPU where there is no GPU, or ``"cpu"``.

    Attributes:
        labels: ``K`` names of the classes.
        classes_num: ``K``.
        device: ``"cuda"`` or ``"cpu"``.

    Raises:
        TypeError: a network instead of a name.
        ValueError, WeightsError: as :class:`pannsx.AudioTagger`.
    """

    _default = "Cnn14"

    def __init__(
        self, model: str | None = None, checkpoint_path: PathLike | None = None, device: str = "cuda"
    ) -> None:
        if model is not None and not isinstance(model, str):
            raise TypeError(
                f"model is a {type(model).__name__}; give a name of pannsx.list_models(), such as "
                f"{self._default!r}, whose weights checkpoint_path may be"
            )
        if device not in ("cuda", "cpu"):
            raise ValueError(f"device is {device!r}; use 'cuda' or 'cpu'")
        self._tagger = AudioTagger(
            model or self._default,
            # As an empty path, which panns_inference takes for None.
            checkpoint=checkpoint_path or None,
            device="auto" if device == "cuda" else "cpu",
        )
        self.device = "cuda" if self._tagger.device.startswith("cuda") else "cpu"
        self.labels = list(self._tagger.labels)
        self.classes_num = len(self.labels)

    def inference(self, audio: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
        """``(B, S)`` at 32 kHz -> ``(B, K)`` probabilities and ``(B, D)`` embeddings.

        As in panns_inference, a clip of any length is one window; :class:`pannsx.AudioTagger` cuts long
        recordings into windows of 10 s.

        Raises:
            AudioError: the clips are empty or not finite.
            ValueError: another shape.
        """
        result = _whole(self._tagger, audio).inference(list(audio), framewise=False)
        return result.clipwise, result.embedding


class SoundEventDetection:
    """Probabilities of classes every 10 ms.

    Args:
        model, checkpoint_path, device: as for :class:`AudioTagging`; None: ``"Cnn14_DecisionLevelMax"``.
        interpolate_mode: ``"nearest"``, the only one that panns_inference computes. For frames that are
            computed rather than repeated: ``AudioTagger(...).inference(audio, hop_s=0.04)``.

    Attributes:
        labels, classes_num, device: as for :class:`AudioTagging`.
    """

    def __init__(
        self,
        model: str | None = None,
        checkpoint_path: PathLike | None = None,
        device: str = "cuda",
        interpolate_mode: Literal["nearest"] = "nearest",
    ) -> None:
        if interpolate_mode != "nearest":
            raise ValueError(f"interpolate_mode is {interpolate_mode!r}; use 'nearest'")
        tagging = _EventTagging(model, checkpoint_path, device)
        self._tagger = tagging._tagger
        self.device, self.labels, self.classes_num = tagging.device, tagging.labels, tagging.classes_num

    def inference(self, audio: NDArray[Any]) -> FloatArray:
        """``(B, S)`` at 32 kHz -> ``(B, S // 320 + 1, K)`` probabilities, each frame repeated to 10 ms.

        Raises:
            AudioError, ValueError: as :meth:`AudioTagging.inference`.
        """
        result = _whole(self._tagger, audio).inference(list(audio))
        if result.framewise is None:
            raise RuntimeError("the tagger returned no frames")
        ratio = round(self._tagger.hop_s * self._tagger.sample_rate / _HOP)
        n_frames = audio.shape[1] // _HOP + 1
        # Frames that the pooling has dropped at the end repeat the last one.
        source = np.minimum(np.arange(n_frames) // ratio, len(result.framewise[0]) - 1)
        return np.stack([frames[source] for frames in result.framewise])


class _EventTagging(AudioTagging):
    _default = "Cnn14_DecisionLevelMax"


def _whole(tagger: AudioTagger, audio: NDArray[Any]) -> AudioTagger:
    """The tagger with a window as long as these clips.

    Raises:
        ValueError: not ``(B, S)``.
    """
    if getattr(audio, "ndim", 0) != 2:
        raise ValueError(
            f"audio has shape {getattr(audio, 'shape', None)}; (B, S) is needed: audio[None, :] of one clip"
        )
    return AudioTagger(tagger, window_s=max(10.0, audio.shape[1] / tagger.sample_rate))
