"""Labels that are unknown, wrong or missing: the loss and the scores leave them out, a teacher mixes in."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from pannsx.cli import main
from pannsx.events import calibrate
from pannsx.metrics import tagging_scores
from pannsx.metrics.classification import class_scores
from pannsx.transfer.best_epoch import BestEpoch, measure_of
from pannsx.transfer.head import HeadSettings, apply, train_head
from pannsx.transfer.loss import loss_of
from pannsx.transfer.own_sounds import listed_table
from pannsx.transfer.target_kinds import known_labels, read_labels
from pannsx.transfer.wanted import Opinion, wanted_of
from pannsx.types import FloatArray

Bools = NDArray[np.bool_]
ROUNDING = 1e-6


def some(seed: int = 0) -> tuple[FloatArray, Bools, Bools]:
    """``(40, 8)`` embeddings, ``(40, 3)`` labels, and which of them are known."""
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((40, 8)).astype(np.float32)
    return embeddings, embeddings[:, :3] > 0.3, rng.random((40, 3)) < 0.6


def test_an_unknown_label_has_no_gradient_and_the_others_theirs() -> None:
    _, labels, known = some()
    logits = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    wanted = wanted_of(labels, known=known)
    loss_of(logits, wanted.targets, shares=wanted.shares).backward()  # type: ignore[no-untyped-call]
    expected = (logits.detach().sigmoid() - torch.from_numpy(labels).float()) / 40
    assert logits.grad is not None
    assert bool((logits.grad[torch.from_numpy(~known)] == 0).all())
    torch.testing.assert_close(logits.grad, expected * torch.from_numpy(known))


def test_what_an_unknown_label_says_changes_nothing() -> None:
    embeddings, labels, known = some()
    settings = HeadSettings(epochs=3)
    one, other = (
        apply(train_head(embeddings, said, settings, seed=0, wanted=wanted_of(said, known=known)), embeddings)
        for said in (labels, labels ^ ~known)
    )
    np.testing.assert_array_equal(one, other)
    without = apply(train_head(embeddings, labels, settings, seed=0), embeddings)
    assert np.abs(one - without).max() > 0.01


def test_a_teacher_has_its_share() -> None:
    labels, known = np.array([[True, False, False]]), np.array([[True, True, False]])
    half = np.full((1, 3), 0.5, np.float32)
    wanted = wanted_of(labels, known=known, opinion=Opinion(half, 0.4))
    assert wanted.targets[0].tolist() == pytest.approx([0.8, 0.2, 0.2])
    assert wanted.shares is not None
    assert wanted.shares[0].tolist() == pytest.approx([1.0, 1.0, 0.4])
    absent = wanted_of(labels, opinion=Opinion(half, 0.4, only_absent=True))
    assert absent.targets[0].tolist() == pytest.approx([1.0, 0.2, 0.2])
    assert absent.shares is None
    # Of the unknown label only the teacher's share is left, with the teacher's probability as its aim.
    logits = torch.zeros(1, 3, requires_grad=True)
    loss_of(logits, wanted.targets, shares=wanted.shares).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0.5 - 0.8, 0.5 - 0.2, 0.0], abs=ROUNDING)


def test_a_mixture_of_clips_mixes_what_is_known() -> None:
    _, labels, known = some()
    wanted = wanted_of(labels, known=known, kept=np.full((40, 2), 0.3, np.float32)).of([0, 1])
    targets, shares = wanted.parted(0.25 * wanted.joined()[:1] + 0.75 * wanted.joined()[1:])
    assert shares is not None
    assert targets[0, :2].tolist() == pytest.approx([0.3, 0.3])
    assert shares[0, :2].tolist() == [1.0, 1.0]
    expected = 0.25 * (labels & known)[0] + 0.75 * (labels & known)[1]
    assert targets[0, 2:].tolist() == pytest.approx(expected.tolist())
    assert shares[0, 2:].tolist() == pytest.approx((0.25 * known[0] + 0.75 * known[1]).tolist())


def test_a_teacher_makes_up_for_labels_that_are_missing() -> None:
    """Half of the labels that are present were not noted; a teacher that hears them all says so."""
    rng = np.random.default_rng(1)
    embeddings = rng.standard_normal((400, 6)).astype(np.float32)
    truth = embeddings[:, :2] > 0
    noted = truth & (rng.random(truth.shape) < 0.5)
    teacher = np.where(truth, 0.9, 0.1).astype(np.float32)
    settings = HeadSettings(epochs=20, dropout=0.0, learning_rate=0.03)

    def right(opinion: Opinion | None) -> float:
        head = train_head(embeddings[:200], noted[:200], settings, seed=0,
                          wanted=wanted_of(noted, opinion=opinion).of(range(200)))  # fmt: skip
        return float(((apply(head, embeddings[200:]) > 0) == truth[200:]).mean())

    assert right(Opinion(teacher, 0.7, only_absent=True)) > 0.9 > 0.8 > right(None)


def test_scores_are_of_what_is_known() -> None:
    rng = np.random.default_rng(0)
    truth, scores = rng.random((30, 2)) < 0.4, rng.random((30, 2)).astype(np.float32)
    known = np.ones((30, 2), np.bool_)
    known[10:, 1] = False
    found, all_of_it = tagging_scores(truth, scores, known), tagging_scores(truth, scores)
    first = tagging_scores(truth[:10], scores[:10])
    assert found.average_precision.tolist() == [all_of_it.average_precision[0], first.average_precision[1]]
    assert found.n_positive.tolist() == [all_of_it.n_positive[0], first.n_positive[1]]
    given = scores > 0.5
    by_class = class_scores(truth, given, known)
    assert by_class.by_class[1].tolist() == class_scores(truth[:10], given[:10]).by_class[1].tolist()
    assert by_class.by_class[0].tolist() == class_scores(truth, given).by_class[0].tolist()
    points = calibrate(truth, scores, ["a", "b"], known=known).points
    assert points["b"] == calibrate(truth[:10], scores[:10], ["a", "b"]).points["b"]
    with pytest.raises(ValueError, match="true or false for each of the targets"):
        tagging_scores(truth, scores, known[:, :1])
    best = BestEpoch(3, measure_of(multi_label=True)[1])
    assert best.is_better(0, truth, scores, known)
    assert best.score == pytest.approx(found.mAP)


def test_an_indicator_with_nan_says_what_is_not_known() -> None:
    labels = [[1, 0, float("nan")], [0, None, 1]]
    for given in (labels, np.array(labels, float), np.array(labels, object)):
        classes, targets = read_labels(given)
        known = known_labels(given)
        assert classes.form == "indicator"
        assert targets.tolist() == [[True, False, False], [False, False, True]]
        assert known is not None
        assert known.tolist() == [[True, True, False], [True, False, True]]
    for whole in ([[1, 0]], ["a", "b"], [["a"], []], np.eye(2)):
        assert known_labels(whole) is None
    with pytest.raises(ValueError, match="the indicator has no number"):
        read_labels(np.full((2, 2), np.nan))


def write_table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(("file,label,unknown", *rows)) + "\n", encoding="utf-8")
    return path


def test_the_column_of_a_table(tmp_path: Path) -> None:
    found = listed_table(write_table(tmp_path / "t.csv", "a.wav,x,", "b.wav,y,x; z", "c.wav,z,*"))
    assert found.multi_label
    assert [clip.unknown for clip in found.recordings] == [(), (0, 2), (0, 1)]
    for row, said in (
        ("b.wav,y,zz", r"'zz' is unknown of b\.wav, but no clip has that label"),
        ("b.wav,y,y", r"'y' is a label of b\.wav, so it is not unknown"),
    ):
        with pytest.raises(ValueError, match=said):
            listed_table(write_table(tmp_path / "t.csv", "a.wav,x,", row))


def hums_and_hisses(folder: Path, unknown: str = "*") -> Path:
    """Eight clips; of four of them nobody has said whether the other sound is in them."""
    rng, times = np.random.default_rng(0), np.arange(8000) / 32000
    rows = []
    for number in range(8):
        kind = ("hum", "hiss")[number % 2]
        sound = np.sin(2000 * times * (1 + number)) if kind == "hum" else rng.standard_normal(8000)
        soundfile.write(folder / f"{number}.wav", 0.2 * sound, 32000)
        rows.append(f"{number}.wav,{kind},{unknown if number < 4 else ''}")
    return write_table(folder / "own.csv", *rows)


def test_a_table_with_unknown_labels_becomes_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save = tmp_path / "new" / "mine.safetensors"
    command = ["finetune", str(hums_and_hisses(tmp_path)), "--save", str(save)]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "several labels a clip" in said.err
    assert "mAP 1.000" in said.out
    with (save.parent / "mine.classes.csv").open(encoding="utf-8") as file:
        assert [row["clips"] for row in csv.DictReader(file)] == ["4", "4"]


def test_a_teacher_is_a_checkpoint_with_the_same_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, teacher = hums_and_hisses(tmp_path, unknown=""), tmp_path / "teacher.safetensors"
    swapped = {"hum,": "hiss,", "hiss,": "hum,"}
    wrong = [line.replace(kind, swapped[kind]) for line in table.read_text("utf-8").splitlines()[1:]
             for kind in swapped if kind in line]  # fmt: skip
    wrong_table = write_table(tmp_path / "wrong.csv", *wrong)
    assert main(["finetune", str(wrong_table), "--save", str(teacher), "--prototypes", "-q"]) == 0
    save = tmp_path / "taught.safetensors"
    command = ["finetune", str(table), "--save", str(save), "-q", "--teacher"]
    capsys.readouterr()
    for weight, right in (("0.9", "0.000"), ("0.1", "1.000")):
        assert main([*command, str(teacher), "--teacher-weight", weight]) == 0
        assert f"accuracy {right}" in capsys.readouterr().out, "what the teacher says of each clip is wrong"

    small = tmp_path / "small.csv"
    small.write_text(
        "file,label\n0.wav,hum\n1.wav,hiss\n2.wav,hum\n3.wav,hoot\n5.wav,hoot\n7.wav,hiss\n", "utf-8"
    )
    capsys.readouterr()
    assert main(["finetune", str(small), *command[2:], str(teacher)]) == 1
    assert "the teacher teacher has no class 'hoot'" in capsys.readouterr().err
    assert main([*command[:-1], "--teacher-weight", "0.3"]) == 2
    assert "give one by --teacher" in capsys.readouterr().err
