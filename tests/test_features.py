"""`FeatureExtractor` as a transformer: layers, pooling, tables in and out, and the cache on disk."""

from __future__ import annotations

import logging
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from narrow_checkpoint import CHANNELS, EMBEDDING, LABELS, narrow_file
from small_models import SAME_ALONE, noise

from pannsx import AudioError, AudioTagger, FeatureExtractor
from pannsx.inference.embedding_cache import EmbeddingCache
from pannsx.inference.levels import Level, joined
from pannsx.inference.pipeline import Pipeline
from pannsx.inference.windows import Extent
from pannsx.weights import load

RATE = 32000
SOUNDS = [noise(8000 + 3000 * i, seed=i) for i in range(3)]


checkpoint = narrow_file


@pytest.fixture(scope="module")
def opened(checkpoint: Path) -> FeatureExtractor:
    return FeatureExtractor(checkpoint=checkpoint, device="cpu").fit()


@pytest.fixture
def extractor(opened: FeatureExtractor) -> FeatureExtractor:
    """A copy with the same network, to set parameters of."""
    return opened.__sklearn_clone__()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.wav" for i in range(3)]
    for path, sound in zip(paths, SOUNDS, strict=True):
        soundfile.write(path, sound, RATE, subtype="FLOAT")
    return paths


# --- layers and pooling -----------------------------------------------------------------------------


def expected(model: Any, sound: np.ndarray, layer: str, pooling: str) -> np.ndarray:
    """By the torch module, from the definitions."""
    waveform = torch.from_numpy(sound)[None]
    with torch.inference_mode():
        if pooling == "clip" and layer in ("pooled", "fc1", "logits"):
            return model.forward_features(waveform, level=layer)[0].numpy()
        if layer in ("pooled", "fc1", "logits"):
            frames = model.forward_features(waveform, level=f"frame_{layer}")[0].numpy()
        else:
            found = model.forward_features(waveform, level=layer)[0]
            frames = (found.mean(dim=2) if found.ndim == 3 else found).T.numpy()
    if pooling == "clip":
        return frames.max(axis=0) + frames.mean(axis=0)
    statistics = {"mean": [frames.mean(axis=0)], "max": [frames.max(axis=0)]}
    return np.concatenate(statistics.get(pooling, [frames.mean(axis=0), frames.std(axis=0)]))


@pytest.mark.parametrize("layer", ["block1", "block4", "trunk", "pooled", "fc1", "logits"])
def test_every_layer_with_every_pooling(extractor: FeatureExtractor, checkpoint: Path, layer: str) -> None:
    model = load(checkpoint=checkpoint).model
    channels = {"fc1": EMBEDDING, "logits": len(LABELS)}.get(layer, CHANNELS)
    for pooling in ("clip", "mean", "max", "mean_std"):
        extractor.set_params(layer=layer, pooling=pooling)
        found = extractor.transform(SOUNDS)
        n = channels * (2 if pooling == "mean_std" else 1)
        assert found.shape == (3, n)
        assert found.dtype == np.float32
        assert extractor.n_features == len(extractor.get_feature_names_out()) == n
        for row, sound in zip(found, SOUNDS, strict=True):
            needed = expected(model, sound, layer, pooling)
            np.testing.assert_allclose(row, needed, rtol=0, atol=SAME_ALONE * np.abs(needed).max())


def test_the_prepared_form_and_the_module_agree(checkpoint: Path, extractor: FeatureExtractor) -> None:
    plain = FeatureExtractor(checkpoint=checkpoint, device="cpu", low_memory=True)
    for layer, pooling in (("trunk", "mean"), ("pooled", "clip"), ("fc1", "max"), ("logits", "mean_std")):
        chosen: dict[str, Any] = {"layer": layer, "pooling": pooling}
        needed = plain.set_params(**chosen).transform(SOUNDS)
        found = extractor.set_params(**chosen).transform(SOUNDS)
        np.testing.assert_allclose(found, needed, rtol=0, atol=SAME_ALONE * np.abs(needed).max())


