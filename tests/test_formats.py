"""Formats of sound events: written and read back, by us and by the tools that own them."""

from __future__ import annotations

import csv
import importlib
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannsx.events import Event, EventList, detect, frame_edges
from pannsx.events.formats import Recording, format_of, read_events, read_scores, write_events, write_scores
from pannsx.events.formats.recording import base_name, base_stem
from pannsx.events.formats.registry import FORMATS, NAMES
from pannsx.events.formats.weak_labels import are_weak, read_weak_labels
from pannsx.labels import LabelSet, audioset

SAME_TIME = 2e-6  # seconds: times are written to the microsecond
SAME_PROBABILITY = 1e-5  # relative: probabilities are written to six digits

LABELS = ("Dog", "Child speech, kid speaking", "Rain on surface", "Siren")
WITHOUT_PROBABILITY = {"tsv", "audacity"}
RECORDINGS = [
    Recording(
        "street.wav",
        [
            Event("Dog", 0.0, 1.25, 0.875),
            Event("Child speech, kid speaking", 0.32, 4.155, 0.5),
            Event("Siren", 3.000001, 9.5, 1.0),
        ],
        10.0,
    ),
    Recording("silence.wav", [], 5.0),
    Recording("rain.wav", [Event("Rain on surface", 1.0, 2.0, 0.25)], 2.5),
]

one_each = [name for name, each in FORMATS.items() if each.one_each]
several = [name for name in NAMES if name not in one_each]


