"""The Parquet file of `pannsx embed`, as pandas, polars and DuckDB read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from parties import party

from pannsx.corpus.embedding_files import Embedded, Origin, ParquetWriter

SIZE = 6
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
