"""Parents of the classes found: of a bark's events Animal, Dog and Bark, only Bark is kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pannsx.class_tree import audioset_tree
from pannsx.events.event import Event
from pannsx.labels import LabelSet

SHORTEST_REST_S = 1.0
"""A shorter part of a parent's event, beside or between events of classes below, is dropped: a frame's
probability depends on seconds of sound around it, so that the events of one sound differ in length."""

SLACK_S = 1e-6  # times in seconds are not exact multiples of a hop

Interval = tuple[float, float]


def hide_parents(
    events: Iterable[Event],
    *,
    min_duration_s: float = 0.0,
    super_classes: Mapping[str, Sequence[str]] | None = None,
) -> list[Event]:
    """The events of a recording without the parents of the classes found, by onset.

    At every moment the most specific classes remain: an event is cut where an event of a class below its own
    overlaps it. The remaining parts keep its probability; parts shorter than a second, or than
    ``min_duration_s``, are dropped. An event without such an overlap stays as it is. AudioSet's tree and the
    super-classes define which class is below which; a label outside both stands alone.

    >>> from pannsx.events import Event, hide_parents
    >>>
    >>> events = [Event("Animal", 0.0, 9.0, 0.9), Event("Dog", 0.0, 4.5, 0.8), Event("Bark", 0.3, 4.0, 0.7)]
    >>> for event in hide_parents(events):
    ...     print(event.label, event.onset_s, event.offset_s)
    Bark 0.3 4.0
    Animal 4.5 9.0

    Args:
        events: all events of one recording.
        min_duration_s: least length of a part, if over a second.
        super_classes: the labels of each super-class; it stands above its members.
    """
    by_label: dict[str, list[tuple[int, Event]]] = {}
    for position, event in enumerate(events):
        by_label.setdefault(event.label, []).append((position, event))
    rank = {label: _rank(label, super_classes or {}) for label in by_label}
    least_s = max(min_duration_s, SHORTEST_REST_S) - SLACK_S
    shown: dict[str, list[tuple[int, Event]]] = {}
    for label in sorted(by_label, key=lambda label: (len(rank[label][0]), rank[label][1])):  # from below
        below = (each for other in shown if _is_above(rank[label], rank[other]) for _, each in shown[other])
        covered = _union((each.onset_s, each.offset_s) for each in below)
        shown[label] = [
            (position, part)
            for position, event in by_label[label]
            for part in _outside(event, covered, least_s)
        ]
    found = (each for parts in shown.values() for each in parts)
    # Events with equal onset stay in the order in which they came.
    return [event for _, event in sorted(found, key=lambda each: (each[1].onset_s, each[0]))]


def check_has_parents(labels: LabelSet, super_classes: Mapping[str, Sequence[str]]) -> None:
    """ValueError if nothing is known about what stands above what."""
    if not super_classes:
        labels.tree  # noqa: B018  raises it


_Rank = tuple[frozenset[str], bool]


def _rank(label: str, super_classes: Mapping[str, Sequence[str]]) -> _Rank:
    """All that a class means, and whether it is a super-class."""
    tree = audioset_tree()
    if label in super_classes:
        return frozenset().union(*(tree.meaning(member) for member in super_classes[label])), True
    return tree.meaning(label), False


def _is_above(high: _Rank, low: _Rank) -> bool:
    """Whether one class means all that the other means and more; a super-class of one is above that one.

    A strict order, so that no two events can hide each other.
    """
    return low[0] < high[0] or (low[0] == high[0] and high[1] > low[1])


def _union(places: Iterable[Interval]) -> list[Interval]:
    """Disjoint intervals that cover the same time, in order."""
    found: list[Interval] = []
    for onset, offset in sorted(places):
        if found and onset <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], offset))
        else:
            found.append((onset, offset))
    return found


def _outside(event: Event, covered: list[Interval], least_s: float) -> Iterator[Event]:
    """The parts outside disjoint intervals that are long enough; the whole event if none overlaps it."""
    first = max(0, bisect_right(covered, (event.onset_s, event.onset_s)) - 1)
    begin, is_cut = event.onset_s, False
    for onset, offset in covered[first:]:
        if onset >= event.offset_s - SLACK_S:
            break
        if offset <= event.onset_s + SLACK_S:
            continue
        is_cut = True
        if onset - begin >= least_s:
            yield event._replace(onset_s=begin, offset_s=onset)
        begin = max(begin, offset)
    if not is_cut:
        yield event
    elif event.offset_s - begin >= least_s:
        yield event._replace(onset_s=begin)
