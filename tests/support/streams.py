"""Blocks for a stream, what it found in them, and pipes to read them from."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_models import noise

from pannsx import AudioTagger, StreamTagger
from pannsx.audio import load
from pannsx.events import Event, EventDetector, EventSettings
from pannsx.streaming import StreamUpdate

RATE = 32_000
SCENE = Path(__file__).resolve().parents[2] / "examples" / "scene.flac"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger(device="cpu", window_s=60.0)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """``(S,)``: the example scene twice, with silence between and a piece of it at the end."""
    once = load(SCENE, RATE).waveform
    return np.concatenate([once, np.zeros(2 * RATE, np.float32), once, once[:RATE]])


def collected(stream: StreamTagger, blocks: list[np.ndarray], rate: int | None = None) -> list[StreamUpdate]:
    updates = [update for block in blocks for update in stream.push(block, rate)]
    return updates + stream.close()


def cut(waveform: np.ndarray, *lengths: int) -> list[np.ndarray]:
    """Blocks of these lengths, again and again."""
    blocks, at, i = [], 0, 0
    while at < len(waveform):
        blocks.append(waveform[at : at + lengths[i % len(lengths)]])
        at += lengths[i % len(lengths)]
        i += 1
    return blocks


def found_whole(tagger: AudioTagger, waveform: np.ndarray, settings: EventSettings) -> list[Event]:
    whole = tagger.inference(waveform)
    assert whole.framewise is not None
    detector = EventDetector(tagger.labels, whole.hop_s, settings, offset_s=whole.offset_s)
    return detector.push(whole.framewise) + detector.close(whole.duration_s)


class Pipe(io.BytesIO):
    """Bytes that come a few at a time, noting what has been printed by then."""

    def __init__(self, content: bytes, at_once: int, capsys: Captured | None = None) -> None:
        super().__init__(content)
        self.at_once, self.capsys, self.printed = at_once, capsys, ""
        self.reads_before_first_line: int | None = None
        self.n_reads = 0

    def read1(self, size: int | None = -1) -> bytes:
        if self.capsys is not None:
            self.printed += self.capsys.readouterr().out
            if self.printed and self.reads_before_first_line is None:
                self.reads_before_first_line = self.n_reads
        self.n_reads += 1
        return self.read(self.at_once)


def stdin(monkeypatch: pytest.MonkeyPatch, pipe: io.BytesIO) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))


def piped_wav(seconds: float, subtype: str = "PCM_16", channels: int = 1) -> tuple[bytes, np.ndarray]:
    """A WAV whose header does not know its length, as ffmpeg pipes it, and its samples ``(S, C)``."""
    file = io.BytesIO()
    samples = noise(round(seconds * RATE) * channels).reshape(-1, channels).clip(-1, 1)
    soundfile.write(file, samples, RATE, format="WAV", subtype=subtype)
    content = bytearray(file.getvalue())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff" * 4
    file.seek(0)
    return bytes(content), soundfile.read(file, always_2d=True, dtype="float32")[0]
