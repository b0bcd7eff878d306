"""The pool of audio: packages, licences, containers, cutting, parts and banks."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from small_banks import write_bank_of
from small_packages import (
    RATE,
    clonk_group,
    make_deb,
    qt_resources,
    tone,
    wav,
    zip_of,
)

from train.data.sounds import open_sounds
from train.pool import coverage, cutting, parts
from train.pool.__main__ import build, main
from train.pool.bank import Summary
from train.pool.containers import audio_in
from train.pool.deb import files_of, read_entry, version_of
from train.pool.errors import PoolError
from train.pool.licences import freest, read_stanzas, stated_licence, tier_of
from train.pool.synthesis import STEPS
from train.pool.table import COLUMNS, Row, read_table, write_table

TABLE = Path(parts.__file__).with_name("packages.csv")
PCM_TOLERANCE = 1.5 / 32768  # rounded to 16 bits twice: in the WAVE file and in the bank
SOUNDS = "./usr/share/birds"
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: someone
License: GPL-2+

Files: sounds/birds/free.wav
License: CC0-1.0

Files: sounds/birds/odd.wav
License: sampling+
"""


def row(package: str = "birds", files: str = ".wav", **changes: object) -> Row:
    values: dict[str, object] = {
        "version": "1.0-1", "sha256": "", "size_bytes": None, "licence": "CC0", "tier": "permissive",
        "kind": "animals", "split": "train", "most": None, "cuts": 1, "join": "", **changes,
    }  # fmt: skip
    return Row(package=package, files=files, **values)  # type: ignore[arg-type]


def index_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def report_of(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        return [(line["package"], line["problem"], line["n_items"]) for line in csv.DictReader(file)]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    return tmp_path / "packages"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    return tmp_path / "bank"


def make(rows: list[Row], bank: Path, packages: Path, **how: object) -> Summary:
    return build(rows, bank, packages=packages, **{"download": False, **how})  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["xz", "gz", ""])
def test_clips_of_a_package(packages: Path, bank: Path, suffix: str) -> None:
    files = {
        f"{SOUNDS}/b.wav": wav(tone(500)),
        f"{SOUNDS}/deep/a.wav": wav(tone(700, rate=16000), 16000),
        f"{SOUNDS}/read.me": b"no audio",
        f"{SOUNDS}/other/c.wav": wav(tone(900)),
        "./usr/share/doc/birds/copyright": b"as is",
    }
    _, digest = make_deb(packages, "birds", files, suffix=suffix)
    rows = [
        row(files="/deep/*", kind="deep animals", split="valid", sha256=digest),
        row(files="/b.wav /none.wav", sha256=digest),
    ]
    assert make(rows, bank, packages).n_clips == 2
    index = index_of(bank)
    assert [(line["file"], line["kind"], line["split"], line["seconds"]) for line in index] == [
        ("/usr/share/birds/deep/a.wav", "deep animals", "valid", "1.0"),
        ("/usr/share/birds/b.wav", "animals", "train", "1.0"),
    ]
    clips = open_sounds(bank, RATE)
    np.testing.assert_allclose(clips.read(1)[:RATE], tone(500), rtol=0, atol=PCM_TOLERANCE)
    assert not clips.read(1)[RATE:].any()
    spectrum = np.abs(np.fft.rfft(clips.read(0)[:RATE]))
    assert spectrum.argmax() == 700, "resampled from 16 kHz"
    np.testing.assert_array_equal(np.load(bank / "lengths.npy"), [RATE, RATE])
    assert (bank / "copyright" / "birds.txt").read_text("utf-8") == "as is"
    attribution = (bank / "attribution.csv").read_text("utf-8").splitlines()
    assert attribution[1] == f"birds,1.0-1,{digest},CC0,2"


def test_stated_licences_and_tiers(packages: Path, bank: Path) -> None:
    names = ("free", "copyleft", "odd")
    files = {f"{SOUNDS}/{name}.wav": wav(tone(300 + 100 * i)) for i, name in enumerate(names)}
    files["./usr/share/doc/birds/copyright"] = COPYRIGHT.encode()
    make_deb(packages, "birds", files)
    rows = [row(licence="stated", tier="per file")]
    make(rows, bank, packages)
    assert [(line["file"].rpartition("/")[2], line["licence"], line["tier"]) for line in index_of(bank)] == [
        ("copyleft.wav", "GPL-2+", "share-alike"),
        ("free.wav", "CC0-1.0", "permissive"),
    ]
    assert report_of(bank) == [("birds", "licence not free enough", "1")]
    assert make(rows, bank, packages, tier="permissive").n_clips == 1
    assert index_of(bank)[0]["licence"] == "CC0-1.0"


