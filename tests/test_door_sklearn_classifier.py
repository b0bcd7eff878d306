"""`AudioClassifier` as scikit-learn itself uses it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from parties import party

from pannsx import AudioClassifier, AudioTagger

party("sklearn", "sklearn")

from sklearn.base import clone, is_classifier  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score  # noqa: E402
from sklearn.utils.validation import check_is_fitted  # noqa: E402

RATE = 32000
N_CLIPS = 12
LABELS = np.array(["noise", "tone"] * (N_CLIPS // 2))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.str_]:
    """Short clips of noise and of tones in turn."""
    folder = tmp_path_factory.mktemp("sounds")
    rng, times = np.random.default_rng(0), np.arange(RATE // 4) / RATE
    names = []
    for number in range(N_CLIPS):
        tone = np.sin(2 * np.pi * (400 + 50 * number) * times)
        names.append(str(folder / f"{number}.wav"))
        soundfile.write(names[-1], 0.5 * tone if number % 2 else rng.standard_normal(len(times)) / 8, RATE)
    return np.array(names)


@cache
def network() -> AudioTagger:
    return AudioTagger(device="cpu")


def test_a_clone_has_the_parameters_and_nothing_learned(paths: NDArray[np.str_]) -> None:
    classifier = AudioClassifier(layers=2, device="cpu", random_state=4)
    assert is_classifier(classifier)
    with pytest.raises(NotFittedError):
        check_is_fitted(classifier)
    classifier.fit(paths, LABELS)
    check_is_fitted(classifier)
    copied = clone(classifier)
    assert copied.get_params() == classifier.get_params()
    with pytest.raises(NotFittedError):
        check_is_fitted(copied)


def test_cross_validation_is_stratified_and_scores_by_probability(paths: NDArray[np.str_]) -> None:
    classifier = AudioClassifier(network())
    # In their order the folds would have one class each.
    order = np.argsort(LABELS, kind="stable")
    scores = cross_val_score(classifier, paths[order], LABELS[order], cv=2, scoring="neg_log_loss")
    assert (scores > -np.log(2)).all()
    assert cross_val_score(classifier, list(paths), list(LABELS), cv=2).tolist() == [1.0, 1.0]


def test_a_search_over_its_parameters(paths: NDArray[np.str_], tmp_path: Path) -> None:
    search = GridSearchCV(AudioClassifier(device="cpu"), {"layers": [1, 2]}, cv=2)
    search.fit(paths, LABELS)
    assert search.best_score_ == 1.0
    search.best_estimator_.save(tmp_path / "best.safetensors")
    assert AudioTagger(checkpoint=tmp_path / "best.safetensors").labels == ("noise", "tone")


def test_several_labels_are_an_indicator(paths: NDArray[np.str_]) -> None:
    indicator = np.stack([LABELS == "tone", np.arange(N_CLIPS) % 4 < 2], axis=1).astype(int)
    predicted = cross_val_predict(AudioClassifier(network()), paths, indicator, cv=2)
    assert predicted.shape == indicator.shape
    assert (predicted[:, 0] == indicator[:, 0]).all()
