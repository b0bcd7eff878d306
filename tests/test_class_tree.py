"""AudioSet's tree: the shipped table, what stands above and below a class, and how classes are asked for."""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path

import pytest

from pannsx.class_tree import ClassTree, SoundClass, audioset_tree
from pannsx.labels import LabelSet, audioset

ROOT = Path(__file__).resolve().parent.parent
ONTOLOGY = (
    Path(os.environ.get("PANNSX_TEST_DATA", ROOT.parent / "shared" / "data")) / "audioset" / "ontology.json"
)
TREE = audioset_tree()


def test_the_table_is_whole() -> None:
    assert (
        len(TREE) == len({each.mid for each in TREE}) == len({each.name.casefold() for each in TREE}) == 632
    )
    assert TREE.roots == (
        "Human sounds", "Animal", "Music", "Natural sounds", "Sounds of things", "Source-ambiguous sounds",
        "Channel, environment and background",
    )  # fmt: skip
    assert sum(len(each.parent_ids) > 1 for each in TREE) == 38  # a tree by name, not in the strict sense
    assert {word for each in TREE for word in each.restrictions} == {"abstract", "blacklist"}


def test_every_label_is_in_the_tree_under_the_same_id() -> None:
    labels = audioset()
    assert labels.ids is not None
    assert [TREE.find(mid).name for mid in labels.ids] == list(labels.names)
    assert labels.tree is TREE
    abstract = {each.name for each in TREE if "abstract" in each.restrictions}
    assert not abstract & set(labels.names)


def test_above_and_below_are_each_others_reverse() -> None:
    names = [each.name for each in TREE]
    above = {(low, high) for low in names for high in TREE.ancestors(low)}
    assert above == {(low, high) for high in names for low in TREE.descendants(high)}
    assert all(low != high and (high, low) not in above for low, high in above)  # no cycles
    direct = {(low, high) for low in names for high in TREE.parents(low)}
    assert direct == {(low, high) for high in names for low in TREE.children(high)}
    assert direct <= above
    # What stands above is the parents and what stands above them.
    for low in names:
        beyond = {far for high in TREE.parents(low) for far in TREE.ancestors(high)}
        assert set(TREE.ancestors(low)) == beyond | set(TREE.parents(low))
        assert TREE.meaning(low) == {low, *TREE.descendants(low)}
        path = TREE.path(low)
        assert path[0] in TREE.roots
        assert path[-1] == low
        assert all(step in direct for step in zip(path[1:], path, strict=False))


def test_order_and_spelling() -> None:
    assert TREE.parents("/m/0ghcn6") == TREE.parents("growling") == (
        "Dog", "Cat", "Roaring cats (lions, tigers)", "Canidae, dogs, wolves",
    )  # fmt: skip
    assert TREE.ancestors("Bark") == ("Dog", "Domestic animals, pets", "Animal")  # the nearest first
    assert TREE.descendants("Crow") == ("Caw",)
    assert TREE.children("Caw") == ()
    assert "/M/04S8YN" in TREE
    assert "no such class" not in TREE
    assert TREE.meaning("no such class") == {"no such class"}
    with pytest.raises(
        ValueError, match="unknown class 'Crwo' among the 632 of the tree; did you mean 'Crow'"
    ):
        TREE.find("Crwo")


def outlined(*labels: str) -> list[str]:
    lines = TREE.outline(labels)
    return ["  " * line.depth + (line.label or " > ".join(line.heading)) for line in lines]


def test_an_outline() -> None:
    assert outlined() == []
    assert outlined("Bark", "mine", "speech", "Dog", "Bark") == [
        "Animal > Domestic animals, pets",
        "  Dog",
        "    Bark",
        "mine",
        "Human sounds > Human voice",
        "  speech",
    ]
    # Below the parent that is asked for, else below the first; headings part where the tree does.
    assert outlined("Growling", "Cat") == ["Animal > Domestic animals, pets", "  Cat", "    Growling"]
    assert outlined("Growling") == ["Animal > Domestic animals, pets > Dog", "  Growling"]
    assert outlined("Bark", "Meow") == [
        "Animal > Domestic animals, pets", "  Dog", "    Bark", "  Cat", "    Meow"
    ]  # fmt: skip
    assert outlined("dog", "Dog") == ["Animal > Domestic animals, pets", "  dog", "  Dog"]
    every = [each.name for each in TREE]
    assert sorted(line.label or "" for line in TREE.outline(every)) == sorted(every)
    assert [line.label for line in TREE.outline(reversed(every)) if line.depth == 0] == [
        *reversed(TREE.roots)
    ]


