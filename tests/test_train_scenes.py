"""Scenes composed of banks: known onsets, frame targets, and the first steps of learning from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_banks import N_CLASSES, SteadyTeacher, tone, write_bank

from pannsx.models.zoo import build
from train.data import effects
from train.data.banks import RATE, open_bank, open_banks
from train.data.scenes import BLOCK, Frames, Scene, Scenes, audible
from train.loop import checkpoints, distil, log
from train.recipe import Scenes as Settings
from train.recipe import read_recipe
from train.run import main

DOG, RAIN = 74, 288
LEVEL_TOLERANCE = 1e-3
"""Relative, of a level that an effect keeps: float32 sums."""


@pytest.fixture
def banks(tmp_path: Path) -> Path:
    """Two banks: short barks and long rain, and one clip that is kept apart."""
    dogs = [(tone(400 + 50 * i, 0.4), "animals", "train", DOG) for i in range(3)]
    rain = [(tone(90, 5.0), "surroundings", "train", RAIN), (tone(95, 5.0), "surroundings", "valid", 1)]
    write_bank(tmp_path / "banks" / "dogs", dogs)
    write_bank(tmp_path / "banks" / "rain", rain)
    return tmp_path / "banks"


@pytest.fixture
def settings() -> Settings:
    scenes = read_recipe("MobileNetV1_distilled").scenes
    assert scenes is not None
    return scenes


def plain(settings: Settings, **more: object) -> Settings:
    """One part, untouched."""
    return replace(
        settings, part_shares=(1.0, 0.0, 0.0), room_share=0.0, tilt_share=0.0, band_share=0.0,
        codec_share=0.0, noise_share=0.0, repeat_share=0.0, **more,
    )  # fmt: skip


def test_a_scene_is_a_function_of_seed_and_number(banks: Path, settings: Settings) -> None:
    busy = replace(settings, room_share=0.5, tilt_share=0.5, band_share=0.5, codec_share=0.5, noise_share=0.5)
    scenes, again, other = Scenes(banks, busy, 1), Scenes(banks, busy, 1), Scenes(banks, busy, 2)
    differing = 0
    for number in range(12):
        samples = scenes.read(number)
        assert len(samples) == scenes.length_of(number)
        np.testing.assert_array_equal(samples, again.read(number))
        differing += not np.array_equal(samples, other.read(number))
    assert differing > 8
    assert scenes.digest == again.digest != Scenes(banks, settings, 1).digest


def test_clips_kept_apart_are_never_heard(banks: Path, settings: Settings) -> None:
    scenes = Scenes(banks, settings, 0)
    drawn = {clip for number in range(200) for clip in scenes.compose(number, RATE).clips}
    assert drawn == {0, 1, 2, 3}  # three dogs and the rain of the split train


def test_a_batch_has_one_length_and_all_lengths_occur(banks: Path, settings: Settings) -> None:
    scenes = Scenes(banks, settings, 3)
    lengths = {scenes.length_of(number) for number in range(200)}
    assert lengths == set(scenes.lengths)
    pcm, frames = scenes.read_batch(np.array([4, 5, 6]))
    assert pcm.shape == (3, scenes.length_of(4))
    assert frames is None


def test_frame_targets_say_when(banks: Path, settings: Settings) -> None:
    model = build("MobileNetV1", RATE, read_recipe("MobileNetV1_distilled").frontend, N_CLASSES)
    scenes = Scenes(banks, plain(settings, at_start_share=0.0, draw_shares=(1.0, 0.0, 0.0)), 5)
    scenes.frames = Frames(model.grid, {n: model.n_frames(n) for n in scenes.lengths})
    n_samples = 5 * RATE
    barks = [scene for scene in (scenes.compose(n, n_samples) for n in range(40)) if scene.clips[0] < 3]
    assert len(barks) > 5
    for scene in barks:
        sounding = np.flatnonzero(scene.waveform)
        targets = scenes.frame_targets(scene)[:, DOG].astype(np.float64)
        centres = model.grid.offset_samples + model.grid.hop_samples * np.arange(len(targets))
        half = model.grid.hop_samples / 2
        outside = (centres + half < sounding[0] - BLOCK) | (centres - half > sounding[-1] + BLOCK)
        assert np.all(targets[outside] < 1e-3)
        inside = (centres - half >= sounding[0]) & (centres + half <= sounding[-1])
        assert np.all(targets[inside] > 0.97)  # the teacher's sigmoid(4), in float16
        # What lies under the frames is the time that the sound lasts, but for what no frame covers.
        if centres[0] - half < sounding[0] and sounding[-1] < centres[-1] + half:
            lasted = targets.sum() * model.grid.hop_samples / (1 / (1 + np.exp(-4.0)))
            assert abs(lasted - 0.4 * RATE) <= 2 * BLOCK


def test_frame_targets_take_the_greatest_of_parts(banks: Path, settings: Settings) -> None:
    model = build("MobileNetV1", RATE, read_recipe("MobileNetV1_distilled").frontend, N_CLASSES)
    scenes = Scenes(banks, settings, 5)
    scenes.frames = Frames(model.grid, {n: model.n_frames(n) for n in scenes.lengths})
    sounding = np.zeros((2, 5 * RATE // BLOCK), bool)
    sounding[0, :125] = sounding[1] = True
    targets = scenes.frame_targets(Scene(np.zeros(5 * RATE, np.float32), (0, 3), sounding))
    assert targets[1, DOG] > 0.97
    assert targets[-1, DOG] < 1e-3
    assert np.all(targets[:, RAIN] > 0.97)


def test_silence_within_a_sound_ends_it_after_half_a_second() -> None:
    waveform = np.zeros(4 * RATE, np.float32)
    for at_s in (0.5, 1.0, 3.0):  # a pause of 0.4 s and one of 1.9 s
        waveform[round(at_s * RATE) : round((at_s + 0.1) * RATE)] = 0.5
    on = audible(waveform)
    heard_s = np.flatnonzero(np.diff(np.pad(on, 1).astype(int))) * BLOCK / RATE
    np.testing.assert_allclose(heard_s, [0.5, 1.1, 3.0, 3.1], atol=BLOCK / RATE)
    assert not audible(np.zeros(RATE, np.float32)).any()


@pytest.mark.parametrize("effect", [effects.room, effects.band, effects.tilt, effects.codec])
def test_effects_keep_length_level_and_time(effect) -> None:
    source = np.random.default_rng(0)
    waveform = np.zeros(2 * RATE, np.float32)
    waveform[RATE : RATE + RATE // 2] = 0.1 * source.standard_normal(RATE // 2)
    for seed in range(6):
        changed = effect(waveform, np.random.default_rng(seed))
        again = effect(waveform, np.random.default_rng(seed))
        assert (changed.shape, changed.dtype) == (waveform.shape, np.float32)
        np.testing.assert_array_equal(changed, again)
        assert np.isfinite(changed).all()
        assert not np.allclose(changed, waveform)
        rms = np.sqrt(np.square(changed, dtype=np.float64).mean())
        assert rms == pytest.approx(
            np.sqrt(np.square(waveform, dtype=np.float64).mean()), rel=LEVEL_TOLERANCE
        )
        power = np.square(changed, dtype=np.float64).reshape(-1, BLOCK).mean(axis=1)
        onset = np.flatnonzero(power > 0.1 * power.max())[0]
        assert abs(onset * BLOCK - RATE) <= 2 * BLOCK


def test_the_teacher_hears_at_least_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []

    class Network(torch.nn.Module):
        sample_rate = RATE

        def forward(self, waveform: torch.Tensor) -> torch.Tensor:
            heard.append(waveform)
            return waveform[:, :N_CLASSES]

    monkeypatch.setattr(distil, "load_teacher", lambda path: Network())
    teacher = distil.LiveTeacher("weights.pt", torch.device("cpu"))
    for n_samples in (RATE, 10 * RATE):
        assert teacher.listen(torch.ones(2, n_samples)).shape == (2, N_CLASSES)
    assert [wave.shape[1] for wave in heard] == [5 * RATE, 10 * RATE]
    assert not heard[0][:, RATE:].any()


def test_the_recipe_of_the_bundled_checkpoint_runs(
    banks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distil, "load_teacher", lambda path: SteadyTeacher())
    given = [
        f"data.train={banks}", "distil.teacher=teacher.pt", "data.workers=0", "run.steps=2", "model.start=",
        "run.batch_size=2", "keep.log_every=1", "keep.save_every=1", "schedule.warmup_steps=1",
        "scenes.durations_s=0.5,1", "scenes.duration_shares=1,1", "run.precision=float32",
    ]  # fmt: skip
    recipe = read_recipe("MobileNetV1_distilled")
    assert recipe.distil.weight == 1.0  # scenes have no labels
    assert recipe.sampler == "none"
    command = ["MobileNetV1_distilled", *given, "--folder", str(tmp_path / "run"), "--device", "cpu"]
    assert main(command) == 0
    losses = [entry["loss"] for entry in log.read(tmp_path / "run")]
    assert len(losses) == 2
    assert all(0 < loss < 10 for loss in losses)  # clip, frames, order of classes, cepstral statistics

    finished = checkpoints.load(checkpoints.present(tmp_path / "run")[-1][1])
    checkpoints.present(tmp_path / "run")[-1][1].unlink()
    assert main(command) == 0
    again = checkpoints.load(checkpoints.present(tmp_path / "run")[-1][1])
    assert finished["step"] == again["step"] == 2
    for table in ("model", "descriptors"):
        for key, tensor in finished[table].items():
            assert torch.equal(tensor, again[table][key]), key


def test_frames_are_learnt(banks: Path, settings: Settings) -> None:
    """The gradient of the loss of frames reaches the trunk, and frames follow their targets."""
    from train.data.samplers import Uniform
    from train.loop.augment import Choices
    from train.loop.loss import binary_cross_entropy
    from train.loop.step import ClipAndFrameLogits, ClipLogits, Part, backward

    torch.manual_seed(0)
    model = build("MobileNetV1", RATE, read_recipe("MobileNetV1_distilled").frontend, N_CLASSES)
    scenes = Scenes(banks, plain(settings), 5)
    scenes.frames = Frames(model.grid, {n: model.n_frames(n) for n in scenes.lengths})
    rows = Uniform(len(scenes), 0).draw(2)
    pcm, frames = scenes.read_batch(rows)
    assert frames is not None
    none = Choices(None, None, None, None, None, False)
    part = Part(
        torch.from_numpy(pcm / np.float32(32768)), torch.zeros(2, N_CLASSES), none,
        torch.from_numpy(frames).float(), 1.0,
    )  # fmt: skip
    network = ClipAndFrameLogits(model, torch.float32).eval()
    clip = network(part.waveform).clip
    alone = ClipLogits(model, torch.float32).eval()
    torch.testing.assert_close(alone(part.waveform), clip)
    clip_loss = float(backward(alone, [part._replace(frame_targets=None)]))
    model.zero_grad()
    both = float(backward(network, [part]))
    with torch.no_grad():
        frame_logits = network(part.waveform).frames
    expected = float(binary_cross_entropy(frame_logits, torch.from_numpy(frames).float()))
    assert both - clip_loss == pytest.approx(expected, rel=1e-4)
    first = next(model.trunk.parameters()).grad
    assert first is not None
    assert first.abs().max() > 0


def test_banks_that_do_not_belong_together(banks: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no bank"):
        open_banks(tmp_path)
    (banks / "dogs" / "logits.npy").unlink()
    with pytest.raises(ValueError, match=r"lacks logits.npy; .*train.teach"):
        open_bank(banks / "dogs")
    index = banks / "dogs" / "index.csv"
    index.write_text(index.read_text("utf-8").replace("split", "part"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"lacks the columns split; make the bank again"):
        open_bank(banks / "dogs")
    index.write_text(index.read_text("utf-8").replace("part", "split"), encoding="utf-8")
    np.save(banks / "dogs" / "logits.npy", np.zeros((2, N_CLASSES), np.float16))
    with pytest.raises(ValueError, match="different numbers of clips"):
        open_bank(banks / "dogs")
    np.save(banks / "dogs" / "logits.npy", np.zeros((3, 10), np.float16))
    with pytest.raises(ValueError, match="different classes"):
        Scenes(banks, settings, 0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scenes.room_share=1.5", "scenes.room_share is 1.5"),
        ("scenes.part_shares=0,0,0", "not all zero"),
        ("scenes.durations_s=0.1", "0.5 to 60 s"),
        ("scenes.duration_shares=1", "a share for each"),
        ("distil.frame_weight=-1", "must not be negative"),
        ("scenes.rooms=1", "scenes.room_share"),
    ],
)
def test_impossible_scenes(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_recipe("MobileNetV1_distilled", [override])
    with pytest.raises(ValueError, match="needs the known onsets of scenes"):
        read_recipe("Cnn14", ["distil.frame_weight=1", "distil.weight=1", "distil.teacher=x.npy"])