def test_the_default_is_the_embedding_of_a_tagger(checkpoint: Path, opened: FeatureExtractor) -> None:
    tagger = AudioTagger(checkpoint=checkpoint, device="cpu", window_s=0.4)
    long = [noise(40000)]
    for combine in ("mean", "max"):
        windows = FeatureExtractor(tagger, window_s=0.4, combine=combine)
        found = windows.extract(long)
        assert found.shape == (1, EMBEDDING)
        if combine == "mean":
            np.testing.assert_array_equal(found[0], tagger.inference(long).embedding[0])


def test_statistics_of_several_windows_are_those_of_all_frames() -> None:
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((12, 5))
    hop, cuts = 10, (0, 5, 10, 12)
    extents = [Extent(a, b - a, (b - a) * hop) for a, b in pairwise(cuts)]
    parts = [frames[a:b] for a, b in pairwise(cuts)]

    def of(level: Level, *statistics: Any) -> np.ndarray:
        windows = [np.stack([each(part, axis=0) for each in statistics]).astype(np.float32) for part in parts]
        return joined(windows, extents, level, "mean", hop)

    close = {"rtol": 0, "atol": 1e-6}  # float32 of values around 1
    np.testing.assert_allclose(of(Level("trunk", "mean"), np.mean), frames.mean(axis=0), **close)
    np.testing.assert_allclose(of(Level("trunk", "max"), np.max), frames.max(axis=0), **close)
    both = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
    np.testing.assert_allclose(of(Level("trunk", "mean_std"), np.mean, np.var), both, **close)


def test_half_precision_and_names(extractor: FeatureExtractor) -> None:
    whole = extractor.transform(SOUNDS)
    half = extractor.set_params(dtype="float16").transform(SOUNDS)
    np.testing.assert_array_equal(half, whole.astype(np.float16))
    assert half.dtype == np.float16
    assert extractor.get_feature_names_out()[:2].tolist() == ["fc1_0", "fc1_1"]
    extractor.set_params(layer="logits", pooling="mean_std")
    assert extractor.get_feature_names_out().tolist() == [
        *(f"logits_mean_{label}" for label in LABELS),
        *(f"logits_std_{label}" for label in LABELS),
    ]


# --- parameters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"layer": "trunc"}, r"layer is 'trunc'; did you mean 'trunk'.*block1, .*trunk, pooled, fc1, logits"),
        ({"layer": "block5"}, "layer is 'block5'"),
        ({"layer": "frame_fc1"}, "layer is 'frame_fc1'"),
        ({"layer": None}, "layer is None"),
        (
            {"pooling": "men"},
            r"pooling is 'men'; did you mean 'mean' .*; use one of clip, mean, max, mean_std",
        ),
        ({"dtype": "float64"}, "dtype is 'float64'; use 'float32' or 'float16'"),
        ({"window_s": 0.0}, "window_s is 0.0 s"),
        ({"combine": "median"}, "combine is 'median'; use 'mean' or 'max'"),
        ({"checkpoint": None, "model": "Cnn_10"}, "unknown model 'Cnn_10'; did you mean 'Cnn10'"),
    ],
)
def test_wrong_parameters_are_told_by_the_first_use(
    extractor: FeatureExtractor, parameters: dict[str, Any], complaint: str
) -> None:
    extractor.set_params(**parameters)  # only stores
    for use in (extractor.fit, lambda: extractor.transform(SOUNDS), lambda: extractor.extract(SOUNDS)):
        with pytest.raises(ValueError, match=complaint):
            use()


def test_parameters_are_stored_and_set(checkpoint: Path) -> None:
    extractor = FeatureExtractor("nothing", layer="trunk")
    assert extractor.get_params() == {**FeatureExtractor().get_params(), "model": "nothing", "layer": "trunk"}
    assert repr(extractor) == "FeatureExtractor(model='nothing', layer='trunk')"
    with pytest.raises(ValueError, match=r"has no parameter 'lair'.*; its parameters are model, checkpoint"):
        extractor.set_params(layer="fc1", lair="fc1")
    assert extractor.layer == "trunk"
    with pytest.raises(ValueError, match="unknown model 'nothing'"):
        _ = extractor.embedding_size
    extractor.set_params(model=None, checkpoint=checkpoint)
    assert extractor.embedding_size == EMBEDDING


