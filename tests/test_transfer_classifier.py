"""`AudioClassifier` and `fit_head`: fit, predict, save, in every form of labels and sources."""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from small_sounds import KINDS, LABELS, RATE, sounds

import pannsx
from pannsx import AudioClassifier, AudioTagger, FeatureExtractor, fit_head
from pannsx.cli import _parser
from pannsx.cli.finetune_options import method_of
from pannsx.transfer.method import Method
from pannsx.transfer.target_kinds import read_labels

SAME_NETWORK = 2e-5
"""Of probabilities: one network, computed in batches of another size, its head inside or outside of it."""


@cache
def network() -> AudioTagger:
    return AudioTagger(device="cpu")


def learned(labels: Any = LABELS, **settings: Any) -> AudioClassifier:
    return AudioClassifier(network(), **settings).fit(sounds(), labels)


def test_what_it_saves_is_what_it_predicts(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.wav" for number in range(9)]
    for path, waveform in zip(paths, sounds(), strict=True):
        soundfile.write(path, waveform, RATE, subtype="FLOAT")
    classifier = fit_head(paths, LABELS, model=network(), epochs=50)
    assert isinstance(classifier, AudioClassifier)
    assert classifier.classes_.tolist() == list(KINDS)
    probabilities = classifier.predict_proba(paths)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert classifier.predict(paths).tolist() == LABELS
    assert classifier.score(paths, LABELS) == 1.0
    assert classifier.score(paths, ["tone"] * 9) == pytest.approx(1 / 3)
    # Arrays are the same clips.
    np.testing.assert_allclose(classifier.predict_proba(sounds()), probabilities, atol=SAME_NETWORK)

    record = classifier.save(tmp_path / "mine.safetensors")
    assert record.n_classes == 3
    tagger = AudioTagger(checkpoint=tmp_path / "mine.safetensors", device="cpu")
    assert tagger.labels == KINDS
    assert tagger.operating_points is None
    clipwise = tagger.inference(paths).clipwise
    np.testing.assert_allclose(
        clipwise / clipwise.sum(axis=1, keepdims=True), probabilities, atol=SAME_NETWORK
    )
    assert {event.label for event in tagger.inference(paths[2]).events(threshold=0.5)} == {"tone"}
    features = FeatureExtractor(checkpoint=tmp_path / "mine.safetensors", device="cpu").extract(paths[:2])
    np.testing.assert_allclose(features, FeatureExtractor(network()).extract(paths[:2]), atol=1e-5)


def test_an_indicator_a_list_of_labels_and_a_frame_are_several_labels() -> None:
    pandas = pytest.importorskip("pandas")
    indicator = np.array([[n % 3 == 2, n % 3 > 0] for n in range(9)]).astype(int)
    frame = pandas.DataFrame(indicator, columns=["tone", "loud"])
    lists = [[name for name, there in zip(("tone", "loud"), row, strict=True) if there] for row in indicator]
    by_number, by_name, by_list = (learned(given, epochs=5) for given in (indicator, frame, lists))
    assert by_number.classes_.tolist() == [0, 1]
    assert by_name.classes_.tolist() == ["tone", "loud"]
    assert by_list.classes_.tolist() == ["loud", "tone"]
    assert by_number.predict(sounds()).tolist() == indicator.tolist()
    assert by_name.predict(sounds()).tolist() == indicator.tolist()
    assert [set(row) for row in by_list.predict(sounds())] == [set(row) for row in lists]
    assert by_number.score(sounds(), indicator) == by_list.score(sounds(), lists) == 1.0
    assert by_list.thresholds_.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="'shrill' is not one of the classes"):
        by_list.score(sounds(), [["shrill"]] * 9)


def test_thresholds_of_a_validation_part_are_kept_and_saved(tmp_path: Path) -> None:
    indicator = np.array([[n % 3 == 2, n % 3 > 0] for n in range(9)]).astype(int)
    classifier = learned(indicator, validation=0.4, patience=2, balance="batches")
    assert not np.array_equal(classifier.thresholds_, [0.5, 0.5])
    classifier.save(tmp_path / "mine.safetensors")
    points = AudioTagger(checkpoint=tmp_path / "mine.safetensors", device="cpu").operating_points
    assert points is not None
    np.testing.assert_array_equal([points.thresholds()[name] for name in "01"], classifier.thresholds_)


