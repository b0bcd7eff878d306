"""The order of clips for storage that reads in sequence: complete passes, few files, exact resumption."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from train.data.streamed import Streamed


def parts(sizes: list[int]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(sizes)), sizes)


SIZES = st.lists(st.integers(1, 9), min_size=4, max_size=20)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(SIZES, st.integers(1, 4), st.integers(1, 40), st.integers(0, 5))
def test_every_clip_is_drawn_once_in_a_pass_of_its_stream(
    sizes: list[int], n_streams: int, buffer_clips: int, seed: int
) -> None:
    sampler = Streamed(parts(sizes), seed, n_streams=n_streams, buffer_clips=buffer_clips)
    drawn: list[list[int]] = [[] for _ in range(n_streams)]
    for _ in range(3 * sum(sizes)):
        for stream, row in enumerate(sampler.draw(n_streams)):
            drawn[stream].append(int(row))
    lengths = sampler.state_dict()["lengths"]
    assert sum(lengths) == sum(sizes)
    assert max(lengths) - min(lengths) <= max(sizes), "streams are nearly equally long"
    first_passes = [rows[:n] for rows, n in zip(drawn, lengths, strict=True)]
    assert sorted(row for rows in first_passes for row in rows) == list(range(sum(sizes)))
    for rows, n in zip(drawn, lengths, strict=True):
        for begin in range(0, len(rows) - n + 1, n):
            assert sorted(rows[begin : begin + n]) == sorted(rows[:n])


@settings(derandomize=True, deadline=None, max_examples=40)
@given(SIZES, st.integers(1, 4), st.lists(st.integers(1, 9), max_size=6), st.integers(1, 5))
def test_a_state_is_complete(sizes: list[int], n_streams: int, before: list[int], n_after: int) -> None:
    def make() -> Streamed:
        return Streamed(parts(sizes), 3, n_streams=n_streams, buffer_clips=7)

    sampler = make()
    for n in before:
        sampler.draw(n * n_streams)
    state: dict[str, Any] = json.loads(json.dumps(sampler.state_dict()))
    resumed = make()
    resumed.load_state_dict(state)
    for _ in range(n_after):
        assert resumed.draw(5 * n_streams).tolist() == sampler.draw(5 * n_streams).tolist()


def test_clips_come_from_few_files_at_a_time_and_well_mixed() -> None:
    file_clips, buffer_clips = 64, 256
    of_clip = parts([file_clips] * 40)
    order = Streamed(of_clip, 0, n_streams=1, buffer_clips=buffer_clips).draw(len(of_clip))
    files = of_clip[order]
    first, last = {}, {}
    for place, file in enumerate(files):
        first.setdefault(int(file), place)
        last[int(file)] = place
    spans = [last[file] - first[file] for file in first]
    assert max(spans) < 2 * buffer_clips + file_clips, "a file is finished soon after it was begun"
    in_use = [len(set(files[place : place + 2 * buffer_clips].tolist())) for place in range(0, 2000, 100)]
    assert max(in_use) <= (4 * buffer_clips) // file_clips
    neighbours = np.abs(np.diff(order.astype(np.int64))) == 1
    assert neighbours.mean() < 0.05, "neighbours in a file are not neighbours in the order"
    assert np.mean([len(set(files[at : at + 64].tolist())) for at in range(256, 2000, 64)]) > 4


def test_orders_are_of_the_seed_the_stream_and_the_pass() -> None:
    def draws(seed: int) -> list[int]:
        return [int(row) for row in Streamed(parts([8] * 8), seed, n_streams=2, buffer_clips=16).draw(128)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    one = draws(1)
    first_stream = one[:64]
    assert first_stream[:32] != first_stream[32:], "another order in the second pass"


def test_a_rank_reads_the_files_of_its_streams_only() -> None:
    of_clip = parts([8] * 12)
    sampler = Streamed(of_clip, 0, n_streams=4, buffer_clips=16)
    halves: tuple[set[int], set[int]] = (set(), set())
    for _ in range(12):
        batch = of_clip[sampler.draw(8)]
        halves[0].update(batch[:4].tolist())  # the share of the first of two ranks
        halves[1].update(batch[4:].tolist())
    assert halves[0] | halves[1] == set(range(12))
    assert not halves[0] & halves[1]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"in 2 files, too few for data\.streams=3"):
        Streamed(parts([5, 5]), 0, n_streams=3, buffer_clips=4)
    sampler = Streamed(parts([5, 5]), 0, n_streams=2, buffer_clips=4)
    with pytest.raises(ValueError, match=r"3 clips cannot be shared out among data\.streams=2"):
        sampler.draw(3)
    with pytest.raises(ValueError, match="buffer_clips differs"):
        sampler.load_state_dict(Streamed(parts([5, 5]), 0, n_streams=2, buffer_clips=5).state_dict())
