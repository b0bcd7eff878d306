"""Classes by example: prototypes as a linear head, its calibration, the command and the classifier."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from seeded_models import noise

from pannsx import AudioClassifier, AudioTagger
from pannsx.cli import main
from pannsx.transfer import prototypes
from pannsx.transfer.head import apply
from pannsx.transfer.method import Method
from pannsx.transfer.prototypes import prototype_head
from pannsx.types import FloatArray

SINGLE = 1e-4
"""Of logits up to 20, float32 weights of a head against float64."""

SAME_NETWORK = 2e-5
"""Of probabilities: one network, computed in batches of another size, its head inside or outside of it."""

RATE = 32000


def blobs(n_classes: int, n_each: int, *, seed: int = 0, spread: float = 0.4) -> tuple[FloatArray, NDArray]:
    """Embeddings like those after a ReLU, around a mean of each class, and targets."""
    means = np.random.default_rng(99).gamma(0.5, 1.0, (n_classes, 32))
    rng, place = np.random.default_rng(seed), np.repeat(np.arange(n_classes), n_each)
    values = means[place] * np.exp(spread * rng.standard_normal((len(place), 32)))
    return values.astype(np.float32), np.eye(n_classes, dtype=np.bool_)[place]


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("n_each", [1, 3])
def test_the_nearest_class_is_that_of_the_cosine(n_each: int) -> None:
    embeddings, targets = blobs(6, n_each)
    others, _ = blobs(6, 20, seed=1, spread=1.5)  # far enough from the means that some are taken for others
    logits = apply(prototype_head(embeddings, targets), others)
    values = embeddings.astype(np.float64)
    centre = np.mean([values[own].mean(axis=0) for own in targets.T], axis=0)
    means = unit(np.stack([unit(values[own] - centre).mean(axis=0) for own in targets.T]))
    cosines = unit(others.astype(np.float64) - centre) @ means.T
    assert logits.argmax(axis=1).tolist() == cosines.argmax(axis=1).tolist()


def test_without_another_clip_scale_and_offset_are_the_usual_ones() -> None:
    embeddings, targets = blobs(5, 1)
    logits = apply(prototype_head(embeddings, targets), embeddings)
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    similarity = centred @ unit(centred).T / np.sqrt((centred**2).sum(axis=1).mean())
    usual = prototypes.SCALE * similarity - prototypes.OFFSET - np.log(5)
    np.testing.assert_allclose(logits, usual, atol=SINGLE)


def test_more_clips_move_the_calibration_towards_what_they_show() -> None:
    unseen, truth = blobs(4, 200, seed=1, spread=1.0)

    def loss(n_each: int) -> float:
        logits = apply(prototype_head(*blobs(4, n_each, seed=2, spread=1.0)), unseen).astype(np.float64)
        return float((np.logaddexp(0, logits) - truth * logits).sum(axis=1).mean())

    rng = np.random.default_rng(0)
    labelled, targets = blobs(4, 40, seed=2, spread=1.0)
    shuffled = targets[rng.permutation(len(targets))]
    untold = apply(prototype_head(labelled, shuffled), unseen)
    assert loss(40) < loss(4) < loss(1)
    probabilities = 1 / (1 + np.exp(-untold))
    assert abs(probabilities.mean() - 0.25) < 0.05, "labels that mean nothing: the share of each class"
    assert probabilities.std() < 0.1


def test_several_labels_none_and_a_class_without_clips() -> None:
    embeddings, targets = blobs(3, 4)
    several = np.hstack([targets, np.zeros((12, 1), np.bool_)])
    several[0, 1] = True
    several[8:] = False  # all else: clips without a label
    logits = apply(prototype_head(embeddings, several), embeddings)
    assert logits[:8, :2].argmax(axis=1)[1:].tolist() == [0] * 3 + [1] * 4
    assert (logits[8:] < 0).all()
    assert (logits[:, 3] < -prototypes.SCALE / 2).all(), "never given"
    alone = apply(prototype_head(embeddings, several[:, :1]), embeddings)
    assert (alone[1:4] > alone[4:].max()).all(), "one class, and all else"
    with pytest.raises(ValueError, match="all clips are of one class; prototypes are compared"):
        prototype_head(embeddings[:2], several[:2, :1])


def test_equal_clips_are_no_fault() -> None:
    logits = apply(prototype_head(np.ones((4, 8), np.float32), np.eye(2, dtype=np.bool_)[[0, 0, 1, 1]]),
                   np.ones((1, 8), np.float32))  # fmt: skip
    assert np.isfinite(logits).all()
    assert logits[0, 0] == logits[0, 1]


def test_settings_of_training_are_refused() -> None:
    with pytest.raises(ValueError, match="prototypes are not trained, but tune and layers are given"):
        Method(prototypes=True, tune=True, layers=2)
    with pytest.raises(ValueError, match="not trained, but validation is given"):
        Method(prototypes=True, validation=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of a tone and of noise each."""
    folder = tmp_path_factory.mktemp("few") / "sounds"
    times = np.arange(RATE // 2) / RATE
    for number in range(2):
        tone = 0.4 * np.sin(2 * np.pi * (500 + 60 * number) * times)
        for kind, sound in (("tone", tone), ("noise", 0.2 * noise(1, len(times), seed=number)[0].numpy())):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / kind / f"{number}.wav", sound, RATE, subtype="FLOAT")
    return folder


