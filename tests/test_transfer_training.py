"""Parts of fine-tuning: rare classes, validation, rates by depth, frozen norms, runs that were killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pannsx import AudioTagger, labels
from pannsx.models import ARCHITECTURES
from pannsx.models.settings import CnnSettings
from pannsx.models.zoo import build, build_empty
from pannsx.transfer import embedding
from pannsx.transfer import head as head_module
from pannsx.transfer.balance import class_weights, clip_weights, epoch_batches
from pannsx.transfer.best_epoch import BestEpoch
from pannsx.transfer.clips import Clips
from pannsx.transfer.data_set import DataSet, Recording
from pannsx.transfer.depth import parameter_groups, part_of
from pannsx.transfer.folds import held_apart
from pannsx.transfer.head import HeadSettings, HeldApart, apply, new_head, train_head
from pannsx.transfer.method import Method
from pannsx.transfer.own_sounds import read_own
from pannsx.transfer.study import carry_out
from pannsx.transfer.tuning import TuneSettings, tune
from pannsx.transfer.watching import Watcher
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint, manifest

RATE = 32000
N_CLIPS = 12

Targets = NDArray[np.bool_]


@pytest.fixture(scope="module")
def small() -> Iterator[LoadedCheckpoint]:
    """A Cnn10 with four channels in every layer, of random weights; it can be saved and loaded."""
    with pytest.MonkeyPatch.context() as patch:
        narrow = replace(ARCHITECTURES["Cnn10"], trunk=CnnSettings((4, 4, 4, 4), (2, 2, 2, 2)))
        patch.setitem(ARCHITECTURES, "Cnn10", narrow)
        record = manifest.find("Cnn10")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build("Cnn10", record.sample_rate, record.frontend, record.n_classes).eval()
        yield LoadedCheckpoint(record, model, labels.audioset())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Twelve short clips of tones, noise and clicks, in two folds."""
    tmp_path = tmp_path_factory.mktemp("sounds")
    rng, times = np.random.default_rng(0), np.arange(RATE // 4) / RATE
    rows = ["file,label,fold"]
    for number in range(N_CLIPS):
        kind = ("clicks", "noise", "tone")[number % 3]
        sounds = {
            "tone": np.sin(2 * np.pi * (400 + 50 * number) * times),
            "noise": rng.standard_normal(len(times)) / 4,
            "clicks": (np.arange(len(times)) % (900 + 100 * number) < 8).astype(float),
        }
        soundfile.write(tmp_path / f"{number}.wav", 0.5 * sounds[kind], RATE)
        rows.append(f"{number}.wav,{kind},{'ab'[number // 6]}")
    (tmp_path / "own.csv").write_text("\n".join(rows), encoding="utf-8")
    return read_own(tmp_path / "own.csv")[0]


def of_sizes(*sizes: int) -> Targets:
    """Targets of so many clips of each class."""
    return np.repeat(np.eye(len(sizes), dtype=np.bool_), sizes, axis=0)


def test_weights_of_clips_make_classes_equally_heavy() -> None:
    targets = of_sizes(30, 6, 0, 4)
    wanted = torch.from_numpy(targets.astype(np.float32))
    weights = clip_weights(wanted, class_weights(targets))
    of_class = [float(weights[targets[:, k]].sum()) for k in (0, 1, 3)]
    np.testing.assert_allclose(of_class, 40 / 3, rtol=1e-6)
    several = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    both, none = clip_weights(several, class_weights(targets)).tolist()
    assert both == pytest.approx((40 / 3 / 30 + 40 / 3 / 6) / 2)
    assert none == 1.0


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(1, 12), st.integers(0, 100))
@settings(max_examples=50)
def test_balanced_batches_draw_every_class_equally_often(sizes: list[int], size: int, seed: int) -> None:
    targets = of_sizes(*sizes)
    rows = list(range(len(targets)))
    drawn = epoch_batches(rows, targets, size, np.random.default_rng(seed), balance="batches")
    plain = epoch_batches(rows, targets, size, np.random.default_rng(seed))
    assert [len(batch) for batch in drawn] == [len(batch) for batch in plain]
    assert sorted(row for batch in plain for row in batch) == rows
    counts = targets[[row for batch in drawn for row in batch]].sum(axis=0)
    assert counts.max() - counts.min() <= 1


def test_clips_without_labels_are_drawn_in_their_turn() -> None:
    targets = np.vstack([of_sizes(6, 2), np.zeros((2, 2), np.bool_)])
    drawn = epoch_batches(range(10), targets, 10, np.random.default_rng(0), balance="batches")
    without = sum(not targets[row].any() for batch in drawn for row in batch)
    assert without in (3, 4)