def test_copies_share_the_network_until_it_is_another(checkpoint: Path) -> None:
    extractor = FeatureExtractor(checkpoint=checkpoint, device="cpu")
    copy = extractor.__sklearn_clone__().set_params(layer="trunk", window_s=2.0)
    assert copy._pipeline.engine is extractor._pipeline.engine
    assert copy._pipeline.settings.window_s == 2.0
    assert extractor._pipeline.settings.window_s == 10.0
    copy.set_params(low_memory=True)
    assert copy._pipeline.engine is not extractor._pipeline.engine
    assert extractor._pipeline.engine is extractor._pipeline.engine


def test_a_pickle_has_the_parameters_alone(opened: FeatureExtractor) -> None:
    pickled = pickle.dumps(opened)
    assert len(pickled) < 2000
    again: FeatureExtractor = pickle.loads(pickled)
    assert again.get_params() == opened.get_params()
    np.testing.assert_array_equal(again.transform(SOUNDS[:1]), opened.transform(SOUNDS[:1]))


# --- what is X --------------------------------------------------------------------------------------


def test_kinds_of_tables(extractor: FeatureExtractor, files: list[Path]) -> None:
    pd = pytest.importorskip("pandas")
    texts = [str(path) for path in files]
    series = pd.Series(texts, index=[7, 3, 5], name="path")
    needed = extractor.transform(files)
    objects = np.empty(3, object)
    objects[:] = files
    tables = [
        texts, tuple(files), np.array(texts), objects, np.array(texts)[:, None], series,
        series.to_frame(), pd.DataFrame({"path": files}),
    ]  # fmt: skip
    for table in tables:
        np.testing.assert_array_equal(extractor.transform(table), needed)
    batch = np.stack([SOUNDS[0], SOUNDS[1][: len(SOUNDS[0])]])
    assert extractor.transform(batch).shape == (2, EMBEDDING)
    np.testing.assert_array_equal(extractor.transform(batch), extractor.transform(list(batch)))
    np.testing.assert_array_equal(extractor.transform(batch), extractor.transform(torch.from_numpy(batch)))
    np.testing.assert_array_equal(extractor.transform(batch), extractor.transform(batch.tolist()))

    frame = extractor.set_output(transform="pandas").transform(series)
    assert list(frame.index) == [7, 3, 5]
    assert list(frame.columns) == list(extractor.get_feature_names_out())
    np.testing.assert_array_equal(frame.to_numpy(), needed)
    assert list(extractor.transform(texts).index) == [0, 1, 2]
    assert isinstance(extractor.set_output(transform=None).transform(texts), pd.DataFrame)
    assert isinstance(extractor.set_output(transform="default").transform(texts), np.ndarray)
    with pytest.raises(ValueError, match="transform is 'table'; use one of default, pandas, polars"):
        extractor.set_output(transform="table")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("X", "error", "complaint"),
    [
        ("dog.wav", ValueError, r"X is one source, 'dog.wav'; a list of sources is needed"),
        (Path("dog.wav"), ValueError, "X is one source"),
        (b"RIFF", ValueError, "X is one source"),
        ([], ValueError, "X has 0 samples"),
        (np.zeros((0, 100)), ValueError, "X has 0 samples"),
        (np.zeros((2, 0)), ValueError, r"0 feature\(s\)"),
        (np.zeros(32000), ValueError, r"Reshape your data: X\.reshape\(1, -1\)"),
        ([0.1, 0.2], ValueError, "X is one row of numbers"),
        (np.zeros((2, 3, 100)), ValueError, r"X has shape \(2, 3, 100\)"),
        (np.array([["a.wav", "b"]]), ValueError, "one source for each row is needed"),
        (np.zeros((2, 100), complex), ValueError, "Complex data not supported: X has type complex128"),
        (np.array([[0.0, 1.0], [0.0, np.nan]]), ValueError, "X has NaN or inf in row 1"),
        (torch.zeros(100), ValueError, r"X is a tensor of shape \(100,\)"),
        (3, TypeError, "X is int"),
        ({"path": ["a.wav"]}, TypeError, "X is dict"),
        (None, TypeError, "X is NoneType"),
    ],
)
def test_what_is_no_list_of_sources(
    extractor: FeatureExtractor, X: Any, error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        extractor.transform(X)


def test_a_table_of_several_columns_or_with_a_gap(extractor: FeatureExtractor, files: list[Path]) -> None:
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"path": [str(path) for path in files], "label": list("aba")})
    with pytest.raises(ValueError, match=r"X has the columns 'path', 'label'; one column .*X\['path'\]"):
        extractor.transform(table)
    table.loc[1, "path"] = None
    with pytest.raises(AudioError, match="source 1"):
        extractor.transform(table["path"])


