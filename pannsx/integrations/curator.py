"""NeMo Curator's protocol for sound event detection: its stage takes the class by one line of YAML.

    adapter_target: pannsx.integrations.curator.SEDAdapter

Curator's `SEDInferenceStage` reads, mixes and resamples the audio, and writes the results; the adapter is the
network between. Each waveform goes through it at its own length, so its frames do not depend on its batch.
Nothing of Curator is imported here: its protocol is one of names.
"""

from __future__ import annotations

import gc
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pannsx.errors import WeightsError
from pannsx.labels import audioset
from pannsx.types import FloatArray
from pannsx.weights.fetch import resolve
from pannsx.weights.manifest import DEFAULT_CHECKPOINT, find
from pannsx.weights.record import Checkpoint

if TYPE_CHECKING:
    from pannsx.results import TaggingResult
    from pannsx.tagger import AudioTagger

logger = logging.getLogger("pannsx")

_SAME_TIME = 1e-6  # of a frame: a length that is so little longer has no further frame


@dataclass(frozen=True)
class SEDResult:
    """The frames of one waveform, with the fields of Curator's class of this name.

    Attributes:
        framewise_output: ``(T, K)`` float32 probabilities. Row ``i`` is for the time from ``i / fps`` to
            ``(i + 1) / fps`` seconds.
        fps: frames in a second.
        valid_frames: ``T``, as nothing is padded; 0 for a waveform that cannot be heard.
        original_num_samples: ``S``.
    """

    framewise_output: FloatArray
    fps: float
    valid_frames: int
    original_num_samples: int


