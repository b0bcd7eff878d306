"""``pannsx embed``: what is written comes back, whole or not at all."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_files import write_wav
from small_models import SAME_ALONE

from pannsx import FeatureExtractor
from pannsx.cli import main
from pannsx.corpus.embedding_files import unit_length
from pannsx.readable import file_size
from pannsx.weights.manifest import DEFAULT_CHECKPOINT

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return FeatureExtractor()


@pytest.fixture
def clips(tmp_path: Path) -> list[str]:
    return [write_wav(tmp_path / f"clip{i}.wav", 1 + 0.5 * (i % 2), seed=i) for i in range(3)]


def close(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=SAME_ALONE * np.abs(expected).max())


def test_npz(clips: list[str], tmp_path: Path, extractor: FeatureExtractor, capsys: Captured) -> None:
    out = tmp_path / "out.npz"
    assert main(["embed", *clips, "-o", str(out)]) == 0
    assert capsys.readouterr().err == (
        f"pannsx: wrote {out} ({file_size(out.stat().st_size)}): 3 of 3 embedded\n"
    )
    with np.load(out, allow_pickle=False) as found:
        assert set(found) == {"files", "embeddings", "model", "sample_rate", "weights", "normalised"}
        assert str(found["weights"]) == extractor.record.sha256
        assert not found["normalised"]
        assert found["files"].tolist() == clips
        close(found["embeddings"], extractor.extract(clips))
        assert str(found["model"]) == DEFAULT_CHECKPOINT
        assert int(found["sample_rate"]) == 32000


def test_npz_frames(clips: list[str], tmp_path: Path, extractor: FeatureExtractor) -> None:
    out = tmp_path / "out.npz"
    assert main(["embed", *clips, "-o", str(out), "--frames", "--quiet"]) == 0
    with np.load(out, allow_pickle=False) as found:
        assert float(found["hop_s"]) == extractor.hop_s
        assert len(found["embeddings"]) == len(found["times_s"]) == len(found["file_index"])
        for i, expected in enumerate(extractor.extract_frames(clips)):
            chosen = found["file_index"] == i
            close(found["embeddings"][chosen], expected.embeddings)
            assert found["times_s"][chosen].tolist() == expected.times_s.tolist()


def test_csv(clips: list[str], tmp_path: Path, extractor: FeatureExtractor) -> None:
    out = tmp_path / "out.CSV"
    assert main(["embed", *clips, "-o", str(out)]) == 0
    with out.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", *(f"e{i}" for i in range(1024))]
    assert [row[0] for row in rows] == clips
    close(np.array([row[1:] for row in rows], dtype=np.float32), extractor.extract(clips))


def test_csv_frames(clips: list[str], tmp_path: Path, extractor: FeatureExtractor) -> None:
    out = tmp_path / "out.csv"
    assert main(["embed", clips[0], "-o", str(out), "--frames"]) == 0
    with out.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    (expected,) = extractor.extract_frames(clips[:1])
    assert header[:3] == ["file", "time_s", "e0"]
    assert [float(row[1]) for row in rows] == pytest.approx(expected.times_s)
    close(np.array([row[2:] for row in rows], dtype=np.float32), expected.embeddings)


@pytest.mark.parametrize("frames", [False, True])
def test_parquet(clips: list[str], tmp_path: Path, extractor: FeatureExtractor, frames: bool) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out.parquet"
    assert main(["embed", *clips, "-o", str(out), *(["--frames"] if frames else [])]) == 0
    table = pq.read_table(out)
    embeddings = np.array(table["embedding"].to_pylist(), dtype=np.float32)
    hop_s = extractor.hop_s
    assert {key.decode(): value.decode() for key, value in table.schema.metadata.items()} == {
        "model": DEFAULT_CHECKPOINT, "weights": extractor.record.sha256, "sample_rate": "32000",
        "normalised": "false", **({"hop_s": repr(hop_s)} if frames else {}),
    }  # fmt: skip
    assert table.schema.field("embedding").type.list_size == extractor.embedding_size
    if frames:
        expected = extractor.extract_frames(clips)
        assert table.column_names == ["id", "path", "offset_s", "duration_s", "time_s", "embedding"]
        assert table["path"].to_pylist() == [
            clip for clip, part in zip(clips, expected, strict=True) for _ in part.times_s
        ]
        times_s = np.concatenate([part.times_s for part in expected])
        assert table["time_s"].to_pylist() == times_s.tolist()
        starts = np.maximum(times_s - hop_s / 2, 0)
        assert table["offset_s"].to_pylist() == starts.tolist()
        np.testing.assert_allclose(table["duration_s"], times_s + hop_s / 2 - starts)
        assert len(set(table["id"].to_pylist())) == len(table)
        assert table["id"][1].as_py() == f"{clips[0]}#t={starts[1]:.9g},{times_s[1] + hop_s / 2:.9g}"
        close(embeddings, np.concatenate([part.embeddings for part in expected]))
    else:
        assert table.column_names == ["id", "path", "offset_s", "duration_s", "embedding"]
        assert table["id"].to_pylist() == table["path"].to_pylist() == clips
        assert table["offset_s"].to_pylist() == [0.0] * 3
        assert table["duration_s"].to_pylist() == [1.0, 1.5, 1.0]
        close(embeddings, extractor.extract(clips))


def test_parquet_in_several_groups(
    clips: list[str], tmp_path: Path, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("pannsx.corpus.embedding_files._ROW_GROUP", 2)
    out = tmp_path / "out.parquet"
    assert main(["embed", *clips, "-o", str(out)]) == 0
    assert pq.ParquetFile(out).num_row_groups == 2
    assert pq.read_table(out)["path"].to_pylist() == clips


def test_parts_and_unit_length(clips: list[str], tmp_path: Path, extractor: FeatureExtractor) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out.parquet"
    options = ["--start", "0.25", "--duration", "0.5", "--normalise"]
    assert main(["embed", *clips, "-o", str(out), *options]) == 0
    table = pq.read_table(out)
    assert table.schema.metadata[b"normalised"] == b"true"
    assert table["id"].to_pylist() == [f"{clip}#t=0.25,0.75" for clip in clips]
    assert table["offset_s"].to_pylist() == [0.25] * 3
    assert table["duration_s"].to_pylist() == [0.5] * 3
    expected = extractor.extract(clips, start_s=0.25, duration_s=0.5)
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    close(np.array(table["embedding"].to_pylist(), np.float32), expected)
    zeros = np.zeros((1, 4), np.float32)
    assert unit_length(zeros).tolist() == zeros.tolist()


def test_parquet_without_pyarrow(
    clips: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["embed", *clips, "-o", str(tmp_path / "out.parquet")]) == 1
    assert 'pip install "pannsx[parquet]"' in capsys.readouterr().err


@pytest.mark.parametrize("frames", [False, True])
def test_bad_files_are_left_out(clips: list[str], tmp_path: Path, frames: bool, capsys: Captured) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("this is no sound")
    out = tmp_path / "out.npz"
    arguments = [clips[0], str(bad), *clips[1:], "-o", str(out), *(["--frames"] if frames else [])]
    assert main(["embed", *arguments]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"pannsx: {bad}: is not audio")
    assert said[1].startswith(f"pannsx: wrote {out} (")
    assert said[1].endswith("): 3 of 4 embedded, 1 failed")
    with np.load(out) as found:
        assert found["files"].tolist() == clips


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
def test_an_earlier_output_stays_if_nothing_can_be_read(
    tmp_path: Path, suffix: str, capsys: Captured
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"out.{suffix}"
    out.write_text("from before")
    assert main(["embed", str(tmp_path / "missing.wav"), "-o", str(out)]) == 1
    assert "is not written" in capsys.readouterr().err
    assert out.read_text() == "from before"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_an_interrupt_leaves_the_earlier_output_and_nothing_else(
    tmp_path: Path, clips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "out.npz"
    out.parent.mkdir()
    out.write_text("from before")

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pannsx.corpus.embedding_files.NpzWriter.write", interrupt)
    assert main(["embed", *clips, "-o", str(out)]) == 130
    assert out.read_text() == "from before"
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_an_unwritable_output_is_known_before_the_work(
    clips: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("pannsx.cli.embed.build", lambda *_: pytest.fail("the network was built"))
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out.npz"
    assert main(["embed", *clips, "-o", str(out)]) == 1
    assert f"cannot write {out}: " in capsys.readouterr().err


def test_a_folder_is_no_output(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.npz"
    out.mkdir()
    assert main(["embed", "a.wav", "-o", str(out)]) == 2
    assert "is a folder" in capsys.readouterr().err
