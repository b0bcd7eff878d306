"""Transfer: heads, few shots, tuning, and the checkpoint that comes of it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from seeded_models import empty_model

from pannsx import AudioTagger, FeatureExtractor, weights
from pannsx.labels import LabelSet
from pannsx.models.zoo import build_empty
from pannsx.results import FrameEmbeddings
from pannsx.transfer.augment import unchanged
from pannsx.transfer.balance import epoch_batches
from pannsx.transfer.clips import Clips, batch_of
from pannsx.transfer.data_set import DataSet
from pannsx.transfer.embedding import embed
from pannsx.transfer.experiment import Result, few, head_on, network_and_head, run, targets_of
from pannsx.transfer.head import Head, HeadSettings, apply, new_head, train_head
from pannsx.transfer.loss import learning_rate_at
from pannsx.transfer.saving import save
from pannsx.transfer.tuning import TuneSettings, fresh, tune
from pannsx.weights import LoadedCheckpoint
from train.data.encoding import as_pcm
from train.finetune import main
from train.transfer.augmented import mixup_and_stripes
from train.transfer.data_sets import read_data_set
from train.transfer.mfcc import mfcc_statistics

RATE = 16000
SAME_NETWORK = 2e-5
"""Of probabilities: one network, computed in batches of another size, its head inside or outside of it."""


@cache
def bundled() -> LoadedCheckpoint:
    return weights.load()


def sound(kind: str, seed: int, seconds: float = 1.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE)) / RATE
    noise = rng.standard_normal(len(time_s))
    if kind == "tone":
        return 0.3 * np.sin(2 * np.pi * rng.uniform(300, 3000) * time_s) + 0.003 * noise
    if kind == "clicks":
        return np.where(rng.random(len(time_s)) < 0.002, 0.9, 0.0) + 0.003 * noise
    return 0.2 * noise


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    """A folder of three kinds of sounds, six to train on and three to test on."""
    for k, kind in enumerate(("clicks", "noise", "tone")):
        for i in range(9):
            path = tmp_path / "kinds" / ("train" if i < 6 else "test") / kind / f"{i}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, as_pcm(sound(kind, 100 * k + i)), RATE)
    return tmp_path / "kinds"


def clouds(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """``(N, 16)`` points in three clouds of very different scale, and ``(N, 3)`` targets."""
    rng = np.random.default_rng(seed)
    k = np.arange(n) % 3
    points = rng.standard_normal((n, 16)) + 2.5 * np.eye(3, 16)[k]
    return (points * np.geomspace(1e-2, 1e3, 16) + 7).astype(np.float32), np.eye(3, dtype=np.bool_)[k]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_heads_learn(layers: int) -> None:
    """Whatever the scale of the inputs: standardisation is worked into the first layer."""
    settings = HeadSettings(
        layers=layers, hidden=32, epochs=40, batch_size=16, learning_rate=1e-2, least_spread=0.0
    )
    head = train_head(*clouds(150, 0), settings, seed=0)
    points, targets = clouds(90, 1)
    logits = apply(head, points)
    assert len(head.layers()) == layers
    assert (logits.argmax(axis=1) == targets.argmax(axis=1)).mean() > 0.9
    again = train_head(*clouds(150, 0), settings, seed=0)
    np.testing.assert_array_equal(apply(again, points), logits)
    assert not np.array_equal(apply(train_head(*clouds(150, 0), settings, seed=1), points), logits)


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train_head(*clouds(12, 0), HeadSettings(epochs=1), seed=0)
    fresh(bundled(), seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_head_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="1 to 3 layers, got 4"):
        HeadSettings(layers=4)
    with pytest.raises(ValueError, match="epochs is 0"):
        HeadSettings(epochs=0)


def test_learning_rate() -> None:
    rates = [learning_rate_at(step, 200, 1.0) for step in range(200)]
    assert rates[0] == 0.1
    assert rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3
    assert learning_rate_at(0, 1, 1.0) == 1.0


def test_batches_hold_every_row_once_and_never_one_alone() -> None:
    rng = np.random.default_rng(0)
    targets = np.ones((117, 1), np.bool_)
    parts = epoch_batches(range(100, 117), targets, 4, rng)
    assert sorted(row for part in parts for row in part) == list(range(100, 117))
    assert [len(part) for part in parts] == [4, 4, 4, 5]
    assert [len(part) for part in epoch_batches([7], targets, 4, rng)] == [1]


def test_batches_of_clips_of_any_length() -> None:
    waveforms = [np.arange(1, 4, dtype=np.float32), np.arange(1, 101, dtype=np.float32)]
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(50):
        batch = batch_of(waveforms, [0, 1], 10, rng)
        np.testing.assert_array_equal(batch[0], [1, 2, 3, *[0] * 7])
        np.testing.assert_array_equal(np.diff(batch[1]), 1)
        seen.add(float(batch[1, 0]))
    assert len(seen) > 20


def test_few_shots_are_balanced_and_grow() -> None:
    targets = np.eye(4, dtype=np.bool_)[np.arange(80) % 4]
    rows = list(range(60))
    one, five = few(targets, rows, 1, seed=0), few(targets, rows, 5, seed=0)
    assert targets[one].sum(axis=0).tolist() == [1] * 4
    assert targets[five].sum(axis=0).tolist() == [5] * 4
    assert set(one) < set(five) < set(rows)
    assert few(targets, rows, 99, seed=0) == rows
    with pytest.raises(ValueError, match="shots is 0"):
        few(targets, rows, 0, seed=0)


def test_several_labels_a_clip(tmp_path: Path) -> None:
    """Scored by mAP; a clip may have no label."""
    rows = ["file,label,fold"]
    kinds = ("tone", "noise")
    for i in range(36):
        has = [bool(i & 1), bool(i & 2)]
        mixed = sum((sound(kind, i) for kind, there in zip(kinds, has, strict=True) if there), np.zeros(RATE))
        soundfile.write(tmp_path / f"{i}.wav", as_pcm(mixed * 0.5), RATE)
        label = ";".join(kind for kind, there in zip(kinds, has, strict=True) if there)
        rows.append(f"{i}.wav,{label},{'train' if i < 24 else 'test'}")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    data = read_data_set("table", tmp_path / "table.csv")
    features = mfcc_statistics(Clips(data.recordings, RATE), RATE)
    assert features.shape == (36, 80)
    result = run(
        data,
        targets_of(data),
        head_on(features, targets_of(data), HeadSettings(dropout=0.0, least_spread=0.0)),
    )
    assert result.measure == "mAP"
    assert result.mean > 0.65  # chance is a half: each label is on every second clip


def frozen(data: DataSet, settings: HeadSettings, shots: int | None = None) -> Result:
    embeddings = embed(bundled(), Clips(data.recordings, bundled().record.sample_rate))
    return run(
        data, targets_of(data), head_on(embeddings, targets_of(data), settings, bundled()), shots=shots
    )


@pytest.mark.parametrize("layers", [1, 3])
def test_frozen(kinds: Path, layers: int) -> None:
    data = read_data_set("folder", kinds)
    settings = HeadSettings(layers=layers, epochs=100)
    assert frozen(data, settings).scores == {"test": 1.0}
    assert frozen(data, settings, shots=1).mean > 0.5


def test_saved_and_loaded_with_its_own_labels(
    kinds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command's checkpoint tags as its head does; its features are those of the network it began with."""
    path, scores = tmp_path / "kinds.safetensors", tmp_path / "scores.json"
    command = ["folder", str(kinds), "--epochs", "100", "--save", str(path), "--json", str(scores)]
    assert main([*command, "--device", "cpu"]) == 0
    assert "frozen L1: accuracy 1.0000 ± 0.0000 on test" in capsys.readouterr().out
    said = json.loads(scores.read_text(encoding="utf-8"))
    assert said["results"][0]["scores"] == {"test": 1.0}
    tagger = AudioTagger(checkpoint=path, device="cpu")
    assert tagger.labels == ("clicks", "noise", "tone")
    assert tagger.record.scores is not None
    assert tagger.record.scores.other == {"kinds accuracy": 1.0}
    tests = sorted((kinds / "test").rglob("*.wav"))
    result = tagger.inference(tests)
    assert [tagger.labels[k] for k in result.clipwise.argmax(axis=1)] == [test.parent.name for test in tests]
    features = FeatureExtractor(checkpoint=path, device="cpu").extract(tests)
    np.testing.assert_allclose(features, FeatureExtractor(device="cpu").extract(tests), atol=1e-5)


