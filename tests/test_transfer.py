"""Sounds of one's own to a checkpoint: what is checked before the work, the scores, the command."""

from __future__ import annotations

import csv
import os
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from seeded_models import noise

from pannsx import AudioTagger
from pannsx.cli import main
from pannsx.cli.finetune_progress import Bars
from pannsx.metrics.classification import class_scores
from pannsx.report.confusion import confusion_svg, decisions_svg
from pannsx.transfer.clips import Clips
from pannsx.transfer.faults import FaultyClipsError
from pannsx.transfer.own_sounds import read_own

RATE = 32000


def write(path: Path, kind: str, number: int) -> None:
    """A third of a second: a tone, noise, or clicks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(RATE // 3) / RATE
    rng = np.random.default_rng(number)
    sounds = {
        "tone": np.sin(2 * np.pi * (400 + 30 * number) * times),
        "noise": rng.standard_normal(len(times)) / 4,
        "clicks": (np.arange(len(times)) % (1600 + 100 * number) < 8).astype(float),
    }
    soundfile.write(path, 0.5 * sounds[kind], RATE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """35 clips in a folder for each class."""
    folder = tmp_path_factory.mktemp("own") / "sounds"
    for number in range(35):
        kind = ("tone", "noise", "clicks")[number % 3]
        write(folder / kind / f"{number}.wav", kind, number)
    return folder


def test_a_folder_becomes_a_checkpoint_a_report_and_a_picture(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save = tmp_path / "new" / "mine.safetensors"
    before = os.umask(0o027)
    try:
        assert main(["finetune", str(folder), "--save", str(save), "--epochs", "30"]) == 0
    finally:
        os.umask(before)
    if sys.platform != "win32":
        assert {path.stat().st_mode & 0o777 for path in save.parent.iterdir()} == {0o640}
    said = capsys.readouterr()
    assert "accuracy 1.000 ± 0.000 over 5 folds, balanced accuracy 1.000, macro F1 1.000" in said.out
    assert "35 clips, 3 classes, one label a clip" in said.err
    with (tmp_path / "new" / "mine.classes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], int(row["clips"])) for row in rows] == [
        ("clicks", 11),
        ("noise", 12),
        ("tone", 12),
    ]
    assert (tmp_path / "new" / "mine.confusion.svg").is_file()
    tagger = AudioTagger(checkpoint=save)
    assert tagger.labels == ("clicks", "noise", "tone")
    assert tagger.inference(folder / "tone" / "3.wav").top(1)[0].label == "tone"
    assert set(tagger.operating_points.points) == set(tagger.labels)  # type: ignore[union-attr]


def test_several_labels_a_clip_and_the_whole_network(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["file,label,group"]
    for number in range(12):
        label = ("tone", "noise", "tone;noise")[number % 3]
        kind = ("tone", "noise")[number % 2]
        write(tmp_path / f"{number}.wav", kind, number)
        rows.append(f"{number}.wav,{label},take {number // 2}")
    table = tmp_path / "own.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    save = tmp_path / "mine.safetensors"
    given = [
        "finetune",
        str(table),
        "--save",
        str(save),
        "--tune",
        "--epochs",
        "1",
        "--batch-size",
        "6",
        "-q",
    ]
    assert main(given) == 0
    said = capsys.readouterr()
    assert "mAP " in said.out
    assert "over 5 folds" in said.out
    assert not said.err
    picture = (tmp_path / "mine.confusion.svg").read_text(encoding="utf-8")
    assert "noise, missed: " in picture
    assert "tone, wrong: " in picture
    assert AudioTagger(checkpoint=save).labels == ("noise", "tone")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "own.csv has no columns; file and label are needed"),
        ("file,label\n", "own.csv has no clips"),
        ("file;label;start_s\n", "own.csv are separated by semicolons; save it with commas"),
        ("file,label,start_s\na.wav,x,soon\n", "own.csv: start_s of a.wav is 'soon'; seconds are needed"),
        ("file,label,duration_s\na.wav,x,0\n", "own.csv: duration_s of a.wav is '0'; seconds are needed"),
        ("file,label\na.wav,x\na.wav,y\n", "a.wav'; give a clip one line, with its labels separated by ;"),
        ("file,label,split\na.wav,x,val\nb.wav,y,train\n", "needs the folds train and test beside it"),
        ("file,label,fold,group\na.wav,x,1,g\nb.wav,y,2,g\n", "the group 'g' is in several folds"),
    ],
)
def test_a_wrong_table_is_explained(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.csv").write_text(text, encoding="utf-8")
    assert main(["finetune", str(tmp_path / "own.csv"), "--save", str(tmp_path / "mine.safetensors")]) == 1
    assert message in capsys.readouterr().err


def test_clips_that_cannot_be_used_are_listed_together_or_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["file,label"]
    for number in range(8):
        kind = ("tone", "noise")[number % 2]
        write(tmp_path / f"{number}.wav", kind, number)
        rows.append(f"{number}.wav,{kind}")
    for number in range(7):
        soundfile.write(tmp_path / f"quiet {number}.wav", np.zeros(RATE // 4), RATE)
        rows.append(f"quiet {number}.wav,tone")
    (tmp_path / "notes.wav").write_text("remember the milk", encoding="utf-8")
    table, save = tmp_path / "own.csv", tmp_path / "new" / "mine.safetensors"
    table.write_text("\n".join([*rows, "notes.wav,noise", "gone.wav,noise"]), encoding="utf-8")
    given = ["finetune", str(table), "--save", str(save)]
    assert main([*given, "-q"]) == 1
    said = capsys.readouterr().err
    assert "own.csv: 1 clip is missing: " in said
    assert "1 clip is unreadable: " in said
    assert "notes.wav' is not audio: it is text" in said
    assert "7 clips are silent: " in said
    assert said.count("quiet ") == 5
    assert "and 2 more. Repair them, or leave them out by --skip-unreadable" in said
    assert said.count("\n") == 1
    assert not save.parent.exists()
    assert main([*given, "--skip-unreadable"]) == 0
    said = capsys.readouterr().err
    assert "left out: 1 clip is missing: " in said
    assert "8 clips, 2 classes" in said
    with save.with_suffix(".left_out.csv").open(encoding="utf-8") as file:
        faults = [(Path(row["file"]).name, row["fault"]) for row in csv.DictReader(file)]
    assert sorted(faults)[:3] == [
        ("gone.wav", "missing"),
        ("notes.wav", "unreadable"),
        ("quiet 0.wav", "silent"),
    ]
    assert len(faults) == 9


@pytest.mark.parametrize("draws", [True, False])
def test_a_training_is_seen(
    draws: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: draws)
    with Bars(2, quiet=False) as bars:
        bars.clip()
        bars.clip()
        bars.begin(3, 6, done=2)
        bars.step()
        bars.step()
        bars.epoch(2, 0.25, 0.75)
        bars.end(2)
        bars.score("fold 1", 0.9)
    said = capsys.readouterr().err
    assert ("training, epoch 3/3" in said) is draws
    assert ("reading clips" in said) is draws
    assert ("epoch 2/3: loss 0.250, validation 0.750" in said) is not draws
    assert "loss 0.250, validation 0.750" in said
    assert "the best epoch is 2 of 3" in said
    assert "fold 1: 0.900" in said


def test_silence_may_be_a_class_and_a_class_is_not_lost(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "sounds" / "tone" / f"{number}.wav", "tone", number)
        (tmp_path / "sounds" / "silence").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "sounds" / "silence" / f"{number}.wav", np.zeros(RATE // 4), RATE)
    with pytest.raises(FaultyClipsError, match="3 clips are silent"):
        read_own(tmp_path / "sounds")
    with pytest.raises(ValueError, match="'silence' would have no clip"):
        read_own(tmp_path / "sounds", skip_unusable=True)
    data, faults = read_own(tmp_path / "sounds", allow_silent=True)
    assert (len(data.recordings), faults) == (6, [])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--save", "mine.bin"], "checkpoints are written as .safetensors"),
        (["--save", "mine.safetensors", "--model", "Cnn41"], "did you mean"),
        (["--save", "mine.safetensors", "--freeze-norms"], "--freeze-norms needs --tune"),
        (
            ["--save", "mine.safetensors", "--tune", "--layer-decay", "2"],
            "--layer-decay is 2.0; a number above",
        ),
        (["--save", "mine.safetensors", "--validation", "1"], "'1' is not below 1"),
    ],
)
def test_options_are_checked_before_the_work(
    folder: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", str(folder), *more]) == 2
    assert message in capsys.readouterr().err


def test_data_are_checked_before_the_work(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist; a folder of folders"):
        read_own(tmp_path / "absent")
    with pytest.raises(ValueError, match="has no clips"):
        read_own(tmp_path)
    write(tmp_path / "two" / "tone" / "0.wav", "tone", 0)
    (tmp_path / "two" / "none").mkdir()
    with pytest.raises(ValueError, match="two: none without any audio file"):
        read_own(tmp_path / "two")
    table = tmp_path / "own.csv"
    some = folder / "tone" / "0.wav"
    table.write_text(
        f"file,label\n{some},a\n{folder / 'tone' / '3.wav'},a\ngone.wav,b\nlost.wav,b", encoding="utf-8"
    )
    with pytest.raises(ValueError, match=r"own\.csv: 2 clips are missing: .*gone\.wav, .*lost\.wav"):
        read_own(table)
    table.write_text(f"file,label\n{some},a\n{folder / 'tone' / '3.wav'},a", encoding="utf-8")
    with pytest.raises(ValueError, match="has one class, 'a'; two are needed"):
        read_own(table)
    table.write_text(f"file,label\n{some},a\n{folder / 'tone' / '3.wav'},a\n{folder / 'noise' / '1.wav'},b")
    with pytest.raises(ValueError, match="'b' has clips of one file or group only"):
        read_own(table)
    table.write_text("file;label\nx.wav;a", encoding="utf-8")
    with pytest.raises(ValueError, match="separated by semicolons"):
        read_own(table)


def test_clips_are_decoded_again_where_memory_ends(folder: Path) -> None:
    data, _ = read_own(folder)
    size = RATE // 3 * 4
    some, all_of_them = (Clips(data.recordings, RATE, kept_bytes=n * size) for n in (3, 100))
    for _ in range(2):
        for one, other in zip(some, all_of_them, strict=True):
            np.testing.assert_array_equal(one, other)
    assert (len(some._kept), len(all_of_them._kept)) == (3, 35)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_scores_of_classes_are_those_of_the_counts(pairs: list[tuple[int, int]]) -> None:
    truth, given_to = (np.eye(4, dtype=np.bool_)[list(side)] for side in zip(*pairs, strict=True))
    scores = class_scores(truth, given_to)
    assert scores.confusion is not None
    for k in range(4):
        right = sum(pair == (k, k) for pair in pairs)
        of_class, given_class = (sum(pair[side] == k for pair in pairs) for side in (0, 1))
        assert scores.confusion[k].sum() == of_class
        assert scores.confusion[k, k] == right
        expected = [right / n if n else np.nan for n in (given_class, of_class)]
        np.testing.assert_allclose([scores.precision[k], scores.recall[k]], expected)
        f1 = np.nan if not of_class else 2 * right / (of_class + given_class)
        np.testing.assert_allclose(scores.f1[k], f1)
        missed, wrong = of_class - right, given_class - right
        assert scores.by_class[k].tolist() == [right, missed, wrong, len(pairs) - right - missed - wrong]
    assert scores.micro_f1 == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))


def test_several_classes_have_no_confusion_and_none_no_scores() -> None:
    truth = noise(6, 3).numpy() > 0
    truth[0] = True
    assert class_scores(truth, truth).confusion is None
    assert class_scores(truth, truth).macro_f1 == 1.0
    with pytest.raises(ValueError, match="no clip has a class"):
        class_scores(np.zeros((3, 2), np.bool_), np.zeros((3, 2), np.bool_))


def test_the_picture_says_every_count_and_escapes_names() -> None:
    labels = ['<b>"dog"</b>', "a & b"]
    picture = ElementTree.fromstring(confusion_svg(np.array([[5, 1], [0, 7]]), labels, title="<mine>"))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<mine>", *labels, "5", "1", "7"} <= set(texts)
    titles = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert '<b>"dog"</b> given as a & b: 1' in titles
    with pytest.raises(ValueError, match="there are 3 labels"):
        confusion_svg(np.zeros((2, 2), np.int64), ["a", "b", "c"], title="")
    several = decisions_svg(np.array([[5, 1, 0, 2], [0, 7, 1, 0]]), labels, title="mine")
    titles = [
        element.text for element in ElementTree.fromstring(several).iter("{http://www.w3.org/2000/svg}title")
    ]
    assert titles[1:5] == [
        f"{labels[0]}, {said}" for said in ("right: 5", "missed: 1", "wrong: 0", "rightly not: 2")
    ]
    with pytest.raises(ValueError, match=r"the counts are \(2, 2\)"):
        decisions_svg(np.zeros((2, 2), np.int64), labels, title="")
