"""The packed format: what is written is read back, and damage is noticed."""

from __future__ import annotations

import contextlib
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from packing import LABELS, clip_ids, noise

from train.data.encoding import PADDING, VARIANTS, as_float, as_pcm, decode_into, encode
from train.data.rice import BLOCK
from train.data.store import Store, StoreError, part_path
from train.data.store_writer import read_part, write_store, writing_part

RATE = 8000
N_SAMPLES = 800


def make(folder: Path, n_clips: int = 10, variant: str = "raw") -> Store:
    """Clips of growing length in parts of four; clip ``i`` has the labels ``i % 9`` and 8."""
    clips = ((name, {i % 9, 8}, noise(i, 100 + 70 * i)) for i, name in enumerate(clip_ids(n_clips)))
    write_store(
        folder, clips, labels=LABELS, sample_rate=RATE, n_samples=N_SAMPLES, variant=variant, clips_per_part=4
    )
    return Store(folder)


def decode(encoded: bytes, variant: str, n_samples: int) -> NDArray[np.int16]:
    """The samples of bytes with other bytes after them."""
    padded = np.full(len(encoded) + PADDING[variant], 0xA5, np.uint8)
    padded[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    pcm = np.empty(n_samples, np.int16)
    decode_into(padded, len(encoded), variant, pcm)
    return pcm


@pytest.mark.parametrize("variant", VARIANTS)
def test_round_trip(tmp_path: Path, variant: str) -> None:
    store = make(tmp_path, variant=variant)
    assert (len(store), store.sample_rate, store.n_samples) == (10, RATE, N_SAMPLES)
    assert store.labels == LABELS.names
    assert store.label_ids == LABELS.ids
    assert list(store.ids) == clip_ids(10)
    assert store.ids[2:4] == clip_ids(10)[2:4]
    assert store.targets.shape == (10, 9)
    for i in (9, 0, 4, 3):
        pcm = store.read(i)
        n = 100 + 70 * i
        assert pcm.dtype == np.int16
        assert pcm.shape == (N_SAMPLES,)
        np.testing.assert_array_equal(pcm[:n], noise(i, n))
        assert not pcm[n:].any()
        assert store.lengths[i] == n
        assert set(np.flatnonzero(store.targets[i])) == {i % 9, 8}


@pytest.mark.parametrize("variant", ["rice", "flac"])
def test_compressed_clips_are_smaller(variant: str) -> None:
    """Of sound that is not noise."""
    tone = as_pcm(0.1 * np.sin(np.arange(N_SAMPLES) / 9))
    assert len(encode(tone, variant, RATE)) < 0.7 * len(encode(tone, "raw", RATE))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(arrays.arrays(np.int16, st.integers(1, 300)), st.sampled_from(VARIANTS))
def test_encodings_lose_nothing(pcm: NDArray[np.int16], variant: str) -> None:
    np.testing.assert_array_equal(decode(encode(pcm, variant, RATE), variant, len(pcm)), pcm)


EDGES = {
    "silence": lambda n, _: np.zeros(n),
    "white": lambda n, rng: rng.integers(-32768, 32768, n),
    "extremes": lambda n, rng: rng.integers(0, 2, n) * 65535 - 32768,
    "clicks": lambda n, rng: np.where(rng.random(n) < 0.001, 32767, 0),
    "ramp": lambda n, _: np.arange(n) % 65536 - 32768,
    "tone": lambda n, _: np.rint(32767 * np.sin(np.arange(n) / 40)),
}


@pytest.mark.parametrize("n_samples", [0, 1, 2, 3, 4, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
@pytest.mark.parametrize("edge", EDGES)
def test_rice_codes_lose_nothing_at_any_length(edge: str, n_samples: int) -> None:
    pcm = np.asarray(EDGES[edge](n_samples, np.random.default_rng(n_samples)), np.int16)
    np.testing.assert_array_equal(decode(encode(pcm, "rice", RATE), "rice", n_samples), pcm)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.data())
def test_damaged_rice_codes_are_refused_or_give_samples(data: st.DataObject) -> None:
    """Never a crash, whatever the bytes: reading stays within the padding."""
    n_samples = data.draw(st.integers(1, 3 * BLOCK))
    encoded = bytearray(encode(as_pcm(np.sin(np.arange(n_samples) / 7)), "rice", RATE))
    for _ in range(data.draw(st.integers(0, 5))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(encoded[: data.draw(st.integers(0, len(encoded)))])
    with contextlib.suppress(ValueError):
        assert decode(damaged, "rice", n_samples).shape == (n_samples,)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_clip_of_another_length_is_refused(variant: str) -> None:
    with pytest.raises(ValueError, match="it has 800 samples; 799 are expected"):
        decode(encode(noise(0), variant, RATE), variant, 799)


@pytest.mark.parametrize("variant", VARIANTS)
def test_clips_are_read_into_memory_that_is_given(tmp_path: Path, variant: str) -> None:
    store = make(tmp_path, variant=variant)
    batch = np.full((2, N_SAMPLES), 77, np.int16)
    for place, row in enumerate((9, 2)):
        store.read_into(row, batch[place])
        np.testing.assert_array_equal(batch[place], store.read(row))
    assert store.parts.tolist() == [row // 4 for row in range(10)]


def test_sixteen_bits_become_floats_and_back() -> None:
    everything = np.arange(-32768, 32768).astype(np.int16)
    assert as_float(everything).dtype == np.float32
    assert as_float(everything).min() == -1
    np.testing.assert_array_equal(as_pcm(as_float(everything)), everything)
    np.testing.assert_array_equal(as_pcm(np.array([1.0, 1.7, -1.2, 0.4 / 32768])), [32767, 32767, -32768, 0])


def test_read_from_threads_and_other_processes(tmp_path: Path) -> None:
    store = make(tmp_path)
    alone = [store.read(i) for i in range(len(store))]
    copy = pickle.loads(pickle.dumps(store))
    assert len(pickle.dumps(store)) < 1000, "it is opened again, not copied"
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(copy.read, list(range(len(store))) * 5):
            assert any(np.array_equal(together, one) for one in alone)


def test_an_empty_store(tmp_path: Path) -> None:
    store = make(tmp_path, n_clips=0)
    assert len(store) == 0
    assert store.targets.shape == (0, 9)
    with pytest.raises(IndexError, match=r"row 0 of .* which has 0"):
        store.read(0)


def test_the_same_clips_make_the_same_bytes(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    for path in ("rows.npy", "store.json", "parts/00001.bin"):
        assert (first.folder / path).read_bytes() == (second.folder / path).read_bytes()


def test_ids_must_differ_and_clips_must_fit(tmp_path: Path) -> None:
    def write(clips: list[tuple[str, list[int], NDArray[np.int16]]]) -> None:
        write_store(tmp_path, clips, labels=LABELS, sample_rate=RATE, n_samples=N_SAMPLES)

    with pytest.raises(ValueError, match="1 are repeated, among them 'a'"):
        write([("a", [0], noise(0)), ("a", [1], noise(1))])
    with pytest.raises(ValueError, match="clip 'b' has 801 samples; the limit is 800"):
        write([("b", [0], noise(0, 801))])


def test_damage_is_named(tmp_path: Path) -> None:
    store = make(tmp_path)
    path = part_path(store.folder, 0)
    whole = path.read_bytes()
    path.write_bytes(whole[:150] + bytes([whole[150] ^ 1]) + whole[151:])
    with pytest.raises(StoreError, match=r"00000\.bin is damaged: clip '-0000000000' is not the one"):
        store.read(0)
    store.read(1)
    path.write_bytes(whole[:300])
    with pytest.raises(StoreError, match=r"340 bytes at 200 are needed, 100 are there; delete that part"):
        store.read(1)
    path.unlink()
    with pytest.raises(StoreError, match=r"cannot read .*00000\.bin"):
        store.read(1)


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a store"):
        Store(tmp_path)
    store = make(tmp_path)
    settings_path = store.folder / "store.json"
    written = json.loads(settings_path.read_text("utf-8"))
    for change, complaint in (
        ({"format": 2}, "is not of format 1"),
        ({"n_clips": 9}, "do not match"),
        ({"labels": ["a"]}, "do not match"),
        ({"variant": "mp3"}, "variant 'mp3' is not one of raw, rice, flac"),
    ):
        settings_path.write_text(json.dumps({**written, **change}), "utf-8")
        with pytest.raises(StoreError, match=complaint):
            Store(tmp_path)
    settings_path.unlink()
    with pytest.raises(StoreError, match="is incomplete"):
        Store(tmp_path)


def test_a_part_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(TypeError), writing_part(tmp_path, 0, "raw", RATE) as part:
        part.add("a", 0, noise(0))  # type: ignore[arg-type]
    assert read_part(tmp_path, 0) is None
    assert list((tmp_path / "parts").iterdir()) == []
    with writing_part(tmp_path, 0, "raw", RATE) as part:
        part.add("a", [0], noise(0))
    assert read_part(tmp_path, 0) == (part.clips, [])
    with part_path(tmp_path, 0).open("r+b") as file:
        file.truncate(100)
    assert read_part(tmp_path, 0) is None


def test_unknown_encodings_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown variant 'mp3'; use one of raw, rice, flac"):
        encode(noise(0), "mp3", RATE)
    with pytest.raises(ValueError, match="Format not recognised"):
        decode(b"no FLAC at all", "flac", 8)