@pytest.mark.parametrize("from_scratch", [False, True])
def test_tuned(kinds: Path, tmp_path: Path, from_scratch: bool) -> None:
    """Network and head change together; the network it began with does not."""
    base, data = bundled(), read_data_set("folder", kinds)
    before = {key: tensor.clone() for key, tensor in base.model.state_dict().items()}
    waveforms, targets = Clips(data.recordings, base.record.sample_rate), targets_of(data)
    settings = TuneSettings(
        epochs=1 if from_scratch else 4,
        batch_size=9,
        clip_s=0.5,
        learning_rate=1e-3,
        augment=unchanged if from_scratch else mixup_and_stripes,
    )
    learn = network_and_head(base, waveforms, targets, settings, HeadSettings(), from_scratch=from_scratch)
    fitted = learn(data.rows({"train"}), 0)
    tests = data.rows({"test"})
    logits = fitted.predict(tests)
    if not from_scratch:
        assert (logits.argmax(axis=1) == targets[tests].argmax(axis=1)).mean() > 0.6
    assert all(torch.equal(tensor, before[key]) for key, tensor in base.model.state_dict().items())
    assert fitted.base is not None
    path = tmp_path / "tuned.safetensors"
    save(path, fitted.base, fitted.head, data.labels, description="d", trained_on="t")
    tagger = AudioTagger(checkpoint=path, device="cpu")
    result = tagger.inference([waveforms[row] for row in tests])
    np.testing.assert_allclose(result.clipwise, 1 / (1 + np.exp(-logits)), atol=SAME_NETWORK)