def test_two_clips_a_class_are_scored_and_one_is_not(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save = tmp_path / "few.safetensors"
    command = ["finetune", str(folder), "--save", str(save), "--prototypes"]
    assert main(command) == 0
    assert "accuracy 1.000" in capsys.readouterr().out
    tagger = AudioTagger(checkpoint=save, device="cpu")
    assert tagger.labels == ("noise", "tone")
    for kind in tagger.labels:
        assert tagger.inference(folder / kind / "1.wav").top(1)[0].label == kind
    assert (tmp_path / "few.operating_points.json").is_file()

    rows = [("file", "label"), ("tone/0.wav", "tone"), ("noise/0.wav", "noise")]
    with (folder / "one.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    assert main(["finetune", str(folder / "one.csv"), "--save", str(save)]) == 1
    assert "'noise', 'tone' have clips of one file or group only" in capsys.readouterr().err
    assert main([*command[:1], str(folder / "one.csv"), *command[2:]]) == 0
    said = capsys.readouterr()
    assert not said.out
    assert "not scored: 2 classes, such as 'noise', have one clip" in said.err
    assert not (tmp_path / "few.operating_points.json").exists(), "they were of the file that was replaced"
    again = AudioTagger(checkpoint=save, device="cpu")
    for kind in again.labels:
        assert again.inference(folder / kind / "1.wav").top(1)[0].label == kind


def test_options_of_training_beside_prototypes_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["finetune", str(folder), "--save", str(tmp_path / "x.safetensors"), "--prototypes"]
    assert main([*command, "--epochs", "3", "--tune"]) == 2
    assert "leave out --tune and --epochs, or --prototypes" in capsys.readouterr().err


def test_the_classifier_takes_examples(folder: Path, tmp_path: Path) -> None:
    files = [folder / kind / "0.wav" for kind in ("tone", "noise")]
    unheard = [folder / kind / "1.wav" for kind in ("tone", "noise")]
    tagger = AudioTagger(device="cpu")
    classifier = AudioClassifier(tagger, prototypes=True).fit(files, ["tone", "noise"])
    assert classifier.predict(unheard).tolist() == ["tone", "noise"]
    record = classifier.save(tmp_path / "two.safetensors")
    assert "(prototypes, seed 0)" in (record.trained_on or "")
    loaded = AudioTagger(checkpoint=tmp_path / "two.safetensors", device="cpu")
    given = np.stack([loaded.inference(file).clipwise for file in unheard])
    np.testing.assert_allclose(
        given / given.sum(axis=1, keepdims=True), classifier.predict_proba(unheard), atol=SAME_NETWORK
    )
    with pytest.raises(ValueError, match="prototypes are not trained, but epochs is given"):
        AudioClassifier(tagger, prototypes=True, epochs=4).fit(files, ["tone", "noise"])