def test_the_report_says_what_is_missing(packages: Path, bank: Path) -> None:
    files = {
        f"{SOUNDS}/good.wav": wav(tone(500)),
        f"{SOUNDS}/same.wav": wav(tone(500)),
        f"{SOUNDS}/short.wav": wav(tone(500, 0.1)),
        f"{SOUNDS}/quiet.wav": wav(tone(500) * np.float32(0.001)),
        f"{SOUNDS}/broken.wav": b"RIFF....WAVE",
        f"{SOUNDS}/sounds.zip": b"PK no archive",
    }
    make_deb(packages, "birds", files)
    summary = make([row(), row(files="/nothing/*")], bank, packages)
    assert summary.n_clips == 1
    assert sorted(report_of(bank)) == [
        ("birds", "container damaged", "1"),
        ("birds", "duplicate", "1"),
        ("birds", "no clips", "0"),
        ("birds", "not decodable", "1"),
        ("birds", "too short or quiet", "2"),
    ]
    assert str(summary) == "1 clips, 0.00 h; 5 problems, see report.csv"


def test_packages_that_are_missing(packages: Path, bank: Path) -> None:
    make_deb(packages, "birds", {f"{SOUNDS}/a.wav": wav(tone(500))})
    rows = [row("cats"), row(), row("synth:noise", "no such step")]
    with pytest.raises(
        PoolError, match=r"(?s)--keep-going.*cats 1\.0-1 is unavailable.*no step of synthesis"
    ):
        make(rows, bank, packages)
    assert not (bank / "index.csv").exists()
    assert make(rows, bank, packages, keep_going=True).n_clips == 1
    assert report_of(bank) == [
        ("cats", "package not usable", "1"), ("synth:noise", "package not usable", "1"),
    ]  # fmt: skip


def test_another_digest_is_an_error_unless_allowed(packages: Path, bank: Path) -> None:
    _, digest = make_deb(packages, "birds", {f"{SOUNDS}/a.wav": wav(tone(500))}, version="2.0-1")
    rows = [row(sha256="0" * 64)]
    with pytest.raises(PoolError, match=rf"sha256 {digest}.*the table says 1\.0-1.*--allow-other-versions"):
        make(rows, bank, packages)
    make(rows, bank, packages, allow_other_versions=True)
    assert (bank / "attribution.csv").read_text("utf-8").splitlines()[1].startswith(f"birds,2.0-1,{digest}")
    with pytest.raises(PoolError, match="--allow-other-versions"):
        make(rows, bank, packages)  # the part of before is of the other version


def test_the_right_one_of_several_versions_is_taken(packages: Path, bank: Path) -> None:
    _, digest = make_deb(packages, "birds", {f"{SOUNDS}/a.wav": wav(tone(500))})
    make_deb(packages, "birds", {f"{SOUNDS}/a.wav": wav(tone(600))}, version="0.9-1")
    make_deb(packages, "birds", {f"{SOUNDS}/a.wav": wav(tone(700))}, version="1.1-1")
    make([row(sha256=digest)], bank, packages)
    spectrum = np.abs(np.fft.rfft(open_sounds(bank, RATE).read(0)[:RATE]))
    assert spectrum.argmax() == 500


def contents(bank: Path) -> dict[str, bytes]:
    files = [*bank.glob("*.npy"), *bank.glob("*.csv"), *(bank / "parts").glob("*.npz")]
    return {path.name: path.read_bytes() for path in files}


