"""The manifest says what is known of every checkpoint, and reading it is strict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pannsx.errors import WeightsError
from pannsx.weights.digests import file_digest
from pannsx.weights.fetch import resolve
from pannsx.weights.manifest import (
    DEFAULT_CHECKPOINT,
    find,
    labels_of,
    load_manifest,
    manifest_path,
    parse_manifest,
    read_record,
)
from pannsx.weights.record import BundledSource, Checkpoint, HubSource, UrlSource
from pannsx.weights.record_json import record_to_json

EVERY = list(load_manifest().values())
by_name = pytest.mark.parametrize("record", EVERY, ids=lambda record: record.name)

NEVER_RELEASED = {
    "Cnn14_mel32", "Cnn14_mel128", "Cnn14_no_specaug", "Cnn14_no_dropout", "Cnn14_mixup_time_domain",
    "Cnn14_DecisionLevelAvg", "Wavegram_Logmel128_Cnn14",
}  # fmt: skip
NO_DIGEST = {
    "Cnn14_8k", "Cnn14_emb512", "Cnn14_emb128", "Cnn14_emb32", "MobileNetV2", "LeeNet24", "DaiNet19",
    "Res1dNet31", "Res1dNet51",
}  # fmt: skip

MINIMAL: dict[str, Any] = {
    "name": "mine",
    "architecture": "LeeNet11",
    "sample_rate": 32000,
    "frontend": None,
    "labels": "labels.txt",
    "n_classes": 3,
    "filename": "mine.safetensors",
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "mine.json"
    path.write_text(json.dumps({**MINIMAL, **changes}), encoding="utf-8")
    return path


def test_the_29_published_names_and_the_bundled_one() -> None:
    names = [record.name for record in EVERY]
    assert len(names) == 30
    assert names[:2] == [DEFAULT_CHECKPOINT, "Cnn14"]
    assert {record.name for record in EVERY if not record.released} == NEVER_RELEASED


@by_name
def test_entry_is_whole(record: Checkpoint) -> None:
    assert record.n_classes == len(labels_of(record)) == 527
    assert record.description
    assert record.parameters
    assert record.recipe == f"train/recipes/{record.name}.toml"
    assert record.scores is not None
    if record.frontend is not None:
        assert record.frontend.sample_rate == record.sample_rate
    assert (record.filename is None) == (not record.released) == (record.licence is None)
    for source in record.sources:
        if isinstance(source, UrlSource):
            assert source.url.startswith("https://zenodo.org/records/3987831/files/")
        if isinstance(source, HubSource):
            assert source.filename.rpartition("/")[2] == record.filename


def test_which_checkpoints_cannot_be_verified_is_known() -> None:
    without = {r.name for r in EVERY if r.released and r.sha256 is None and r.md5 is None}
    assert without == NO_DIGEST


def test_pinned_revisions_are_tried_first() -> None:
    sources = find("Cnn14").sources
    assert isinstance(sources[0], HubSource)
    assert sources[0].digest_seen
    assert re.fullmatch("[0-9a-f]{40}", sources[0].revision or "")
    assert isinstance(sources[1], UrlSource)


def test_the_bundled_entry_is_of_the_packages_file() -> None:
    record = find(DEFAULT_CHECKPOINT)
    data = Path(manifest_path().parent / "pannsx" / "data")
    assert record.sources == (BundledSource(filename=record.filename or ""),)
    path = resolve(record)
    assert path.parent == data
    assert path.stat().st_size == record.size_bytes
    assert record.size_bytes is not None
    assert record.size_bytes < 10_000_000
    assert file_digest(path, "sha256") == record.sha256
    assert record.scores is not None
    assert set(record.scores.other) <= set(re.findall(r"\w+", record.notes or ""))


def test_attribution_of_the_bundled_checkpoint_is_whole() -> None:
    text = (manifest_path().parent / "pannsx" / "data" / f"{DEFAULT_CHECKPOINT}.ATTRIBUTION.txt").read_text(
        encoding="utf-8"
    )
    entries = [line for line in text.splitlines() if re.search(r" \[(CC BY|CC0)\]$", line)]
    assert len(entries) > 1000
    assert all(re.match(r"[1-4]-\d+-[A-Z]: .+, .+, http\S+(?: \S+)* \[", entry) for entry in entries)
    assert "NC]" not in text


def test_find_ignores_case_and_suggests() -> None:
    assert find("cnn14") is find("CNN14") is load_manifest()["Cnn14"]
    with pytest.raises(ValueError, match=r"unknown model 'Cnn_14'; did you mean 'Cnn14'"):
        find("Cnn_14")
    with pytest.raises(ValueError, match=r"`pannsx models` lists all"):
        find("wav2vec")


def test_manifest_reads_back_as_it_is_written() -> None:
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    assert manifest["checkpoints"] == [record_to_json(record) for record in EVERY]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m.update(format=2), "has format 2; this version of pannsx reads format 1"),
        (lambda m: m["checkpoints"][1].pop("sha256"), r"entry 1 \(Cnn14\): missing sha256"),
        (lambda m: m["checkpoints"][1].update(sha_256="x"), r"unknown key sha_256; did you mean 'sha256'"),
        (lambda m: m["checkpoints"].append(m["checkpoints"][1]), "has two entries 'Cnn14'"),
        (lambda m: m["checkpoints"][1]["sources"][0].update(type="ftp"), "type is 'ftp'"),
        (lambda m: m["checkpoints"][1].update(sha256="ABC"), "64 lower-case hexadecimal digits"),
        (lambda m: m["checkpoints"][1]["frontend"].pop("fmin"), r"missing frontend\.fmin"),
    ],
)
def test_a_wrong_manifest_says_what_and_where(change: Any, complaint: str) -> None:
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    change(manifest)
    with pytest.raises(ValueError, match=complaint):
        parse_manifest(json.dumps(manifest))


def test_own_record_needs_only_what_computes(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("dog\ncat\nrain\n", encoding="utf-8")
    record = read_record(write(tmp_path))
    assert record.name == "mine"
    assert record.folder == tmp_path
    assert record.released
    assert labels_of(record).names == ("dog", "cat", "rain")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"architecture": "LeeNet12"}, r"unknown architecture 'LeeNet12'; did you mean .*'LeeNet11'"),
        ({"sample_rate": "32000"}, "sample_rate is '32000'; a whole number is needed"),
        ({"n_classes": True}, "n_classes is True; a whole number is needed"),
        ({"n_classes": 0}, "n_classes is 0; at least 1"),
        ({"labels": "../labels.txt"}, "inside the record's folder"),
        ({"filename": "/etc/weights.pth"}, "inside the record's folder"),
        ({"filename": "C:\\weights.pth"}, "inside the record's folder"),
        ({"filename": "..\\weights.pth"}, "inside the record's folder"),
        ({"weights": "mine.pth"}, "unknown key weights"),
        (
            {"frontend": {"n_fft": 1000}},
            "missing frontend.hop_length, frontend.n_mels, frontend.fmin, frontend.fmax",
        ),
        (
            {"frontend": {"n_fft": 1000, "hop_length": 320, "n_mels": 64, "fmin": 50, "fmax": 14000}},
            "n_fft is 1000; it must be a power of two",
        ),
    ],
)
def test_a_wrong_own_record_names_the_key(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_record(write(tmp_path, **change))


def test_own_record_with_a_missing_key_or_no_json(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(json.dumps({k: v for k, v in MINIMAL.items() if k != "frontend"}), encoding="utf-8")
    with pytest.raises(ValueError, match="missing frontend"):
        read_record(path)
    path.write_text("not json", encoding="utf-8")
    with pytest.raises(ValueError, match="is not JSON"):
        read_record(path)


def test_labels_must_be_as_many_as_classes(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("dog\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine has 3 classes and its label set 'labels.txt' 1 labels"):
        labels_of(read_record(write(tmp_path)))


@pytest.mark.parametrize("name", sorted(NEVER_RELEASED))
def test_names_without_weights_point_to_their_recipe(name: str) -> None:
    with pytest.raises(
        WeightsError,
        match=rf"no weights were ever released for {name}; its recipe train/recipes/{name}\.toml",
    ):
        resolve(find(name))


def test_reading_the_manifest_loads_no_torch() -> None:
    code = (
        "import sys, pannsx.weights.manifest as m, pannsx.weights.fetch; m.load_manifest(); "
        "print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