# --- the cache --------------------------------------------------------------------------------------


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sources each pass of the network was given."""
    numbers: list[int] = []
    whole = Pipeline.features

    def counted(self: Pipeline, sources: list[Any], *arguments: Any) -> Iterator[np.ndarray]:
        numbers.append(len(sources))
        return whole(self, sources, *arguments)

    monkeypatch.setattr(Pipeline, "features", counted)
    return numbers


def test_features_are_computed_once(
    extractor: FeatureExtractor, files: list[Path], tmp_path: Path, computed: list[int]
) -> None:
    needed = extractor.transform(files)
    extractor.set_params(cache=tmp_path / "cache")
    sources = [*files, SOUNDS[0], (RATE, SOUNDS[1]), files[2].read_bytes(), files[0]]
    first = extractor.transform(sources)
    np.testing.assert_allclose(first[:3], needed, rtol=0, atol=SAME_ALONE * needed.max())
    np.testing.assert_array_equal(first[6], first[0])
    assert computed == [3, 6]  # the last is the first once more
    files[1].rename(tmp_path / "moved.wav")
    second = extractor.transform([tmp_path / "moved.wav", *sources[2:]])
    np.testing.assert_array_equal(second, first[1:])
    assert extractor.extract(files[0]).shape == (1, EMBEDDING)
    assert computed[2:] == [0, 0]
    half = extractor.set_params(dtype="float16").transform([files[0]])
    np.testing.assert_array_equal(half[0], first[0].astype(np.float16))
    assert computed[4:] == [0]


def test_what_changes_the_features_is_another_entry(
    extractor: FeatureExtractor, files: list[Path], tmp_path: Path, computed: list[int]
) -> None:
    source = files[:1]
    extractor.set_params(cache=tmp_path / "cache").transform(source)
    changes: list[dict[str, Any]] = [
        {"layer": "trunk"}, {"pooling": "max"}, {"window_s": 5.0}, {"overlap_s": 1.0}, {"combine": "max"},
    ]  # fmt: skip
    for change in changes:
        extractor.set_params(**change).transform(source)
    extractor.extract(source, start_s=0.05)
    extractor.extract(source, channel=0)
    soundfile.write(files[0], SOUNDS[2], RATE, subtype="FLOAT")
    extractor.transform(source)
    assert computed == [1] * (len(changes) + 4)


def test_weights_are_part_of_the_key(
    files: list[Path], tmp_path: Path, computed: list[int], checkpoint: Path
) -> None:
    from pannsx import save

    loaded = load(checkpoint=checkpoint)
    loaded.model.head.fc1.bias.data += 1.0
    other = tmp_path / "other.safetensors"
    save(loaded, other)
    one, another = (
        FeatureExtractor(checkpoint=path, device="cpu", cache=tmp_path / "cache")
        for path in (checkpoint, other)
    )
    assert not np.array_equal(one.transform(files[:1]), another.transform(files[:1]))
    assert computed == [1, 1]


def test_damaged_entries_are_computed_again(
    extractor: FeatureExtractor,
    files: list[Path],
    tmp_path: Path,
    computed: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    needed = extractor.set_params(cache=tmp_path / "cache").transform(files)
    one, two, three = sorted((tmp_path / "cache").rglob("*.npy"))
    one.write_bytes(one.read_bytes()[:-5])
    two.write_bytes(b"")
    np.save(three, np.zeros(3, np.float32))
    with caplog.at_level(logging.WARNING, "pannsx"):
        np.testing.assert_array_equal(extractor.transform(files), needed)
    assert caplog.text.count("are damaged and computed again") == 3
    np.testing.assert_array_equal(extractor.transform(files), needed)
    assert computed == [3, 3, 0]


def test_an_error_keeps_what_came_before_and_names_its_source(
    extractor: FeatureExtractor, files: list[Path], tmp_path: Path, computed: list[int]
) -> None:
    extractor.set_params(cache=tmp_path / "cache").transform(files[:1])
    bad = tmp_path / "bad.wav"
    bad.write_text("this is no sound")
    with pytest.raises(AudioError, match=r"^source 2 \('.*bad\.wav'\): .*is not audio"):
        extractor.transform([files[0], files[1], bad, files[2]])
    with pytest.raises(AudioError, match=r"^source 2 \('.*bad\.wav'\)"):  # the only one to compute
        extractor.transform([files[0], files[1], bad])
    with pytest.raises(AudioError, match="is not audio") as raised:
        extractor.transform([bad])
    assert "source" not in str(raised.value)
    with pytest.raises(AudioError, match=r"source 1 .*missing\.wav"):
        extractor.transform([files[0], tmp_path / "missing.wav"])
    assert computed == [1, 3, 1, 1, 1]


def test_a_cache_that_cannot_be_written_loses_nothing(
    extractor: FeatureExtractor, files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    needed = extractor.transform(files)
    extractor.set_params(cache=tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING, "pannsx"):
        np.testing.assert_array_equal(extractor.transform(files), needed)
    assert caplog.text.count("cannot keep features in") == 1


def test_a_file_that_changes_meanwhile_is_not_kept(files: list[Path], tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "cache", {}, 2)
    entry = cache.entry_of(files[0])
    assert entry is not None
    soundfile.write(files[0], SOUNDS[2], RATE)
    cache.put(entry, np.zeros(2, np.float32))
    assert cache.get(entry) is None


def test_sources_without_a_known_content_have_no_entry(files: list[Path], tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, {}, 2)
    with files[0].open("rb") as file:
        assert cache.entry_of(file) is None
    assert cache.entry_of(torch.zeros(3)) is None
    assert cache.entry_of(tmp_path / "missing.wav") is None
    known = [
        files[0],
        np.zeros(4),
        np.zeros(4, np.float32),
        np.zeros((2, 2)),
        (RATE, np.zeros(4)),
        b"\0" * 32,
    ]
    names = [getattr(cache.entry_of(source), "name", None) for source in known]  # type: ignore[arg-type]
    assert None not in names
    assert len(set(names)) == len(names)
    other = EmbeddingCache(tmp_path, {"level": "trunk"}, 2).entry_of(np.zeros(4))
    assert other is not None
    assert other.name not in names


WRITER = """
    import sys
    from pathlib import Path
    import numpy as np
    from pannsx.inference.embedding_cache import EmbeddingCache

    cache = EmbeddingCache(Path(sys.argv[1]), {}, 50_000)
    for number in range(int(sys.argv[2]), 1_000_000):
        cache.put(cache.entry_of(np.array([number % 40])), np.full(50_000, number % 40, np.float32))
