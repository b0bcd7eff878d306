# ruff: noqa: E402 - the party of the door comes first
"""`FeatureExtractor` in scikit-learn: its own checks, clones, pipelines, searches, tables."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from narrow_checkpoint import CHANNELS, EMBEDDING, narrow_file
from parties import party
from small_models import noise

from pannsx import FeatureExtractor
from pannsx.inference.pipeline import Pipeline as Network_

sklearn = party("sklearn", "sklearn")

from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

RATE = 32000


checkpoint = narrow_file


@pytest.fixture(scope="module")
def extractor(checkpoint: Path) -> FeatureExtractor:
    return FeatureExtractor(checkpoint=checkpoint, device="cpu").fit()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """Ten files of loud tones and faint noise, and their labels."""
    folder = tmp_path_factory.mktemp("clips")
    paths, labels = [], []
    for number in range(10):
        tone = number % 2 == 0
        hum = 0.5 * np.sin(2 * np.pi * (400 + 50 * number) * np.arange(RATE // 4) / RATE)
        path = folder / f"{number}.wav"
        soundfile.write(path, hum if tone else 0.1 * noise(RATE // 4, seed=number), RATE)
        paths.append(str(path))
        labels.append("tone" if tone else "noise")
    return paths, labels


class OfWaveforms(FeatureExtractor):
    """Says that it takes two dimensions alone: the checks give a single one to whatever takes it."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False
        return tags


# What the checks ask of a transformer of tables of numbers, and a transformer of sounds does not have.
FAILS = {
    "check_n_features_in": "sounds have any number of samples",
    "check_n_features_in_after_fitting": "sounds have any number of samples",
    "check_dtype_object": "an array of objects is one of sources",
    "check_estimators_dtypes": "whole numbers of 1 and 2 in 64 bits are no sound",
}

# Checks that give one-dimensional input where the tags allow it: a number for each row, and no source.
OF_ONE_DIMENSION = dict.fromkeys(
    (
        "check_dict_unchanged", "check_dont_overwrite_parameters",
        "check_estimator_sparse_array", "check_estimators_fit_returns_self",
        "check_estimators_nan_inf", "check_estimators_overwrite_params", "check_estimators_pickle",
        "check_f_contiguous_array_estimator", "check_fit2d_1feature", "check_fit2d_1sample",
        "check_fit2d_predict1d", "check_fit_check_is_fitted", "check_fit_idempotent",
        "check_fit_score_takes_y", "check_methods_sample_order_invariance",
        "check_methods_subset_invariance", "check_pipeline_consistency",
        "check_positive_only_tag_during_fit", "check_readonly_memmap_input",
        "check_transformer_data_not_an_array", "check_transformer_general",
        "check_transformers_unfitted_stateless",
    ),
    "a number is no sound",
)  # fmt: skip


def checks(kind: type[FeatureExtractor], fails: dict[str, str]) -> dict[str, Any]:
    """Parameters for scikit-learn's own checks of a transformer, some of them as expected failures."""
    # Opened by the first check; its copies share the network.
    extractor = kind(device="cpu", progress=False)
    with warnings.catch_warnings():
        # It keeps the conventions itself, see pannsx.estimator, and these checks are how that is seen.
        warnings.filterwarnings("ignore", r"Estimator \w+ does not inherit")
        mark = parametrize_with_checks([extractor], expected_failed_checks=lambda _: fails)
        return {"argvalues": list(mark.args[1]), "ids": mark.kwargs["ids"]}