def test_tuning_is_reproducible(kinds: Path) -> None:
    base, data = bundled(), read_data_set("folder", kinds)
    waveforms, targets = Clips(data.recordings, base.record.sample_rate), targets_of(data)
    settings = TuneSettings(epochs=1, batch_size=4, clip_s=0.2, augment=mixup_and_stripes)
    head = new_head(base.model.embedding_size, 3, HeadSettings(), seed=1)
    first, second = (
        tune(base, waveforms, targets, data.rows({"train"})[:8], settings, head, seed=1) for _ in range(2)
    )
    for a, b in zip(first[0].model.parameters(), second[0].model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_no_number_stops(kinds: Path) -> None:
    base, data = bundled(), read_data_set("folder", kinds)
    waveforms, targets = Clips(data.recordings, base.record.sample_rate), targets_of(data)
    settings = TuneSettings(epochs=3, batch_size=4, clip_s=0.2, learning_rate=1e30)
    head = new_head(base.model.embedding_size, 3, HeadSettings(), seed=1)
    with pytest.raises(ValueError, match=r"the loss is .* in step \d; use a smaller learning rate"):
        tune(base, waveforms, targets, data.rows({"train"})[:8], settings, head, seed=1)


@pytest.mark.parametrize("layers", [2, 3])
def test_heads_of_several_layers_are_saved(tmp_path: Path, layers: int) -> None:
    """Clip and frame probabilities, prepared and not, are those of the head."""
    base = bundled()
    head = Head(base.model.embedding_size, 3, HeadSettings(layers=layers, hidden=24)).eval()
    path = tmp_path / "x.safetensors"
    record = save(path, base, head, LabelSet(("a", "b", "c")), description="", trained_on="")
    waveform = sound("noise", 0).astype(np.float32)
    extractor = FeatureExtractor(device="cpu")
    result = AudioTagger(checkpoint=path, device="cpu").inference(waveform)
    logits = apply(head, extractor.extract(waveform))[0]
    np.testing.assert_allclose(result.clipwise, 1 / (1 + np.exp(-logits)), atol=SAME_NETWORK)
    frames = extractor.extract_frames(waveform)
    assert isinstance(frames, FrameEmbeddings)
    of_frames = 1 / (1 + np.exp(-apply(head, frames.embeddings)))
    np.testing.assert_allclose(result.framewise, of_frames, atol=SAME_NETWORK)
    with torch.inference_mode():
        plain = weights.load(checkpoint=path).model(torch.from_numpy(waveform)[None])
    np.testing.assert_allclose(plain.logits.sigmoid()[0], result.clipwise, atol=SAME_NETWORK)
    np.testing.assert_allclose(plain.frame_logits.sigmoid()[0], result.framewise, atol=SAME_NETWORK)
    assert record.n_classes == 3


def test_what_a_checkpoint_cannot_hold(tmp_path: Path) -> None:
    model = empty_model("Cnn14_DecisionLevelMax")
    base = bundled()._replace(model=model)
    head = Head(model.embedding_size, 3, HeadSettings())
    with pytest.raises(ValueError, match="decides frame by frame; take a model with a clip head"):
        save(tmp_path / "x.safetensors", base, head, base.labels, description="", trained_on="")
    with pytest.raises(ValueError, match="only clip heads can have hidden layers"):
        build_empty("Cnn14_DecisionLevelMax", model.sample_rate, model.frontend, 3, hidden=[8])


def test_the_command_says_what_is_wrong(kinds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["folder", str(kinds), "--folds", "7"]) == 1
    assert "holds out the folds ['test']; got ['7']" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["folder", str(kinds), "--save", "x.safetensors", "--mode", "mfcc"])
    assert "--save writes a network with its head" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["folder", str(kinds), "--epochs", "0"])
    assert "--epochs is 0; it must be positive" in capsys.readouterr().err


