"""The Parquet files of embeddings, tags and events, as pandas, polars and DuckDB read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_files import write_wav
from parties import party

from pannsx import AudioTagger
from pannsx.cli import main
from pannsx.corpus.embedding_files import Embedded, Origin, ParquetWriter

SIZE = 6
PRINTED = 1e-6
"""Of a probability in a file: it has six decimals."""
ROWS = [
    ("dog.wav", 0.0, 1.5),
    ("räin of may.flac", 0.0, 2.25),
    ('a,b"c.wav', 0.0, 0.5),
]


@pytest.fixture
def embeddings() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((len(ROWS), SIZE)).astype(np.float32)


@pytest.fixture
def written(tmp_path: Path, embeddings: np.ndarray) -> Path:
    party("pyarrow", "parquet")
    path = tmp_path / "clips.parquet"
    origin = Origin("Cnn14", "0dc4", 32000, SIZE, None, normalised=True)
    with ParquetWriter(path, origin) as writer:
        for (name, offset_s, duration_s), embedding in zip(ROWS, embeddings, strict=True):
            writer.write(Embedded(name, embedding[None], offset_s, duration_s))
    return path


def test_pandas(written: Path, embeddings: np.ndarray) -> None:
    pd = party("pandas", "pandas")
    table = pd.read_parquet(written)
    assert list(table.columns) == ["id", "path", "offset_s", "duration_s", "embedding"]
    assert list(zip(table["path"], table["offset_s"], table["duration_s"], strict=True)) == ROWS
    np.testing.assert_array_equal(np.stack(table["embedding"]), embeddings)


def test_polars(written: Path, embeddings: np.ndarray) -> None:
    pl = party("polars", "doors")
    table = pl.read_parquet(written)
    assert table.schema["embedding"] == pl.Array(pl.Float32, SIZE)
    assert table.select("path", "offset_s", "duration_s").rows() == ROWS
    np.testing.assert_array_equal(table["embedding"].to_numpy(), embeddings)


def test_duckdb(written: Path, embeddings: np.ndarray) -> None:
    duckdb = party("duckdb", "doors")
    with duckdb.connect() as database:
        rows = database.execute("select path, offset_s, duration_s from read_parquet(?)", [str(written)])
        assert rows.fetchall() == ROWS
        nearest = database.execute(
            "select path from read_parquet(?) "
            f"order by list_cosine_similarity(embedding, ?::float[{SIZE}]) desc",
            [str(written), embeddings[1].tolist()],
        )
        assert nearest.fetchone() == (ROWS[1][0],)
        about = database.execute(
            "select decode(key), decode(value) from parquet_kv_metadata(?)", [str(written)]
        ).fetchall()
    assert {("model", "Cnn14"), ("weights", "0dc4"), ("normalised", "true")} <= set(about)


def test_frames(tmp_path: Path) -> None:
    party("pyarrow", "parquet")
    pl = party("polars", "doors")
    path = tmp_path / "frames.parquet"
    times_s = 0.155 + 0.32 * np.arange(3)
    with ParquetWriter(path, Origin("Cnn14", "0dc4", 32000, SIZE, 0.32)) as writer:
        writer.write(Embedded("a.wav", np.ones((3, SIZE), np.float32), 60.0, None, times_s))
    table = pl.read_parquet(path)
    assert table["time_s"].to_list() == times_s.tolist()
    np.testing.assert_allclose(table["offset_s"], [60.0, 60.315, 60.635])
    assert table["id"].n_unique() == 3
    assert table["id"][2] == "a.wav#t=60.635,60.955"


def by_pandas(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = party("pandas", "pandas").read_parquet(path).to_dict("records")
    return rows


def by_polars(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = party("polars", "doors").read_parquet(path).to_dicts()
    return rows


def by_duckdb(path: Path) -> list[dict[str, Any]]:
    with party("duckdb", "doors").connect() as database:
        found = database.execute("select * from read_parquet(?)", [str(path)])
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_wav(tmp_path_factory.mktemp("recording") / "räin of may.wav", 2.0))


@pytest.mark.parametrize("read", [by_pandas, by_polars, by_duckdb])
def test_tags_and_events(
    read: Callable[[Path], list[dict[str, Any]]], recording: Path, tmp_path: Path
) -> None:
    party("pyarrow", "parquet")
    expected = AudioTagger().inference(recording)
    assert main(["tag", str(recording), "-n", "3", "-q", "-o", str(tmp_path / "tags.parquet")]) == 0
    tags = read(tmp_path / "tags.parquet")
    assert [(row["label"], row["file"]) for row in tags] == [
        (tag.label, str(recording)) for tag in expected.top(3)
    ]
    np.testing.assert_allclose(
        [row["probability"] for row in tags], [tag.probability for tag in expected.top(3)], atol=PRINTED
    )
    threshold = str(0.5 * expected.top(1)[0].probability)
    events_path = tmp_path / "events.parquet"
    assert main(["events", str(recording), "--threshold", threshold, "-q", "-o", str(events_path)]) == 0
    events = read(events_path)
    assert events
    assert [row["label"] for row in events] == [
        event.label for event in expected.events(threshold=float(threshold))
    ]
    assert all(0 <= row["onset_s"] < row["offset_s"] <= row["duration_s"] == 2.0 for row in events)
