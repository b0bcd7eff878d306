"""From audio files to clips of at most five seconds, 32 kHz, mono."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from pannsx import audio
from pannsx.audio.resample import resample
from pannsx.errors import AudioError

SAMPLE_RATE = 32000
CLIP_S = 5.0
CLIP_SAMPLES = round(CLIP_S * SAMPLE_RATE)

SHORTEST_SAMPLES = SAMPLE_RATE // 4
"""A shorter clip is dropped."""

QUIETEST_RMS = 1e-3
"""A clip with a lower root mean square (-60 dB) is dropped."""

_TRIMMED_S = 12.0  # files shorter than this are trimmed of near-silence at both ends
_SILENCE = 10 ** (-55 / 20)
_MARGIN_SAMPLES = SAMPLE_RATE // 20
_GAP_SAMPLES = SAMPLE_RATE // 4

_GSM_RATE = 8000


class Cut(NamedTuple):
    """A clip of a file.

    Attributes:
        path: path of the file.
        start_s: start of the clip in the file, in seconds.
        waveform: ``(n,)``.
    """

    path: str
    start_s: float
    waveform: NDArray[np.float32]


def cuts_of_file(path: str, data: bytes, n_cuts: int) -> list[Cut]:
    """Clips of an audio file, distributed evenly over it; only these parts of a long file are decoded.

    Raises:
        AudioError: it cannot be decoded.
    """
    source, rate = (_gsm(data, path), _GSM_RATE) if path.lower().endswith(".gsm") else (data, None)
    duration_s = audio.info(source, source_rate=rate).duration_s
    if duration_s is None or duration_s < _TRIMMED_S:
        waveform = audio.load(source, SAMPLE_RATE, source_rate=rate).waveform
        if len(waveform) < _TRIMMED_S * SAMPLE_RATE:
            waveform = trimmed(waveform)
        return cuts_of_waveform(path, waveform, n_cuts)
    cuts = []
    for start_s in _starts(duration_s, n_cuts):
        part = audio.load(source, SAMPLE_RATE, source_rate=rate, start_s=start_s, duration_s=CLIP_S)
        cuts.append(Cut(path, start_s, part.waveform[:CLIP_SAMPLES]))
    return cuts


def cuts_of_damaged_file(path: str, data: bytes, n_cuts: int) -> list[Cut]:
    """Clips of the readable part of a truncated file, or of one without an end mark.

    Raises:
        AudioError: nothing can be read.
    """
    try:
        frames, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        raise AudioError(f"{path} cannot be decoded: {error}") from error
    if not len(frames) or not np.isfinite(frames).all():
        raise AudioError(f"{path} has no samples, or non-finite ones")
    waveform = at_rate(frames.mean(axis=1), rate)
    if len(waveform) < _TRIMMED_S * SAMPLE_RATE:
        waveform = trimmed(waveform)
    return cuts_of_waveform(path, waveform, n_cuts)


def cuts_of_waveform(path: str, waveform: NDArray[np.float32], n_cuts: int) -> list[Cut]:
    """``(S,)`` at 32 kHz -> clips, distributed evenly."""
    return [
        Cut(path, start_s, waveform[int(start_s * SAMPLE_RATE) :][:CLIP_SAMPLES])
        for start_s in _starts(len(waveform) / SAMPLE_RATE, n_cuts)
    ]


def trimmed(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(S,)`` without the near-silence at both ends; empty for a silent one."""
    loud = np.flatnonzero(np.abs(waveform) > _SILENCE)
    if not len(loud):
        return waveform[:0]
    return waveform[max(int(loud[0]) - _MARGIN_SAMPLES, 0) : int(loud[-1]) + _MARGIN_SAMPLES]


def joined(cuts: Iterable[Cut], *, across_folders: bool) -> Iterator[Cut]:
    """Short files joined to clips of up to five seconds, a quarter of a second apart.

    A clip has the path of its first file.
    """
    gap = np.zeros(_GAP_SAMPLES, np.float32)
    pieces: list[NDArray[np.float32]] = []
    n_samples, first, folder = 0, "", ""
    for cut in cuts:
        here = "" if across_folders else cut.path.rpartition("/")[0]
        if pieces and (n_samples + len(cut.waveform) > CLIP_SAMPLES or here != folder):
            yield Cut(first, 0.0, np.concatenate(pieces)[:CLIP_SAMPLES])
            pieces, n_samples = [], 0
        if not pieces:
            first, folder = cut.path, here
        pieces += [cut.waveform, gap]
        n_samples += len(cut.waveform) + len(gap)
    if pieces:
        yield Cut(first, 0.0, np.concatenate(pieces)[:CLIP_SAMPLES])


def is_audible(waveform: NDArray[np.float32]) -> bool:
    """Whether a clip is neither too short nor too quiet."""
    return len(waveform) >= SHORTEST_SAMPLES and bool(np.sqrt(np.mean(np.square(waveform))) >= QUIETEST_RMS)


def as_samples(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """``(n,)`` -> its stored samples: a peak beyond full scale is scaled down to it, not clipped."""
    peak = float(np.abs(waveform).max(initial=0.0))
    samples: NDArray[np.int16] = np.round(waveform * np.float32(32767 / max(peak, 1.0))).astype(np.int16)
    return samples


def by_hash(path: str) -> bytes:
    """Order for the choice of files: the choice is independent of other files."""
    return hashlib.sha1(path.encode(), usedforsecurity=False).digest()


def at_rate(waveform: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """``(S,)`` at a rate in Hz -> ``(S',)`` at 32 kHz."""
    return resample(waveform, rate, SAMPLE_RATE)


def _starts(duration_s: float, n_cuts: int) -> list[float]:
    """Starts of at most ``n_cuts`` clips, evenly over a duration in seconds."""
    count = min(n_cuts, max(1, round(duration_s / CLIP_S)))
    last = max(duration_s - CLIP_S, 0.0)
    if count == 1:
        return [last / 2 if last > CLIP_S else 0.0]
    return [float(start_s) for start_s in np.linspace(0, last, count)]


def _gsm(data: bytes, path: str) -> NDArray[np.float32]:
    """``(S,)`` at 8 kHz of raw GSM 06.10, which has no header."""
    try:
        waveform, _ = soundfile.read(
            io.BytesIO(data),
            dtype="float32",
            format="RAW",
            subtype="GSM610",
            samplerate=_GSM_RATE,
            channels=1,
        )
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path} cannot be decoded as GSM: {error}") from error
    return np.asarray(waveform, np.float32)