def test_a_killed_run_goes_on(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("ants", "birds", "cats")):
        make_deb(packages, name, {f"{SOUNDS}/{name}.wav": wav(tone(500 + 100 * number))})
    rows = [row("ants"), row("birds"), row("cats")]
    make(rows, tmp_path / "whole", packages)

    found: list[str] = []
    original = parts.sources.find_package

    def dying(wanted: Row, *places: object, **how: object) -> object:
        found.append(wanted.package)
        if len(found) == 2:
            raise KeyboardInterrupt
        return original(wanted, *places, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(parts.sources, "find_package", dying)
    with pytest.raises(KeyboardInterrupt):
        make(rows, tmp_path / "killed", packages)
    make(rows, tmp_path / "killed", packages)
    assert found == ["ants", "birds", "birds", "cats"], "what is done is not done again"
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_workers_make_the_same_bank(packages: Path, tmp_path: Path) -> None:
    for name in ("ants", "birds"):
        make_deb(packages, name, {f"{SOUNDS}/{name}.wav": wav(tone(200 + len(name) * 100))})
    rows = [row("ants"), row("birds"), row("missing")]
    make(rows, tmp_path / "here", packages, keep_going=True)
    make(rows, tmp_path / "workers", packages, keep_going=True, n_workers=1)
    assert contents(tmp_path / "here") == contents(tmp_path / "workers")


def test_paths_that_leave_a_package_are_refused(packages: Path, bank: Path) -> None:
    make_deb(packages, "birds", {"./usr/../../etc/a.wav": wav(tone(500))})
    with pytest.raises(PoolError, match=r"'\./usr/\.\./\.\./etc/a\.wav' leaves the package"):
        make([row()], bank, packages)
    assert {path.name for path in bank.parent.iterdir()} == {"bank", "packages"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"no archive" + content, "is no Debian package"),
        (lambda content: content[:100], "is damaged"),
        (lambda content: content[:-200], "cannot read the package"),
        (lambda content: content.replace(b"data.tar.xz", b"data.tar.lz"), "compressed in a way"),
    ],
)
def test_damaged_packages(packages: Path, bank: Path, damage: object, message: str) -> None:
    path, _ = make_deb(packages, "birds", {f"{SOUNDS}/a.wav": wav(tone(500))})
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(PoolError, match=message):
        make([row()], bank, packages)


def test_zstandard_by_dpkg_deb(tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN").chmod(0o755)
    control = "Package: birds\nVersion: 3\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: d\n"
    (root / "DEBIAN" / "control").write_text(control)
    (root / "a.wav").write_bytes(wav(tone(500)))
    deb = tmp_path / "birds_3_all.deb"
    command = ["dpkg-deb", "-Zzstd", "--root-owner-group", "--build", str(root), str(deb)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this dpkg-deb writes no Zstandard: {done.stderr.strip()}")
    assert b"data.tar.zst" in deb.read_bytes()
    read = {path: read_entry(deb, entry, tar) for path, entry, tar in files_of(deb)}
    assert read == {"/a.wav": wav(tone(500))}


def test_version_of_a_package(tmp_path: Path) -> None:
    path, _ = make_deb(tmp_path, "birds", {}, version="1.2~rc1-3")
    assert version_of(path) == "1.2~rc1-3"
    path.write_bytes(b"")
    assert version_of(path) == ""


def test_the_archives_client_fetches_packages(
    tmp_path: Path, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = make_deb(tmp_path / "archive", "birds", {f"{SOUNDS}/a.wav": wav(tone(500))})
    client = tmp_path / "bin" / "apt-get"
    client.parent.mkdir()
    client.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "download -qq birds=1.0-1" ] && cp {path} . && exit 0\nexit 100\n'
    )
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}{os.pathsep}{os.environ['PATH']}")
    assert build([row(sha256=digest)], bank).n_clips == 1
    assert [file.name for file in (bank / "packages").iterdir()] == [path.name]
    with pytest.raises(PoolError, match=r"cats 1\.0-1 is unavailable from .* and the package archive"):
        build([row("cats")], bank)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PoolError, match="there is no apt-get"):
        build([row("cats")], bank)


def test_own_recordings(tmp_path: Path, bank: Path) -> None:
    folder = tmp_path / "mine" / "garden"
    folder.mkdir(parents=True)
    (folder / "a.wav").write_bytes(wav(tone(500)))
    (folder / "more.zip").write_bytes(zip_of({"b.wav": wav(tone(600))}))
    rows = [row("folder:garden", version="", licence="own")]
    assert build(rows, bank, recordings=tmp_path / "mine").n_clips == 2
    assert [line["file"] for line in index_of(bank)] == ["/garden/a.wav", "/garden/more.zip/b.wav"]
    (folder / "c.wav").write_bytes(wav(tone(700)))
    assert build(rows, bank, recordings=tmp_path / "mine").n_clips == 3, "a new file makes a new part"
    (tmp_path / "secret.wav").write_bytes(wav(tone(800)))
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(PoolError, match=r"link\.wav leads out of"):
        build(rows, bank, recordings=tmp_path / "mine")
    with pytest.raises(PoolError, match="there is no folder 'house'"):
        build([row("folder:house", version="")], bank, recordings=tmp_path / "mine")


