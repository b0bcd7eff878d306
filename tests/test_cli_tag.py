"""``pannsx tag`` with the bundled checkpoint: every format, every kind of source, bad files among good."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_files import wav_bytes, write_wav

from pannsx import AudioTagger, FeatureExtractor
from pannsx.cli import main
from pannsx.readable import file_size
from pannsx.weights.manifest import DEFAULT_CHECKPOINT

DIGITS = 1e-5  # relative: probabilities are printed with six significant digits

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger()


def test_table(tmp_path: Path, tagger: AudioTagger, capsys: Captured) -> None:
    paths = [write_wav(tmp_path / "b.wav", 1.5), write_wav(tmp_path / "a.wav", 0.5, seed=1)]
    assert main(["tag", *paths, "--top", "2"]) == 0
    shown = capsys.readouterr()
    assert shown.err.endswith("pannsx: 2 of 2 tagged\n")
    paragraphs = shown.out.split("\n\n")
    for paragraph, path, seconds in zip(paragraphs, paths, ("1.5", "0.5"), strict=True):
        head, *lines = paragraph.splitlines()
        assert head == f"{path}  ({seconds} s)"
        for line, tag in zip(lines, tagger.inference(path).top(2), strict=True):
            assert line.split()[0] == f"{tag.probability:.3f}"
            assert line.endswith(f"  {tag.label}")


def test_json(tmp_path: Path, tagger: AudioTagger, capsys: Captured) -> None:
    paths = [write_wav(tmp_path / f"{seed}.wav", 1 + seed / 4, seed) for seed in range(3)]
    assert main(["tag", *paths, "--format", "json", "--top", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["file"] for entry in found] == paths
    for entry, path in zip(found, paths, strict=True):
        result = tagger.inference(path)
        assert set(entry) == {"file", "duration_s", "model", "tags"}
        assert entry["duration_s"] == result.duration_s
        assert entry["model"] == DEFAULT_CHECKPOINT
        assert [tag["label"] for tag in entry["tags"]] == [tag.label for tag in result.top(4)]
        expected = [tag.probability for tag in result.top(4)]
        assert [tag["probability"] for tag in entry["tags"]] == pytest.approx(expected, rel=DIGITS)


def test_csv(tmp_path: Path, tagger: AudioTagger, capsys: Captured) -> None:
    path = write_wav(tmp_path / 'a, "quoted" name.wav' if sys.platform != "win32" else tmp_path / "a, b.wav")
    assert main(["tag", path, "--format", "csv", "--top", "600"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    result = tagger.inference(path)
    assert list(rows[0]) == ["file", "onset_s", "offset_s", "label", "mid", "probability"]
    assert {row["file"] for row in rows} == {path}
    assert {(float(row["onset_s"]), float(row["offset_s"])) for row in rows} == {(0.0, result.duration_s)}
    assert {row["label"]: row["mid"] for row in rows} == result.grid.mids()
    assert [row["label"] for row in rows] == [tag.label for tag in result.top(527)]
    expected = [tag.probability for tag in result.top(527)]
    assert [float(row["probability"]) for row in rows] == pytest.approx(expected, rel=DIGITS)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a table, by another reader than ours, with numbers as numbers and None for nothing."""
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        return list(parquet.read_table(path).to_pylist())
    if path.suffix == ".xlsx":
        openpyxl = pytest.importorskip("openpyxl")
        header, *cells = openpyxl.load_workbook(path)["pannsx"].iter_rows(values_only=True)
        return [dict(zip(header, row, strict=True)) for row in cells]
    if path.suffix == ".json":
        return list(json.loads(path.read_text("utf-8")))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        text = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))

    def value(cell: str) -> Any:
        try:
            return float(cell)
        except ValueError:
            return cell or None

    return [{name: value(cell) for name, cell in row.items()} for row in text]


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl", "parquet", "xlsx"])
def test_the_extension_selects_the_format(
    form: str, tmp_path: Path, tagger: AudioTagger, capsys: Captured
) -> None:
    if form in ("parquet", "xlsx"):
        pytest.importorskip({"parquet": "pyarrow", "xlsx": "openpyxl"}[form])
    path = write_wav(tmp_path / "=a, b.wav", 0.5)  # to a spreadsheet, neither a formula nor two cells
    result = tagger.inference(path)
    expected = [tag.probability for tag in result.top(3)]
    mids = result.grid.mids()
    output = tmp_path / "new" / f"tags.{form.upper()}"
    assert main(["tag", path, "--top", "3", "-o", str(output)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"wrote {output} ({file_size(output.stat().st_size)}): 1 of 1 tagged" in shown.err
    assert [each.name for each in output.parent.iterdir()] == [output.name]
    rows = rows_of(output.rename(output.with_suffix(f".{form}")))
    if form in ("json", "jsonl"):
        (entry,) = rows
        assert (entry["file"], entry["duration_s"]) == (path, result.duration_s)
        rows = entry["tags"]
    else:
        assert list(rows[0]) == ["file", "onset_s", "offset_s", "label", "mid", "probability"]
        assert {(row["file"], row["onset_s"], row["offset_s"]) for row in rows} == {(path, 0.0, 0.5)}
    assert [(row["label"], row["mid"]) for row in rows] == [(t.label, mids[t.label]) for t in result.top(3)]
    assert [row["probability"] for row in rows] == pytest.approx(expected, rel=DIGITS)


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "xlsx"])
def test_wide(form: str, tmp_path: Path, tagger: AudioTagger) -> None:
    if form in ("parquet", "xlsx"):
        pytest.importorskip({"parquet": "pyarrow", "xlsx": "openpyxl"}[form])
    paths = [write_wav(tmp_path / f"{seed}.wav", 0.5, seed) for seed in range(2)]
    output = tmp_path / f"wide.{form}"
    assert main(["tag", *paths, "--wide", "-q", "-o", str(output)]) == 0
    rows = rows_of(output)
    assert list(rows[0]) == ["file", *tagger.labels]
    for row, path in zip(rows, paths, strict=True):
        name, *probabilities = row.values()
        assert name == path
        assert probabilities == pytest.approx(tagger.inference(path).clipwise.tolist(), rel=DIGITS)
    mids = tagger.inference(paths[0]).grid.mids()
    if form == "parquet":
        import pyarrow.parquet as pq

        fields = list(pq.read_schema(output))[1:]
        assert {field.name: field.metadata[b"mid"].decode() for field in fields} == mids
    elif form == "xlsx":
        import openpyxl

        _, *pairs = openpyxl.load_workbook(output)["columns"].iter_rows(values_only=True)
        assert dict(pairs) == mids


