"""Heads of several tasks on one trunk: one pass, and each answer that of the task's own tagger."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from narrow_checkpoint import LABELS, narrow_checkpoint
from small_models import noise

from pannsx import AudioTagger, FeatureExtractor, StreamTagger, WeightsError, save, weights
from pannsx.cli import main
from pannsx.corpus import Stage
from pannsx.events import OperatingPoint, OperatingPoints, write_operating_points
from pannsx.inference.cpu.cnn import PreparedCnn
from pannsx.labels import LabelSet
from pannsx.results import TaggingResult
from pannsx.transfer.head import HeadSettings, new_head
from pannsx.transfer.saving import save as save_task
from pannsx.weights.heads import joined

RATE = 32000
SAME = 2e-6
"""Of probabilities and relative to embeddings: one product with more rows, summed in another order."""

URBAN, BIRDS = ("Siren", "Horn"), ("Robin", "Wren", "Rook", "Dog")


class Files(NamedTuple):
    """A network, and two tasks on its trunk."""

    base: Path
    urban: Path
    birds: Path


def write_task(
    path: Path, base: Path, names: tuple[str, ...], *, layers: int = 1, as_delta: bool = True
) -> Path:
    loaded = weights.load(checkpoint=base)
    head = new_head(loaded.model.embedding_size, len(names), HeadSettings(layers, hidden=9), seed=len(names))
    save_task(
        path, loaded, head, LabelSet(names), description="A task.", trained_on="nothing", as_delta=as_delta
    )
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """A narrow network; a delta of one layer; a whole checkpoint of three, with operating points."""
    folder = tmp_path_factory.mktemp("heads")
    with narrow_checkpoint(folder) as base:
        urban = write_task(folder / "urban.safetensors", base, URBAN)
        birds = write_task(folder / "birds.safetensors", base, BIRDS, layers=3, as_delta=False)
        points = OperatingPoints({"Wren": OperatingPoint(0.3)}, model="birds")
        write_operating_points(points, folder / "birds.operating_points.json")
        yield Files(base, urban, birds)


def same(found: TaggingResult, alone: TaggingResult) -> None:
    assert found.labels == alone.labels
    assert found.model == alone.model
    assert found.operating_points == alone.operating_points
    assert (found.duration_s, found.hop_s, found.offset_s) == (alone.duration_s, alone.hop_s, alone.offset_s)
    for name in ("clipwise", "embedding", "framewise", "clipwise_max"):
        a, b = getattr(found, name), getattr(alone, name)
        assert (a is None) == (b is None), name
        if b is not None:
            np.testing.assert_allclose(a, b, atol=SAME * max(1.0, np.abs(b).max()), rtol=0, err_msg=name)
    np.testing.assert_allclose(found.logits, alone.logits, atol=1e-5)


@pytest.mark.parametrize("low_memory", [False, True], ids=["prepared", "torch"])
def test_each_task_has_its_own_taggers_answer(files: Files, low_memory: bool) -> None:
    """Of short and long sources, clip by clip and frame by frame, with finer frames too."""

    def tagger(path: Path, **heads: object) -> AudioTagger:
        return AudioTagger(checkpoint=path, device="cpu", low_memory=low_memory, window_s=1.0, **heads)  # type: ignore[arg-type]

    several = tagger(files.base, heads=[files.urban, files.birds])
    assert several.labels == LABELS
    assert several.tasks == {"urban": URBAN, "birds": BIRDS}
    assert several.record.name == "narrow"
    assert repr(several).startswith(
        "<AudioTagger narrow on cpu: 3 classes and the tasks urban, birds, 32000 Hz"
    )
    alone = {"urban": tagger(files.urban), "birds": tagger(files.birds)}
    sounds = [noise(RATE // 2), noise(RATE * 5 // 2, 1)]
    for options in ({}, {"hop_s": 0.04}):
        batch = several.inference(sounds, **options)  # type: ignore[arg-type]
        for i, sound in enumerate(sounds):
            result = batch[i]
            same(result, tagger(files.base).inference(sound, **options))  # type: ignore[arg-type]
            assert set(result.tasks) == set(alone)
            for name, own in alone.items():
                same(result.tasks[name], own.inference(sound, **options))  # type: ignore[arg-type]
                np.testing.assert_array_equal(batch.tasks[name].clipwise[i], result.tasks[name].clipwise)
    quick = next(several.iter_inference(sounds))
    assert quick.framewise is quick.tasks["urban"].framewise is None
    assert quick.tasks["birds"].top(1)[0].label in BIRDS
    assert result.tasks["birds"].events() == result.tasks["birds"].events(threshold={"Wren": 0.3})


def test_the_trunk_runs_once(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    several = AudioTagger(checkpoint=files.base, heads=[files.urban, files.birds], device="cpu")
    trunk = PreparedCnn.__call__
    passes = []

    def counted(self: PreparedCnn, *given: object) -> object:
        passes.append(given)
        return trunk(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(PreparedCnn, "__call__", counted)
    assert len(several.inference(noise(RATE)).tasks) == 2
    assert len(passes) == 1


def test_names_of_ones_own_and_the_base_of_a_delta(files: Files) -> None:
    several = AudioTagger(heads={"street": files.urban, "again": files.urban}, device="cpu")
    assert several.record.name == "narrow", "the base of the first delta"
    result = several.inference(noise(RATE))
    np.testing.assert_array_equal(result.tasks["street"].clipwise, result.tasks["again"].clipwise)
    with pytest.raises(ValueError, match="two heads have the name 'urban'; give heads as a mapping"):
        AudioTagger(checkpoint=files.base, heads=[files.urban, files.urban])
    for wrong in ([], str(files.urban), files.urban):
        with pytest.raises(ValueError, match="a list of checkpoints, or a mapping from names to them"):
            AudioTagger(checkpoint=files.base, heads=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="heads= cannot be given with an open AudioTagger"):
        AudioTagger(several, heads=[files.urban])


def test_what_shares_the_network_has_the_classes_of_all(files: Files, tmp_path: Path) -> None:
    several = AudioTagger(checkpoint=files.base, heads=[files.urban, files.birds], device="cpu")
    sound = noise(RATE)
    expected = several.inference(sound)
    other = pickle.loads(pickle.dumps(AudioTagger(several, window_s=5.0)))
    np.testing.assert_array_equal(
        other.inference(sound).tasks["birds"].clipwise, expected.tasks["birds"].clipwise
    )
    stream = StreamTagger(several)
    assert stream.labels[2:6] == ("Siren", "urban/Siren", "urban/Horn", "birds/Robin")
    updates = [*stream.push(sound), *stream.close()]
    assert updates[-1].framewise.shape[1] == len(stream.labels) == 9
    np.testing.assert_allclose(FeatureExtractor(several).extract(sound)[0], expected.embedding, rtol=1e-5)
    record = save(several, tmp_path / "all.safetensors")
    assert (record.n_classes, record.base) == (9, None)
    whole = AudioTagger(checkpoint=tmp_path / "all.safetensors", device="cpu")
    np.testing.assert_array_equal(whole.inference(sound).clipwise[3:5], expected.tasks["urban"].clipwise)


def test_tables_of_corpora_have_no_columns_for_tasks(files: Files) -> None:
    several = AudioTagger(checkpoint=files.base, heads=[files.urban], device="cpu")
    with pytest.raises(ValueError, match="the tagger has the further tasks urban, for which the table"):
        Stage(several).tagger  # noqa: B018  is made when it is needed


def test_other_trunks_are_refused(files: Files) -> None:
    changed = weights.load(checkpoint=files.base).model
    with torch.no_grad():
        changed.trunk.get_parameter("conv_block2.bn1.bias").add_(0.1)
        changed.head.fc1.bias.add_(0.1)
    path = files.base.with_name("changed.safetensors")
    save(changed, path, labels=LABELS)
    with pytest.raises(WeightsError) as refused:
        AudioTagger(checkpoint=files.base, heads=[files.urban, path])
    assert "changed changes the trunk of narrow: conv_block2.bn1.bias, fc1.bias differ. Heads" in str(
        refused.value
    )
    assert "run changed in a tagger of its own" in str(refused.value)
    with pytest.raises(
        WeightsError, match=r"urban is on another trunk .*: its architecture is Cnn10, not Mobile"
    ):
        AudioTagger("MobileNetV1_distilled", heads=[files.urban])
    with pytest.raises(WeightsError, match="there is no file"):
        AudioTagger(checkpoint=files.base, heads=["absent.safetensors"])


def test_chains_of_any_lengths_are_one() -> None:
    rng = np.random.default_rng(0)

    def chain(*sizes: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            (rng.standard_normal((b, a)).astype(np.float32), rng.standard_normal(b).astype(np.float32))
            for a, b in pairwise(sizes)
        ]

    def run(layers: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray) -> np.ndarray:
        for number, (weight, bias) in enumerate(layers):
            x = (np.maximum(x, 0) if number else x) @ weight.T + bias
        return x

    x = np.abs(rng.standard_normal((5, 6))).astype(np.float32)
    for chains in (
        [chain(6, 3), chain(6, 2)],
        [chain(6, 3), chain(6, 4, 2), chain(6, 5, 4, 3), chain(6, 7, 1)],
        [chain(6, 4, 3), chain(6, 2, 2)],
    ):
        together = joined(chains)
        assert len(together) == max(map(len, chains))
        np.testing.assert_allclose(run(together, x), np.hstack([run(each, x) for each in chains]), atol=1e-5)


def test_the_command_tags_all_tasks(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", noise(RATE), RATE)
    command = ["tag", "a.wav", "-q", "--head", str(files.urban), "--head", str(files.birds)]
    result = AudioTagger(heads=[files.urban, files.birds], device="cpu").inference("a.wav")
    assert main([*command, "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["model"] == "narrow"
    for name, task in result.tasks.items():
        tags = {tag["label"]: tag["probability"] for tag in found["tasks"][name]}
        assert tags == pytest.approx(dict(task.top(5)), abs=1e-5)
    assert [tag["label"] for tag in found["tags"]] == [tag.label for tag in result.top(5)]

    assert main(command) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines.index("urban") < lines.index("birds")
    assert lines[-1].endswith(result.tasks["birds"].top(4)[-1].label)

    assert main([*command, "--format", "csv", "--class", "birds/Dog", "--class", "Dog"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["label"] for row in rows] == ["Dog", "birds/Dog"]
    assert float(rows[1]["probability"]) == pytest.approx(result.tasks["birds"].probability("Dog"), abs=1e-5)
    assert main([*command, "--format", "csv", "--wide"]) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert list(row)[1:] == [*LABELS, *(f"urban/{x}" for x in URBAN), *(f"birds/{x}" for x in BIRDS)]
    assert float(row["urban/Horn"]) == pytest.approx(result.tasks["urban"].probability("Horn"), abs=1e-5)
    assert main([*command, "--class", "urban/Hron"]) == 2
    assert "did you mean 'urban/Horn'" in capsys.readouterr().err
