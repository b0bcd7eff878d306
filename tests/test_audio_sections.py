"""Files decoded in sections on several threads: the samples, warnings and errors of reading in order."""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import LOSSLESS, RATE

from pannsx.audio import Selection, sections
from pannsx.audio.sndfile import SndfileReader
from pannsx.errors import AudioError
from pannsx.types import Source

N_FRAMES = 150_000  # three sections and a little


class Crew:
    """Three threads."""

    n = 3

    def run(self, share: Callable[[int], None], n: int) -> None:
        with ThreadPoolExecutor(n, thread_name_prefix="crew") as pool:
            list(pool.map(share, range(n)))


CREW = Crew()


@cache
def stereo() -> np.ndarray:
    tone = np.sin(0.02 * np.arange(N_FRAMES))[:, None] * (0.3, 0.25)
    return np.asarray(tone + np.random.default_rng(0).normal(0, 0.05, (N_FRAMES, 2)), np.float32)


def file_of(folder: Path, kind: str, frames: np.ndarray) -> Path:
    container, subtype = LOSSLESS[kind]
    path = folder / f"{kind}.{container.lower()}"
    soundfile.write(path, frames, RATE, subtype=subtype, format=container)
    return path


def read(source: Source, rate: int | None, crew: Crew | None = None, **selected: object) -> np.ndarray:
    with Selection(**selected).open(source, rate, threads=crew) as blocks:  # type: ignore[arg-type]
        return np.concatenate(list(blocks.pieces()))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each file that was read in sections, whether its samples were used."""
    used: list[bool] = []

    class Counted(sections._Sections):
        @property
        def are_whole(self) -> bool:
            used.append(super().are_whole)
            return used[-1]

    monkeypatch.setattr(sections, "_Sections", Counted)
    return used


@pytest.mark.parametrize("kind", sorted(LOSSLESS))
def test_sections_are_the_samples_in_order(kind: str, tmp_path: Path, started: list[bool]) -> None:
    path = file_of(tmp_path, kind, stereo())
    for rate, selected in (
        (None, {}),
        (44_100, {"start_s": 0.3}),
        (32_000, {"channel": 1, "duration_s": 2.9}),
        (60_000, {"start_s": 0.01, "duration_s": 99}),
    ):
        expected = read(path, rate, **selected)
        assert started == []
        np.testing.assert_array_equal(read(path, rate, CREW, **selected), expected)
        assert started == [True]
        started.clear()


def test_what_is_not_in_sections(
    tmp_path: Path, started: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(tmp_path, "flac", stereo())
    data = path.read_bytes()
    expected = read(path, 32_000)
    for source in (data, io.BytesIO(data)):
        np.testing.assert_array_equal(read(source, 32_000, CREW), expected)
    np.testing.assert_array_equal(read(path, 32_000, CREW, salvage=True), expected)
    read(path, 32_000, CREW, duration_s=1.5)  # too short to pay
    lossy = tmp_path / "sound.ogg"
    soundfile.write(lossy, stereo()[:100_000], RATE, format="OGG", subtype="VORBIS")
    read(lossy, None, CREW)
    monkeypatch.setattr(sections, "_MOST_SAMPLES", 90_000)  # and one too long to keep
    np.testing.assert_array_equal(read(path, 32_000, CREW), expected)
    assert started == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    path = file_of(tmp_path, "wav", stereo())
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(pipe.write_bytes, path.read_bytes())
        np.testing.assert_array_equal(read(pipe, 32_000, CREW), read(path, 32_000))
        writing.result()


def told(source: Source, crew: Crew | None = None, **selected: object) -> list[str]:
    """The warnings and the error of reading a source."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            read(source, 32_000, crew, **selected)
            error = []
        except AudioError as raised:
            error = [str(raised)]
    return [str(each.message) for each in seen] + error


def _damaged(path: Path, share: float) -> None:
    data = bytearray(path.read_bytes())
    place = int(share * len(data))
    data[place : place + 64] = bytes(64)
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20_000])


REMARKABLE: dict[str, tuple[str, Callable[[np.ndarray], None] | None, Callable[[Path], None] | None, str]] = {
    "not a number": ("float", lambda x: x.__setitem__((120_000, 1), np.nan), None, r"NaN at sample 120000 "),
    "infinite, early": ("float", lambda x: x.__setitem__((9, 0), np.inf), None, r"infinite .* at sample 9 "),
    "loud": ("float", lambda x: x.__setitem__(90_000, 1e4), None, r"value 10000 at sample 90000 "),
    "cancelling": ("wav", lambda x: x.__setitem__((slice(None), 1), -x[:, 0]), None, "cancel each other"),
    "cancelling, late": (
        "wav",
        lambda x: x.__setitem__((slice(60_000, None), 1), -x[60_000:, 0]),
        None,
        "cancel each other",
    ),
    "damaged early": ("flac", None, lambda path: _damaged(path, 0.2), "damaged"),
    "damaged late": ("flac", None, lambda path: _damaged(path, 0.8), "damaged"),
    "cut": ("flac", None, _cut, "truncated|ends within|last frame"),
    "cut samples": ("wav", None, _cut, "truncated"),
}


@pytest.mark.parametrize("what", sorted(REMARKABLE))
def test_what_there_is_to_tell_is_told_once_and_as_in_order(what: str, tmp_path: Path) -> None:
    kind, change, spoil, message = REMARKABLE[what]
    frames = stereo().copy()
    if change is not None:
        change(frames)
    path = file_of(tmp_path, kind, frames)
    if spoil is not None:
        spoil(path)
    (expected,) = told(path)
    assert re.search(message, expected)
    assert told(path, CREW) == [expected]


def test_a_section_that_fails_is_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of(tmp_path, "wav", stereo())
    expected = read(path, 32_000)
    again = SndfileReader.again
    failed: list[str] = []

    def failing(reader: SndfileReader) -> SndfileReader | None:
        if not failed:
            failed.append(threading.current_thread().name)
            raise MemoryError("no memory for another reader")
        return again(reader)

    monkeypatch.setattr(SndfileReader, "again", failing)
    np.testing.assert_array_equal(read(path, 32_000, CREW), expected)
    assert failed[0].startswith("crew")


@pytest.mark.skipif(os.name == "nt", reason="Windows does not rename open files")
def test_a_file_that_is_replaced_meanwhile_is_no_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[bool]
) -> None:
    other = file_of(tmp_path, "wav", stereo()[::-1]).rename(tmp_path / "other.wav")
    path = file_of(tmp_path, "wav", stereo())
    expected = read(other, None)
    again = SndfileReader.again
    together = threading.Lock()

    def replaced(reader: SndfileReader) -> SndfileReader | None:
        with together:
            if other.exists():
                other.replace(path)
        return again(reader)

    monkeypatch.setattr(SndfileReader, "again", replaced)
    np.testing.assert_array_equal(read(path, None, CREW), expected)
    assert True not in started  # empty, if a thread met an error in the other file's samples before
