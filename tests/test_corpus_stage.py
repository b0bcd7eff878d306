"""The stage of a corpus: each row is what `AudioTagger` gives alone, and a bad one says why."""

from __future__ import annotations

import importlib
import io
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from cli_files import RATE, wav_bytes, write_wav
from small_models import noise

from pannsx import AudioTagger
from pannsx.corpus import OUTPUTS, Stage, decoding, to_table
from pannsx.corpus.rows import row_of

pa = pytest.importorskip("pyarrow")

SAME = 2e-6
"""Of a probability and an embedding's value: float32 sums of a batch of another size, see `SAME_ALONE`, for a
network of 28 layers."""
SECONDS = (1.0, 0.05, 12.0, 1.0, 3.3)


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger()


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    return [write_wav(tmp_path / f"{i}.wav", s, seed=i) for i, s in enumerate(SECONDS)]


@pytest.fixture
def short_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings of three seconds are read piece by piece."""
    monkeypatch.setattr(decoding, "LONGEST_WAVEFORM_S", 3.0)


def stage_of(tagger: AudioTagger, **settings: Any) -> Stage:
    return Stage(tagger, window_s=tagger._pipeline.settings.window_s, **settings)


def same_as_alone(found: dict[str, Any], i: int, tagger: AudioTagger, source: Any, **part: Any) -> None:
    alone = tagger.inference(source, **part)
    assert found["status"][i] == "ok"
    assert found["error"][i] is None
    assert found["duration_s"][i] == alone.duration_s
    for name, values in (
        ("embedding", alone.embedding),
        ("logits", alone.logits),
        ("framewise", alone.framewise),
    ):
        if name in found:
            scale = max(1.0, float(np.abs(values).max()))
            np.testing.assert_allclose(found[name][i], values, rtol=0, atol=SAME * scale)
    if "tags" in found:
        tags = alone.top(len(found["tags"][i]))
        assert [each["label"] for each in found["tags"][i]] == [tag.label for tag in tags]
        assert found["tags"][i][0]["mid"] == alone.grid.mids()[tags[0].label]
    if "events" in found:
        events = [(e["label"], e["onset_s"], e["offset_s"]) for e in found["events"][i]]
        assert events == [event[:3] for event in alone.events()]


@pytest.mark.parametrize("outputs", [OUTPUTS, ("events", "embedding")], ids=["all", "without frames"])
def test_each_row_is_as_alone(
    paths: list[str], tagger: AudioTagger, outputs: Any, short_is_long: None
) -> None:
    batch = {"path": np.array(paths)}
    batch["path"].flags.writeable = False
    found = stage_of(tagger, outputs=outputs)(batch)
    assert found["id"].tolist() == found["path"].tolist() == paths
    for i, path in enumerate(paths):
        same_as_alone(found, i, tagger, path)


def test_order_and_company_do_not_matter(paths: list[str], tagger: AudioTagger) -> None:
    stage = stage_of(tagger, outputs=["embedding", "logits"])
    order = [3, 1, 4, 0]
    whole, some = stage({"path": paths}), stage({"path": [paths[i] for i in order]})
    scale = np.abs(whole["logits"]).max()
    np.testing.assert_allclose(some["logits"], whole["logits"][order], rtol=0, atol=SAME * scale)


def test_a_bad_row_says_why(paths: list[str], tagger: AudioTagger, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    bad = [str(tmp_path / "text.wav"), str(tmp_path / "none.wav"), str(tmp_path)]
    batch = {
        "path": np.array([paths[0], *bad, paths[0], None, paths[0]], object),
        "offset": np.array([0, 0, 0, 0, 77.0, 0, -1.0]),
        "duration": np.array([np.nan] * 7),
    }
    stage = stage_of(tagger, outputs=OUTPUTS)
    found = stage(batch)
    assert found["status"].tolist() == ["ok"] + 6 * ["error"]
    for text, error in zip(
        (
            "is not audio",
            "there is no file",
            "is a folder",
            "start earlier",
            "names no recording",
            "from 0 up",
        ),
        found["error"][1:],
        strict=True,
    ):
        assert text in error
    table = to_table(found, stage.schema)
    table.validate(full=True)
    assert table.schema == stage.schema
    assert table["status"].null_count == table["id"].null_count == 0
    assert [table[name].null_count for name in (*OUTPUTS, "duration_s")] == 6 * [6]
    assert table["error"].null_count == 1
    np.testing.assert_array_equal(np.stack(table["framewise"][0].as_py()), found["framewise"][0])
    np.testing.assert_array_equal(table["embedding"][0].as_py(), found["embedding"][0])


def test_a_network_that_fails_ends_the_batch(paths: list[str]) -> None:
    with pytest.raises(ValueError, match="did you mean 'Cnn14'"):
        Stage("Cnn41")({"path": paths})


def test_parts_of_recordings(paths: list[str], tagger: AudioTagger) -> None:
    found = stage_of(tagger)(
        {"audio_filepath": [paths[2]] * 3, "offset": [2.0, 0.0, 1.5], "duration": [4.0, None, None]}
    )
    assert found["id"].tolist() == [f"{paths[2]}#t=2,6", paths[2], f"{paths[2]}#t=1.5"]
    same_as_alone(found, 0, tagger, paths[2], start_s=2.0, duration_s=4.0)
    same_as_alone(found, 2, tagger, paths[2], start_s=1.5)
    assert found["offset_s"].tolist() == [2.0, 0.0, 1.5]


@pytest.mark.parametrize("longest_s", [2.0, 30.0], ids=["in pieces", "at once"])
def test_split(
    paths: list[str], tagger: AudioTagger, longest_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "LONGEST_WAVEFORM_S", longest_s)
    found = stage_of(tagger, outputs=["embedding", "events"], split_s=2.5)(
        {"path": [paths[4], paths[2]], "id": ["b", "a"], "offset": [0.0, 4.0]}
    )
    assert found["id"].tolist() == ["b", "b", "a", "a", "a", "a"]
    assert found["offset_s"].tolist() == [0.0, 2.5, 4.0, 6.5, 9.0, 11.5]
    for i, start_s in enumerate(found["offset_s"]):
        same_as_alone(found, i, tagger, found["path"][i], start_s=start_s, duration_s=2.5)


def test_a_split_recording_that_breaks_off(
    paths: list[str], tagger: AudioTagger, tmp_path: Path, short_is_long: None
) -> None:
    cut = tmp_path / "cut.wav"
    content = Path(paths[2]).read_bytes()
    cut.write_bytes(content[: len(content) * 3 // 4])
    found = stage_of(tagger, outputs=["embedding"], split_s=2.5)({"path": [str(cut)]})
    assert found["status"].tolist() == ["ok"] * (len(found["id"]) - 1) + ["error"]
    assert "is truncated" in found["error"][-1]
    with pytest.warns(UserWarning, match="is truncated"):
        salvaged = stage_of(tagger, outputs=["embedding"], salvage=True)({"path": [str(cut)]})
    assert salvaged["duration_s"][0] == pytest.approx(9.0, abs=0.01)


def test_bytes_members_and_cells(paths: list[str], tagger: AudioTagger, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    stage = stage_of(tagger, outputs=["embedding"])
    content = [Path(path).read_bytes() for path in paths[:3]]
    expected = stage({"path": paths[:3]})["embedding"]

    def same(batch: dict[str, Any]) -> dict[str, Any]:
        found = stage(batch)
        np.testing.assert_allclose(found["embedding"], expected, rtol=0, atol=SAME)
        return found

    same({"id": [1, 2, 3], "bytes": content})
    same({"id": ["a", "b", "c"], "audio": [{"bytes": each, "path": "x.wav"} for each in content]})
    same({"audio": [{"bytes": None, "path": path} for path in paths[:3]]})

    archive = tmp_path / "shard.tar"
    with tarfile.open(archive, "w") as tar:
        for i, each in enumerate(content):
            info = tarfile.TarInfo(f"../{i}.wav")
            info.size = len(each)
            tar.addfile(info, io.BytesIO(each))
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    batch = {
        "path": [str(archive)] * 3,
        "member": [m.name for m in members],
        "byte_offset": [m.offset_data for m in members],
        "n_bytes": [m.size for m in members],
    }
    assert same(batch)["id"].tolist() == [f"{archive}::../{i}.wav" for i in range(3)]
    archive.write_bytes(archive.read_bytes()[: members[1].offset_data + 100])
    found = stage(batch)
    assert found["status"].tolist() == ["ok", "error", "error"]
    assert "is truncated" in found["error"][1]

    table = tmp_path / "clips.parquet"
    struct = [{"bytes": each, "path": None} for each in content]
    pq.write_table(pa.table({"audio": struct, "plain": content}), table, row_group_size=2)
    for column in ("audio", "plain"):
        same({"path": [str(table)] * 3, "table_column": [column] * 3, "table_row": [0, 1, 2]})
    found = stage({"path": [str(table)] * 2, "table_column": ["plain", "none"], "table_row": [3, 0]})
    assert found["status"].tolist() == ["error", "error"]


def test_channels_of_a_row(tmp_path: Path, tagger: AudioTagger) -> None:
    path = tmp_path / "two.wav"
    soundfile.write(path, np.stack([noise(RATE, 1), noise(RATE, 2)], 1).clip(-1, 1), RATE)
    cut = {
        "id": "cut-1", "type": "MonoCut", "start": 0.25, "duration": 0.5, "channel": 1,
        "recording": {"id": "r", "sources": [{"type": "file", "channels": [0, 1], "source": str(path)}]},
    }  # fmt: skip
    found = stage_of(tagger)({key: [value] for key, value in cut.items()})
    assert found["id"].tolist() == ["cut-1"]
    same_as_alone(found, 0, tagger, path, start_s=0.25, duration_s=0.5, channel=1)
    for wrong in ({"type": "command"}, {"type": "url"}):
        cut["recording"] = {"sources": [{**wrong, "source": "x"}]}
        with pytest.raises(ValueError, match="of Lhotse; a file is needed"):
            row_of(cut)


def test_float16(paths: list[str], tagger: AudioTagger) -> None:
    stage = stage_of(tagger, outputs=["embedding"], embedding_dtype="float16")
    found = stage({"path": paths[:1]})
    assert found["embedding"].dtype == np.float16
    table = to_table(found, stage.schema)
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), tagger.embedding_size)
    assert table["embedding"][0].as_py() == pytest.approx(found["embedding"][0].tolist())


def test_leaves_of_events(paths: list[str], tagger: AudioTagger) -> None:
    from pannsx.events import EventSettings

    settings = EventSettings(threshold=0.02, leaves=True)
    found = stage_of(tagger, outputs=["events"], event_settings=settings)({"path": paths[2:4]})
    for i, path in enumerate(paths[2:4]):
        expected = tagger.inference(path).events(threshold=0.02, leaves=True)
        assert [tuple(e[n] for n in ("label", "onset_s", "offset_s")) for e in found["events"][i]] == [
            event[:3] for event in expected
        ]
        assert len(expected)


def test_a_stage_is_pickled_without_its_network(paths: list[str]) -> None:
    stage = Stage(outputs=["tags"], top_k=3)
    expected = stage({"path": paths[:1]})
    content = pickle.dumps(stage)
    assert len(content) < 2_000
    again = pickle.loads(content)
    assert again.describe() == stage.describe()
    assert again({"path": paths[:1]})["tags"][0] == expected["tags"][0]


def test_a_stage_needs_no_engine() -> None:
    program = (
        "import sys\n"
        "from pannsx.corpus import Stage\n"
        "Stage()\n"
        "print({'ray', 'torch', 'pyarrow'} & {*sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out == "set()\n"


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"name": ["a"]}, "has the columns 'name'; a column path, audio_filepath or bytes"),
        ({}, "has the columns none"),
        ({"path": ["a", "b"], "offset": [0]}, r"\[1, 2\] rows"),
    ],
)
def test_a_batch_that_is_none(batch: Any, message: str, tagger: AudioTagger) -> None:
    with pytest.raises(ValueError, match=message):
        stage_of(tagger)(batch)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"outputs": ["tag"]}, "no output 'tag'.*did you mean 'tags'"),
        ({"outputs": []}, "outputs is empty"),
        ({"top_k": 0}, "top_k is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"split_s": 0}, "split_s is 0"),
        ({"split_s": 3600.0}, "up to 300"),
        ({"embedding_dtype": "int8"}, "'float32' or 'float16'"),
    ],
)
def test_wrong_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stage(**settings)


@pytest.mark.parametrize(
    ("given", "expected"), [(None, 8), ("2", 2), ("64", 8), ("4,2", 4), ("0", 8), ("many", 8)]
)
def test_threads_that_decode(given: str | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the engine gives the process."""
    module = importlib.import_module("pannsx.corpus.stage")
    monkeypatch.setattr(module, "n_processors", lambda: 8)
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert module._n_decoders() == expected


def test_an_empty_batch(tagger: AudioTagger) -> None:
    stage = stage_of(tagger, outputs=OUTPUTS)
    table = to_table(stage({"path": []}), stage.schema)
    assert table.num_rows == 0


def test_bytes_of_a_row_need_an_id(tagger: AudioTagger) -> None:
    found = stage_of(tagger)({"bytes": [wav_bytes()] * 3, "id": [None, b"one", b"two"], "offset": [0, -1, 0]})
    assert found["status"].tolist() == ["error", "error", "ok"]
    assert found["id"].tolist() == ["", "one", "two"]
    assert "give each row an id" in found["error"][0]
