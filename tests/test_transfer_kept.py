"""Classes added to a network's own: exactly kept beside a new head, held by themselves where all learns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from narrow_checkpoint import LABELS, narrow_file
from torch import nn

from pannsx import AudioClassifier, AudioTagger, weights
from pannsx.cli import main
from pannsx.labels import LabelSet
from pannsx.models.heads import ClipHead
from pannsx.transfer.clips import Clips, Sound
from pannsx.transfer.experiment import all_to_train
from pannsx.transfer.head import HeadSettings, new_head
from pannsx.transfer.kept import ExtendedHead, extended_labels, side_by_side
from pannsx.transfer.method import Method
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint

RATE = 32000
SUMS = 1e-5
"""Of logits of about 1: sums of float32 in another order."""

SAME_NETWORK = 2e-5
"""Of probabilities: one network, its classifier computed with other classes beside it."""


def sounds() -> dict[str, list[FloatArray]]:
    """Three clips of a third of a second of each of two kinds."""
    rng, times = np.random.default_rng(0), np.arange(RATE // 3) / RATE
    return {
        "hum": [(0.4 * np.sin(2 * np.pi * (300 + 50 * i) * times)).astype(np.float32) for i in range(3)],
        "hiss": [(0.1 * rng.standard_normal(len(times))).astype(np.float32) for i in range(3)],
    }


narrow = narrow_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for kind, clips in sounds().items():
        (folder / kind).mkdir()
        for number, clip in enumerate(clips):
            soundfile.write(folder / kind / f"{number}.wav", clip, RATE, subtype="FLOAT")
    return folder


def clipwise(checkpoint: Path) -> FloatArray:
    tagger = AudioTagger(checkpoint=checkpoint, device="cpu")
    return np.stack([tagger.inference(clip, RATE).clipwise for clips in sounds().values() for clip in clips])


@pytest.mark.parametrize(("old", "new"), [(1, 1), (1, 3), (3, 1), (2, 3)])
def test_two_stacks_side_by_side_are_one(old: int, new: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        own = ClipHead(12, 12, 7)
        own.insert([9, 8][: old - 1])
        added = new_head(12, 3, HeadSettings(layers=new, hidden=5), seed=1).eval()
        embedding = torch.rand(4, 12)
    head = ExtendedHead(own, added).eval()
    stack = head.layers()
    x = embedding
    for number, layer in enumerate(stack):
        x = layer(x.relu() if number else x)
    assert len(stack) == max(old, new)
    assert head.n_kept == 7
    torch.testing.assert_close(x, head(embedding), atol=SUMS, rtol=0)
    old_logits = own._decide(embedding, nn.Identity())
    torch.testing.assert_close(x[:, :7], old_logits, atol=SUMS, rtol=0)
    torch.testing.assert_close(x[:, 7:], added(embedding), atol=SUMS, rtol=0)
    assert side_by_side(own_layers := added.layers(), own_layers)[-1].out_features == 6


def test_labels_have_ids_and_no_name_twice() -> None:
    old = LabelSet(("Dog", "Rain"), ("/m/0", "/m/1"))
    both = extended_labels(old, LabelSet(("my pump",)))
    assert both.names == ("Dog", "Rain", "my pump")
    assert both.ids == ("/m/0", "/m/1", "my pump")
    assert extended_labels(LabelSet(("a",)), LabelSet(("b",))).ids is None
    for name in ("Rain", "rain", "/m/1"):
        with pytest.raises(ValueError, match=rf"{name}' is a class of the network already .* such as 'my "):
            extended_labels(old, LabelSet((name,)))


def test_old_classes_stay_exactly_beside_a_new_head(narrow: Path, folder: Path, tmp_path: Path) -> None:
    save = tmp_path / "more.safetensors"
    given = ["finetune", str(folder), "--save", str(save), "--checkpoint", str(narrow), "-q", "--prototypes"]
    assert main([*given, "--keep-audioset"]) == 0
    tagger = AudioTagger(checkpoint=save, device="cpu")
    assert tagger.labels == (*LABELS, "hiss", "hum")
    np.testing.assert_allclose(clipwise(save)[:, :3], clipwise(narrow), atol=SAME_NETWORK)
    assert main(given) == 0, "the same without them"
    np.testing.assert_allclose(clipwise(save), clipwise_of_more(tagger), atol=SAME_NETWORK)


def clipwise_of_more(tagger: AudioTagger) -> FloatArray:
    """Of the new classes of a tagger that is open, while its file is replaced."""
    clips = [clip for clips in sounds().values() for clip in clips]
    return np.stack([tagger.inference(clip, RATE).clipwise[3:] for clip in clips])


def change_of_old_classes(base: LoadedCheckpoint, *, keep: bool) -> float:
    """Mean change of the probabilities of the old classes by training on new ones."""
    clips = [clip for clips in sounds().values() for clip in clips]
    targets = np.eye(2, dtype=np.bool_)[[0, 0, 0, 1, 1, 1]]
    method = Method(
        tune=True, epochs=10, learning_rate=3e-3, batch_size=6, augment=False, freeze_norms=True,
        keep_audioset=keep,
    )  # fmt: skip
    learn = method.learner(base, Clips([Sound(clip) for clip in clips], RATE), targets, clip_s=1.0,
                           multi_label=False, divide=all_to_train)  # fmt: skip
    fitted = learn(range(6), 0)
    assert fitted.base is not None
    assert isinstance(fitted.head, ExtendedHead) is keep
    assert fitted.predict(range(6)).shape == (6, 2), "of the new classes"
    with torch.inference_mode():
        waveform = torch.from_numpy(np.stack(clips))
        before = base.model(waveform).logits.sigmoid()
        embedding = fitted.base.model(waveform).embedding
        # Without keeping, the old classifier is what a user could still put on the new embeddings.
        after = (fitted.head(embedding)[:, :3] if keep else base.model.head.fc_audioset(embedding)).sigmoid()
    return float((after - before).abs().mean())


def test_a_network_that_is_trained_holds_its_old_classes_by_their_own_probabilities(narrow: Path) -> None:
    base = weights.load(checkpoint=narrow)
    kept, forgotten = (change_of_old_classes(base, keep=keep) for keep in (True, False))
    assert kept < 0.6 * forgotten


def test_thresholds_of_a_network_that_was_trained_are_not_kept(
    narrow: Path, folder: Path, tmp_path: Path
) -> None:
    rows = [
        f"{kind}/{number}.wav,{kind},{'train' if number else 'test'}"
        for kind in sounds()
        for number in range(3)
    ]
    table = folder / "split.csv"
    table.write_text("\n".join(("file,label,split", *rows)) + "\n", encoding="utf-8")
    save = tmp_path / "tuned.safetensors"
    given = ["finetune", str(table), "--save", str(save), "--checkpoint", str(narrow), "-q"]
    assert main([*given, "--keep-audioset", "--tune", "--epochs", "1", "--batch-size", "4"]) == 0
    assert AudioTagger(checkpoint=save, device="cpu").labels == (*LABELS, "hiss", "hum")
    points = json.loads((tmp_path / "tuned.operating_points.json").read_text("utf-8"))["points"]
    assert set(points) == {"hiss", "hum"}, "those of the old classes were of other weights"


def test_the_bundled_network_keeps_its_names_ids_and_thresholds(tmp_path: Path) -> None:
    clips = [clip for clips in sounds().values() for clip in clips]
    names = ["my hum"] * 3 + ["my hiss"] * 3
    tagger = AudioTagger(device="cpu")
    classifier = AudioClassifier(tagger, prototypes=True, keep_audioset=True).fit(clips, names)
    assert classifier.classes_.tolist() == ["my hiss", "my hum"]
    assert classifier.predict(clips).tolist() == names
    record = classifier.save(tmp_path / "more.safetensors")
    assert record.n_classes == 529
    more = AudioTagger(checkpoint=tmp_path / "more.safetensors", device="cpu")
    assert more.labels == (*tagger.labels, "my hiss", "my hum")
    labels = weights.load(checkpoint=tmp_path / "more.safetensors").labels
    assert labels.ids is not None
    assert labels.index("/m/09x0r") == labels.index("Speech")
    assert tagger.operating_points is not None
    assert more.operating_points is not None
    old, new = tagger.operating_points, more.operating_points
    assert {name: new.points[name] for name in old.points} == dict(old.points)
    assert new.points["my hum"].threshold == 0.5
    assert (new.default, new.hop_s) == (old.default, old.hop_s)
    np.testing.assert_allclose(
        more.inference(clips[0], RATE).clipwise[:527], tagger.inference(clips[0], RATE).clipwise,
        atol=SAME_NETWORK,
    )  # fmt: skip
    with pytest.raises(ValueError, match="'speech' is a class of the network already"):
        AudioClassifier(tagger, keep_audioset=True).fit(clips, ["speech"] * 3 + ["x"] * 3)