"""


def test_writers_that_are_killed_leave_whole_entries(tmp_path: Path) -> None:
    """Processes that write the same entries are killed at any moment, and no entry is half written."""
    folder = tmp_path / "cache"
    cache = EmbeddingCache(folder, {}, 50_000)
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)]
    writers = [subprocess.Popen([*command, str(start)]) for start in (0, 20)]
    try:
        deadline = time.monotonic() + 60
        while len(list(folder.rglob("*.npy"))) < 10:
            assert time.monotonic() < deadline, "no writer wrote anything"
            assert all(writer.poll() is None for writer in writers)
            time.sleep(0.01)
        read = [(number, cache.get(cache.entry_of(np.array([number])))) for number in range(40)]  # type: ignore[arg-type]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    if sys.platform != "win32":
        assert {writer.returncode for writer in writers} == {-signal.SIGKILL}
    read += [(number, cache.get(cache.entry_of(np.array([number])))) for number in range(40)]  # type: ignore[arg-type]
    whole = [(number, values) for number, values in read if values is not None]
    assert len(whole) >= 10
    assert all((values == number).all() for number, values in whole)
    for number in range(40):  # what the killed ones left is no hindrance
        entry = cache.entry_of(np.array([number]))
        assert entry is not None
        cache.put(entry, np.full(50_000, number, np.float32))
        assert cache.get(entry) is not None
    assert not list(folder.rglob("*.tmp"))
