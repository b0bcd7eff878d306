"""The published orders of clips, their states and their shares."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from train.data.samplers import Alternate, Balanced, Sampler, Uniform
from train.data.targets import Targets

N_CLIPS, N_CLASSES = 40, 7


def targets(n_clips: int = N_CLIPS, seed: int = 0) -> NDArray[np.bool_]:
    """Classes of very different sizes; the last has no clip, the one before has one."""
    rng = np.random.default_rng(seed)
    share = np.array([0.9, 0.5, 0.3, 0.2, 0.1, 0.0, 0.0])
    labels = rng.random((n_clips, N_CLASSES)) < share
    labels[3, 5] = True
    return labels


def make(kind: str, seed: int = 1) -> Sampler:
    if kind == "none":
        return Uniform(N_CLIPS, seed)
    labelled = Targets.of(targets())
    return Balanced(labelled, seed) if kind == "balanced" else Alternate(labelled, seed)


def draws(sampler: Sampler, sizes: list[int]) -> list[list[int]]:
    return [sampler.draw(n).tolist() for n in sizes]


KINDS = ["none", "balanced", "alternate"]


def test_none_takes_every_clip_once_a_pass_in_another_order() -> None:
    sampler = Uniform(N_CLIPS, 1)
    passes = [sampler.draw(N_CLIPS).tolist() for _ in range(3)]
    assert all(sorted(one) == list(range(N_CLIPS)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_balanced_takes_every_class_once_a_cycle_and_every_clip_once_a_pass() -> None:
    labels = targets()
    sampler = Balanced(Targets.of(labels), 1)
    n_with_clips = 6
    drawn: dict[int, list[int]] = {k: [] for k in range(n_with_clips)}
    cycles = []
    for _ in range(200):
        classes = [sampler._next_class() for _ in range(n_with_clips)]
        assert sorted(classes) == list(range(n_with_clips))
        cycles.append(tuple(classes))
        for k in classes:
            drawn[k].append(sampler._draw_from(k))
    assert len(set(cycles)) > 100
    for k, rows in drawn.items():
        clips = np.flatnonzero(labels[:, k]).tolist()
        for begin in range(0, len(rows) - len(clips) + 1, len(clips)):
            assert sorted(rows[begin : begin + len(clips)]) == clips
        if len(clips) > 4:
            assert rows[: len(clips)] != rows[len(clips) : 2 * len(clips)]


def test_balanced_draws_classes_equally_often_whatever_their_size() -> None:
    labels = np.zeros((1001, 2), np.bool_)
    labels[:1000, 0] = labels[1000, 1] = True
    counts = Counter((Balanced(Targets.of(labels), 5).draw(500) == 1000).tolist())
    assert counts[True] == counts[False] == 250


def test_alternate_draws_a_balanced_batch_first_then_one_of_all() -> None:
    alternate, balanced, uniform = make("alternate"), make("balanced"), make("none")
    for turn in range(6):
        expected = (uniform if turn % 2 else balanced).draw(8)
        assert alternate.draw(8).tolist() == expected.tolist()


@pytest.mark.parametrize("kind", KINDS)
@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    before=st.lists(st.integers(1, 30), max_size=8),
    after=st.lists(st.integers(1, 30), min_size=1, max_size=8),
)
def test_a_state_is_complete(kind: str, before: list[int], after: list[int]) -> None:
    sampler = make(kind)
    draws(sampler, before)
    state: dict[str, Any] = json.loads(json.dumps(sampler.state_dict()))
    expected = draws(sampler, after)
    resumed = make(kind)
    resumed.load_state_dict(state)
    assert draws(resumed, after) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_make_streams(kind: str) -> None:
    assert draws(make(kind, 3), [50]) == draws(make(kind, 3), [50])
    assert draws(make(kind, 3), [50]) != draws(make(kind, 4), [50])


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_other_clips_or_another_seed_is_refused(kind: str) -> None:
    state = make(kind, 1).state_dict()
    with pytest.raises(ValueError, match="seed differs"):
        make(kind, 2).load_state_dict(state)
    other: Sampler = (
        Uniform(41, 1)
        if kind == "none"
        else (Balanced if kind == "balanced" else Alternate)(Targets.of(targets(41, seed=1)), 1)
    )
    with pytest.raises(ValueError, match="differs from that of these clips"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match="kind differs"):
        make(KINDS[(KINDS.index(kind) + 1) % 3]).load_state_dict(state)


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ValueError, match="no clip"):
        Uniform(0, 1)
    with pytest.raises(ValueError, match="nothing to balance"):
        Balanced(Targets.none(3, 2), 1)