@pytest.mark.parametrize(
    ("path", "data", "names"),
    [
        ("/a.pk3", zip_of({"x/b.wav": b"1", "c.txt": b"2", "d.OGG": b"3"}), ["x/b.wav", "d.OGG"]),
        (
            "/g/Sound.ocg",
            clonk_group({"b.wav": b"1", "Deep.ocg": {"c.ogg": b"3"}}),
            ["b.wav", "Deep.ocg/c.ogg"],
        ),
        ("/a.rcc", qt_resources({"b.wav": b"1", "c.ogg": b"3"}), ["sounds/b.wav", "sounds/c.ogg"]),
    ],
)
def test_containers(path: str, data: bytes, names: list[str]) -> None:
    assert list(audio_in(path, data)) == [
        (f"{path}/{name}", body) for name, body in zip(names, (b"1", b"3"), strict=True)
    ]


def test_wave_files_in_a_blob() -> None:
    first, second = wav(tone(500, 0.01)), wav(tone(600, 0.02))
    blob = b"head RIFF" + first + b"between" + second
    assert list(audio_in("/a.cat", blob)) == [("/a.cat#000", first), ("/a.cat#001", second)]


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/a.zip", b"PK" + bytes(50)),
        ("/a/Sound.ocg", b"\x1e\x8c" + bytes(50)),
        ("/a/Sound.ocg", clonk_group({"a.wav": b"1"}, compressed=False)[:300]),
        ("/a.rcc", qt_resources({"a.wav": b"1"})[:30]),
    ],
)
def test_damaged_containers(path: str, data: bytes) -> None:
    with pytest.raises(PoolError, match=r"damaged|more than fit"):
        list(audio_in(path, data))


def test_long_files_are_cut_evenly() -> None:
    waveform = np.concatenate([tone(100 * number, 5.0) for number in range(1, 5)])  # 20 s
    cuts = cutting.cuts_of_file("/a.wav", wav(waveform), 3)
    assert [cut.start_s for cut in cuts] == [0.0, 7.5, 15.0]
    for cut in cuts:
        begin = round(cut.start_s * RATE)
        np.testing.assert_allclose(
            cut.waveform, waveform[begin : begin + 5 * RATE], rtol=0, atol=PCM_TOLERANCE
        )
    (middle,) = cutting.cuts_of_file("/a.wav", wav(waveform), 1)
    assert middle.start_s == 7.5


def test_short_files_lose_the_silence_at_both_ends() -> None:
    silence = np.zeros(RATE, np.float32)
    (cut,) = cutting.cuts_of_file("/a.wav", wav(np.concatenate([silence, tone(500), silence])), 1)
    margin = RATE // 20
    assert len(cut.waveform) == pytest.approx(RATE + 2 * margin, abs=RATE // 500)
    assert not len(cutting.trimmed(silence))


def test_raw_gsm() -> None:
    import io

    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, tone(440, rate=8000), 8000, format="RAW", subtype="GSM610")
    (cut,) = cutting.cuts_of_file("/a.gsm", stream.getvalue(), 1)
    spectrum = np.abs(np.fft.rfft(cut.waveform))
    assert abs(spectrum.argmax() * RATE / len(cut.waveform) - 440) < 2