@pytest.mark.filterwarnings("ignore:the array has the value")  # the checks' numbers are louder than any sound
@pytest.mark.parametrize(("estimator", "check"), **checks(OfWaveforms, FAILS))
def test_checks_of_scikit_learn_on_waveforms(estimator: FeatureExtractor, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(("estimator", "check"), **checks(FeatureExtractor, FAILS | OF_ONE_DIMENSION))
def test_checks_of_scikit_learn(estimator: FeatureExtractor, check: Any) -> None:
    check(estimator)


def test_clone(extractor: FeatureExtractor) -> None:
    copy = clone(extractor.set_params(layer="fc1"))
    assert copy is not extractor
    assert copy.get_params() == extractor.get_params()
    assert copy._pipeline.engine is extractor._pipeline.engine
    copy.set_params(layer="trunk")
    assert extractor.layer == "fc1"
    assert clone(extractor.set_output(transform="pandas"))._sklearn_output_config == {"transform": "pandas"}
    extractor.set_output(transform="default")


def test_tags(extractor: FeatureExtractor) -> None:
    tags = get_tags(extractor)
    assert tags.input_tags.string
    assert tags.input_tags.one_d_array
    assert not tags.requires_fit
    check_is_fitted(extractor)


def test_a_pipeline_from_paths_to_labels(
    extractor: FeatureExtractor, clips: tuple[list[str], list[str]]
) -> None:
    paths, labels = clips
    pipeline = make_pipeline(clone(extractor), StandardScaler(), LogisticRegression())
    assert pipeline.fit(paths, labels).score(paths, labels) == 1.0
    assert cross_val_score(pipeline, np.array(paths), labels, cv=5).shape == (5,)
    assert pipeline[:-1].get_feature_names_out()[0] == "fc1_0"
    assert "FeatureExtractor" in repr(pipeline)
    assert "FeatureExtractor" in pipeline._repr_html_()


def test_a_search_over_layers_opens_one_network(
    checkpoint: Path, clips: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pannsx.inference import cached_features

    opened = []
    whole = cached_features.open_pipeline

    def counted(**arguments: Any) -> Any:
        opened.append(arguments)
        return whole(**arguments)

    monkeypatch.setattr(cached_features, "open_pipeline", counted)
    paths, labels = clips
    extractor = FeatureExtractor(checkpoint=checkpoint, device="cpu", cache=tmp_path)
    search = GridSearchCV(
        Pipeline([("embed", extractor), ("head", LogisticRegression())]),
        {"embed__layer": ["block4", "trunk", "fc1"], "embed__pooling": ["clip", "mean_std"]},
        cv=2,
    )
    search.fit(paths, labels)
    assert len(search.cv_results_["params"]) == 6
    assert len(search.predict(paths[:2])) == 2
    assert len(opened) == 1


def test_a_search_with_a_cache_runs_the_network_once_for_each_clip(
    checkpoint: Path, clips: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heard: list[Any] = []
    features = Network_.features

    def counted(self: Network_, sources: list[Any], *others: Any) -> Any:
        heard.extend(sources)
        return features(self, sources, *others)

    monkeypatch.setattr(Network_, "features", counted)
    paths, labels = clips
    extractor = FeatureExtractor(checkpoint=checkpoint, device="cpu", cache=tmp_path)
    pipeline = make_pipeline(extractor, StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1, 10]}, cv=2)
    assert search.fit(paths, labels).score(paths, labels) == 1.0
    assert sorted(heard) == sorted(paths)


def test_tables(extractor: FeatureExtractor, clips: tuple[list[str], list[str]]) -> None:
    pd = party("pandas", "pandas")
    paths, labels = clips
    table = pd.DataFrame({"path": paths, "gain": np.arange(10.0), "label": labels}, index=range(10, 20))
    needed = extractor.transform(paths)
    for columns in ("path", ["path"]):
        both = ColumnTransformer([("sound", clone(extractor), columns), ("gain", "passthrough", ["gain"])])
        found = both.set_output(transform="pandas").fit_transform(table)
        assert list(found.index) == list(range(10, 20))
        assert found.columns[0] == "sound__fc1_0"
        assert found.columns[-1] == "gain__gain"
        np.testing.assert_array_equal(found.to_numpy()[:, :-1], needed)
    fresh = FeatureExtractor(extractor)
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(fresh.transform(paths), pd.DataFrame)
        assert isinstance(fresh.set_output(transform="default").transform(paths), np.ndarray)
    pipeline = make_pipeline(clone(extractor), StandardScaler()).set_output(transform="pandas")
    assert pipeline.fit_transform(table["path"]).shape == (10, EMBEDDING)
    assert list(pipeline.fit_transform(table["path"]).index) == list(table.index)


def test_polars(extractor: FeatureExtractor, clips: tuple[list[str], list[str]]) -> None:
    pl = party("polars", "doors")
    paths, _ = clips
    table = pl.DataFrame({"path": paths})
    needed = extractor.transform(paths)
    np.testing.assert_array_equal(extractor.transform(table), needed)
    np.testing.assert_array_equal(extractor.transform(table["path"]), needed)
    found = clone(extractor).set_output(transform="polars").transform(table["path"])
    assert isinstance(found, pl.DataFrame)
    assert found.columns[0] == "fc1_0"
    np.testing.assert_array_equal(found.to_numpy(), needed)


def test_half_precision_in_a_pipeline(
    extractor: FeatureExtractor, clips: tuple[list[str], list[str]]
) -> None:
    paths, labels = clips
    half = clone(extractor).set_params(dtype="float16", layer="trunk")
    assert half.transform(paths).shape == (10, CHANNELS)
    assert (
        make_pipeline(half, StandardScaler(), LogisticRegression()).fit(paths, labels).score(paths, labels)
        == 1
    )