class SEDAdapter:
    """A checkpoint as an adapter of NeMo Curator's `SEDInferenceStage`.

    >>> from pannsx.integrations.curator import SEDAdapter
    >>>
    >>> adapter = SEDAdapter()  # the bundled checkpoint
    >>> adapter.load_model(num_gpus=0)
    >>> result, = adapter.infer_batch([{"waveform": audio.load("dog.wav", 32_000).waveform}])

    The stage gives ``checkpoint_path`` and ``sample_rate``, and all others from its ``adapter_kwargs``. Those
    of Curator's own PANNs adapter are accepted, so that only the one line of a pipeline changes.

    Args:
        checkpoint_path: a file of weights: for ``model_type``, or with its record beside it. A file that is
            not there is fetched if it is named as the published file of ``model_type``. None: the weights of
            ``model_type``, fetched to the cache, with their digest checked.
        sample_rate: of the waveforms, in Hz. They are resampled to the network's rate if it is another.
        model_type: a name of ``pannsx.list_models()``; None: the record of ``checkpoint_path``, or else the
            bundled checkpoint.
        hop_s: seconds from frame to frame, 0.02 to 1; None: the network's own. See
            :meth:`pannsx.AudioTagger.inference`.
        classes_num: number of classes; None: those of AudioSet are needed, because Curator's stages after
            this one choose columns by their number.
        window_size, hop_size, mel_bins, fmin, fmax: settings of the front end, compared with those of the
            checkpoint.
        pad_short_segments: of no effect: a short waveform is always padded to the shortest input.
        options: further arguments of :class:`pannsx.AudioTagger`.

    Raises:
        ValueError: an unknown model, or settings that differ from its own.
    """

    def __init__(
        self,
        checkpoint_path: str | None = None,
        sample_rate: int = 32_000,
        *,
        model_type: str | None = None,
        hop_s: float | None = None,
        classes_num: int | None = None,
        window_size: int | None = None,
        hop_size: int | None = None,
        mel_bins: int | None = None,
        fmin: float | None = None,
        fmax: float | None = None,
        pad_short_segments: bool = True,
        **options: Any,
    ) -> None:
        del pad_short_segments
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, int) or sample_rate < 1:
            raise ValueError(f"sample_rate is {sample_rate!r}; a whole number of Hz from 1 up is needed")
        self.checkpoint_path = checkpoint_path
        self.sample_rate = sample_rate
        self._hop_s = hop_s
        self._options = options
        self._model_type = model_type
        self._classes_num = classes_num
        self._front_end = {
            "n_fft": ("window_size", window_size), "hop_length": ("hop_size", hop_size),
            "n_mels": ("mel_bins", mel_bins), "fmin": ("fmin", fmin), "fmax": ("fmax", fmax),
        }  # fmt: skip
        self._tagger: AudioTagger | None = None
        self._fps = 0.0
        if model_type is not None:
            self._check(find(model_type))

    def download_weights_on_node(self) -> None:
        """Fetch the weights if they are not on this computer.

        Raises:
            WeightsError: they cannot be had, or there is no such file.
        """
        if self.checkpoint_path is None:
            name = DEFAULT_CHECKPOINT if self._model_type is None else self._model_type
            resolve(find(name), cache_dir=self._options.get("cache_dir"), progress=False)
            return
        path = Path(self.checkpoint_path).expanduser()
        if path.exists():
            return
        if self._model_type is None or path.name != find(self._model_type).weights_filename:
            published = (
                "" if self._model_type is None else f", name it {find(self._model_type).weights_filename}"
            )
            raise WeightsError(
                f"there is no file {path}; check checkpoint_path{published}, or leave it out to use the "
                "published weights"
            )
        resolve(find(self._model_type), cache_dir=path.parent, progress=False)

    def load_model(self, *, num_gpus: int) -> None:
        """Open the network, on the first GPU that this process sees or, with 0, on the CPU.

        Raises:
            ValueError: no such number, no GPU, or a hop that the network cannot have.
            WeightsError: the weights cannot be had or trusted.
        """
        from pannsx.inference.fine_frames import FrameReader
        from pannsx.tagger import AudioTagger

        if isinstance(num_gpus, bool) or not isinstance(num_gpus, int) or num_gpus < 0:
            raise ValueError(f"num_gpus is {num_gpus!r}; a whole number from 0 up is needed")
        self.download_weights_on_node()
        path = self.checkpoint_path
        options = {"device": "cuda" if num_gpus else "cpu", "progress": False, **self._options}
        tagger = AudioTagger(
            self._model_type, checkpoint=None if path is None else Path(path).expanduser(), **options
        )
        self._check(tagger.record)
        self._fps = 1.0 / FrameReader(tagger, self._hop_s).hop_s
        self._tagger = tagger

    def unload_model(self) -> None:
        """Let go of the network, and of the GPU memory that it leaves behind."""
        self._tagger = None
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def infer_batch(self, items: Sequence[Mapping[str, Any]]) -> list[SEDResult]:
        """Waveforms -> their frames, one result for each, in the same order.

        A waveform that is empty or not finite has no frames, with a line in the log: raising would lose the
        other results of its batch.

        Args:
            items: each with ``waveform``, ``(S,)`` at ``sample_rate``.

        Raises:
            RuntimeError: the network is not loaded.
            ValueError: an item has no waveform.
        """
        tagger = self._tagger
        if tagger is None:
            raise RuntimeError("the network is not loaded; call load_model(num_gpus=0) first")
        waveforms = [_samples(item) for item in items]
        heard = []
        for number, each in enumerate(waveforms):
            if (reason := _fault(each)) is None:
                heard.append(number)
            else:
                logger.warning("waveform %d of %d has no frames: %s", number, len(waveforms), reason)
        heard.sort(key=lambda number: len(waveforms[number]))  # like lengths run together
        found: dict[int, TaggingResult] = dict(
            zip(
                heard,
                tagger.iter_inference(
                    [waveforms[number] for number in heard],
                    self.sample_rate,
                    framewise=True,
                    hop_s=self._hop_s,
                ),
                strict=True,
            )
        )
        return [
            self._result(found[number], each) if number in found else self._nothing(tagger, each)
            for number, each in enumerate(waveforms)
        ]

    def _result(self, found: TaggingResult, waveform: npt.NDArray[Any]) -> SEDResult:
        if found.framewise is None:
            raise AssertionError("frames were asked for")
        rows = frames_in_order(found.framewise, found.hop_s, found.offset_s, len(waveform) / self.sample_rate)
        return SEDResult(rows, self._fps, len(rows), len(waveform))

    def _nothing(self, tagger: AudioTagger, waveform: npt.NDArray[Any]) -> SEDResult:
        return SEDResult(np.zeros((0, len(tagger.labels)), np.float32), self._fps, 0, waveform.size)

    def _check(self, record: Checkpoint) -> None:
        """ValueError if the checkpoint differs from the pipeline's settings."""
        for name, (argument, given) in self._front_end.items():
            own = None if record.frontend is None else getattr(record.frontend, name)
            if given is not None and given != own:
                raise ValueError(
                    f"{argument} is {given}, and {record.name} was trained with {own}; leave it out"
                )
        if self._classes_num is not None and self._classes_num != record.n_classes:
            raise ValueError(
                f"classes_num is {self._classes_num}, and {record.name} has {record.n_classes} classes"
            )
        if record.labels != "audioset" and self._classes_num in (None, len(audioset())):
            raise ValueError(
                f"{record.name} has classes of its own, and Curator's stages read AudioSet's by number; if "
                f"none of them follows, say classes_num={record.n_classes}"
            )


def frames_in_order(framewise: FloatArray, hop_s: float, offset_s: float, duration_s: float) -> FloatArray:
    """``(T', K)`` frames centred on ``offset_s + n hop_s`` -> ``(T, K)`` rows for the times from 0 on.

    Row ``i`` is the frame nearest to the middle of ``[i hop_s, (i + 1) hop_s]``, so that a reader that knows
    the hop alone has the right times, up to half a hop. Before the first frame and behind the last, it is
    that one.
    """
    n_rows = max(1, math.ceil(duration_s / hop_s - _SAME_TIME))
    middles_s = (np.arange(n_rows) + 0.5) * hop_s
    nearest = np.floor((middles_s - offset_s) / hop_s + 0.5).astype(np.int64)
    rows: FloatArray = framewise[nearest.clip(0, len(framewise) - 1)]
    return rows


def _samples(item: Mapping[str, Any]) -> npt.NDArray[Any]:
    if "waveform" not in item:
        raise ValueError(f"an item has {', '.join(map(repr, item)) or 'nothing'}; 'waveform' is needed")
    return np.asarray(item["waveform"])


def _fault(waveform: npt.NDArray[Any]) -> str | None:
    """Why a waveform cannot be heard, in words."""
    if waveform.ndim != 1:
        return f"its shape is {waveform.shape}, and (S,) is needed"
    if not waveform.size:
        return "it is empty"
    if waveform.dtype.kind == "f" and not np.isfinite(waveform).all():
        return "it has samples that are not finite"
    return None