def test_what_can_be_read_of_a_truncated_file_is_used(packages: Path, bank: Path) -> None:
    whole = wav(tone(500))
    make_deb(packages, "birds", {f"{SOUNDS}/a.wav": whole[: len(whole) // 2]})
    assert make([row()], bank, packages).n_clips == 1
    assert report_of(bank) == [("birds", "read in part", "1")]
    (length,) = np.load(bank / "lengths.npy")
    assert length == (len(whole) // 2 - 44) // 2
    clip = open_sounds(bank, RATE).read(0)
    np.testing.assert_allclose(clip[:length], tone(500)[:length], rtol=0, atol=PCM_TOLERANCE)


def test_short_files_are_joined() -> None:
    cuts = [
        cutting.Cut(f"/{folder}/{name}.wav", 0.0, np.full(RATE, value, np.float32))
        for folder, name, value in (("x", "a", 1), ("x", "b", 2), ("y", "c", 3))
    ]
    within = list(cutting.joined(cuts, across_folders=False))
    assert [(cut.path, len(cut.waveform)) for cut in within] == [
        ("/x/a.wav", 2 * (RATE + RATE // 4)),
        ("/y/c.wav", RATE + RATE // 4),
    ]
    (whole,) = cutting.joined(cuts, across_folders=True)
    np.testing.assert_array_equal(
        whole.waveform[:: RATE // 4][:15], [1] * 4 + [0] + [2] * 4 + [0] + [3] * 4 + [0]
    )
    five = [cutting.Cut("/x/a.wav", 0.0, np.ones(2 * RATE, np.float32))] * 3
    assert [len(cut.waveform) for cut in cutting.joined(five, across_folders=True)] == [
        9 * RATE // 2,
        9 * RATE // 4,
    ]


def test_a_choice_of_files_stays_when_others_come(packages: Path, tmp_path: Path) -> None:
    chosen = []
    for n_files in (8, 9):
        files = {f"{SOUNDS}/{number}.wav": wav(tone(300 + 50 * number)) for number in range(n_files)}
        make_deb(packages, "birds", files, version=f"{n_files}")
        (packages / f"birds_{n_files - 1}_all.deb").unlink(missing_ok=True)
        bank = tmp_path / f"bank{n_files}"
        make([row(most=4)], bank, packages)
        chosen.append({line["file"] for line in index_of(bank)})
    assert len(chosen[0]) == 4
    assert len(chosen[0] & chosen[1]) >= 3


def test_rows_to_drop_keep_their_files_from_later_rows(packages: Path, bank: Path) -> None:
    files = {f"{SOUNDS}/{name}.wav": wav(tone(300 + 100 * i)) for i, name in enumerate("ab")}
    make_deb(packages, "birds", files)
    make([row(files="/b.wav", tier="drop"), row()], bank, packages)
    assert [line["file"] for line in index_of(bank)] == ["/usr/share/birds/a.wav"]


def test_loud_clips_are_scaled_not_clipped() -> None:
    loud = 2 * tone(500, 0.01)
    samples = cutting.as_samples(loud)
    assert samples.max() == 32767
    np.testing.assert_allclose(samples / 32767, loud / np.abs(loud).max(), rtol=0, atol=PCM_TOLERANCE)


@pytest.mark.parametrize(
    ("licence", "tier"),
    [
        ("CC0-1.0", "permissive"), ("CC-BY-3.0", "permissive"), ("Expat", "permissive"),
        ("own", "permissive"),
        ("CC-BY-SA-3.0", "share-alike"), ("GPL-2+", "share-alike"), ("Artistic-1.0", "share-alike"),
        ("CC-BY-NC-3.0", "other"), ("sampling+", "other"), ("", "other"),
        ("GPL-2 or MIT", "permissive"), ("GPL-2 and MIT", "share-alike"), ("MIT and sampling+", "other"),
        ("MIT and sampling+ or GPL-3", "share-alike"),
    ],
)  # fmt: skip
def test_tiers(licence: str, tier: str) -> None:
    assert tier_of(licence) == tier


def test_the_freest_of_a_choice() -> None:
    assert freest("GPL-2 or MIT or CC0") == "MIT"
    assert freest("GPL-2 and CC0") == "GPL-2 and CC0"


def test_licences_stated_in_a_copyright_file() -> None:
    stanzas = read_stanzas(COPYRIGHT)
    assert len(stanzas) == 3
    assert stated_licence("/usr/share/birds/free.wav", stanzas) == "CC0-1.0"
    assert stated_licence("/usr/share/birds/else.wav", stanzas) == "GPL-2+"
    assert stated_licence("/usr/share/cats/free.wav", stanzas) == "GPL-2+"
    assert stated_licence("/usr/share/birds/free.wav", stanzas[1:2]) == "CC0-1.0"
    assert stated_licence("/usr/share/cats/free.wav", stanzas[1:2]) is None
    assert read_stanzas("This package is free software.") == []


def test_tables_are_read_as_written(tmp_path: Path) -> None:
    rows = [row(most=3, size_bytes=10, join="all"), row("synth:x", "signals", version="")]
    write_table(tmp_path / "table.csv", rows)
    assert read_table(tmp_path / "table.csv") == rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"package": "../birds"}, "package '../birds'"),
        ({"package": "-o=x"}, "package '-o=x'"),
        ({"package": "folder:../x"}, "package 'folder:../x'"),
        ({"version": "1.0 --x"}, "version '1.0 --x'"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"files": ""}, "files is empty"),
        ({"licence": "CC-BY-NC-3.0"}, "of the tier 'other'"),
        ({"tier": "share-alike"}, "of the tier 'permissive', the row says 'share-alike'"),
        ({"split": "test"}, "split 'test'"),
        ({"join": "2"}, "join '2'"),
        ({"cuts": 0}, "at least 1"),
    ],
)
def test_impossible_rows(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    package, files = str(changes.pop("package", "birds")), str(changes.pop("files", ".wav"))
    write_table(tmp_path / "table.csv", [row(package, files, **changes)])
    with pytest.raises(PoolError, match=f"line 2: .*{message}"):
        read_table(tmp_path / "table.csv")


def test_tables_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("package,version\n", encoding="utf-8")
    with pytest.raises(PoolError, match="lacks the columns sha256"):
        read_table(path)
    path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with pytest.raises(PoolError, match="has no rows"):
        read_table(path)


def test_the_projects_table() -> None:
    rows = read_table(TABLE)
    for one in rows:
        if one.is_synthesis:
            assert one.files in STEPS, one
            assert one.files.startswith("held-out") <= (one.split == "valid"), one
        else:
            assert all((one.version, one.sha256, one.size_bytes)), one
    assert {one.split for one in rows} == {"train", "valid"}


def test_a_damaged_part_is_reported(packages: Path, bank: Path) -> None:
    make_deb(packages, "birds", {f"{SOUNDS}/a.wav": wav(tone(500))})
    make([row()], bank, packages)
    (part,) = (bank / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(PoolError, match=r"is damaged.*delete it"):
        make([row()], bank, packages)


def test_the_command(packages: Path, bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, digest = make_deb(packages, "birds", {f"{SOUNDS}/a.wav": wav(tone(500))})
    write_table(tmp_path / "table.csv", [row(sha256=digest), row("cats")])
    command = [str(tmp_path / "table.csv"), str(bank), "--packages", str(packages), "--no-download"]
    assert main(command) == 1
    assert "train.pool: finished parts are kept" in capsys.readouterr().err
    assert main([*command, "--only", "birds"]) == 0
    assert capsys.readouterr().out == f"{bank}: 1 clips, 0.00 h\n"
    assert main([*command, "--only", "dogs"]) == 1
    assert "has no package dogs" in capsys.readouterr().err


def test_coverage_counts_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiers, splits = ["permissive", "share-alike", "permissive"], ["train", "train", "valid"]
    folder = write_bank_of(
        tmp_path / "bank", [np.ones(9, np.int16)] * 3, n_samples=9, tier=tiers, split=splits
    )
    arguments = [str(folder), "--write", str(tmp_path / "coverage.csv")]
    assert coverage.main(arguments) == 1
    assert "python -m train.teach" in capsys.readouterr().err
    logits = np.full((3, 527), -30.0)
    logits[:, 0] = [2.0, -0.5, 90.0]  # probabilities .88, .38, 1
    logits[1, 4] = -2.0  # .12
    np.save(folder / "logits.npy", logits)
    assert coverage.main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 clips to train on, 1 valid",
        "over 0.5: classes with at least 1 / 5 / 20 clips: 1 / 0 / 0",
        "over 0.3: classes with at least 1 / 5 / 20 clips: 1 / 0 / 0",
        "over 0.1: classes with at least 1 / 5 / 20 clips: 2 / 0 / 0",
    ]
    with (tmp_path / "coverage.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert table[1] == ["Speech", "2", "3", "3", "2", "2", "1"]
    assert table[5][1:] == ["0", "0", "1", "0", "0", "0"]
    assert len(table) == 528
    np.save(folder / "logits.npy", logits[:2])
    assert coverage.main(arguments) == 1
    assert "hold different numbers of clips: {'index.csv': 3, 'logits.npy': 2}" in capsys.readouterr().err
    np.save(folder / "logits.npy", logits[:, :10])
    assert coverage.main(arguments) == 1
    assert "holds (3, 10); (3, 527) is needed" in capsys.readouterr().err
    np.save(folder / "logits.npy", logits)
    index = folder / "index.csv"
    index.write_text(index.read_text("utf-8").replace("tier", "level"), encoding="utf-8")
    assert coverage.main(arguments) == 1
    assert "has no tier for some clips" in capsys.readouterr().err
