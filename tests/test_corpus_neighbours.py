"""Neighbours and near-duplicates are those of all pairs, whatever the blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pannsx.corpus import near_duplicates, neighbours
from pannsx.corpus.similarity import NEAR_DUPLICATE

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

D = 8


def write(path: Path, embeddings: Any, ids: list[str] | None = None, dtype: Any = np.float32) -> Path:
    path.parent.mkdir(exist_ok=True)
    values = pa.array(np.asarray(embeddings, dtype).reshape(-1))
    columns = {
        "id": ids or [f"r{i}" for i in range(len(embeddings))],
        "offset_s": np.arange(len(embeddings)) * 0.5,
        "embedding": pa.FixedSizeListArray.from_arrays(values, len(embeddings[0])),
    }
    pq.write_table(pa.table(columns), path)
    return path


def cosines(embeddings: Any) -> Any:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    module = importlib.import_module("pannsx.corpus.similarity")
    for name, value in (("_QUERIES", 7), ("_ROWS", 5), ("_READ_ROWS", 4)):
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("k", [1, 6, 100])
def test_neighbours_are_those_of_all_pairs(k: int, tmp_path: Path, small_blocks: None) -> None:
    embeddings = np.random.default_rng(k).standard_normal((40, D))
    write(tmp_path / "t" / "part-1.parquet", embeddings[:17])
    write(tmp_path / "t" / "part-2.parquet", embeddings[17:], [f"r{i}" for i in range(17, 40)])
    (tmp_path / "t" / "_run.json").write_text("{}")
    found = neighbours(tmp_path / "t", k)
    k = min(k, 39)
    assert found["rank"].to_pylist() == list(range(1, k + 1)) * 40
    assert found["id"].to_pylist() == [f"r{i}" for i in range(40) for _ in range(k)]
    expected = cosines(embeddings)
    np.fill_diagonal(expected, -np.inf)
    order = np.argsort(-expected, axis=1)[:, :k]
    assert found["neighbour_id"].to_pylist() == [f"r{i}" for i in order.reshape(-1)]
    np.testing.assert_allclose(
        np.asarray(found["similarity"]).reshape(40, k), np.take_along_axis(expected, order, 1), atol=1e-6
    )


def test_groups_of_near_duplicates(tmp_path: Path, small_blocks: None) -> None:
    rng = np.random.default_rng(0)
    base = rng.standard_normal((30, 64))
    embeddings = base.copy()
    embeddings[25] = 3 * base[2]  # louder
    embeddings[11] = base[2] + 0.01 * rng.standard_normal(64)
    embeddings[29] = base[28]
    angle = np.arccos(NEAR_DUPLICATE) * 0.9  # each is near the next, the ends are not near each other
    for i in range(3):
        embeddings[5 + i] = np.eye(64)[0] * np.cos(i * angle) + np.eye(64)[1] * np.sin(i * angle)
    found = near_duplicates(write(tmp_path / "t.parquet", embeddings)).to_pydict()
    assert found["id"] == ["r2", "r11", "r25", "r5", "r6", "r7", "r28", "r29"]
    assert found["group"] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert found["offset_s"][:3] == [1.0, 5.5, 12.5]
    assert found["similarity"][0] == pytest.approx(1.0, abs=1e-6)
    assert found["similarity"][4] == pytest.approx(np.cos(angle), abs=1e-6)
    assert len(near_duplicates(tmp_path / "t.parquet", 0.9999).to_pydict()["id"]) == 5


def test_groups_are_those_of_a_graph(tmp_path: Path, small_blocks: None) -> None:
    embeddings = np.random.default_rng(1).standard_normal((50, 3))
    found = near_duplicates(write(tmp_path / "t.parquet", embeddings), 0.97).to_pydict()
    is_near = cosines(embeddings) >= 0.97
    for _ in range(50):
        is_near = is_near @ is_near
    expected = {frozenset(np.flatnonzero(row).tolist()) for row in is_near if row.sum() > 1}
    groups: dict[int, set[int]] = {}
    for group, name in zip(found["group"], found["id"], strict=True):
        groups.setdefault(group, set()).add(int(name[1:]))
    assert {frozenset(group) for group in groups.values()} == expected
    assert len(expected) > 3


def test_rows_without_embeddings_are_left_out(tmp_path: Path) -> None:
    table = pa.table(
        {"id": ["a", "bad", "b"], "embedding": pa.array([[1.0, 0], None, [1, 1]], pa.list_(pa.float16(), 2))}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    found = neighbours(tmp_path / "t.parquet", 5).to_pydict()
    assert (found["id"], found["neighbour_id"], found["offset_s"]) == (["a", "b"], ["b", "a"], [0.0, 0.0])
    assert found["similarity"] == pytest.approx([np.sqrt(0.5)] * 2)


def test_embeddings_that_are_not_numbers_or_zero(tmp_path: Path, small_blocks: None) -> None:
    """What is not finite is left out, and zeros are like nothing."""
    rng = np.random.default_rng(3)
    embeddings = rng.standard_normal((20, D))
    embeddings[[3, 11]] = 0
    embeddings[5, 2], embeddings[6], embeddings[19, 0] = np.nan, np.inf, -np.inf
    embeddings[8] = embeddings[7] * 1e-30
    path = write(tmp_path / "t.parquet", embeddings)
    found = neighbours(path, 50)
    kept = [i for i in range(20) if i not in (5, 6, 19)]
    assert found["id"].to_pylist() == [f"r{i}" for i in kept for _ in range(16)]
    values = np.asarray(found["similarity"]).reshape(17, 16)
    assert np.isfinite(values).all()
    for i, row in zip(kept, values, strict=True):
        with np.errstate(invalid="ignore"):
            others = np.nan_to_num(cosines(embeddings[kept])[kept.index(i)])
        np.testing.assert_allclose(row, sorted(np.delete(others, kept.index(i)))[::-1], atol=1e-6)
    assert near_duplicates(path)["id"].to_pylist() == ["r7", "r8"]


def test_equal_embeddings_reach_every_threshold(tmp_path: Path) -> None:
    """Whatever their sums round to."""
    embeddings = np.repeat(np.random.default_rng(4).standard_normal((50, 1024)), 2, axis=0)
    found = near_duplicates(write(tmp_path / "t.parquet", embeddings), 1.0).to_pydict()
    assert found["id"] == [f"r{i}" for i in range(100)]
    assert found["group"] == [i // 2 for i in range(100)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, 2, 3], [1.0]], "embeddings of 1 and of 3 numbers"),
        (["a", "b"], "is of string; lists of numbers are needed"),
        ([["a"], ["b"]], "is of list<.*string.*; lists of numbers are needed"),
    ],
)
def test_columns_that_are_no_embeddings(values: Any, message: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "embedding": values}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=message):
        neighbours(tmp_path / "t.parquet")


def test_tables_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", np.ones((1, 2)))
    with pytest.raises(ValueError, match="with an embedding is 1; at least two"):
        neighbours(path)
    pq.write_table(pa.table({"id": ["a"], "tags": [1]}), path)
    with pytest.raises(ValueError, match="has no column embedding; its columns are id, tags"):
        neighbours(path)
    for wrong in (tmp_path / "none", Path(__file__)):
        with pytest.raises(ValueError, match="is no table of Parquet files"):
            neighbours(wrong)
    with pytest.raises(ValueError, match="k is 0"):
        neighbours(path, 0)
    with pytest.raises(ValueError, match="threshold is 2"):
        near_duplicates(path, 2)
