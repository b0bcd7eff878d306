"""Copies of files that are far away: whole or not there, checked, bounded, and made once for all readers."""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile
from packing import LABELS, noise, write_label_file
from seeded_models import narrow_row
from training import N_SAMPLES, RATE, last_state, make_store, overrides, tone

from pannsx.labels import audioset
from pannsx.models.zoo import ARCHITECTURES
from train.data import staging as module
from train.data.indexed import Indexed, open_index, write_index
from train.data.reader_threads import read_by_threads
from train.data.staged_store import StagedStore
from train.data.staging import Staging, StagingError, listed, version_of
from train.data.store import Store, StoreError, part_path
from train.data.store_writer import write_store
from train.data.tars import Tars, is_tars
from train.evaluate import main as evaluate_main
from train.pack import main as pack_main
from train.run import main


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / "staged", 10_000_000)


@pytest.fixture
def bucket() -> Iterator[str]:
    """A folder that is at a URL only."""
    system = fsspec.filesystem("memory")
    yield "memory://bucket"
    if system.exists("/bucket"):
        system.rm("/bucket", recursive=True)


def upload(folder: Path, url: str) -> str:
    fsspec.filesystem("memory").put(f"{folder}/", f"{url.removeprefix('memory:/')}/", recursive=True)
    return url


def far_store(folder: Path) -> Path:
    """Twelve clips in parts of four."""
    clips = ((f"clip{i:02d}", [i % 9], tone(i)) for i in range(12))
    write_store(
        folder, clips, labels=LABELS, sample_rate=RATE, n_samples=N_SAMPLES, variant="rice", clips_per_part=4
    )
    return folder


def copies(staging: Staging) -> list[Path]:
    return sorted(path for path in (staging.folder / "copies").iterdir() if path.suffix != ".lock")


def test_a_copy_is_made_once_and_has_the_bytes(tmp_path: Path, staging: Staging, bucket: str) -> None:
    (tmp_path / "a.bin").write_bytes(b"one")
    with fsspec.open(f"{bucket}/b.bin", "wb") as file:
        file.write(b"two")
    for location, content in ((str(tmp_path / "a.bin"), b"one"), (f"{bucket}/b.bin", b"two")):
        copy = staging.local(location, digest=hashlib.sha256(content).hexdigest())
        assert copy.read_bytes() == content
        copy.write_bytes(b"kept")
        assert staging.local(location).read_bytes() == b"kept", "it is not copied again"
        assert staging.local(location, version="newer").read_bytes() == content
    assert listed(bucket, ".bin") == ["memory:///bucket/b.bin"]
    assert version_of(f"{bucket}/b.bin") == version_of(f"{bucket}/b.bin")