def test_a_network_can_be_tuned_and_sources_have_their_rate() -> None:
    halved = [waveform[::2] for waveform in sounds()]
    classifier = AudioClassifier(
        network(), source_rate=RATE // 2, tune=True, epochs=1, batch_size=9, layer_decay=0.8
    )
    before = {key: tensor.clone() for key, tensor in network()._pipeline.engine.model.state_dict().items()}
    classifier.fit(halved, np.arange(9) % 3)
    after = network()._pipeline.engine.model.state_dict()
    assert all(bool((tensor == after[key]).all()) for key, tensor in before.items())
    assert classifier.predict(halved).dtype.kind == "i"
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(halved[:2]), classifier.predict_proba(halved[:2]))
    assert not np.array_equal(
        classifier.predict_proba(halved[:1]), classifier.predict_proba([(RATE, halved[0])])
    )


def test_command_and_class_have_the_defaults_of_a_method() -> None:
    arguments = _parser().parse_args(["finetune", "clips", "--save", "mine.safetensors", "--device", "cpu"])
    assert method_of(arguments) == Method()
    assert AudioClassifier()._method("cpu") == Method()


def test_parameters_are_those_of_scikit_learn() -> None:
    classifier = AudioClassifier(layers=2, random_state=3)
    assert classifier.get_params()["layers"] == 2
    assert AudioClassifier(**classifier.get_params()).get_params() == classifier.get_params()
    assert repr(classifier) == "AudioClassifier(layers=2, random_state=3)"
    assert classifier.set_params(layers=1, epochs=7) is classifier
    assert (classifier.layers, classifier.epochs) == (1, 7)
    with pytest.raises(ValueError, match="AudioClassifier has no parameter 'epoch'; did you mean 'epochs'"):
        classifier.set_params(layers=3, epoch=3)
    assert classifier.layers == 1  # a call with a wrong name sets nothing
    assert not classifier.__sklearn_is_fitted__()
    assert {"AudioClassifier", "fit_head"} <= set(pannsx.__all__)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (["a.wav", "b.wav"], ["x"], "there are 2 clips and 1 labels"),
        (["a.wav", "b.wav"], ["x", "x"], "all clips are of the class 'x'"),
        ("a.wav", ["x"], r"X is one source, 'a.wav'; a list of sources is needed: \['a.wav'\]"),
        (["a.wav", "b.wav"], [1.5, 2.5], "the labels are fractions or not finite"),
        (["a.wav", "b.wav"], ["x", None], "the labels are of several types"),
        (["a.wav", "b.wav"], [["x"], "y"], "some clips have a list of labels and some have not"),
        (["a.wav", "b.wav"], np.array([[0, 2], [1, 0]]), "of other values than 0 and 1"),
        (["a.wav", "b.wav"], [[], []], "no clip has a label"),
        (["a.wav", "b.wav"], "xy", "the labels are 'xy'"),
    ],
)
def test_what_cannot_be_learned_from(X: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AudioClassifier().fit(X, y)


def test_nothing_is_predicted_or_saved_before_it_learned(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="call fit first"):
        AudioClassifier().predict(sounds())
    with pytest.raises(ValueError, match="call fit first"):
        AudioClassifier().save(tmp_path / "mine.safetensors")
    with pytest.raises(TypeError, match="layer"):
        fit_head(sounds(), LABELS, layer=2)
    with pytest.raises(ValueError, match="a head has 1 to 3 layers, got 4"):
        learned(layers=4)
    with pytest.raises(ValueError, match="there are 9 clips and 2 groups"):
        AudioClassifier(network()).fit(sounds(), LABELS, groups=["a", "b"])


def test_labels_and_their_forms() -> None:
    classes, targets = read_labels(np.array(["b", "a", "b"]))
    assert classes.names == ("a", "b")
    assert targets.tolist() == [[False, True], [True, False], [False, True]]
    assert classes.labels(targets).tolist() == ["b", "a", "b"]
    classes, targets = read_labels([{"x"}, set(), {"y", "x"}])
    assert (classes.form, classes.labels(targets)) == ("lists", [["x"], [], ["x", "y"]])
    classes, targets = read_labels([[0, 1], [1, 1]])
    assert (classes.form, classes.labels(targets).tolist()) == ("indicator", [[0, 1], [1, 1]])
    with pytest.raises(ValueError, match="the indicator has 3 columns, and there are 2 classes"):
        classes.targets(np.ones((2, 3), int))
