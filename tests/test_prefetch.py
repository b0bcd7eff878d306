"""Reading ahead: order, errors, how far ahead, and what happens to those who stop early."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from pannsx.inference.prefetch import prefetch


def counting(n: int, seen: list[int], closed: threading.Event | None = None) -> Generator[int, None, None]:
    try:
        for i in range(n):
            seen.append(i)
            yield i
    finally:
        if closed is not None:
            closed.set()


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_the_same_items_in_the_same_order(depth: int) -> None:
    assert list(prefetch(counting(20, []), depth)) == list(range(20))


def test_items_are_made_on_another_thread() -> None:
    def names() -> Generator[str, None, None]:
        yield threading.current_thread().name

    assert list(prefetch(names(), 1)) != [threading.current_thread().name]


def test_it_does_not_run_away() -> None:
    seen: list[int] = []
    items = prefetch(counting(1000, seen), 3)
    assert next(items) == 0
    assert len(seen) <= 1 + 3 + 1 + 1  # taken, waiting, in hand, and the one that may have come since
    items.close()
    assert len(seen) < 1000


def test_an_error_comes_after_the_items_before_it() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise OSError("gone")

    items = prefetch(failing(), 10)
    assert next(items) == 1
    assert next(items) == 2
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_stopping_early_closes_the_items_and_ends_the_thread() -> None:
    closed = threading.Event()
    before = threading.active_count()
    items = prefetch(counting(1000, [], closed), 2)
    assert next(items) == 0
    items.close()
    assert closed.is_set()
    assert threading.active_count() == before


@pytest.mark.parametrize("n", [0, 1, 3, 4, 20])
def test_the_first_items_are_made_here(n: int) -> None:
    def names() -> Generator[str, None, None]:
        for _ in range(n):
            yield threading.current_thread().name

    here = threading.current_thread().name
    before = threading.active_count()
    items = prefetch(names(), 2, n_first=3)
    found = [next(items) for _ in range(min(n, 2))]
    assert threading.active_count() == before
    found += items
    assert found[:3] == [here] * min(n, 3)
    assert found[3:] == ["pannsx-reader"] * (n - 3)


@pytest.mark.parametrize("n_read", [1, 2, 3, 4])
def test_stopping_early_among_the_first_items_closes_them(n_read: int) -> None:
    closed = threading.Event()
    before = threading.active_count()
    items = prefetch(counting(1000, [], closed), 2, n_first=3)
    assert [next(items) for _ in range(n_read)] == list(range(n_read))
    items.close()
    assert closed.is_set()
    assert threading.active_count() == before
