"""Generated audio from folders to scores: golden network outputs, statistics on disk, caches, refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from seeded_models import golden_arrays
from small_models import noise, seeded_checkpoint

from pannsx import GenerationScorer
from pannsx.audio import Preparation, av_bench
from pannsx.audio.preparation import PRESETS
from pannsx.inference.engine import Answer, Wanted
from pannsx.metrics.generation import (
    KLKind,
    frechet_distance,
    frechet_infinity,
    inception_score,
    kernel_audio_distance,
    kernel_inception_distance,
    kl_divergence,
)
from pannsx.scoring import (
    ClipSet,
    Origin,
    read_av_bench,
    read_kadtk,
    read_statistics,
    score_sets,
    scorer,
    write_av_bench,
    write_kadtk,
    write_statistics,
)
from pannsx.scoring.clip_set import make_clip_set
from pannsx.weights import LoadedCheckpoint

# Relative to the largest value: what float32 leaves through fourteen layers, of waveforms within 2e-6.
OF_NETWORK = 2e-5
# Distances double a relative error of embeddings, and logits' largest value is that many times a difference.
OF_SCORES = 1e-4
# Scores of the same float32 embeddings, through a file or not.
ROUNDING = 1e-9

RATE = 16_000
GOLDEN = [
    ("audioldm_eval", "stereo_44100"), ("av_bench_2s", "stereo_44100"),
    ("kadtk_float", "mono_48000"), ("audioldm_eval", "mono_48000"),
]  # fmt: skip
TOOLS = {
    "audioldm_eval": PRESETS["audioldm_eval"],
    "av_bench_2s": av_bench(2.0),
    "kadtk_float": replace(PRESETS["kadtk"], sixteen_bit=False),
}


@pytest.fixture(scope="module")
def cnn14() -> GenerationScorer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scorer, "load", lambda *_, **__: seeded_checkpoint("Cnn14_16k"))
        return GenerationScorer(preparation="audioldm_eval", device="cpu", low_memory=True)


@pytest.fixture(scope="module")
def small() -> LoadedCheckpoint:
    return seeded_checkpoint("Cnn6")


@pytest.fixture
def scorer_of(monkeypatch: pytest.MonkeyPatch):
    """Scorers of a checkpoint in memory."""

    def make(checkpoint: LoadedCheckpoint, preparation: str | Preparation = "pannsx", **options: str):
        monkeypatch.setattr(scorer, "load", lambda *_, **__: checkpoint)
        return GenerationScorer(preparation=preparation, device="cpu", **options)

    return make


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Twelve clips and twelve like them, by the same names, at 32 kHz."""
    root = tmp_path_factory.mktemp("sets")
    for which, seed in (("reference", 0), ("generated", 100)):
        (root / which).mkdir()
        for i in range(12):
            write(root / which / f"clip{i:02}.wav", noise(9_600 + 800 * (i % 3), seed + i))
    return root / "reference", root / "generated"


def write(path: Path, waveform: np.ndarray, rate: int = 32_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(waveform, -1, 1), rate)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() <= OF_NETWORK * np.abs(expected).max()


# the golden outputs