def test_nothing_stays_of_a_copy_that_fails(
    tmp_path: Path, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    with pytest.raises(StagingError, match=r"digest .* is needed: it is damaged"):
        staging.local(str(path), digest="0" * 64)
    with pytest.raises(StagingError, match=r"cannot copy .*absent\.bin"):
        staging.local(str(tmp_path / "absent.bin"))
    with pytest.raises(StagingError, match="has 7 bytes, and the staging folder may hold 5"):
        Staging(staging.folder, 5).local(str(path))
    with pytest.raises(StagingError, match="cannot open nosuch://x"):
        staging.local("nosuch://x/y.bin")
    opened = module.opened

    def longer(location: str) -> object:
        class Longer:
            def __enter__(self) -> tuple[object, int]:
                self.inner = opened(location)
                file, size = self.inner.__enter__()
                return file, size + 1

            def __exit__(self, *error: object) -> None:
                self.inner.__exit__(*error)  # type: ignore[arg-type]

        return Longer()

    monkeypatch.setattr(module, "opened", longer)
    with pytest.raises(StagingError, match="has 8 bytes, but 7 were read"):
        staging.local(str(path))
    assert copies(staging) == []


def test_the_copies_used_longest_ago_make_room(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "staged", 250)
    locations = []
    for number in range(4):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(bytes([number]) * 100)
        locations.append(str(path))
    first, second = staging.local(locations[0]), staging.local(locations[1])
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    staging.local(locations[0])  # used again
    third = staging.local(locations[2])
    assert copies(staging) == sorted([first, third])
    unfinished = staging.folder / "copies" / "x.bin.1.tmp"
    unfinished.write_bytes(bytes(100))
    staging.local(locations[3])
    assert unfinished.exists(), "another process may be writing it"
    os.utime(unfinished, (1, 1))
    staging.local(locations[1])
    assert not unfinished.exists(), "nobody has written to it for long"
    assert sum(path.stat().st_size for path in copies(staging)) <= 250


def test_many_readers_make_one_copy(
    tmp_path: Path, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(1000))
    opened, n_opened = module.opened, []

    def counted(location: str) -> object:
        n_opened.append(location)
        return opened(location)

    monkeypatch.setattr(module, "opened", counted)
    start = threading.Barrier(8)

    def read() -> None:
        start.wait()
        assert len(staging.local(str(tmp_path / "a.bin")).read_bytes()) == 1000

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(n_opened) == 1


def test_a_store_at_a_url_is_the_store(tmp_path: Path, staging: Staging, bucket: str) -> None:
    here = Store(far_store(tmp_path / "store"))
    url = upload(here.folder, f"{bucket}/store")
    there = open_index(url, staging)
    assert isinstance(there, StagedStore)
    assert list(there.ids) == list(here.ids)
    np.testing.assert_array_equal(there.targets[:], here.targets[:])
    assert not (staging.folder / "copies").exists(), "parts are copied when a clip is read"
    again = pickle.loads(pickle.dumps(there))
    for row in (11, 0, 5):
        np.testing.assert_array_equal(again.read(row), here.read(row))
    assert len(copies(staging)) == 3
    with pytest.raises(StoreError, match=r"give a local folder for them: data\.staging"):
        open_index(url)
    with pytest.raises(StoreError, match="cannot open the store memory://bucket/absent"):
        open_index(f"{bucket}/absent", staging)


def test_a_damaged_or_removed_copy_is_made_again(tmp_path: Path, staging: Staging) -> None:
    here = Store(far_store(tmp_path / "store"))
    write_index(tmp_path / "index.npz", Indexed([here], [np.arange(2, 12)]))
    there = open_index(tmp_path / "index.npz", staging)
    np.testing.assert_array_equal(there.read(0), here.read(2))
    (copy,) = copies(staging)
    copy.write_bytes(bytes(copy.stat().st_size))
    np.testing.assert_array_equal(there.read(0), here.read(2))
    copy.unlink()
    np.testing.assert_array_equal(there.read(0), here.read(2))
    original = part_path(here.folder, 2)
    original.write_bytes(bytes(original.stat().st_size))
    with pytest.raises(StoreError, match=r"is damaged: clip 'clip08'"):
        there.read(6)
    original.unlink()
    with pytest.raises(StoreError, match=r"cannot copy .*00002\.bin"):
        there.read(6)


def test_a_store_that_was_packed_again_is_copied_again(tmp_path: Path, staging: Staging) -> None:
    folder = far_store(tmp_path / "store")
    StagedStore(str(folder), staging).read(0)
    make_store(folder, 12)  # other parts under the same names
    np.testing.assert_array_equal(StagedStore(str(folder), staging).read(0), Store(folder).read(0))


def test_what_will_be_needed_is_copied_ahead(tmp_path: Path, staging: Staging) -> None:
    store = StagedStore(str(far_store(tmp_path / "store")), staging)
    batches = read_by_threads(store, iter([np.array([0, 1]), np.array([4, 5]), np.array([8])]), 2)
    next(batches)
    store._wanted.join()
    assert len(copies(staging)) == 3, "the parts of batches that nobody has asked for yet"
    assert len(list(batches)) == 2


def encoded(pcm: np.ndarray, suffix: str = "flac") -> bytes:
    stream = BytesIO()
    soundfile.write(stream, pcm, RATE, format=suffix.upper(), subtype="PCM_16")
    return stream.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    return path


def two_tars(folder: Path) -> Path:
    write_tar(
        folder / "0.tar",
        [
            ("x/a.flac", encoded(noise(1))), ("x/a.json", b'{"labels": ["Rain", "Dog"]}'), ("n.txt", b"-"),
            ("x/b.wav", encoded(noise(2, 300), "wav")), ("x/b.json", b'["Dog"]'),
        ],
    )  # fmt: skip
    write_tar(folder / "1.tar", [("c.json", b'{"label": "Bell"}'), ("c.flac", encoded(noise(3)))])
    return folder


@pytest.mark.parametrize("at_url", [False, True])
def test_tars_are_clips(tmp_path: Path, staging: Staging, bucket: str, at_url: bool) -> None:
    folder = two_tars(tmp_path / "tars")
    location = upload(folder, f"{bucket}/tars") if at_url else str(folder)
    clips = Tars(location, RATE, None, staging if at_url else None, duration_s=0.1)
    for tars in (clips, pickle.loads(pickle.dumps(clips))):
        assert list(tars.ids) == ["a", "b", "c"]
        assert tars.labels == ("Bell", "Dog", "Rain")
        assert tars.targets[:].tolist() == [[False, True, True], [False, True, False], [True, False, False]]
        assert tars.parts.tolist() == [0, 0, 1]
        np.testing.assert_array_equal(tars.read(2), noise(3))
        np.testing.assert_array_equal(tars.read(1), np.pad(noise(2, 300), (0, 500)))
    assert is_tars(str(folder))
    assert is_tars(f"{bucket}/tars/*.tar")
    assert not is_tars(str(tmp_path))


def test_tars_with_audiosets_labels(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "a.tar",
        [("Y--PJHxphWEs.flac", encoded(noise(1))), ("Y--PJHxphWEs.json", b'["/m/09x0r", 5]')],
    )
    clips = Tars(str(tmp_path / "*.tar"), RATE, audioset())
    assert list(clips.ids) == ["--PJHxphWEs"], "as in a packed store"
    assert np.flatnonzero(clips.targets[0]).tolist() == [0, 5]
    assert clips.n_samples == 10 * RATE


def test_tars_at_a_url_are_packed(
    tmp_path: Path, bucket: str, staging: Staging, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = two_tars(tmp_path / "tars")
    url = upload(folder, f"{bucket}/tars")
    command = ["--labels", str(write_label_file(tmp_path / "labels.csv")), "--sample-rate", str(RATE)]
    command += ["--duration", "0.1", "--workers", "0"]
    assert pack_main([str(tmp_path / "here"), str(folder), *command]) == 0
    assert pack_main([str(tmp_path / "there"), url, *command]) == 1
    assert "give a local folder for them: --staging" in capsys.readouterr().err
    for number in range(2):  # the second time, all parts are there, wherever copies would go
        there = [str(tmp_path / "there"), url, *command, "--staging", str(tmp_path / f"staged{number}")]
        assert pack_main(there) == 0
    assert not (tmp_path / "staged1").exists()
    for file in ("rows.npy", "parts/00000.bin", "parts/00001.bin"):
        assert (tmp_path / "there" / file).read_bytes() == (tmp_path / "here" / file).read_bytes()


def test_what_is_wrong_with_tars_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no tars"):
        Tars(str(tmp_path), RATE, None)
    with pytest.raises(ValueError, match=r"give a local folder for them: data\.staging"):
        Tars("memory://x/*.tar", RATE, None)
    write_tar(tmp_path / "a.tar", [("a.flac", b"no audio"), ("a.json", b'["Dog"]')])
    with pytest.raises(StoreError, match=r"clip 'a' of .*a\.tar cannot be read"):
        Tars(str(tmp_path), RATE, None).read(0)
    write_tar(tmp_path / "b.tar", [("x/a.flac", b""), ("x/a.json", b'["Dog"]')])
    with pytest.raises(ValueError, match="2 clips with 1 different ids"):
        Tars(str(tmp_path), RATE, None)
    write_tar(tmp_path / "b.tar", [("b.flac", b"")])
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:700])
    with pytest.raises(ValueError, match=r"a\.tar is damaged, or not a plain tar"):
        Tars(str(tmp_path), RATE, None)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A LeeNet11 with a quarter of its channels: clips of tars last 10 s."""
    monkeypatch.setitem(ARCHITECTURES, "LeeNet11", narrow_row(ARCHITECTURES["LeeNet11"]))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("kind", ["store", "tars"])
def test_a_run_streams_from_far_away(tmp_path: Path, bucket: str, kind: str) -> None:
    if kind == "store":
        far_store(tmp_path / "here")
    else:
        for number in range(3):
            members = [(f"{number}{i}.flac", encoded(tone(i))) for i in range(4)]
            notes = [(f"{number}{i}.json", f'["{LABELS.names[i]}"]'.encode()) for i in range(4)]
            write_tar(tmp_path / "here" / f"{number}.tar", sorted(members + notes))
    url = upload(tmp_path / "here", f"{bucket}/there")
    given = overrides(
        Path(), data__train=url if kind == "store" else f"{url}/*.tar", sampler="streamed", data__streams=2,
        data__buffer_clips=6, data__readers="threads", data__staging=tmp_path / "staged", run__steps=3,
    )  # fmt: skip
    assert main(["LeeNet11", *given, "--folder", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert last_state(tmp_path / "run")["sampler"]["kind"] == "streamed"


@pytest.mark.usefixtures("narrow")
def test_what_is_far_away_is_evaluated_through_copies(
    tmp_path: Path, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here = far_store(tmp_path / "here")
    given = overrides(here, run__steps=1, data__workers=0)
    assert main(["LeeNet11", *given, "--folder", str(tmp_path / "run"), "--device", "cpu"]) == 0
    members = [(f"{i}.flac", encoded(tone(i))) for i in range(9)]
    notes = [(f"{i}.json", f'["{name}"]'.encode()) for i, name in enumerate(LABELS.names)]
    write_tar(tmp_path / "tars" / "0.tar", sorted(members + notes))
    url, tars = upload(here, f"{bucket}/store"), upload(tmp_path / "tars", f"{bucket}/tars")
    run = [str(tmp_path / "run"), "--workers", "0", "--device", "cpu"]
    staging = ["--staging", str(tmp_path / "staged"), "--staging-gb", "0.01"]
    capsys.readouterr()
    assert evaluate_main([run[0], url, *run[1:]]) == 1
    assert "give a local folder for them: data.staging of a recipe, or --staging" in capsys.readouterr().err
    reports = []
    for clips in ([str(here)], [url, *staging], [f"{tars}/*.tar", *staging]):
        assert evaluate_main([run[0], *clips, *run[1:]]) == 0
        reports.append(capsys.readouterr().out)
    assert reports[0] == reports[1]
    assert "9 of 9 classes, 9 clips" in reports[2]
    assert len(list((tmp_path / "staged" / "copies").glob("*.bin"))) == 3, "the parts of the store"