def test_outputs_and_lists_are_checked_before_the_work(
    kinds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(*_: object) -> None:
        raise AssertionError("a file was decoded")

    monkeypatch.setattr("train.finetune.Clips", work)
    (tmp_path / "file").touch()
    table = tmp_path / "list.csv"
    table.write_text("file,label\nkinds/train/tone/0.wav,tone\nlost.wav,noise\n", "utf-8")
    short = tmp_path / "short.csv"
    short.write_text("label,file\ntone\n", "utf-8")
    other = tmp_path / "other.csv"
    other.write_text("path,label\na.wav,tone\n", "utf-8")
    for command, said in (
        (["folder", str(kinds), "--save", str(tmp_path / "x.pth")], "name it 'x.safetensors'"),
        (["folder", str(kinds), "--save", str(tmp_path / "file" / "x.safetensors")], "file is not a folder"),
        (["folder", str(kinds), "--json", str(tmp_path)], "is a folder; name a file"),
        (["table", str(table)], "1 of its files are missing"),
        (["table", str(short)], "short.csv, line 2: fewer cells"),
        (["table", str(other)], "file and label are needed"),
        (["esc50", str(tmp_path)], "index.csv"),
    ):
        assert main(command) == 1
        assert said in capsys.readouterr().err


def test_a_list_made_on_windows(kinds: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    rows = [f"kinds\\train\\{kind}\\{i}.wav,{kind}" for kind in ("tone", "noise") for i in range(5)]
    table.write_text("\n".join(["file,label", *rows]) + "\n", "utf-8")
    data = read_data_set("table", table)
    assert all(recording.path.is_file() for recording in data.recordings)