@pytest.mark.skipif(
    not ONTOLOGY.is_file(), reason="no ontology.json: set PANNSX_TEST_DATA to the data folder"
)
def test_the_table_is_what_its_script_makes() -> None:
    script = runpy.run_path(str(ROOT / "tools" / "build_audioset_tree.py"))
    made = script["table_of"](json.loads(ONTOLOGY.read_text("utf-8")))
    assert made == script["TABLE"].read_text("utf-8")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([("/1", "a", ()), ("/1", "b", ())], "'/1' is repeated"),
        ([("/1", "a", ()), ("/2", "A", ())], "'A' is repeated"),
        ([("/1", "a", ("/2",))], "'a' has the parent '/2', which is not in the tree"),
        ([("/1", "a", ("/2",)), ("/2", "b", ("/1",))], "'a' is its own descendant"),
        ([("/1", "a", ("/1",))], "'a' is its own descendant"),
    ],
)
def test_a_wrong_tree_is_refused(rows: list[tuple[str, str, tuple[str, ...]]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ClassTree(SoundClass(mid, name, parents, ()) for mid, name, parents in rows)


def asked(*wanted: str, labels: LabelSet | None = None) -> list[str]:
    labels = labels or audioset()
    return [labels[i] for i in labels.select(wanted)]


def test_classes_are_asked_for_by_name_id_or_ancestor() -> None:
    assert asked("dog", "/m/05tny_", "DOG") == ["Dog", "Bark"]  # each once, in the order asked for
    assert asked("Bird") == ["Bird"]  # a label's name is that label alone
    birds = asked("all birds")
    assert set(birds) == {name for name in audioset() if name in TREE.meaning("Bird")}
    assert {"Bird", "Owl", "Caw"} <= set(birds)
    assert asked("all /m/015p6") == asked("ALL  Bird ") == birds
    assert asked("all buses") == ["Bus"]
    # A group without an output of its own stands for what is below it.
    assert asked("Human voice") == asked("all human voice")
    assert "Human voice" not in asked("Human voice")
    assert {"Speech", "Whispering"} <= set(asked("/m/09l8g"))
    assert sorted(asked(*(f"all {root}" for root in TREE.roots))) == sorted(audioset())


def test_every_class_of_the_tree_is_found_or_explained() -> None:
    names = set(audioset())
    for each in TREE:
        with_labels = TREE.meaning(each.name) & names
        for text in (f"all {each.name}", f"all {each.mid}"):
            if with_labels:
                assert set(asked(text)) == with_labels
            else:
                with pytest.raises(
                    ValueError, match="is a class of AudioSet, but neither it nor a class below"
                ):
                    asked(text)


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("Brid", "unknown class 'Brid' among 527 classes; did you mean 'Bird'"),
        ("all brids", "unknown class 'brids' among 527 classes; did you mean 'Bird'"),
        ("Humna voice", "did you mean 'Human voice'"),  # groups are suggested, too
        ("72", "classes go by name or id, not by number"),
        ("all 72", "classes go by name or id, not by number"),
        (72, "got 72 for a class; classes go by name or id, not by number"),
    ],
)
def test_wrong_requests(wanted: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        audioset().select([wanted])


def test_a_text_is_not_a_list() -> None:
    with pytest.raises(ValueError, match=r"a list of classes is needed: \['Dog'\]"):
        audioset().select("Dog")


def test_labels_of_ones_own() -> None:
    labels = LabelSet(("all clear", "dog", "hum"), ("/x/1", "/x/2", "/x/3"))
    assert asked("All clear", "/x/3", labels=labels) == ["all clear", "hum"]
    assert asked("/m/0bt9lr", labels=labels) == asked("all animals", labels=labels) == ["dog"]
    assert asked("all hums", labels=labels) == ["hum"]  # nothing is known to be below it
    assert labels.index("/m/0bt9lr") == 1
    with pytest.raises(
        ValueError, match="'Bird' is a class of AudioSet, but neither it nor a class below it is"
    ):
        labels.select(["all birds"])
    with pytest.raises(ValueError, match=r"none of the 2 labels \('x', \.\.\.\) is in AudioSet's tree"):
        LabelSet(("x", "y")).tree  # noqa: B018