def test_cnn14_hears_what_it_heard_in_the_tools(
    cnn14: GenerationScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From a file, through preparation and network, to embedding and logits."""
    golden = golden_arrays("generation.npz")
    compared = {key for key in golden if key.startswith("cnn14_16k/")}
    for tool in TOOLS:
        names = [name for each, name in GOLDEN if each == tool]
        (tmp_path / tool).mkdir()
        for name in names:
            soundfile.write(tmp_path / tool / f"{name}.wav", golden[f"audio/{name}"], int(name[-5:]))
        # Two clips are the least that a set can have: a lone one lies there twice.
        if len(names) == 1:
            (tmp_path / tool / "again.wav").write_bytes((tmp_path / tool / f"{names[0]}.wav").read_bytes())
        monkeypatch.setattr(cnn14, "preparation", TOOLS[tool])
        found = cnn14.clips(tmp_path / tool)
        for row, name in enumerate(found.names):
            if name != "again":
                close(found.embeddings[row], golden[f"cnn14_16k/2048/{tool}/{name}"])
                close(found.logits[row], golden[f"cnn14_16k/logits/{tool}/{name}"])
                compared -= {f"cnn14_16k/{kind}/{tool}/{name}" for kind in ("2048", "logits")}
    assert not compared


def test_folders_to_every_score_is_golden_outputs_to_every_score(
    cnn14: GenerationScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Folders, preparation, Cnn14_16k and all scores, against scores of the golden network outputs."""
    golden = golden_arrays("generation.npz")
    recordings = ["mono_48000", "stereo_44100"]
    # Every score needs 30 generated clips: three takes of each reference, of two recordings in turn.
    reference = {f"clip{i:02}": recordings[i % 2] for i in range(10)}
    generated = {
        f"take{take}/{name}": recordings[(i + take) % 2 if i < 7 else 0]
        for take in range(3)
        for i, name in enumerate(reference)
    }
    for which, clips in (("reference", reference), ("generated", generated)):
        for name, recording in clips.items():
            path = tmp_path / which / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, golden[f"audio/{recording}"], int(recording[-5:]))
    run_each_once(cnn14, monkeypatch)
    scores = cnn14.score(tmp_path / "reference", tmp_path / "generated", n_resamples=0, infinity=True)
    x, p, y, q = (
        np.stack([golden[f"cnn14_16k/{kind}/audioldm_eval/{each}"] for each in clips.values()])
        for clips in (reference, generated)
        for kind in ("2048", "logits")
    )
    names = [name.partition("/")[2] for name in generated]

    def divergence(kind: KLKind) -> float:
        return kl_divergence(
            p,
            q,
            kind=kind,
            convention="audioldm_eval",
            reference_names=list(reference),
            generated_names=names,
        )

    expected = {
        "FD": frechet_distance(x, y),
        "FD-infinity": frechet_infinity(x, y).score,
        "KAD": kernel_audio_distance(x, y),
        "KID": kernel_inception_distance(x, y, subset_size=10).mean,
        "KL (softmax)": divergence("softmax"),
        "KL (sigmoid)": divergence("sigmoid"),
        "IS": inception_score(q).mean,
    }
    assert {score.name: score.value for score in scores.scores} == pytest.approx(expected, rel=OF_SCORES)
    assert min(abs(value) for value in expected.values()) > 0.1  # none is met because it is 0


