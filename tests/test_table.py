"""Results and events as pandas DataFrames: the same columns, whatever the source."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pannsx import AudioTagger, BatchResult, TaggingResult
from pannsx.events import Event, EventList
from pannsx.labels import audioset
from pannsx.results import FrameGrid

HOP_S = 0.5
PROBABILITIES = np.array([[0.1, 0.9], [0.8, 0.2], [0.7, 0.1]], np.float32)
CLIPWISE = np.array([0.25, 0.75], np.float32)
GRID = FrameGrid(HOP_S, HOP_S / 2, ("Dog", "Rain"), "native", ("/m/0bt9lr", "/m/06mb1"))
RESULT = TaggingResult(
    CLIPWISE,
    np.log(CLIPWISE / (1 - CLIPWISE)),
    np.zeros(3, np.float32),
    PROBABILITIES,
    GRID,
    1.5,
    file="a.wav",
)
COLUMNS = ["file", "onset_s", "offset_s", "label", "mid", "probability"]


def batch_of(*results: TaggingResult, files: tuple[str | None, ...] | None) -> BatchResult:
    return BatchResult(
        np.stack([each.clipwise for each in results]),
        np.stack([each.logits for each in results]),
        np.stack([each.embedding for each in results]),
        None,
        GRID,
        tuple(each.duration_s for each in results),
        files=files,
    )


def test_tags() -> None:
    pytest.importorskip("pandas", reason="pandas, the extra pannsx[pandas], is not installed")
    table = RESULT.to_pandas()
    assert list(table.columns) == COLUMNS
    assert table.to_numpy().tolist() == [
        ["a.wav", 0.0, 1.5, "Rain", "/m/06mb1", 0.75],
        ["a.wav", 0.0, 1.5, "Dog", "/m/0bt9lr", 0.25],
    ]
    assert RESULT.to_pandas(top=1).label.tolist() == ["Rain"]
    assert RESULT.to_pandas(threshold=0.5).label.tolist() == ["Rain"]
    assert RESULT.to_pandas(classes=["Dog"]).label.tolist() == ["Dog"]
    assert RESULT.to_pandas(threshold=0.9).empty
    with pytest.raises(ValueError, match="k is 0"):
        RESULT.to_pandas(top=0)


def test_tags_of_a_batch() -> None:
    pd = pytest.importorskip("pandas", reason="pandas, the extra pannsx[pandas], is not installed")
    batch = batch_of(RESULT, replace(RESULT, duration_s=2.0), files=("a.wav", None))
    assert batch.to_pandas(classes=["Dog"]).label.tolist() == ["Dog", "Dog"]
    table = batch.to_pandas(top=1)
    assert table.offset_s.tolist() == [1.5, 2.0]
    assert table.file[0] == "a.wav"
    assert table.file[1] is pd.NA
    assert batch_of(RESULT, files=None).to_pandas().file.isna().all()


def test_events() -> None:
    pd = pytest.importorskip("pandas", reason="pandas, the extra pannsx[pandas], is not installed")
    events = RESULT.events()
    assert events == [
        Event("Rain", 0.0, 0.5, float(np.float32(0.9))),
        Event("Dog", 0.5, 1.5, float(np.float32(0.8))),
    ]
    table = events.to_pandas()
    assert list(table.columns) == COLUMNS
    assert table.mid.tolist() == ["/m/06mb1", "/m/0bt9lr"]
    assert table.onset_s.tolist() == [0.0, 0.5]
    assert pickle.loads(pickle.dumps(events)).to_pandas().equals(table)
    # A table without rows has the same columns and types, so that it can stand among others.
    none = RESULT.events(threshold=0.99).to_pandas()
    assert none.empty
    assert none.dtypes.equals(table.dtypes)
    assert pd.concat([none, table]).dtypes.equals(table.dtypes)


def test_what_has_no_name_and_no_id() -> None:
    pytest.importorskip("pandas", reason="pandas, the extra pannsx[pandas], is not installed")
    own = replace(RESULT, grid=replace(GRID, label_ids=None), file=None)
    assert own.to_pandas()[["file", "mid"]].isna().to_numpy().all()
    weather = RESULT.events(super_classes={"Weather": ["Rain"]}).to_pandas()
    assert weather.label.tolist() == ["Weather"]
    assert weather.mid.isna().all()
    assert EventList().to_pandas().empty


def test_a_name_that_is_not_utf_8() -> None:
    pytest.importorskip("pandas", reason="pandas, the extra pannsx[pandas], is not installed")
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    assert replace(RESULT, file=name).to_pandas().file[0] == name


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pannsx\[pandas\]"):
        RESULT.events().to_pandas()


def test_results_know_their_sources(tmp_path: Path) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, waveform, 32_000)
    tagger = AudioTagger(device="cpu")
    with path.open("rb") as file:
        batch = tagger.inference([path, str(path), file, path.read_bytes(), waveform])
    assert batch.files == (str(path), str(path), str(path), None, None)
    assert [result.file for result in batch] == list(batch.files)
    assert [result.file for result in tagger.iter_inference([waveform, path])] == [None, str(path)]
    assert tagger.inference(path, hop_s=0.16).file == str(path)
    assert batch.label_ids == audioset().ids