def test_the_best_epoch_is_the_first_of_equals_and_patience_ends() -> None:
    scores = iter([0.5, 0.7, 0.7, 0.7, np.nan])
    best = BestEpoch(3, lambda targets, logits, known: next(scores))
    targets = of_sizes(1, 1)
    good, bad = np.where(targets, 2, -2).astype(np.float32), np.zeros((2, 2), np.float32)
    assert [best.is_better(0, targets, bad), best.is_better(1, targets, bad)] == [True, True]
    assert not best.is_better(2, targets, bad)
    assert best.is_better(3, targets, good), "of equal scores the one with the smaller loss"
    assert not best.is_better(4, targets, good)
    assert (best.epoch, best.score, best.n_waited, best.is_over) == (3, 0.7, 1, False)
    again = BestEpoch(1, best.measure)
    again.restore(best.state())
    assert again.is_over
    assert again.epoch == 3


def test_a_head_stops_early_and_is_that_of_the_best_look() -> None:
    rng = np.random.default_rng(0)
    embeddings, targets = rng.standard_normal((40, 8)).astype(np.float32), of_sizes(20, 20)
    looks: list[FloatArray] = []

    def measure(truth: Targets, logits: FloatArray, known: Targets | None) -> float:
        looks.append(logits.copy())
        return -abs(len(looks) - 3.0)  # the third look is the best

    held = HeldApart(embeddings[:10], targets[:10], measure)
    found = train_head(embeddings, targets, HeadSettings(patience=4, batch_size=40), seed=0, validation=held)
    assert len(looks) == 7
    # The same network: its first layer takes standardised inputs while it is trained.
    np.testing.assert_allclose(apply(found, embeddings[:10]), looks[2], atol=1e-5)


@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=60),
    st.sampled_from([0.1, 0.2, 0.5]),
    st.integers(1, 3),
)
@settings(max_examples=50)
def test_a_validation_part_is_of_whole_groups_and_about_its_share(
    classes: list[int], share: float, in_group: int
) -> None:
    recordings = [
        Recording(Path(f"{number:03d}.wav"), (label,), "", group=f"place {number // in_group}")
        for number, label in enumerate(classes)
    ]
    rows = list(range(len(classes)))
    if len({recording.group for recording in recordings}) < 2:
        with pytest.raises(ValueError, match="two are needed at least for a validation part"):
            held_apart(recordings, rows, share)
        return
    train, held = held_apart(recordings, rows, share)
    assert sorted(train + held) == rows
    assert train
    assert held
    assert not {recordings[row].group for row in train} & {recordings[row].group for row in held}
    # One clip or group more or less for each of four classes.
    assert abs(len(held) - share * len(rows)) <= 4 * in_group


@pytest.mark.parametrize("name", ["Cnn6", "MobileNetV1", "ResNet22", "Res1dNet31", "Wavegram_Logmel_Cnn14"])
def test_rates_fall_from_the_head_to_the_stem(name: str) -> None:
    record = manifest.find(name)
    model = build_empty(name, record.sample_rate, record.frontend, 2)
    head = new_head(model.embedding_size, 2, HeadSettings(), seed=0)
    groups = parameter_groups(model, head, 0.5)
    scales = [group["scale"] for group in groups]
    assert scales[:3] == [1.0, 0.5, 0.25]
    assert scales == sorted(scales, reverse=True)
    assert len(groups) >= 6
    scale_of = {id(parameter): group["scale"] for group in groups for parameter in group["params"]}
    assert len(scale_of) == len(list(model.parameters())) + len(list(head.parameters()))
    order = [scale_of[id(parameter)] for key, parameter in model.named_parameters() if part_of(key) != "stem"]
    assert order == sorted(order), "later layers have higher rates"


