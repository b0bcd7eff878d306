"""Several callers at once: one tagger or several, of different numbers of threads, with or without the GIL.

The interpreter switches between threads as often as it can, which a free-threaded one does by itself.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from pannsx import AudioTagger
from pannsx.audio import sections
from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.inference.cpu import workers as workers_module
from pannsx.inference.cpu.workers import Workers
from pannsx.results import TaggingResult

N_CALLERS = 4
RATE = 32000


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def taggers() -> list[AudioTagger]:
    return [AudioTagger(device="cpu") for _ in range(2)]


def waveform(i: int) -> np.ndarray:
    """Of another length for each number, one to two seconds."""
    rng = np.random.default_rng(i)
    return 0.1 * rng.standard_normal(RATE + 1600 * i, dtype=np.float32)


def at_once(work: Callable[[int], object], n: int = N_CALLERS) -> list[object]:
    """``work(0)`` to ``work(n - 1)``, each on a thread of its own, which begin together."""
    together = threading.Barrier(n)

    def begin(i: int) -> object:
        together.wait()
        return work(i)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(begin, range(n)))


def assert_same(found: TaggingResult, expected: TaggingResult) -> None:
    np.testing.assert_array_equal(found.clipwise, expected.clipwise)
    np.testing.assert_array_equal(found.embedding, expected.embedding)
    np.testing.assert_array_equal(found.framewise, expected.framewise)


@pytest.mark.parametrize("n_taggers", [1, 2])
def test_many_callers_get_the_answers_of_one(n_taggers: int, taggers: list[AudioTagger]) -> None:
    expected = [taggers[0].inference(waveform(i)) for i in range(N_CALLERS)]

    def call(i: int) -> None:
        for k in range(3):
            number = (i + k) % N_CALLERS
            assert_same(taggers[i % n_taggers].inference(waveform(number)), expected[number])
        batch = taggers[i % n_taggers].inference([waveform(number) for number in range(N_CALLERS)])
        for found, one in zip(batch, expected, strict=True):
            np.testing.assert_allclose(found.clipwise, one.clipwise, atol=1e-5)

    at_once(call)


@pytest.mark.parametrize("with_torch", [False, True])
def test_the_calling_thread_has_the_first_share(with_torch: bool) -> None:
    """Except where shares need a torch thread of their own."""
    workers, seen = Workers(with_torch=with_torch), {}

    def share(i: int) -> None:
        seen[i] = threading.current_thread()

    before = torch.get_num_threads()
    try:
        workers.run(share, 2)
        with workers.lock:
            leading = workers.lead(threading.current_thread)
    finally:
        torch.set_num_threads(before)  # two, else, for all later tests
    assert (seen[0] is threading.current_thread()) is not with_torch
    assert (leading is threading.current_thread()) is not with_torch
    assert seen[1] is not threading.current_thread()


def test_nobody_waits_for_a_share_that_has_nothing_left_to_do() -> None:
    begun, released, ended = (threading.Event() for _ in range(3))

    def share(i: int) -> None:
        if i == 0:
            assert begun.wait(30)
        else:
            begun.set()
            released.wait(30)
            ended.set()

    Workers().run(share, 2, each_ends_with_all=True)
    assert not ended.is_set()
    released.set()
    assert ended.wait(30)


def test_callers_with_different_numbers_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number makes a pool of its own, while others still use the one before."""
    monkeypatch.setattr(workers_module, "n_threads", lambda: random.randint(1, 3))
    workers = Workers()

    def lead() -> list[int]:
        done: list[int] = []
        for _ in range(5):
            n = workers.n
            workers.run(done.append)
            assert sorted(done[-n:]) == list(range(n))
        return done

    def call(i: int) -> None:
        for _ in range(40):
            if i == 0:
                with workers.lock:
                    done = workers.lead(lead)
                assert len(done) % 5 == 0, "the number of threads changed in the middle of a task"
            elif i == 1:
                assert workers.map(abs, [-3, -2, -1]) == [3, 2, 1]
            else:
                shares: list[int] = []
                workers.run(shares.append, 3)
                assert sorted(shares) == [0, 1, 2]

    at_once(call)


def test_files_are_read_in_sections_on_the_threads_of_the_network(
    taggers: list[AudioTagger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    of_part = sections._bounds

    def counted(*arguments: Any) -> list[int | None]:
        bounds = of_part(*arguments)
        read.append(len(bounds) - 1)
        return bounds

    monkeypatch.setattr(sections, "_bounds", counted)
    monkeypatch.setattr(workers_module, "n_threads", lambda: 2)
    sounds = [np.tile(waveform(i), 3) for i in range(N_CALLERS)]
    for i, sound in enumerate(sounds):
        soundfile.write(tmp_path / f"{i}.wav", sound, RATE, subtype="FLOAT")
    expected = [taggers[0].inference(sound) for sound in sounds]
    paths = [tmp_path / f"{i}.wav" for i in range(N_CALLERS)]
    for i, found in enumerate(at_once(lambda i: taggers[0].inference(paths[i]))):
        assert_same(found, expected[i])  # type: ignore[arg-type]
    assert read == [2] * N_CALLERS
    taggers[0].inference(paths)  # of several, the next is read while the network is busy
    assert len(read) == N_CALLERS


def test_a_log_mel_is_whole_while_the_number_of_threads_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    from seeded_models import FRONT_END

    kernel, samples = LogMelKernel(FRONT_END), waveform(30)
    expected = kernel(samples)
    monkeypatch.setattr(workers_module, "n_threads", lambda: random.randint(1, 3))
    workers = Workers()
    for found in at_once(lambda _: [kernel(samples, workers) for _ in range(10)]):
        for each in found:  # type: ignore[attr-defined]
            np.testing.assert_array_equal(each, expected)
