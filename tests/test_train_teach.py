"""Logits of teachers over clips: from every kind of clips, in shards, and after a kill."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from packing import noise, write_audio
from small_banks import write_bank_of
from training import make_store

from pannsx.errors import AudioError
from train import teach as module
from train.data.indexed import Indexed, write_index
from train.data.mapped_npz import mapped
from train.data.sounds import open_sounds
from train.data.store import Store
from train.evaluate import open_model
from train.loop.distil import open_teacher
from train.teach import Network, TeachError, main, open_network, teach
from train.teacher import MN04_AS, Teacher
from train.teacher.network import MobileNetV3

RATE = 8000
CLIPS_PER_PART = 5
RESAMPLED_TOLERANCE = 1e-6  # the same resampler, in pieces or as a whole


def peaks(waveform: torch.Tensor) -> torch.Tensor:
    """A network that is easy to check: ``(B, S)`` -> ``(B, 2)`` least and greatest sample."""
    return torch.stack([waveform.amin(1), waveform.amax(1)], 1)


NETWORK = Network("peaks", "0" * 64, RATE, peaks)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store", 12)


def compute(path: Path, clips: Path, network: Network = NETWORK, **how: object) -> bool:
    sounds = open_sounds(clips, network.sample_rate, duration_s=0.1)
    return teach(path, sounds, network, clips_per_part=CLIPS_PER_PART, **how)  # type: ignore[arg-type]


def expected(store: Path) -> np.ndarray:
    clips = np.stack([Store(store).read(row) for row in range(len(Store(store)))]) / np.float32(32768)
    return np.stack([clips.min(1), clips.max(1)], 1)


def test_logits_of_a_store_are_what_distillation_reads(tmp_path: Path, store: Path) -> None:
    assert compute(tmp_path / "logits.npz", store)
    ids = Store(store).ids
    read = open_teacher(tmp_path / "logits.npz", [ids[3], ids[0]], 2)
    np.testing.assert_array_equal(read(np.array([0, 1])), expected(store)[[3, 0]])
    assert not (tmp_path / "logits.npz.parts").exists()
    about = json.loads((tmp_path / "logits.npz.json").read_text("utf-8"))
    assert (about["teacher"], about["n_clips"]) == ("peaks", 12)


def test_logits_in_the_order_of_the_clips(tmp_path: Path, store: Path) -> None:
    write_index(tmp_path / "index.npz", Indexed([Store(store)], [np.array([2, 5])]))
    compute(tmp_path / "logits.npy", tmp_path / "index.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), expected(store)[[2, 5]])


def test_shards_join_to_the_same(tmp_path: Path, store: Path) -> None:
    compute(tmp_path / "whole.npz", store)
    calls: list[int] = []

    def counting(waveform: torch.Tensor) -> torch.Tensor:
        calls.append(len(waveform))
        return peaks(waveform)

    network = NETWORK._replace(logits=counting)
    path = tmp_path / "logits.npz"
    assert not compute(path, store, network, shard=(1, 2))
    assert calls == [5], "the second of three parts"
    assert not compute(path, store, network, shard=(0, 2))
    assert not path.exists()
    assert sum(calls) == 12
    assert compute(path, store, network)
    assert sum(calls) == 12, "joining computes nothing again"
    assert path.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert compute(path, store, network)
    assert sum(calls) == 12, "what is finished is finished"


def test_a_killed_run_goes_on(tmp_path: Path, store: Path) -> None:
    compute(tmp_path / "whole.npz", store)
    calls: list[int] = []

    def dying(waveform: torch.Tensor) -> torch.Tensor:
        calls.append(len(waveform))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return peaks(waveform)

    network = NETWORK._replace(logits=dying)
    path = tmp_path / "logits.npz"
    with pytest.raises(KeyboardInterrupt):
        compute(path, store, network)
    assert [file.name for file in (tmp_path / "logits.npz.parts").glob("*.npy")] == ["00000.npy"]
    assert compute(path, store, network)
    assert calls == [5, 5, 5, 2]
    assert path.read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_other_clips_or_teachers_are_refused(tmp_path: Path, store: Path) -> None:
    path = tmp_path / "logits.npz"
    compute(path, store, shard=(0, 2))
    other = NETWORK._replace(digest="1" * 64)
    with pytest.raises(TeachError, match=r"logits\.npz\.parts was made with other teacher_digest"):
        compute(path, store, other)
    compute(path, store)
    with pytest.raises(TeachError, match=r"logits\.npz was made with other clips_digest and n_clips"):
        compute(path, make_store(tmp_path / "other", 3))
    (tmp_path / "logits.npz.json").unlink()
    with pytest.raises(TeachError, match=r"logits\.npz\.json.*cannot be read"):
        compute(path, store)
    with pytest.raises(TeachError, match=r"written as \.npz or \.npy, got 'logits\.csv'"):
        compute(tmp_path / "logits.csv", store)


def test_a_damaged_part_is_reported(tmp_path: Path, store: Path) -> None:
    path = tmp_path / "logits.npz"
    compute(path, store, shard=(0, 1))
    part = tmp_path / "logits.npz.parts" / "00001.npy"
    part.write_bytes(part.read_bytes()[:-8])
    with pytest.raises(TeachError, match="delete it and run the same command again"):
        compute(path, store)


def test_logits_that_are_not_finite_stop(tmp_path: Path, store: Path) -> None:
    def broken(waveform: torch.Tensor) -> torch.Tensor:
        logits = peaks(waveform)
        if len(logits) == 2:
            logits[1, 0] = torch.nan
        return logits

    clip_id = Store(store).ids[11]
    with pytest.raises(TeachError, match=f"clip '{clip_id}' are not finite"):
        compute(tmp_path / "logits.npz", store, NETWORK._replace(logits=broken))


def test_audio_files_are_cut_and_padded(tmp_path: Path) -> None:
    sounds = {"long": noise(1, 2000), "short": noise(2, 300)}
    folder = write_audio(tmp_path / "audio" / "deep", sounds, RATE)
    opened = open_sounds(folder.parent, RATE, duration_s=0.1)
    assert list(opened.ids) == ["deep/Ylong.wav", "deep/Yshort.wav"]
    np.testing.assert_array_equal(opened.read(0), sounds["long"][:800] / np.float32(32768))
    np.testing.assert_array_equal(opened.read(1)[:300], sounds["short"] / np.float32(32768))
    assert not opened.read(1)[300:].any()
    (folder / "Yshort.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"Yshort\.wav"):
        opened.read(1)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="holds no audio files"):
        open_sounds(tmp_path / "nothing", RATE)


def bank_of_two(folder: Path) -> Path:
    clips = [noise(3, 3200), noise(4, 3200)]
    return write_bank_of(
        folder, clips, n_samples=3200, package=["birds"] * 2, file=["/a.wav"] * 2, start_s=[0.0, 5.0]
    )


def test_banks_are_read_at_the_teachers_rate(tmp_path: Path) -> None:
    folder = bank_of_two(tmp_path / "bank")
    bank = open_sounds(folder, 32000)
    assert list(bank.ids) == ["birds:/a.wav@0.0", "birds:/a.wav@5.0"]
    np.testing.assert_array_equal(bank.read(1), noise(4, 3200) / np.float32(32768))
    slower = open_sounds(folder, 16000)
    assert slower.n_samples == 1600
    soundfile.write(tmp_path / "a.wav", noise(4, 3200), 32000)
    whole = open_sounds(tmp_path, 16000, duration_s=0.1)
    np.testing.assert_allclose(
        slower.read(1), whole.read(list(whole.ids).index("a.wav")), rtol=0, atol=RESAMPLED_TOLERANCE
    )
    np.save(folder / "pool.npy", noise(3, 3200)[None])
    with pytest.raises(ValueError, match=r"different numbers of clips: \{'pool\.npy': 1, 'lengths\.npy': 2"):
        open_sounds(folder, 32000)


def test_the_command_with_a_checkpoint_of_ours(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bank_of_two(tmp_path / "bank")
    command = [str(folder / "logits.npy"), str(folder), "--teacher", "MobileNetV1_distilled"]
    assert main([*command, "--shard", "0/1"]) == 0
    assert "without --shard the parts are joined" in capsys.readouterr().out
    assert main(command) == 0
    assert "2 clips by MobileNetV1_distilled" in capsys.readouterr().out
    network = open_network("MobileNetV1_distilled")
    with torch.inference_mode():
        waveform = torch.from_numpy(np.load(folder / "pool.npy") / np.float32(32768))
        logits = network.logits(waveform).numpy()
    np.testing.assert_array_equal(np.load(folder / "logits.npy"), logits)
    assert logits.shape == (2, 527)
    assert main([str(tmp_path / "x.npz"), str(store), "--teacher", "nothing"]) == 1
    assert "train.teach: unknown model 'nothing'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--shard", "3/3"])


def test_the_published_teacher_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load(path: object) -> Teacher:
        asked.append(path)
        return Teacher(MN04_AS, MobileNetV3(MN04_AS.width).eval())

    monkeypatch.setattr(module, "load_teacher", load)
    path = str(tmp_path / MN04_AS.filename)
    assert open_network(path)[:3] == ("mn04_as", MN04_AS.digest.hexdigest, 32000)
    open_network("mn04_as")
    assert asked == [path, None]


def with_means(waveform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return peaks(waveform), torch.stack([waveform.mean(1)] * 3, 1)


def test_embeddings_stand_beside_the_logits(tmp_path: Path, store: Path) -> None:
    network = NETWORK._replace(both=with_means)
    path = tmp_path / "both.npz"
    assert not compute(path, store, network, embeddings=True, shard=(1, 2))
    assert compute(path, store, network, embeddings=True)
    ids, logits, embeddings = mapped(path, ("ids", "logits", "embeddings"))
    assert ids.tolist() == list(Store(store).ids)
    np.testing.assert_array_equal(logits, expected(store))
    means = np.stack([Store(store).read(row) for row in range(12)]).mean(1) / 32768
    np.testing.assert_allclose(embeddings, np.stack([means] * 3, 1), rtol=0, atol=1e-6)
    compute(tmp_path / "alone.npz", store)
    read = open_teacher(path, list(Store(store).ids), 2)
    np.testing.assert_array_equal(read(np.arange(12)), np.load(tmp_path / "alone.npz")["logits"])
    with pytest.raises(TeachError, match=r"both\.npz was made with other embeddings"):
        compute(path, store, network)
    with pytest.raises(TeachError, match="peaks has no embeddings"):
        compute(tmp_path / "x.npz", store, embeddings=True)
    with pytest.raises(TeachError, match=r"written as \.npz beside the logits, got 'x\.npy'"):
        compute(tmp_path / "x.npy", store, network, embeddings=True)


def test_half_precision_halves_the_file(tmp_path: Path, store: Path) -> None:
    compute(tmp_path / "half.npy", store, half=True)
    logits = np.load(tmp_path / "half.npy")
    assert logits.dtype == np.float16
    np.testing.assert_array_equal(logits, expected(store).astype(np.float16))


def test_embeddings_of_a_checkpoint_are_those_of_the_package() -> None:
    network = open_network("MobileNetV1_distilled")
    assert network.both is not None
    waveform = torch.from_numpy(noise(5, 32000) / np.float32(32768))[None]
    with torch.inference_mode():
        logits, embedding = network.both(waveform)
        output = open_model("MobileNetV1_distilled").model(waveform)
    torch.testing.assert_close(logits, output.logits)
    torch.testing.assert_close(embedding, output.embedding)