def test_frozen_norms_stay_and_all_else_learns(small: LoadedCheckpoint, data: DataSet) -> None:
    targets = np.zeros((N_CLIPS, 3), np.bool_)
    targets[np.arange(N_CLIPS), np.arange(N_CLIPS) % 3] = True
    head = new_head(small.model.embedding_size, 3, HeadSettings(), seed=0)
    clips = Clips(data.recordings, RATE)
    chosen = TuneSettings(epochs=1, batch_size=6, freeze_norms=True, balance="weights", layer_decay=0.5)
    tuned, _, _ = tune(small, clips, targets, range(N_CLIPS), chosen, head, seed=0)
    before, after = small.model.state_dict(), tuned.model.state_dict()
    norms = {key for key in before if ".bn" in key}
    assert all(torch.equal(before[key], after[key]) for key in norms)
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert {"trunk.conv_block1.conv1.weight", "trunk.conv_block4.conv2.weight", "head.fc1.weight"} <= moved
    assert all(parameter.requires_grad for parameter in tuned.model.parameters())


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_settings_are_checked(share: float) -> None:
    with pytest.raises(ValueError, match="validation is"):
        Method(validation=share)
    with pytest.raises(ValueError, match=r"layer_decay is 1\.5"):
        Method(layer_decay=1.5)
    with pytest.raises(ValueError, match="epochs is 0"):
        Method(epochs=0)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads learn in the epochs that are asked for, and little at once is kept for a resumed run."""
    monkeypatch.setattr(head_module, "LEAST_STEPS", 1)
    monkeypatch.setattr(embedding, "CLIPS_A_BLOCK", 4)


class KilledError(Exception):
    """Stands for the end of the process."""


class Mortal(Watcher):
    """Counts steps and clips, and dies at one of them."""

    def __init__(self, *, steps: int = -1, clips: int = -1) -> None:
        self.left = {"steps": steps, "clips": clips}
        self.n_steps = 0

    def step(self) -> None:
        self.n_steps += 1
        self._lose("steps")

    def clip(self) -> None:
        self._lose("clips")

    def _lose(self, what: str) -> None:
        self.left[what] -= 1
        if self.left[what] == 0:
            raise KilledError


TUNED = Method(tune=True, epochs=3, batch_size=3, validation=0.34, patience=9, learning_rate=1e-3)
N_STEPS = 15
"""Three trainings (two folds, all clips) of three epochs of one, one and three steps."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[Method, Path]:
    """The folder of a run that nothing disturbed, by method; filled by the first test that needs it."""
    return {}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("method", "death"),
    [(TUNED, {"steps": 5}), (TUNED, {"steps": 12}), (Method(epochs=5), {"clips": 9})],
)
def test_a_killed_run_goes_on_with_the_same_result(
    method: Method,
    death: dict[str, int],
    small: LoadedCheckpoint,
    data: DataSet,
    undisturbed: dict[Method, Path],
    tmp_path_factory: pytest.TempPathFactory,
    few_steps: None,
) -> None:
    if method not in undisturbed:
        undisturbed[method] = tmp_path_factory.mktemp("undisturbed")
        whole = Mortal()
        carry_out(data, small, method, undisturbed[method] / "mine.safetensors", watch=whole)
        assert whole.n_steps == (N_STEPS if method.tune else 0)
    killed = tmp_path_factory.mktemp("killed") / "mine.safetensors"
    with pytest.raises(KilledError):
        carry_out(data, small, method, killed, watch=Mortal(**death))
    assert not killed.exists()
    assert killed.with_suffix(".progress").is_dir()
    resumed = Mortal()
    carry_out(data, small, method, killed, watch=resumed)
    assert files_of(killed.parent) == files_of(undisturbed[method])
    assert resumed.n_steps <= N_STEPS - death.get("steps", 0) + 3, "finished epochs are not repeated"
    assert AudioTagger(checkpoint=killed).labels == ("clicks", "noise", "tone")


def test_progress_of_another_run_is_refused(
    small: LoadedCheckpoint, data: DataSet, tmp_path: Path, few_steps: None
) -> None:
    short = Method(epochs=2)
    save = tmp_path / "new" / "mine.safetensors"
    with pytest.raises(KilledError):
        carry_out(data, small, short, save, watch=Mortal(clips=9))
    with pytest.raises(ValueError, match="a run with layers 1 in place of 2; repeat that command to go on"):
        carry_out(data, small, Method(epochs=2, layers=2), save)
    moved = replace(data, recordings=data.recordings[1:])
    with pytest.raises(ValueError, match="a run with other clips, labels or folds"):
        carry_out(moved, small, short, save)
    for kept in save.with_suffix(".progress").glob("embeddings-*.pt"):
        kept.write_bytes(b"half a fi")
    carry_out(data, small, short, save)  # a damaged part is made again
    assert {path.suffix for path in save.parent.iterdir()} == {
        ".safetensors",
        ".json",
        ".txt",
        ".csv",
        ".svg",
    }
    with pytest.raises(KilledError):
        carry_out(data, small, short, save, watch=Mortal(clips=9))
    carry_out(data, small, Method(layers=2, epochs=1), save, restart=True)
    assert not save.with_suffix(".progress").exists()