def test_wide_with_some_tags(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 0.5)
    assert main(["tag", path, "--wide", "--top", "2", "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert len(row) == 528
    assert sum(value != "" for value in row.values()) == 3
    assert main(["tag", path, "--wide"]) == 2
    assert "--wide needs a table for programs" in capsys.readouterr().err


BIRDS = ["all birds", "/m/0bt9lr"]


@pytest.mark.parametrize(
    ("options", "how"),
    [
        (["-n", "9", "--leaves"], {"k": 9, "leaves": True}),
        (["--leaves", "-t", "0.01"], {"k": 527, "threshold": 0.01, "leaves": True}),
        (["-c", "all birds", "-c", "/m/0bt9lr"], {"k": 527, "classes": BIRDS}),  # all of them, not five
        (["-c", "all birds", "-c", "/m/0bt9lr", "-n", "2"], {"k": 2, "classes": BIRDS}),
    ],
)
def test_classes_and_leaves(
    options: list[str], how: dict[str, Any], tmp_path: Path, tagger: AudioTagger, capsys: Captured
) -> None:
    path = write_wav(tmp_path / "a.wav")
    assert main(["tag", path, "-q", "--format", "json", *options]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [tag["label"] for tag in found["tags"]] == [tag.label for tag in tagger.inference(path).top(**how)]


def test_the_tree(tmp_path: Path, tagger: AudioTagger, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 25.0)
    for options in ([], ["--window", "30"]):  # with and without a column for the maximum
        assert main(["tag", path, "-q", "--group", "-c", "Bark", "-c", "animal", *options]) == 0
        *_, animal, dog, bark = capsys.readouterr().out.splitlines()
        column = animal.index("Animal")
        assert [line[column:] for line in (dog, bark)] == ["  Domestic animals, pets > Dog", "    Bark"]
        assert dog[:column].isspace()
        own = AudioTagger(tagger, window_s=30.0) if options else tagger
        assert bark.split()[0] == f"{own.inference(path).probability('Bark'):.3f}"


def test_wide_has_the_columns_asked_for(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav")
    assert main(["tag", path, "-q", "--wide", "--format", "csv", "-c", "Crow", "-c", "dog"]) == 0
    header, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["file", "Crow", "Dog"]
    assert all(float(cell) >= 0 for cell in row[1:])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-c", "Dgo"], "did you mean 'Dog'"),
        (["-c", "3"], "classes go by name or id, not by number"),
        (["-c", "Yawn"], "neither it nor a class below it is one of the 527 labels"),
        (["--group", "--format", "json"], "--group is for the table format"),
    ],
)
def test_impossible_classes(options: list[str], said: str, tmp_path: Path, capsys: Captured) -> None:
    assert main(["tag", write_wav(tmp_path / "a.wav"), *options]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_a_file_without_tags_has_a_row(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 0.5)
    assert main(["tag", path, "--threshold", "1", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"{path},0.0,0.5,,,"]


@pytest.mark.parametrize(("form", "library"), [("parquet", "pyarrow"), ("xlsx", "openpyxl")])
def test_a_missing_library_is_named_before_the_work(
    form: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("pannsx.table_files.find_spec", lambda name: None if name == library else found(name))
    output = tmp_path / f"tags.{form}"
    assert main(["tag", str(tmp_path / "missing.wav"), "-o", str(output)]) == 1
    assert capsys.readouterr().err == (
        f'pannsx: writing .{form} needs {library}: pip install "pannsx[{form}]"\n'
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["-o", "tags.doc"],
            "'tags.doc' has none of the extensions .csv, .tsv, .json, .jsonl, .parquet, .xlsx",
        ),
        (["-o", "tags"], "has none of the extensions"),
        (["-o", ".", "--format", "csv"], ". is a folder; name a file"),
        (["--format", "xlsx"], "xlsx is a binary format; name a file with --output"),
    ],
)
def test_impossible_outputs(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tag", "missing.wav", *options]) in (1, 2)
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_output_is_replaced_only_when_all_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    paths = [write_wav(tmp_path / "a.wav", 0.4), str(tmp_path / "missing.wav")]
    output = tmp_path / "tags.csv"
    output.write_text("before\n")
    assert main(["tag", paths[1], "-o", str(output)]) == 1
    assert "no file could be read" in capsys.readouterr().err
    assert output.read_text() == "before\n"
    with monkeypatch.context() as patch:
        patch.setattr("pannsx.cli.tag_formats._RowWriter.write", interrupt)
        assert main(["tag", paths[0], "-o", str(output)]) == 130
    assert output.read_text() == "before\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.wav", "tags.csv"]
    assert main(["tag", *paths, "-o", str(output)]) == 1
    assert len(rows_of(output)) == 5
    (tmp_path / "file").touch()
    assert main(["tag", paths[0], "-o", str(tmp_path / "file" / "tags.csv")]) == 1
    assert "cannot write" in capsys.readouterr().err


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_long_file_has_its_maximum_beside_the_mean(
    tmp_path: Path, tagger: AudioTagger, capsys: Captured
) -> None:
    path = write_wav(tmp_path / "a.wav", 62)
    result = tagger.inference(path)
    tag = result.top(1)[0]
    assert result.clipwise_max is not None
    assert result.clipwise_max[result.labels.index(tag.label)] > tag.probability
    assert (result.clipwise_max >= result.clipwise - 1e-6).all()
    assert main(["tag", path, "--top", "1"]) == 0
    head, columns, line = capsys.readouterr().out.splitlines()
    assert head == f"{path}  (1:02 min)"
    assert columns.split() == ["mean", "max", "of", "windows", "of", "10", "s"]
    greatest = result.clipwise_max[result.labels.index(tag.label)]
    assert line.split()[:2] == [f"{tag.probability:.3f}", f"{greatest:.3f}"]
    assert main(["tag", path, "--top", "1", "--format", "jsonl"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["tags"]
    assert found["max"] == pytest.approx(greatest, rel=DIGITS)


def test_threshold(tmp_path: Path, tagger: AudioTagger, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav")
    threshold = tagger.inference(path).top(7)[-1].probability
    assert main(["tag", path, "--format", "json", "--threshold", f"{threshold - 1e-6}"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["tags"]) == 7
    assert main(["tag", path, "--format", "json", "--threshold", f"{threshold - 1e-6}", "--top", "2"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["tags"]) == 2
    assert main(["tag", path, "--threshold", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["  no tag reaches 1"]


def test_bad_files_do_not_stop_the_others(tmp_path: Path, capsys: Captured) -> None:
    first, last = write_wav(tmp_path / "a.wav"), write_wav(tmp_path / "z.wav", 0.7)
    text, empty, missing = (str(tmp_path / name) for name in ("text.wav", "empty.wav", "missing.wav"))
    Path(text).write_text("this is no sound")
    Path(empty).touch()
    pattern = str(tmp_path / "*.flac")
    assert main(["tag", first, text, empty, missing, pattern, last, "--format", "csv", "--top", "1"]) == 1
    shown = capsys.readouterr()
    assert [row["file"] for row in csv.DictReader(io.StringIO(shown.out))] == [first, last]
    complaints = shown.err.splitlines()
    assert complaints[0] == f"pannsx: no file matches the pattern {pattern!r}"
    assert complaints[1].startswith(f"pannsx: {text}: is not audio: it is text")
    assert complaints[2].startswith(f"pannsx: {empty}: is not audio: it is an empty file")
    assert complaints[3].startswith(f"pannsx: {missing}: there is no file")
    assert complaints[4:] == ["pannsx: 2 of 5 tagged, 3 failed, 1 skipped (1 without audio files)"]


def test_nothing_but_bad_files(tmp_path: Path, capsys: Captured) -> None:
    assert main(["tag", str(tmp_path / "missing.wav"), "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == []
    assert main(["tag", str(tmp_path / "*.wav"), "--format", "json"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "no file matches" in shown.err


def test_a_folder(tmp_path: Path, capsys: Captured) -> None:
    expected = [write_wav(tmp_path / name, 0.4) for name in ("b.wav", "sub/a.wav")]
    (tmp_path / "notes.txt").write_text("not for here")
    assert main(["tag", str(tmp_path), "--format", "json"]) == 0
    assert [entry["file"] for entry in json.loads(capsys.readouterr().out)] == expected


def test_standard_input(tagger: AudioTagger, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    sound = wav_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sound)))
    assert main(["tag", "-", "--format", "json", "--top", "1"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["file"] == "-"
    assert entry["tags"][0]["label"] == tagger.inference(sound).top(1)[0].label


def test_window_and_overlap_are_used(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 4)
    found = []
    for options in ([], ["--window", "1"], ["--window", "1", "--overlap", "0.5"]):
        assert main(["tag", path, "--format", "json", *options]) == 0
        found.append(json.loads(capsys.readouterr().out)[0]["tags"])
    assert found[0] != found[1] != found[2]
    assert main(["tag", path, "--window", "1", "--overlap", "1"]) == 2
    assert "--overlap is 1.0 s" in capsys.readouterr().err


def test_progress_is_reported_in_seconds_of_each_source(tmp_path: Path, tagger: AudioTagger) -> None:
    paths = [write_wav(tmp_path / "a.wav", 3.5), write_wav(tmp_path / "b.wav", 0.5)]
    extractor = FeatureExtractor(tagger, window_s=1.0)
    short = AudioTagger(tagger, window_s=1.0)
    for run in (
        lambda on_progress: list(short.iter_inference(paths, on_progress=on_progress)),
        lambda on_progress: short.inference(paths, hop_s=0.32, on_progress=on_progress),
        lambda on_progress: extractor.extract(paths, on_progress=on_progress),
        lambda on_progress: extractor.extract_frames(paths, on_progress=on_progress),
    ):
        said: list[tuple[int, float]] = []
        run(lambda number, done_s, said=said: said.append((number, done_s)))
        first, second = ([done_s for number, done_s in said if number == i] for i in (0, 1))
        assert len(first) >= 3
        assert first == sorted(first)
        assert first[-1] == pytest.approx(3.5, abs=0.32)  # by frames, the last may end before the sound
        assert second[-1] == pytest.approx(0.5, abs=0.32)


def test_rows_of_a_part_have_its_times(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 2.0)
    part = ["--start", "0.5", "--duration", "1"]
    assert main(["tag", path, *part, "--top", "1", "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["onset_s"], row["offset_s"]) == ("0.5", "1.5")


def test_impossible_networks_end_with_one_line(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 0.4)
    for status, options, said in (
        (2, ["--device", "cuda:99"], "cuda:99"),
        (2, ["--device", "abacus"], "unknown device 'abacus'"),
        (1, ["--model", "Cnn14_mel32"], "no weights were ever released for Cnn14_mel32"),
        (1, ["--model", "Cnn14", "--checkpoint", str(tmp_path / "none.pth")], "none.pth"),
    ):
        assert main(["tag", path, *options]) == status
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("pannsx: ")
        assert len(shown.err.splitlines()) == 1
        assert said in shown.err


def test_table_for_a_terminal_without_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tmp_path / "näme.wav")
    write_wav(Path(name), 0.4)
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    assert main(["tag", name]) == 0
    shown = ascii_only.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "n\\xe4me.wav" in shown
