"""Manifests of every kind become the rows that they mean, or say what is wrong with them."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tarfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli_files import RATE, wav_bytes

from pannsx.corpus import ManifestError, Row, decoding, rows_from
from pannsx.corpus.braces import expand_braces
from pannsx.corpus.decoding import Failure, decode
from pannsx.corpus.snapshot import Snapshot, read_contents, write_snapshot
from pannsx.errors import AudioError

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402


def write(path: Path, *lines: Any) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_tar(path: Path, members: dict[str, bytes], **how: Any) -> Path:
    with tarfile.open(path, "w", **how) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["nemo.json", "nemo.jsonl", "nemo.jsonl.gz"])
def test_lines_of_nemo(name: str, tmp_path: Path) -> None:
    absolute = str(tmp_path.absolute() / "b.wav")
    path = write(
        tmp_path / name,
        {"audio_filepath": "clips/a.wav", "duration": 4.5, "text": "hello"},
        "",
        {"audio_filepath": absolute, "offset": 2, "duration": 1.5, "id": 7},
        {"path": "c.wav", "offset": 0.25},
    )
    assert list(rows_from([path])) == [
        Row("clips/a.wav#t=0,4.5", str(tmp_path / "clips" / "a.wav"), 0.0, 4.5),
        Row("7", absolute, 2.0, 1.5),
        Row("c.wav#t=0.25", str(tmp_path / "c.wav"), 0.25),
    ]


def test_cuts_of_lhotse(tmp_path: Path) -> None:
    recording = {"id": "rec", "sources": [{"type": "file", "channels": [0], "source": "r.flac"}]}
    cut = {
        "id": "cut",
        "start": 3.0,
        "duration": 2.0,
        "channel": 0,
        "recording": recording,
        "type": "MonoCut",
    }
    (row,) = rows_from([write(tmp_path / "cuts.jsonl", cut)])
    assert row == Row("cut", str(tmp_path / "r.flac"), 3.0, 2.0, 0)
    (row,) = rows_from([write(tmp_path / "recordings.jsonl", {**recording, "duration": 7.5})])
    assert row == Row("rec", str(tmp_path / "r.flac"), 0.0, 7.5)
    with pytest.raises(ManifestError, match="line 1: it is a MixedCut of Lhotse"):
        list(rows_from([write(tmp_path / "cuts.jsonl", {"id": "m", "type": "MixedCut"})]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: it is not JSON"),
        ("[1]", r"line 2: it is \[1\]; an object"),
        ({"text": "a"}, "line 2: it names no recording"),
        ({"path": 3}, "line 2: its path is 3; text"),
        ({"path": "a", "offset": "1"}, "line 2: its offset is '1'"),
        ({"path": "a", "duration": -1}, "line 2: its duration is -1"),
        ({"path": "a", "offset": True}, "line 2: its offset is True"),
        ({"path": "a", "channel": 0.5}, "line 2: its channel is 0.5"),
        ({"path": "a", "channel": 2**31}, "line 2: its channel is 2147483648"),
        ({"path": "a", "n_bytes": 2**63}, "line 2: its n_bytes is 9223372036854775808"),
        ({"path": "a", "offset": 10**400}, "line 2: its offset is 1000"),
        ({"path": "a", "id": [1]}, r"line 2: its id is \[1\]; text or a number"),
        ({"path": "a", "id": True}, "line 2: its id is True; text or a number"),
        ('{"path": "a", "offset": Infinity}', "line 2: its offset is inf"),
        ('{"path": "a", "offset": 1' + "0" * 5000 + "}", "line 2: it is not JSON"),
        ("[" * 100_000, "line 2: it is not JSON"),
    ],
)
def test_wrong_lines(line: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", {"path": "a.wav"}, line)
    with pytest.raises(ManifestError, match=message):
        list(rows_from([path]))


@pytest.mark.parametrize(
    "text",
    ['\ufeff{"path": "a.wav"}\n{"path": "b.wav"}\n', '{"path": "a.wav"}\r\n\r\n{"path": "b.wav"}\r\n \n',
     '{"path": "a.wav"}\n{"path": "b.wav"}'],
    ids=["BOM", "CRLF", "no last line end"],
)  # fmt: skip
def test_lines_as_other_systems_write_them(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(text.encode())
    assert [row.id for row in rows_from([path])] == ["a.wav", "b.wav"]


def test_manifests_that_cannot_be_read(tmp_path: Path) -> None:
    text = b'{"path": "a.wav"}\n' * 1000
    for name, content, message in (
        ("latin.jsonl", text + '{"path": "\u00e9"}'.encode("latin-1"), "line 1001: it is not UTF-8"),
        (
            "utf16.jsonl",
            text.decode().encode("utf-16"),
            "line 1: it is not UTF-8 .*save the manifest as UTF-8",
        ),
        ("cut.jsonl.gz", gzip.compress(text)[:-9], "is truncated or damaged after line"),
        ("no.jsonl.gz", text, "is truncated or damaged after line 0"),
        ("shard.tar.gz", gzip.compress(text), "neither a recording nor a manifest .*; unpack it"),
        ("list.CSV", text, "neither a recording nor a manifest .*; write it as JSON lines"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ManifestError, match=message):
            list(rows_from([tmp_path / name]))


def test_a_place_on_the_web_is_said_to_be_one(tmp_path: Path) -> None:
    (row,) = rows_from([write(tmp_path / "m.jsonl", {"path": "https://example.org/a.wav"})])
    found = decode(row, 32000, "mean", salvage=False)
    assert isinstance(found, Failure)
    assert "is a URL; fetch it first" in found.reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    (row,) = rows_from([tmp_path])
    found = decode(row, 32000, "mean", salvage=False)
    assert isinstance(found, Failure)
    assert "is a pipe or a device" in found.reason


def test_tables_of_paths(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"audio_filepath": ["a.wav", "b.wav"], "offset": [None, 1.5], "n": [1, 2]}), path)
    assert list(rows_from([path])) == [
        Row("a.wav", str(tmp_path / "a.wav")),
        Row("b.wav#t=1.5", str(tmp_path / "b.wav"), 1.5),
    ]
    columns = {"id": [b"one", b"two"], "path": ["a.wav", "b.wav"], "offset": [Decimal("0.5"), None]}
    pq.write_table(pa.table({**columns, "channel": [Decimal(1), None]}), path)  # as SQL has numbers
    assert list(rows_from([path])) == [
        Row("one", str(tmp_path / "a.wav"), 0.5, channel=1),
        Row("two", str(tmp_path / "b.wav")),
    ]
    pq.write_table(pa.table({"name": ["a"]}), path)
    with pytest.raises(ManifestError, match="has the columns 'name'; a column path"):
        list(rows_from([path]))
    path.write_bytes(b"PAR1 no table")
    with pytest.raises(ManifestError, match="cannot be read as Parquet"):
        list(rows_from([path]))
    pq.write_table(pa.table({"path": ["a.wav"] * 5000}), path, use_dictionary=False, write_page_checksum=True)
    path.write_bytes(path.read_bytes().replace(b"a.wav", b"b.wav", 1)[:100])
    with pytest.raises(ManifestError, match="cannot be read as Parquet"):
        list(rows_from([path]))


@pytest.mark.parametrize("with_ids", [True, False])
def test_tables_of_bytes(with_ids: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    content = [{"bytes": wav_bytes(0.1, i), "path": f"{i}.wav"} for i in range(3)]
    columns = {"audio": content, **({"id": ["a", "b", "c"]} if with_ids else {})}
    pq.write_table(pa.table(columns), path, row_group_size=2)
    rows = list(rows_from([path]))
    assert [row.id for row in rows] == (["a", "b", "c"] if with_ids else [f"{path}::{i}" for i in range(3)])
    for row, cell in zip(rows, content, strict=True):
        with decoding.opened(row) as source:
            assert source == cell["bytes"]


def test_paths_in_a_column_for_bytes(tmp_path: Path) -> None:
    """As data sets of Hugging Face are that were saved without their files."""
    (tmp_path / "a.wav").write_bytes(wav_bytes(0.1))
    path = tmp_path / "m.parquet"
    cells = [{"bytes": None, "path": "a.wav"}, {"bytes": wav_bytes(0.2), "path": "a.wav"}, None]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"audio": pa.array(cells, kind)}), path)
    found = [decode(row, RATE, "mean", salvage=False) for row in rows_from([path])]
    assert [len(each) for each in found[:2]] == [RATE // 10, RATE // 5]  # type: ignore[arg-type]
    assert isinstance(found[2], Failure)
    assert "has no bytes" in found[2].reason


def test_archives(tmp_path: Path) -> None:
    content = {
        "../a.wav": wav_bytes(0.1), "a.json": b"{}", "b/.hidden.wav": b"x", "b/c.FLAC": b"flac",
    }  # fmt: skip
    path = write_tar(tmp_path / "shard.tar", content)
    rows = list(rows_from([tmp_path / "*.tar"]))
    assert [row.id for row in rows] == [f"{path}::../a.wav", f"{path}::b/c.FLAC"]
    with decoding.opened(rows[0]) as source:
        assert source.read() == content["../a.wav"]  # type: ignore[union-attr]
    assert {each.name for each in tmp_path.iterdir()} == {"shard.tar"}  # nothing was extracted


@pytest.mark.parametrize("n_bytes", [2 * 7168, 2 * 7168 + 100, 3 * 7168])
def test_an_archive_that_breaks_off_between_members(n_bytes: int, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "shard.tar", {f"{i}.wav": wav_bytes(0.1, i) for i in range(3)})
    whole = path.read_bytes()
    path.write_bytes(whole[:n_bytes])
    *members, rest = rows_from([path])
    assert [row.member for row in members] == [f"{i}.wav" for i in range(n_bytes // 7168)]
    found = decode(rest, 32000, "mean", salvage=False)
    assert isinstance(found, Failure)
    assert "is truncated: 'the rest of the archive'" in found.reason
    path.write_bytes(whole + whole)
    with pytest.raises(ManifestError, match=r"goes on behind its end, .*joined by cat"):
        list(rows_from([path]))


def test_an_archive_that_breaks_off(tmp_path: Path) -> None:
    members = {f"{i}.wav": wav_bytes(0.1, i) for i in range(3)}
    path = write_tar(tmp_path / "shard.tar", members)
    path.write_bytes(path.read_bytes()[: 2 * 7168 + 700])
    rows = list(rows_from([path]))
    assert [row.member for row in rows] == ["0.wav", "1.wav", "2.wav", "the rest of the archive"]
    found = [decode(row, 32000, "mean", salvage=False) for row in rows]
    assert [isinstance(each, Failure) for each in found] == [False, False, True, True]
    assert all("is truncated" in each.reason for each in found if isinstance(each, Failure))
    with pytest.raises(ManifestError, match="is not an uncompressed tar archive"):
        list(rows_from([write(tmp_path / "no.tar", "no")]))


def test_folders_patterns_and_files_in_order(tmp_path: Path) -> None:
    for name in ("b/2.wav", "b/1.wav", "a.wav", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    lines = write(tmp_path / "m.jsonl", {"path": "x.wav"})
    skipped: Counter[str] = Counter()
    rows = list(rows_from([tmp_path / "b", lines, tmp_path / "a.*"], skipped))
    names = ("b/1.wav", "b/2.wav", "x.wav", "a.wav")
    assert [row.path for row in rows] == [str(tmp_path / name) for name in names]
    assert skipped == {"not named as audio": 1}
    with pytest.raises(ManifestError, match="no file matches the pattern"):
        list(rows_from([tmp_path / "z*.wav"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="has no audio files in it"):
        list(rows_from([tmp_path / "empty"]))


def test_braces_are_files_that_have_to_be_there(tmp_path: Path) -> None:
    for name in ("train/b.wav", "train/a.wav", "test/c.wav", *(f"{i:03}.wav" for i in range(8, 12))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(pattern: str) -> list[str]:
        return [
            Path(row.path or "").relative_to(tmp_path).as_posix() for row in rows_from([tmp_path / pattern])
        ]

    assert found("{008..011}.wav") == ["008.wav", "009.wav", "010.wav", "011.wav"]
    assert found("{010..008..2}.wav") == ["010.wav", "008.wav"]
    assert found("{test,train}/*.wav") == ["test/c.wav", "train/a.wav", "train/b.wav"]
    assert found("0{09,1{0,1}}.wav") == ["009.wav", "010.wav", "011.wav"]
    (tmp_path / "{1..2}.wav").touch()
    assert found("{1..2}.wav") == ["{1..2}.wav"]  # a file of this name comes first
    for pattern, message in (
        ("{007..012}.wav", r"of the 6 names of the pattern .* 2 are not there: .*007.wav, .*012.wav; write"),
        ("{train,dev}/*.wav", r"no file matches the pattern .*dev"),
        ("[008-011].wav", r"no file matches the pattern .*; a range of numbers is written \{000..127\}"),
        ("{008..011.wav", r"has a \{ without a \}"),
        ("008}.wav", r"has a \} without a \{"),
        ("{008..z}.wav", "two numbers or two letters are needed"),
        ("{0..9..0}.wav", "a step of 0"),
        ("{0..99999999999999999999}.wav", "more than 1,000,000 names"),
        ("{0..999}{0..1999}.wav", "more than 1,000,000 names"),
    ):
        with pytest.raises(ManifestError, match=message):
            list(rows_from([tmp_path / pattern]))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a", "a"),
        ("{a}{}", "{a}{}"),
        ("x{a,b{1..3},}y", "xay xb1y xb2y xb3y xy"),
        ("{-02..1}", "-02 -01 000 001"),
        ("{a..e..2}", "a c e"),
        ("{01..10..4}", "01 05 09"),
        ("{{a,b}}", "{a} {b}"),
        ("{9..7}{x,y}", "9x 9y 8x 8y 7x 7y"),
    ],
)
def test_braces_are_expanded_as_in_a_shell(pattern: str, names: str) -> None:
    """The names are those of bash."""
    assert expand_braces(pattern) == names.split()


def test_rows_are_written_down(tmp_path: Path) -> None:
    odd = "\udcff.wav" if sys.platform.startswith("linux") else "\u00ff.wav"
    rows = [Row(f"r{i}", f"{i}.wav", i / 3, None if i % 2 else 1.0) for i in range(9000)]
    rows[1] = Row("member", "shard.tar", member="m", byte_offset=1 << 40, n_bytes=5)
    rows[2] = Row(odd, odd, channel=1)
    rows[3] = Row("\ud800", "\0hex:zz")
    contents = write_snapshot(rows, tmp_path / "s.parquet")
    assert contents == read_contents(rows)
    assert contents.n_rows == 9000
    assert read_contents(rows[::-1]).sha256 != contents.sha256
    snapshot = Snapshot(tmp_path / "s.parquet")
    assert list(snapshot.rows()) == rows
    across = snapshot.batch(8190, 4)  # of two row groups
    assert across == {
        "id": [f"r{i}" for i in range(8190, 8194)], "path": [f"{i}.wav" for i in range(8190, 8194)],
        "offset_s": [i / 3 for i in range(8190, 8194)], "duration_s": [1.0, None, 1.0, None],
    }  # fmt: skip
    snapshot.close()


def test_ids_that_stand_twice(tmp_path: Path) -> None:
    rows = [Row(str(i), "a.wav") for i in range(5)] + [Row("3", "b.wav")]
    with pytest.raises(ManifestError, match="the id '3' stands in rows 3 and 5"):
        write_snapshot(rows, tmp_path / "s.parquet")
    with pytest.raises(ManifestError, match=r"the id '\\\\udcff' stands in rows 0 and 1"):
        write_snapshot(
            [Row("\udcff", "a.wav"), Row("\\udcff", "b.wav")], tmp_path / "s.parquet"
        )  # as in the table
    with pytest.raises(ManifestError, match="has no rows"):
        write_snapshot([], tmp_path / "s.parquet")
    with pytest.raises(ManifestError, match="holds the bytes"):
        write_snapshot([Row("a", None, bytes=b"x")], tmp_path / "s.parquet")


def test_a_table_that_is_replaced_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    row = Row("a", str(path), table_column="bytes", table_row=0)
    for i, content in enumerate((b"first", b"second")):
        pq.write_table(pa.table({"bytes": [content]}), path)
        os.utime(path, (i, i))
        with decoding.opened(row) as source:
            assert source == content
    path.unlink()
    with pytest.raises(AudioError, match="cannot read row 0"), decoding.opened(row):
        pass


@pytest.mark.parametrize("name", ["nowhere.jsonl", "nowhere.jsonl.gz", "nowhere.tar"])
def test_a_manifest_that_is_not_there(name: str, tmp_path: Path) -> None:
    """It is named as such, not as a table that cannot be written."""
    with pytest.raises(ManifestError, match=rf"cannot read .*{name}: No such file or directory"):
        list(rows_from([str(tmp_path / name)]))
