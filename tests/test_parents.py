"""Parents of the classes found: hidden among events, by time, and among tags, by probability."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannsx.class_tree import audioset_tree
from pannsx.events import Event, EventDetector, EventSettings, detect, hide_parents
from pannsx.events.parents import SHORTEST_REST_S
from pannsx.labels import LabelSet, audioset
from pannsx.results import FrameGrid, TaggingResult
from pannsx.tags import LIKELY, top_tags

TREE = audioset_tree()
CELL_S = 0.25
CLASSES = ("Animal", "Domestic animals, pets", "Dog", "Bark", "Growling", "Cat", "Speech", "a sound of mine")
N_SEEDS = 20

EVENTS = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.integers(0, 40), st.integers(1, 20)).map(
        lambda each: Event(each[0], each[1] * CELL_S, (each[1] + each[2]) * CELL_S, 0.5)
    ),
    max_size=12,
)


def is_above(high: str, low: str) -> bool:
    return low in TREE and high in TREE.ancestors(low)


def has(event: Event, cell: int) -> bool:
    return event.onset_s < (cell + 0.5) * CELL_S < event.offset_s


def by_cells(events: list[Event], min_duration_s: float) -> list[Event]:
    """The definition, cell of time by cell of time, from the most specific class up."""
    least = max(SHORTEST_REST_S, min_duration_s) / CELL_S
    kept: list[Event] = []
    for event in sorted(events, key=lambda event: len(TREE.meaning(event.label))):
        cells = range(round(event.onset_s / CELL_S), round(event.offset_s / CELL_S))
        free = [
            not any(is_above(event.label, other.label) and has(other, cell) for other in kept)
            for cell in cells
        ]
        for is_free, run in groupby(zip(cells, free, strict=True), key=lambda each: each[1]):
            places = [cell for cell, _ in run]
            if is_free and (all(free) or len(places) >= least):
                kept.append(event._replace(onset_s=places[0] * CELL_S, offset_s=(places[-1] + 1) * CELL_S))
    return kept


@settings(max_examples=80, deadline=None)
@given(EVENTS, st.sampled_from([0.0, 0.5, 2.0]))
def test_events_are_those_of_the_definition(events: list[Event], min_duration_s: float) -> None:
    found = hide_parents(events, min_duration_s=min_duration_s)
    assert sorted(found) == sorted(by_cells(events, min_duration_s))
    assert [event.onset_s for event in found] == sorted(event.onset_s for event in found)
    # No shown event overlaps one of a class below its own, and to hide once is enough.
    assert not any(
        is_above(a.label, b.label) and a.onset_s < b.offset_s and b.onset_s < a.offset_s
        for a in found for b in found
    )  # fmt: skip
    assert hide_parents(found, min_duration_s=min_duration_s) == found
    # No longer part of an event is left without an event of its class or of one below.
    for event in events:
        kinds = [other for other in found if event.label == other.label or is_above(event.label, other.label)]
        cells = range(round(event.onset_s / CELL_S), round(event.offset_s / CELL_S))
        for is_lost, run in groupby(cells, key=lambda cell: not any(has(other, cell) for other in kinds)):
            assert not is_lost or len(list(run)) * CELL_S < max(SHORTEST_REST_S, min_duration_s)


def test_one_bark_is_one_event() -> None:
    bark = [Event(label, 2.0, 3.0, 0.9) for label in ("Animal", "Domestic animals, pets", "Dog", "Bark")]
    assert hide_parents(bark) == [bark[3]]
    # A parent's edge beside it is the same sound; a longer part is not.
    assert hide_parents([Event("Dog", 1.5, 3.7, 0.9), bark[3]]) == [bark[3]]
    assert hide_parents([Event("Dog", 1.5, 5.0, 0.9), bark[3]]) == [bark[3], Event("Dog", 3.0, 5.0, 0.9)]
    assert hide_parents([Event("Dog", 1.5, 5.0, 0.9), bark[3]], min_duration_s=2.5) == [bark[3]]
    # What is dropped hides nothing: Animal remains where too little of Dog is left.
    long = [Event("Animal", 0.0, 5.0, 0.9), Event("Dog", 0.0, 2.2, 0.9), Event("Dog", 2.4, 5.0, 0.9)]
    barks = [Event("Bark", 0.0, 1.5, 0.9), Event("Bark", 3.1, 5.0, 0.9)]
    assert hide_parents([*long, *barks]) == [barks[0], Event("Animal", 1.5, 3.1, 0.9), barks[1]]
    # A short event that nothing below overlaps stays; unrelated events do not hide each other.
    others = [Event("Dog", 0.0, 0.1, 0.9), Event("Speech", 2.0, 3.0, 0.9), bark[3]]
    assert hide_parents(others) == others
    assert hide_parents([]) == []


def test_edges_that_differ_by_rounding_do_not_overlap() -> None:
    events = [Event("Dog", 0.0, 0.3 + 1e-12, 0.9), Event("Bark", 0.3, 1.0, 0.9)]
    assert hide_parents(events) == events


def test_super_classes_stand_above_their_members() -> None:
    groups = {"Pet": ["Dog", "Cat"], "Friend": ["Dog", "Cat", "Speech"], "Hound": ["Dog"], "Own": ["mine"]}

    def shown(*labels: str) -> list[str]:
        events = [Event(label, 0.0, 1.0, 0.9) for label in labels]
        return [event.label for event in hide_parents(events, super_classes=groups)]

    assert shown("Pet", "Dog") == ["Dog"]
    assert shown("Pet", "Bark") == ["Bark"]  # below a member
    assert shown("Friend", "Pet") == ["Pet"]
    assert shown("Pet", "Animal") == ["Pet"]
    assert shown("Pet", "Speech") == ["Pet", "Speech"]
    assert shown("Hound", "Dog") == ["Dog"]  # means the same: the class itself remains
    assert shown("Own", "mine") == ["mine"]  # labels outside the tree


def test_detection_hides_parents() -> None:
    labels = ["Dog", "Bark", "Speech"]
    frames = np.array([[0.9, 0.9, 0.9], [0.9, 0.1, 0.9], [0.9, 0.1, 0.1]])
    found = detect(frames, 1.0, labels=labels, leaves=True)
    assert [event[:3] for event in found] == [("Bark", 0.0, 1.0), ("Speech", 0.0, 2.0), ("Dog", 1.0, 3.0)]
    assert found == hide_parents(detect(frames, 1.0, labels=labels))
    pets = {"Pet": ["all dogs"]}
    found = detect(
        frames[:, :1], 1.0, labels=["Dog"], super_classes=pets, classes=["Pet", "Dog"], leaves=True
    )
    assert [event.label for event in found] == ["Dog"]
    with pytest.raises(ValueError, match=r"'a', .*is in AudioSet's tree"):
        detect(frames, 1.0, labels=["a", "b", "c"], leaves=True)
    with pytest.raises(ValueError, match="leaves needs all events of a recording"):
        EventDetector(labels, 1.0, EventSettings(leaves=True))


def below(high: int) -> set[int]:
    labels = audioset()
    return {labels.index(name) for name in TREE.descendants(labels[high]) if name in labels.names}


BELOW = [below(i) for i in range(527)]


@pytest.mark.parametrize("seed", range(N_SEEDS))
def test_tags_without_parents(seed: int) -> None:
    labels = audioset()
    assert [set(each) for each in labels.below] == BELOW
    p = np.random.default_rng(seed).beta(0.3, 3.0, 527).astype(np.float32)

    decided = {labels.index(tag.label) for tag in top_tags(p, labels, 527, threshold=0.2, leaves=True)}
    reached = {i for i in range(527) if p[i] >= np.float32(0.2)}
    assert decided == {i for i in reached if not BELOW[i] & reached}

    tags = top_tags(p, labels, 527, leaves=True)
    shown = {labels.index(tag.label) for tag in tags}
    for i in range(527):
        explained = any(p[j] >= LIKELY * p[i] for j in BELOW[i] & shown)
        assert (i in shown) != explained
    assert [tag.probability for tag in tags] == sorted((tag.probability for tag in tags), reverse=True)
    assert top_tags(p, labels, 7, leaves=True) == tags[:7]


def test_tags_of_a_choice() -> None:
    probabilities = np.linspace(1, 0, 527, dtype=np.float32)
    labels = audioset()
    birds = {labels[i] for i in labels.select(["all birds"])}
    assert {tag.label for tag in top_tags(probabilities, labels, 99, classes=["all birds"])} == birds
    (crow,) = top_tags(probabilities, labels, 5, classes=["/m/04s8yn"])
    assert crow.label == "Crow"
    assert top_tags(probabilities, labels, 5, classes=["Crow"], threshold=1.0) == []
    with pytest.raises(ValueError, match="classes is empty"):
        top_tags(probabilities, labels, 5, classes=[])
    with pytest.raises(ValueError, match=r"threshold is 1\.5; a probability"):
        top_tags(probabilities, labels, 5, threshold=1.5)


def test_a_result_takes_classes_by_name_id_or_ancestor() -> None:
    names, ids = ("Animal", "Dog", "Bark", "my hum"), ("/m/0jbk", "/m/0bt9lr", "/m/05tny_", "/x/hum")
    framewise = np.array([[0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.1, 0.6]], np.float32)
    result = TaggingResult(
        framewise.max(0), framewise.max(0), np.zeros(1, np.float32), framewise,
        FrameGrid(1.0, 0.5, names, "native", ids), 2.0,
    )  # fmt: skip
    assert [tag.label for tag in result.top(leaves=True)] == ["Bark", "my hum"]
    assert [tag.label for tag in result.top(leaves=True, threshold=0.75)] == ["Dog"]
    assert [tag.label for tag in result.top(1, classes=["dog", "/x/HUM"])] == ["Dog"]
    assert result.probability("/x/hum") == result.probability("MY HUM") == np.float32(0.6)
    events = result.events(classes=["all dogs", "/x/hum"], threshold={"all animals": 0.75, "Bark": 0.6})
    assert [event[:3] for event in events] == [("Dog", 0.0, 2.0), ("Bark", 0.0, 1.0), ("my hum", 0.0, 2.0)]
    assert [event.label for event in result.events(leaves=True)] == ["Bark", "my hum", "Dog"]


@pytest.mark.parametrize("turn", [1, -1])
def test_the_number_for_fewer_classes_wins(turn: int) -> None:
    labels = LabelSet(("Animal", "Dog", "Bark"))
    numbers = dict(list({"all animals": 0.2, "all dogs": 0.3, "bark": 0.4}.items())[::turn])
    on, off = EventDetector(
        labels, 1.0, EventSettings(threshold=numbers, off_threshold={"/m/0jbk": 0.1})
    ).thresholds
    assert on.tolist() == [np.float32(each) for each in (0.2, 0.3, 0.4)]
    assert off.tolist() == [np.float32(each) for each in (0.1, 0.3, 0.4)]
    with pytest.raises(ValueError, match="threshold of 'Dog' is given twice, by 'Dog' and by '/m/0bt9lr'"):
        EventDetector(labels, 1.0, EventSettings(threshold={"Dog": 0.2, "/m/0bt9lr": 0.3}))
    same = EventSettings(threshold={"Dog": 0.2, "/m/0bt9lr": 0.2})
    assert EventDetector(labels, 1.0, same).thresholds[0][1] == np.float32(0.2)


def test_super_classes_take_ancestors() -> None:
    labels = audioset()
    detector = EventDetector(labels, 1.0, EventSettings(super_classes={"Birds": ["all birds"]}))
    assert detector.labels == ("Birds",)
    one = np.zeros((1, 527), np.float32)
    one[0, labels.index("Caw")] = 0.75
    assert [event.label for event in (*detector.push(one), *detector.close())] == ["Birds"]
    # A super-class goes by its name, case ignored, unless a label has exactly that name.
    settings = EventSettings(super_classes={"birds": ["Crow"], "crow": ["Caw"]}, classes=["BIRDS", "Crow"])
    assert EventDetector(labels, 1.0, settings).labels == ("birds", "Crow")
    with pytest.raises(ValueError, match=r"unknown class 'flok' among 528 classes; did you mean 'flock'"):
        EventDetector(labels, 1.0, EventSettings(super_classes={"flock": ["Crow"]}, classes=["flok"]))