def run_each_once(made: GenerationScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A waveform that comes again is not run again: forty clips of two recordings cost two."""
    run, known = made._engine.run, {}

    def once(waveforms: list[np.ndarray], wanted: Wanted) -> list[Answer]:
        new = {each.tobytes(): each for each in waveforms if each.tobytes() not in known}
        known.update(zip(new, run(list(new.values()), wanted) if new else [], strict=True))
        return [known[each.tobytes()] for each in waveforms]

    monkeypatch.setattr(made._engine, "run", once)


# scores of sets


def test_scores_are_those_of_the_arrays(
    small: LoadedCheckpoint, scorer_of, folders: tuple[Path, Path]
) -> None:
    made = scorer_of(small)
    reference, generated = made.clips(folders[0]), made.clips(str(folders[1] / "*.wav"))
    assert reference.names == tuple(f"clip{i:02}" for i in range(12))
    scores = made.score(reference, generated, n_resamples=20)
    x, y, p, q = reference.embeddings, generated.embeddings, reference.logits, generated.logits
    assert scores["FD"] == frechet_distance(x, y)
    assert scores["KAD"] == kernel_audio_distance(x, y)
    assert scores["KL (softmax)"] == kl_divergence(p, q)
    assert scores["IS"] == inception_score(q).mean
    for score in scores.scores:
        assert score.interval.low <= score.value <= score.interval.high
        assert score.convention
    assert scores.warnings == (
        "compare these scores only with those of the same network and preparation: the resampler alone can "
        "move FD by tens",
        "FD of 12 and 12 clips with embeddings of 512 numbers is biased upwards: compare it only between "
        "systems with the same number of clips",
    )
    told = json.loads(scores.as_json())
    assert {each["name"]: each["value"] for each in told["scores"]} == {
        s.name: s.value for s in scores.scores
    }
    assert told["reference"]["preparation"] == PRESETS["pannsx"].as_json()
    assert told["generated"]["n_clips"] == 12
    with pytest.raises(KeyError, match="no score 'FID'; there are FD, KAD"):
        scores["FID"]


def test_bad_and_silent_files_are_told_and_never_replaced(
    small: LoadedCheckpoint, scorer_of, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    for path in sorted(folders[1].iterdir())[:10]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "clip10.wav").write_bytes(b"no audio")
    write(tmp_path / "clip11.wav", np.zeros(9_600, np.float32))
    kept = scorer_of(small).clips(tmp_path)
    assert kept.n_clips == 11
    assert [(Path(p.file).name, p.kind, p.kept) for p in kept.problems] == [
        ("clip10.wav", "unreadable", False), ("clip11.wav", "silent", True),
    ]  # fmt: skip
    left_out = scorer_of(small, silent="leave_out").clips(tmp_path)
    assert left_out.n_clips == 10
    np.testing.assert_array_equal(left_out.embeddings, kept.embeddings[:10])
    reference = scorer_of(small).clips(folders[0])
    scores = score_sets(reference, kept, n_resamples=0)
    assert "1 of 11 generated clips are silent" in scores.warnings[-1]
    # The partner of the file that could not be read is in no pair.
    pairs = [i for i in range(12) if i != 10]
    assert scores["KL (softmax)"] == kl_divergence(reference.logits[pairs], kept.logits)
    assert {row["file"] for row in json.loads(scores.as_json())["problems"]} == {
        p.file for p in kept.problems
    }


def test_several_generations_of_one_reference(
    small: LoadedCheckpoint, scorer_of, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    for take in ("a", "b"):
        for i, path in enumerate(sorted(folders[1].iterdir())):
            write(tmp_path / take / path.name, noise(9_600, 300 + i + 50 * (take == "b")))
    made = scorer_of(small)
    reference, both = made.clips(folders[0]), made.clips(tmp_path)
    assert both.n_clips == 24
    halves = [made.clips(tmp_path / take) for take in ("a", "b")]
    means = [score_sets(reference, half, n_resamples=0)["KL (softmax)"] for half in halves]
    assert score_sets(reference, both, n_resamples=0)["KL (softmax)"] == pytest.approx(
        np.mean(means), rel=1e-4
    )


def test_unpaired_names_have_no_kl_and_are_named(
    small: LoadedCheckpoint, scorer_of, folders: tuple[Path, Path]
) -> None:
    made = scorer_of(small)
    reference = made.clips(folders[0])
    generated = made.clips([folders[1] / "clip00.wav", folders[1] / "clip01.wav"])
    scores = made.score(reference, generated, n_resamples=0)
    with pytest.raises(ValueError, match="10 reference without a partner: 'clip02'"):
        scores["KL (softmax)"]
    assert any(warning.startswith("KL (softmax) needs a reference") for warning in scores.warnings)
    assert scores["FD"] > 0


def test_extrapolation() -> None:
    rng = np.random.default_rng(0)
    reference = made_set("r", rng.standard_normal((60, 5)))
    generated = made_set("g", rng.standard_normal((60, 5)) + 1)
    scores = score_sets(reference, generated, infinity=True, n_resamples=10)
    (found,) = (score for score in scores.scores if score.name == "FD-infinity")
    assert found.interval.low < found.value < found.interval.high
    assert found.value < scores["FD"]
    assert "R^2" in found.convention
    few = score_sets(reference, made_set("g", rng.standard_normal((9, 5))), infinity=True, n_resamples=0)
    with pytest.raises(ValueError, match="9 generated clips; at least 30"):
        few["FD-infinity"]


# statistics


ORIGIN = Origin("Cnn6", "0" * 64, PRESETS["pannsx"], version="0.1.0")


def made_set(source: str, embeddings: np.ndarray, origin: Origin = ORIGIN) -> ClipSet:
    names = [f"clip{i}" for i in range(len(embeddings))]
    logits = np.random.default_rng(1).standard_normal((len(embeddings), 7)).astype(np.float32)
    return make_clip_set(source, origin, names, embeddings, logits)


@pytest.mark.parametrize(("n", "kept"), [(5, "centred"), (40, "covariance")])
def test_statistics_come_back(tmp_path: Path, n: int, kept: str) -> None:
    rng = np.random.default_rng(0)
    reference = made_set("r", rng.standard_normal((n, 12)))
    generated = made_set("g", rng.standard_normal((20, 12)))
    path = tmp_path / "made" / "ref.npz"
    write_statistics(path, reference)
    assert [each.name for each in path.parent.iterdir()] == ["ref.npz"]
    with np.load(path, allow_pickle=False) as stored:
        assert set(stored) == {"about", "names", "mean", kept, "logits"}
    found = read_statistics(path)
    assert found.origin == reference.origin
    assert found.names == reference.names
    np.testing.assert_array_equal(found.logits, reference.logits)
    expected = score_sets(reference, generated, n_resamples=0)
    scores = score_sets(found, generated, n_resamples=5)
    assert scores["FD"] == pytest.approx(expected["FD"], rel=ROUNDING)
    if kept == "centred":
        assert scores["KAD"] == pytest.approx(expected["KAD"], rel=ROUNDING)
    else:
        assert scores.scores[0].interval is None
        with pytest.raises(ValueError, match="KAD: a set holds the covariance"):
            scores["KAD"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "Cnn14"}, "model Cnn6 and Cnn14"),
        ({"weights_sha256": "1" * 64}, "weights of Cnn6, sha256 000000000000 and 111111111111"),
        ({"preparation": PRESETS["kadtk"]}, "'kaiser_best' and 'kaiser64'; sixteen_bit False and True"),
        ({"precision": "bfloat16"}, "precision float32 and bfloat16"),
        ({"preparation": None, "weights_sha256": None, "cache": "kadtk"}, "one is a cache of kadtk"),
    ],
)
def test_sets_made_in_another_way_are_refused(changed: dict[str, object], said: str) -> None:
    rows = np.random.default_rng(0).standard_normal((6, 4))
    other = made_set("g.npz", rows, replace(ORIGIN, **changed))
    with pytest.raises(ValueError, match=r"r\.npz and g\.npz cannot be compared") as caught:
        score_sets(made_set("r.npz", rows), other)
    assert said in str(caught.value)
    assert score_sets(other, other, n_resamples=0)["FD"] == pytest.approx(0, abs=ROUNDING)


@pytest.mark.parametrize("options", [{"n_resamples": 1}, {"n_resamples": -2}, {"level": 1.0}])
def test_intervals_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    rows = np.random.default_rng(0).standard_normal((6, 4))
    with pytest.raises(ValueError, match=r"0 resamples \(no intervals\) or at least 2"):
        score_sets(made_set("r", rows), made_set("g", rows), **options)


def test_another_version_is_compared() -> None:
    rows = np.random.default_rng(0).standard_normal((6, 4))
    other = made_set("g", rows, replace(ORIGIN, version="9"))
    assert score_sets(made_set("r", rows), other, n_resamples=0)["FD"] == pytest.approx(0, abs=ROUNDING)


def test_files_that_are_no_statistics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for content in (b"", b"PK nothing"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="holds no statistics of pannsx"):
            read_statistics(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="holds no statistics of pannsx"):
        read_statistics(path)
    np.savez_compressed(path, about=np.arange(5_000.0))
    damaged = bytearray(path.read_bytes())
    damaged[200:220] = bytes(20)
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="holds no statistics of pannsx"):
        read_statistics(path)
    np.savez(path, mean=np.zeros(3))
    with pytest.raises(ValueError, match="about"):
        read_statistics(path)
    np.savez(path, about=np.array(json.dumps({"format": "pannsx statistics 2"})))
    with pytest.raises(ValueError, match="'pannsx statistics 2'"):
        read_statistics(path)


# caches


def test_kadtk_cache_comes_back(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    folder = tmp_path / "embeddings" / "panns-wavegram-logmel"
    write_kadtk(folder, made_set("r", rows))
    stored = np.load(folder / "clip3.npy")
    assert stored.dtype == np.float16
    assert stored.shape == (1, 4)
    found = read_kadtk(folder)
    assert found.origin.model == "panns-wavegram-logmel"
    assert found.names == tuple(f"clip{i}" for i in range(6))
    np.testing.assert_array_equal(found.embeddings, rows.astype(np.float16).astype(np.float32))
    np.save(folder / "clip6.npy", np.zeros((3, 4), np.float16))  # three windows of one clip
    assert read_kadtk(folder).n_clips == 9
    assert score_sets(found, read_kadtk(folder), n_resamples=0)["FD"] > 0
    with pytest.raises(ValueError, match="a cache of kadtk, which tells neither weights"):
        write_statistics(tmp_path / "ref.npz", found)
    np.save(folder / "clip7.npy", np.zeros((3, 5), np.float16))
    with pytest.raises(ValueError, match=r"clip7.npy holds float16 of shape \(3, 5\)"):
        read_kadtk(folder)


def test_av_bench_cache_comes_back(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    clips, path = made_set("r", rows), tmp_path / "cache" / "pann_features.pth"
    write_av_bench(path, clips)
    stored = torch.load(path, weights_only=True)
    assert list(stored) == list(clips.names)
    assert {key: value.shape for key, value in stored["clip0"].items()} == {"2048": (4,), "logits": (7,)}
    found = read_av_bench(path)
    np.testing.assert_array_equal(found.embeddings, rows)
    np.testing.assert_array_equal(found.logits, clips.logits)
    for other in ({"clip": {"2048": torch.zeros(3)}}, {"weight": torch.zeros(3, 2)}, [1.0], {}):
        torch.save(other, path)
        with pytest.raises(ValueError, match="is not av-benchmark's"):
            read_av_bench(path)


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "pann_features.pth"
    torch.save({"clip": Path("evil")}, path)
    with pytest.raises(ValueError, match="is not av-benchmark's"):
        read_av_bench(path)


def test_caches_need_one_file_name_a_clip(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((2, 4))
    logits = np.zeros((2, 3), np.float32)
    for names, said in ((["a", "a"], "several clips named 'a'"), (["../a", "b"], "'../a' is no file name")):
        clips = make_clip_set("r", ORIGIN, names, rows, logits)
        with pytest.raises(ValueError, match=said):
            write_kadtk(tmp_path / "kadtk", clips)
        with pytest.raises(ValueError, match=said):
            write_av_bench(tmp_path / "x.pth", clips)
    assert list(tmp_path.iterdir()) == []


# the scorer itself


def test_arrays_beside_audio_are_no_cache(
    small: LoadedCheckpoint, scorer_of, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    for path in sorted(folders[0].iterdir())[:2]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
        np.save(tmp_path / f"{path.stem}.npy", np.zeros(3))
    assert scorer_of(small).clips(tmp_path).origin.cache is None


def test_digest_is_of_the_weights(small: LoadedCheckpoint, scorer_of) -> None:
    one = scorer_of(small).origin.weights_sha256
    other = seeded_checkpoint("Cnn6")
    assert scorer_of(other).origin.weights_sha256 == one
    with torch.no_grad():
        next(other.model.parameters()).view(-1)[0] += 1e-3
    assert scorer_of(other).origin.weights_sha256 != one


def test_bad_arguments(
    small: LoadedCheckpoint, scorer_of, tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    with pytest.raises(ValueError, match="no preparation 'kaldi'"):
        scorer_of(small, "kaldi")
    with pytest.raises(ValueError, match="silent is 'replace'"):
        scorer_of(small, silent="replace")
    made = scorer_of(small)
    with pytest.raises(ValueError, match="has no audio files"):
        made.clips(tmp_path)
    (tmp_path / "bad.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"0 clips can be used; at least 2 are needed.*bad\.wav"):
        made.clips(tmp_path)
    assert scorer_of(small, "audioldm_eval").convention == "audioldm_eval"
    assert scorer_of(small, "av_bench").convention == "exact"
    assert "audioldm_eval (first channel" in repr(scorer_of(small, "audioldm_eval"))