def owner(module: str) -> Any:
    """The tool that owns a format, which must be there where ``PANNSX_FORMAT_OWNERS`` is set.

    Some warn of their own age when they are imported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(module)
        except ImportError as error:
            if os.environ.get("PANNSX_FORMAT_OWNERS"):
                raise
            pytest.skip(f'{module} is not installed (pip install "pannsx[sed]"): {error}')


def suffix(name: str) -> str:
    return FORMATS[name].suffix if name in FORMATS else f".{name}"


def assert_same(found: list[Event], expected: list[Event], *, with_probability: bool = True) -> None:
    assert [event.label for event in found] == [event.label for event in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[1:3] == pytest.approx(other[1:3], abs=SAME_TIME)
        likely = other.probability if with_probability else 1.0
        assert one.probability == pytest.approx(likely, rel=SAME_PROBABILITY)


# round trips


@pytest.mark.parametrize("name", several)
def test_several_recordings_come_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"events{suffix(name)}"
    assert write_events(RECORDINGS, path) == [path]
    assert format_of(path) == name
    labels = LABELS if name == "rttm" else None  # where _ stands for the spaces
    found = {each.name: each for each in read_events(path, labels=labels)}
    silent = set() if name == "rttm" else {"silence.wav"}
    assert set(found) == {"street.wav", "rain.wav"} | silent
    for recording in RECORDINGS:
        if recording.name in found:
            assert_same(
                found[recording.name].events,
                recording.events,
                with_probability=name not in WITHOUT_PROBABILITY,
            )
            if name in ("json", "jsonl", "parquet", "xlsx"):
                assert found[recording.name].duration_s == recording.duration_s
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", one_each)
def test_a_recording_a_file(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    paths = write_events(RECORDINGS, folder, name)
    assert [path.name for path in paths] == [each.stem + suffix(name) for each in RECORDINGS]
    for path, recording in zip(paths, RECORDINGS, strict=True):
        (found,) = read_events(path)
        assert_same(found.events, recording.events, with_probability=name not in WITHOUT_PROBABILITY)
    single = tmp_path / f"one{suffix(name)}"
    assert write_events(RECORDINGS[:1], single) == [single]
    with pytest.raises(ValueError, match="holds one; give a folder"):
        write_events(RECORDINGS, single)
    with pytest.raises(ValueError, match=r"'a/x\.wav' and 'b/x\.wav' would both be written to"):
        write_events([Recording("a/x.wav", []), Recording("b/x.wav", [])], folder, name)


texts = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
events = st.builds(
    lambda label, onset, length, likely: Event(label, onset / 1000, (onset + length) / 1000, likely),
    texts,
    st.integers(0, 100_000),
    st.integers(1, 50_000),
    st.floats(0, 1, width=32),
)


@pytest.mark.parametrize("name", list(FORMATS))
@given(found=st.lists(events, max_size=6))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_any_label_comes_back(name: str, found: list[Event]) -> None:
    expected = sorted(found, key=lambda event: event.onset_s)
    kind = FORMATS[name]
    text = "".join(kind.text([Recording("x.wav", expected, 200.0)]))
    back = kind.read(text, "x.wav")
    assert_same(back[0].events if back else [], expected, with_probability=name not in WITHOUT_PROBABILITY)


@pytest.mark.parametrize("name", ["tsv", "audacity", "raven"])
@pytest.mark.parametrize("label", ["a\tb", "a\nb"])
def test_what_a_table_cannot_hold(name: str, label: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix(name)}"
    path.write_text("as it was", "utf-8")
    with pytest.raises(ValueError, match="contains a tab or line break"):
        write_events([Recording("x.wav", [Event(label, 0.0, 1.0, 1.0)])], path)
    assert path.read_text("utf-8") == "as it was"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_endings_and_names() -> None:
    assert format_of("a.selections.txt") == "raven"
    assert format_of("a.txt") == "audacity"
    with pytest.raises(ValueError, match="has none of the extensions"):
        format_of("a.doc")
    with pytest.raises(ValueError, match="unknown format 'ravn'; did you mean 'raven'"):
        write_events([], "a", "ravn")


# what other programs write


def test_dcase_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "truth.tsv"
    path.write_text("a.wav\t0.5\t1\tDog\r\nb.wav\t\t\t\r\n", "utf-8")
    assert read_events(path) == [Recording("a.wav", [Event("Dog", 0.5, 1.0, 1.0)]), Recording("b.wav", [])]


def test_audacitys_spectral_selections(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("0.5\t1.5\tDog\n\\\t200.0\t3000.0\n2\t3\tCat\n", "utf-8")
    (found,) = read_events(path)
    assert [event[:3] for event in found.events] == [("Dog", 0.5, 1.5), ("Cat", 2.0, 3.0)]


def test_ravens_two_views_are_one_selection(tmp_path: Path) -> None:
    path = tmp_path / "night.selections.txt"
    head = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\n"
    path.write_text(
        head + "1\tWaveform 1\t1\t0.5\t1.5\t0\t9\tOwl\n1\tSpectrogram 1\t1\t0.5\t1.5\t0\t9\tOwl\n", "utf-8"
    )
    (found,) = read_events(path)
    assert [event[:3] for event in found.events] == [("Owl", 0.5, 1.5)]


_BIRDNET = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tCommon Name\t"
    "Species Code\tConfidence\tBegin Path\tFile Offset (s)\n"
)


def test_raven_has_name_and_path(tmp_path: Path) -> None:
    path = tmp_path / "x.selections.txt"
    recording = Recording("site\\day one/x.wav", [Event("Dog", 0.5, 1.5, 0.75)])
    write_events([recording], path)
    head, row = (line.split("\t") for line in path.read_text("utf-8").splitlines())
    cells = dict(zip(head, row, strict=True))
    assert (cells["Begin File"], cells["Begin Path"]) == ("x.wav", recording.name)
    assert read_events(path) == [recording]


def test_repeated_numbers_are_no_repeated_selections(tmp_path: Path) -> None:
    path = tmp_path / "joined.selections.txt"
    head = "Selection\tBegin Time (s)\tEnd Time (s)\tSpecies\n"
    path.write_text(head + "1\t0.5\t1.5\tOwl\n1\t3\t4\tOwl\n", "utf-8")
    (found,) = read_events(path)
    assert [event.onset_s for event in found.events] == [0.5, 3.0]


def test_birdnets_tables(tmp_path: Path) -> None:
    """Of one recording and of several, whose times run on; and both kinds of CSV."""
    expected = [
        Recording("C:\\day\\a.wav", [Event("Tawny Owl", 3.0, 6.0, 0.8125)]),
        Recording("C:\\day\\b.wav", []),
        Recording("C:\\day\\c.wav", [Event("Tawny Owl", 1.5, 4.5, 0.5)]),
    ]
    row = "{}\tSpectrogram 1\t1\t{}\t{}\t0\t15000\t{}\tx\t{}\tC:\\day\\{}.wav\t{}\n"
    table = tmp_path / "BirdNET_SelectionTable.txt"
    table.write_text(
        _BIRDNET
        + row.format(1, 3, 6, "Tawny Owl", 0.8125, "a", 3)
        + row.format(2, 60, 63, "nocall", 1.0, "b", 0)
        + row.format(3, 121.5, 124.5, "Tawny Owl", 0.5, "c", 1.5),
        "utf-8",
    )
    assert read_events(table) == expected
    assert [base_stem(each.name) for each in expected] == [each.stem for each in expected] == ["a", "b", "c"]
    wide = tmp_path / "BirdNET_RTable.csv"
    wide.write_text(
        "filepath,start,end,scientific_name,common_name,confidence,lat\n"
        "C:\\day\\a.wav,3,6,Strix aluco,Tawny Owl,0.8125,-1\n"
        "C:\\day\\b.wav,0,3,nocall,nocall,1.0,-1\n"
        "C:\\day\\c.wav,1.5,4.5,Strix aluco,Tawny Owl,0.5,-1\n",
        "utf-8",
    )
    assert read_events(wide) == expected
    single = tmp_path / "day.1.BirdNET.results.csv"
    single.write_text("Start (s),End (s),Scientific name,Common name,Confidence\n0,3,S,Owl,0.5\n", "utf-8")
    assert read_events(single) == [Recording("day.1", [Event("Owl", 0.0, 3.0, 0.5)])]
    empty = tmp_path / "day.2.BirdNET.selection.table.txt"
    empty.write_text(_BIRDNET, "utf-8")
    assert read_events(empty) == [Recording("day.2", [])]
    # The folder: without the tables that repeat all recordings.
    assert read_events(tmp_path) == [*read_events(single), *read_events(empty)]


def test_a_folder_of_files_of_one_recording(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no files of one recording each"):
        read_events(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "a.txt").write_text("0\t1\tDog\n", "utf-8")
    head = "Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n"
    (tmp_path / "more" / "b.Table.1.selections.txt").write_text(head + "1\t0\t1\tDog\n", "utf-8")
    (tmp_path / "all.csv").write_text("file,onset_s,offset_s,label\na.wav,0,1,Dog\n", "utf-8")
    assert [each.name for each in read_events(tmp_path)] == ["a.txt", "b"]
    assert [each.name for each in read_events(tmp_path, "raven")] == ["b"]
    (tmp_path / "b.selections.txt").write_text(head, "utf-8")
    with pytest.raises(ValueError, match=r"b is described by both .*b\.selections\.txt and .*Table\.1"):
        read_events(tmp_path)


def test_names_of_windows_and_of_no_text() -> None:
    for path, name, stem in (
        ("C:\\night\\a.b.wav", "a.b.wav", "a.b"),
        ("night/mod\\udce0.wav", "mod\\udce0.wav", "mod\\udce0"),
        ("night/day.1", "day.1", "day.1"),
        ("night\\x/y.flac", "y.flac", "y"),
    ):
        assert (base_name(path), base_stem(path)) == (name, stem)


def test_names_that_are_no_text_are_written_as_escapes(tmp_path: Path) -> None:
    recording = Recording("mod\udce0.wav", [Event("Dog", 0.0, 1.0, 1.0)])
    for form in several:
        path = tmp_path / f"e{suffix(form)}"
        write_events([recording], path)
        (found,) = read_events(path)
        assert found.name.encode("utf-8", "backslashreplace") == b"mod\\udce0.wav"


def test_labels_are_spelled_as_wanted(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("file,onset_s,offset_s,label\na.wav,0,1,rain_on_surface\n", "utf-8")
    assert read_events(path, labels=LABELS)[0].events[0].label == "Rain on surface"
    with pytest.raises(ValueError, match="unknown label 'rain_on_surface' among 1 labels"):
        read_events(path, labels=["Snow"])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("truth.tsv", "filename\tonset\toffset\tevent_label\na.wav\tx\t1\tDog\n", "line 2: onset 'x'"),
        ("truth.tsv", "filename\tonset\toffset\tevent_label\na.wav\t2\t1\tDog\n", "from 2 to 1 s"),
        ("truth.tsv", "filename\tonset\toffset\tevent_label\na.wav\t-1\t1\tDog\n", "from -1 to 1 s"),
        ("truth.tsv", "filename\tonset\toffset\tevent_label\na.wav\t0\tinf\tDog\n", "from 0 to inf s"),
        ("truth.tsv", "filename\tonset\toffset\tevent_label\na.wav\t0\t1\t\n", "without a label"),
        ("truth.tsv", "filename\tonset\toffset\tevent_label\na\t0\t1\tb\tc\n", "more cells than the header"),
        ("truth.tsv", "filename\tonset\n", r"offset, event_label missing"),
        (
            "truth.tsv",
            "filename\tonset\toffset\tevent_label\n\t0\t1\tDog\n",
            "the column 'filename' is empty",
        ),
        ("truth.csv", "a,b\n1,2\n", "file, onset_s, offset_s, label missing"),
        ("truth.txt", "0.5 1.5 Dog\n", "line 1: 1 cells; onset, offset and label"),
        (
            "truth.selections.txt",
            "Selection\tBegin Time (s)\tEnd Time (s)\n",
            "a column of labels is needed: one of Annotation",
        ),
        (
            "truth.selections.txt",
            "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tLabel\n1\t0\t1\ta\tx\n2\t0\t1\tb\tx\n",
            "covers several files",
        ),
        ("truth.rttm", "SPEAKER a 1 0.5\n", "line 1: 4 cells"),
        ("truth.rttm", "SPEAKER a 1 x 1 <NA> <NA> Dog <NA> <NA>\n", "onset 'x' and duration '1'"),
        ("truth.jsonl", "{\n", "line 1 is not JSON"),
        ("truth.jsonl", '{"file": "a"}\n', "an object with file and events"),
        ("truth.jsonl", '{"file": "a", "events": [3]}\n', "an object with file and events"),
        ("truth.jams", "{", "is not JSON"),
        ("truth.jams", "[]", "not a JAMS file"),
        ("truth.parquet", "no table", "is not a Parquet file"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=said) as caught:
        read_events(path)
    assert name in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_events(path)


def test_weak_labels(tmp_path: Path) -> None:
    path = tmp_path / "weak.tsv"
    path.write_text(
        "filename\tevent_labels\na.wav\tDog,rain\nb.wav\t\n"
        "c.wav\tChild speech, kid speaking\nd.wav\t/m/0bt9lr\n",
        "utf-8",
    )
    assert are_weak(path)
    assert read_weak_labels(path, audioset()) == {
        "a.wav": ("Dog", "Rain"), "b.wav": (), "c.wav": ("Child speech, kid speaking",), "d.wav": ("Dog",),
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"line 2: unknown label 'Dog' among 1 labels"):
        read_weak_labels(path, LabelSet(("Cat",)))
    path.write_text("filename\tevent_labels\na.wav\tDog\na.wav\tDog\n", "utf-8")
    with pytest.raises(ValueError, match="is repeated"):
        read_weak_labels(path, audioset())


# scores


def test_scores_come_back(tmp_path: Path) -> None:
    path = tmp_path / "street.tsv"
    framewise = np.random.default_rng(0).random((31, 4), dtype=np.float32)
    edges = frame_edges(31, 0.32, offset_s=0.155, duration_s=10.0)
    write_scores(path, framewise, edges, LABELS)
    found = read_scores(path)
    assert found.labels == LABELS
    assert found.framewise == pytest.approx(framewise, rel=SAME_PROBABILITY)
    assert found.edges_s == pytest.approx(edges, abs=SAME_TIME)


def test_scores_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "street.tsv"
    with pytest.raises(ValueError, match=r"framewise is \(3, 4\) with 3 edges and 4 labels"):
        write_scores(path, np.zeros((3, 4)), np.arange(3), LABELS)
    assert not path.exists()
    for text, said in (
        ("a\tb\n", "the header begins with"),
        ("onset\toffset\tDog\n0\t1\tx\n", "a row does not have 3 numbers"),
        ("onset\toffset\tDog\n0\t1\t0.5\n2\t3\t0.5\n", "not contiguous"),
        ("onset\toffset\tDog\n", "no frames"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(ValueError, match=said):
            read_scores(path)


# the owners of the formats


def test_sed_scores_eval_reads_scores_and_truth(tmp_path: Path) -> None:
    tool = owner("sed_scores_eval")
    rng = np.random.default_rng(0)
    framewise = np.repeat(rng.random((10, 4), dtype=np.float32), 5, axis=0)
    edges = frame_edges(50, 0.2, duration_s=10.0)
    (tmp_path / "scores").mkdir()
    write_scores(tmp_path / "scores" / "street.tsv", framewise, edges, LABELS)
    events = detect(framewise, 0.2, labels=LABELS, threshold=0.6)
    truth = write_events([Recording("street.wav", events)], tmp_path / "truth.tsv")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = tool.io.lazy_sed_scores_loader(tmp_path / "scores")
        assert tuple(scores["street"].columns) == ("onset", "offset", *LABELS)
        found = scores["street"][list(LABELS)].to_numpy()
        assert found == pytest.approx(framewise, rel=SAME_PROBABILITY)
        read = tool.io.read_ground_truth_events(truth)["street"]
        assert sorted(map(tuple, read)) == sorted((e.onset_s, e.offset_s, e.label) for e in events)
        # At our threshold, its detections are our events.
        f1, *_ = tool.collar_based.fscore(
            scores, truth, 0.6, onset_collar=0.01, offset_collar=0.01, offset_collar_rate=0.0
        )
    for label in {event.label for event in events}:
        assert f1[label] == 1.0


def test_dcase_util_reads_desed(tmp_path: Path) -> None:
    containers = owner("dcase_util.containers")
    path = write_events(RECORDINGS[:1] + RECORDINGS[2:], tmp_path / "truth.tsv")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = containers.MetaDataContainer(filename=str(path)).load()
    rows = sorted((item.onset, item.offset, item.event_label, item.filename) for item in found)
    expected = sorted(
        (event.onset_s, event.offset_s, event.label, each.name)
        for each in RECORDINGS
        for event in each.events
    )
    assert rows == expected


def test_jams_reads_jams(tmp_path: Path) -> None:
    jams = owner("jams")
    path = write_events(RECORDINGS[:1], tmp_path / "street.jams")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = jams.load(str(path), validate=True, strict=True)
        assert found.validate()
    assert found.file_metadata.duration == 10.0
    (annotation,) = found.search(namespace="tag_open")
    rows = [(o.value, o.time, o.time + o.duration, o.confidence) for o in annotation]
    assert_same([Event(*row) for row in rows], RECORDINGS[0].events)


def test_pyannote_reads_rttm(tmp_path: Path) -> None:
    util = owner("pyannote.database.util")
    path = write_events(RECORDINGS, tmp_path / "events.rttm")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = util.load_rttm(str(path))
        tracks = [
            (label.replace("_", " "), segment.start, segment.end)
            for segment, _, label in found["street.wav"].itertracks(yield_label=True)
        ]
    assert sorted(tracks) == sorted(
        (e.label, pytest.approx(e.onset_s), pytest.approx(e.offset_s)) for e in RECORDINGS[0].events
    )


def test_tables_are_plain_to_the_standard_library(tmp_path: Path) -> None:
    with write_events(RECORDINGS, tmp_path / "e.csv")[0].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [
        "Dog", "Child speech, kid speaking", "Siren", "", "Rain on surface",
    ]  # fmt: skip
    lines = write_events(RECORDINGS, tmp_path / "e.jsonl")[0].read_text("utf-8").splitlines()
    assert [json.loads(line)["file"] for line in lines] == [each.name for each in RECORDINGS]


def test_pyarrow_reads_parquet(tmp_path: Path) -> None:
    parquet = owner("pyarrow.parquet")
    table = parquet.read_table(write_events(RECORDINGS, tmp_path / "e.parquet")[0])
    assert table.column("label").to_pylist().count(None) == 1
    assert table.num_rows == 5


@pytest.mark.parametrize("name", ["csv", "json", "jsonl", "parquet", "xlsx"])
def test_ids_of_labels_come_back(name: str, tmp_path: Path) -> None:
    if name in ("parquet", "xlsx"):
        pytest.importorskip({"parquet": "pyarrow", "xlsx": "openpyxl"}[name])
    found = EventList(
        [Event("Dog", 0.0, 1.0, 0.5), Event("Any pet", 1.0, 2.0, 0.5)], mids={"Dog": "/m/0bt9lr"}
    )
    path = write_events([Recording("a.wav", found)], tmp_path / f"e.{name}")[0]
    (recording,) = read_events(path, labels=["Dog", "Any pet"])
    assert recording.mids == {"Dog": "/m/0bt9lr"}
    assert recording.events == found


def test_tables_have_the_columns_of_results(tmp_path: Path) -> None:
    found = EventList([Event("Dog", 0.0, 1.0, 0.5)], mids={"Dog": "/m/0bt9lr"})
    path = write_events([Recording("a.wav", found), Recording("b.wav", [])], tmp_path / "e.csv")[0]
    assert path.read_text("utf-8").splitlines() == [
        "file,onset_s,offset_s,label,mid,probability", "a.wav,0.0,1.0,Dog,/m/0bt9lr,0.5", "b.wav,,,,,",
    ]  # fmt: skip
    as_tsv = tmp_path / "e.tsv"
    as_tsv.write_text(path.read_text("utf-8").replace(",", "\t"), "utf-8")
    assert read_events(as_tsv) == read_events(path)
