"""The public API on the bundled checkpoint: what a user calls, and how mistakes are answered."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_models import SAME_ALONE, noise

import pannsx
from benchmarks import bundled
from pannsx import (
    AudioError,
    AudioTagger,
    BatchResult,
    FeatureExtractor,
    StreamTagger,
    TaggingResult,
    WeightsError,
)
from pannsx.weights.manifest import find

TEST_DATA = Path(os.environ.get("PANNSX_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger(device="cpu")


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return FeatureExtractor(device="cpu")


def wav_bytes(waveform: np.ndarray, rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def test_one_source(tagger):
    result = tagger.inference(noise(32000 * 5))
    assert isinstance(result, TaggingResult)
    assert result.clipwise.shape == (527,)
    assert result.embedding.shape == (tagger.embedding_size,) == (1024,)
    assert result.framewise.shape == (15, 527)
    assert result.hop_s == tagger.hop_s == 0.32
    assert result.duration_s == 5
    assert result.labels == tagger.labels
    assert len(result.labels) == 527
    assert result.frame_source == "local_pooling"
    assert ((result.clipwise >= 0) & (result.clipwise <= 1)).all()
    np.testing.assert_allclose(result.frame_times, 0.155 + 0.32 * np.arange(15))
    top = result.top(3)
    assert [tag.probability for tag in top] == sorted(result.clipwise.tolist(), reverse=True)[:3]
    assert result.probability(top[0].label) == top[0].probability
    assert top[0].label in repr(result)


def test_an_open_network_is_shared(tagger: AudioTagger, extractor: FeatureExtractor) -> None:
    waveform = noise(32000 * 5)
    short = AudioTagger(extractor, window_s=2.0)
    assert short._pipeline.engine is extractor._pipeline.engine
    assert short._pipeline.settings.window_s == 2.0
    assert extractor._pipeline.settings.window_s == 10.0
    by_itself = AudioTagger(device="cpu", window_s=2.0)
    np.testing.assert_array_equal(short.inference(waveform).clipwise, by_itself.inference(waveform).clipwise)
    shared = FeatureExtractor(tagger).extract(waveform)
    np.testing.assert_array_equal(shared, extractor.extract(waveform))
    with pytest.raises(ValueError, match="device=, low_memory= cannot be given with an open AudioTagger"):
        FeatureExtractor(tagger, device="cpu", low_memory=True).fit()
    with pytest.raises(ValueError, match="open AudioTagger, FeatureExtractor or StreamTagger"):
        AudioTagger(3)  # type: ignore[arg-type]


def test_every_kind_of_source_gives_the_same(tagger, tmp_path):
    waveform = noise(40000)
    expected = tagger.inference(waveform).clipwise
    path = tmp_path / "ton é.wav"
    path.write_bytes(wav_bytes(waveform, 32000))
    sources = [
        path,
        str(path),
        path.read_bytes(),
        io.BytesIO(path.read_bytes()),
        torch.from_numpy(waveform),
        waveform.astype(np.float64),
    ]
    for source in sources:
        np.testing.assert_allclose(tagger.inference(source).clipwise, expected, atol=SAME_ALONE)
    integers = np.round(waveform * 32767).astype(np.int16)
    as_floats = tagger.inference(integers / np.float32(32768)).clipwise
    np.testing.assert_allclose(tagger.inference(integers).clipwise, as_floats, atol=SAME_ALONE)


def test_rate_of_an_array(tagger):
    t = np.arange(44100 * 2) / 44100
    tone = (0.5 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)
    by_array = tagger.inference(tone, 44100)
    by_file = tagger.inference(wav_bytes(tone, 44100))
    np.testing.assert_allclose(by_array.clipwise, by_file.clipwise, atol=SAME_ALONE)
    assert by_array.duration_s == pytest.approx(2, abs=1e-3)
    assert np.abs(tagger.inference(tone).clipwise - by_array.clipwise).max() > 1e-3


def test_a_part_of_a_file(tagger):
    waveform = noise(32000 * 4)
    part = tagger.inference(wav_bytes(waveform, 32000), start_s=1.0, duration_s=2.0)
    assert part.duration_s == 2
    np.testing.assert_allclose(
        part.clipwise, tagger.inference(waveform[32000:96000]).clipwise, atol=SAME_ALONE
    )


def test_batches(tagger):
    clips = [noise(n, i) for i, n in enumerate([32000, 50000, 32000, 7])]
    batch = tagger.inference(clips)
    assert isinstance(batch, BatchResult)
    assert batch.clipwise.shape == (4, 527)
    assert batch.embedding.shape == (4, 1024)
    assert [len(frames) for frames in batch.framewise] == [3, 4, 3, 1]
    assert len(batch) == 4
    assert len(list(batch)) == 4
    assert batch[-1].duration_s == pytest.approx(7 / 32000)
    with pytest.raises(IndexError):
        batch[4]
    for clip, result in zip(clips, batch, strict=True):
        alone = tagger.inference(clip)
        np.testing.assert_allclose(result.clipwise, alone.clipwise, atol=SAME_ALONE)
        np.testing.assert_allclose(result.framewise, alone.framewise, atol=SAME_ALONE)
        scale = np.abs(alone.embedding).max()
        np.testing.assert_allclose(result.embedding, alone.embedding, atol=SAME_ALONE * max(1, scale))
    assert batch.top(2)[1] == batch[1].top(2)
    by_array = tagger.inference(np.stack([clips[0], clips[2]]))
    assert isinstance(by_array, BatchResult)
    np.testing.assert_allclose(by_array.clipwise, batch.clipwise[[0, 2]], atol=SAME_ALONE)
    by_tensor = tagger.inference(torch.from_numpy(clips[0])[None])
    assert by_tensor.clipwise.shape == (1, 527)


def test_stereo_in_a_list_is_mixed_down(tagger):
    waveform = noise(32000)
    stereo = np.stack([waveform * 1.5, waveform * 0.5], axis=1)
    expected = tagger.inference(waveform).clipwise
    np.testing.assert_allclose(tagger.inference([stereo])[0].clipwise, expected, atol=SAME_ALONE)
    with pytest.raises(AudioError, match=r"\(samples, channels\)"):
        tagger.inference(stereo)


def test_without_frames(tagger):
    result = tagger.inference(noise(32000), framewise=False)
    assert result.framewise is None
    with pytest.raises(ValueError, match="framewise=False"):
        _ = result.frame_times
    assert tagger.inference([noise(32000)], framewise=False).framewise is None


def test_iter_inference_gives_what_inference_gives(tagger):
    clips = [noise(32000, i) for i in range(5)]
    batch = tagger.inference(clips)
    for sources in (clips, iter(clips), np.stack(clips)):
        for one, result in zip(tagger.iter_inference(sources), batch, strict=True):
            assert one.framewise is None
            np.testing.assert_allclose(one.clipwise, result.clipwise, atol=SAME_ALONE)
    parts = tagger.iter_inference(iter(clips), framewise=True, start_s=0.5)
    assert [(result.duration_s, len(result.framewise)) for result in parts] == [(0.5, 1)] * 5
    assert list(tagger.iter_inference([])) == []


def test_iter_inference_answers_those_before_a_bad_source(tagger):
    results = tagger.iter_inference(source for source in (noise(32000), "missing.wav", noise(32000)))
    assert next(results).duration_s == 1
    with pytest.raises(AudioError, match=r"source 1 \('missing.wav'\).*no file"):
        next(results)


@pytest.mark.parametrize("one", ["a.wav", Path("a.wav"), b"RIFF", io.BytesIO(b"RIFF"), noise(100)])
def test_iter_inference_of_a_single_source_is_refused(tagger, one):
    with pytest.raises(ValueError, match="got one"):
        tagger.iter_inference(one)


def test_a_finer_hop(tagger):
    clips = [noise(n, i) for i, n in enumerate([64000, 32000])]
    batch = tagger.inference(clips, hop_s=tagger.hop_s / 2)
    assert isinstance(batch, BatchResult)
    assert batch.hop_s == tagger.hop_s / 2
    assert [len(frames) for frames in batch.framewise] == [11, 5]
    for clip, result in zip(clips, batch, strict=True):
        alone, coarse = tagger.inference(clip, hop_s=tagger.hop_s / 2), tagger.inference(clip)
        assert alone.offset_s == result.offset_s == coarse.offset_s
        np.testing.assert_allclose(alone.framewise, result.framewise, atol=SAME_ALONE)
        np.testing.assert_allclose(alone.framewise[::2], coarse.framewise, atol=SAME_ALONE)
        np.testing.assert_allclose(alone.clipwise, coarse.clipwise, atol=SAME_ALONE)
        assert alone.duration_s == coarse.duration_s
    one, other = tagger.iter_inference(iter(clips), framewise=True, hop_s=0.1)
    assert one.hop_s == other.hop_s == 0.1
    part = tagger.inference(clips[0], hop_s=0.16, start_s=0.5, duration_s=1)
    assert part.duration_s == 1


def test_hops_that_cannot_be_had(tagger):
    with pytest.raises(ValueError, match=r"hop_s is 0\.01; 0\.02 to 1"):
        tagger.inference(noise(100), hop_s=0.01)
    with pytest.raises(ValueError, match="needs frames, but framewise is False"):
        tagger.inference(noise(100), hop_s=0.1, framewise=False)
    with pytest.raises(ValueError, match="needs frames, but framewise is False"):
        tagger.iter_inference([noise(100)], hop_s=0.1)
    with pytest.raises(AudioError, match=r"source 1 \('missing.wav'\)"):
        tagger.inference([noise(100), "missing.wav"], hop_s=0.1)


def test_the_rate_of_a_source_has_two_names_and_one_value(tagger, extractor, tmp_path):
    tone = noise(8000)
    result = tagger.inference(tone, 8000)
    calls = [
        tagger.inference,
        lambda tone, *a, **k: next(tagger.iter_inference([tone], *a, **k)),
        extractor.extract,
        extractor.extract_frames,
        lambda tone, *a, **k: StreamTagger(tagger, **k),
        lambda tone, *a, **k: StreamTagger(tagger).push(tone, *a, **k),
        lambda tone, *a, **k: result.plot(None, tone, *a, **k),
        lambda tone, *a, **k: result.report(tmp_path / "page.html", tone, *a, **k),
    ]
    for call in calls:
        call(tone, source_rate=8000)
        call(tone, sample_rate=8000)
        with pytest.raises(ValueError, match=r"source_rate=8000 and sample_rate=8000.*give one"):
            call(tone, source_rate=8000, sample_rate=8000)
    durations = [tagger.inference(tone, **{name: 8000}).duration_s for name in ("source_rate", "sample_rate")]
    assert durations == [tagger.inference(tone, 8000).duration_s] * 2 == [1, 1]


def test_embeddings_of_a_part(extractor):
    waveform = noise(32000 * 4)
    source = wav_bytes(waveform, 32000)
    expected = extractor.extract(waveform[32000:96000])
    tolerance = SAME_ALONE * np.abs(expected).max()
    found = extractor.extract(source, start_s=1.0, duration_s=2.0)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    frames = extractor.extract_frames([source], start_s=1.0, duration_s=2.0)[0]
    np.testing.assert_allclose(
        frames.embeddings, extractor.extract_frames(waveform[32000:96000]).embeddings, atol=tolerance
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros(0, np.float32), "empty|no samples"),
        (np.full(1000, np.nan, np.float32), "NaN|not finite"),
        (np.full(1000, np.inf, np.float32), "[Ii]nf|not finite"),
        (np.zeros((2, 3, 4), np.float32), "shape"),
        (b"this is not audio at all, only text", "."),
        ("no such file.wav", "no such file"),
        (12, "int"),
        (None, "None"),
    ],
)
def test_bad_sources(tagger, source, message):
    with pytest.raises(AudioError, match=message):
        tagger.inference(source)


@pytest.mark.parametrize("low_memory", [False, True])
def test_logits_are_what_probabilities_are_made_of(low_memory):
    tagger = AudioTagger(device="cpu", low_memory=low_memory)
    clips = [noise(32000 * 2), noise(32000 * 12, 1)]  # one window, two windows
    batch = tagger.inference(clips, framewise=False)
    assert batch.logits.dtype == np.float32
    assert batch.logits.shape == batch.clipwise.shape
    np.testing.assert_allclose(1 / (1 + np.exp(-batch.logits)), batch.clipwise, rtol=0, atol=1e-6)
    one = tagger.inference(clips[1], framewise=False)
    bound = SAME_ALONE * np.abs(one.logits).max()
    np.testing.assert_allclose(one.logits, batch[1].logits, rtol=0, atol=bound)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"'Cnn_14'.*did you mean 'Cnn14'"):
        AudioTagger("Cnn_14")
    with pytest.raises(ValueError, match="device"):
        AudioTagger(device="cuda:77")
    with pytest.raises(ValueError, match="window_s"):
        AudioTagger(window_s=0.01)
    with pytest.raises(WeightsError, match=r"no weights were ever released.*recipe"):
        AudioTagger("Cnn14_mel128")
    with pytest.raises(WeightsError, match="nowhere"):
        AudioTagger("Cnn14", checkpoint="nowhere.pth")


def test_unknown_label_is_answered_with_a_close_one(tagger):
    with pytest.raises(ValueError, match="did you mean 'Speech'"):
        tagger.inference(noise(32000)).probability("Speehc")


def test_models_by_any_case():
    assert AudioTagger("mobilenetv1_DISTILLED", device="cpu").record.name == "MobileNetV1_distilled"


def test_pickle(tagger):
    waveform = noise(32000)
    copy = pickle.loads(pickle.dumps(tagger))
    np.testing.assert_allclose(
        copy.inference(waveform).clipwise, tagger.inference(waveform).clipwise, atol=SAME_ALONE
    )
    result = pickle.loads(pickle.dumps(tagger.inference(waveform)))
    assert result.top(1) == tagger.inference(waveform).top(1)


def test_extractor(extractor, tagger):
    clips = [noise(32000, 1), noise(64000, 2)]
    embeddings = extractor.extract(clips)
    assert embeddings.shape == (2, extractor.embedding_size)
    expected = tagger.inference(clips).embedding
    np.testing.assert_allclose(embeddings, expected, atol=SAME_ALONE * np.abs(expected).max())
    assert extractor.extract(clips[0]).shape == (1, 1024)
    frames = extractor.extract_frames(clips[1])
    assert frames.embeddings.shape == (6, 1024)
    np.testing.assert_allclose(frames.times_s, 0.155 + 0.32 * np.arange(6))
    assert [len(each.embeddings) for each in extractor.extract_frames(clips)] == [3, 6]


def test_public_names():
    for name in pannsx.__all__:
        assert getattr(pannsx, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Tagger'"):
        _ = pannsx.Tagger


def test_esc10_fold_5_scores_what_the_record_says(tagger):
    """The one score of the bundled checkpoint that anyone can recompute from audio."""
    if not (TEST_DATA / "esc10").is_dir():
        pytest.skip(f"no ESC-10 recordings in {TEST_DATA}; set PANNSX_TEST_DATA to a folder with esc10/")
    recorded = find("MobileNetV1_distilled").scores.other["esc10_zero_shot_accuracy"]
    assert bundled.esc10_zero_shot(tagger, TEST_DATA) == pytest.approx(recorded, abs=1e-9)


NEAR_TIES = 2.5 / 368  # two of 368 clips may fall otherwise where another processor rounds otherwise


@pytest.mark.slow
def test_agrees_with_its_teacher_as_the_record_says(tagger):
    """The bundled checkpoint and the tagger it was distilled from, on clips that its training left out."""
    if not (TEST_DATA / "distill").is_dir():
        pytest.skip(f"no distillation data in {TEST_DATA}; set PANNSX_TEST_DATA to a folder with distill/")
    recorded = find("MobileNetV1_distilled").scores.other
    first, among_five = bundled.teacher_agreement(tagger, TEST_DATA)
    assert first == pytest.approx(recorded["teacher_top1_agreement"], abs=NEAR_TIES)
    assert among_five == pytest.approx(recorded["teacher_top5_agreement"], abs=NEAR_TIES)


def test_explain(tagger: AudioTagger) -> None:
    found = tagger.explain(duration_s=0.5)
    last = found.steps[-1]
    assert last.layer == f"1024 -> {len(tagger.labels)}"
    assert last.n_operations == 2 * 1024 * len(tagger.labels)
    assert all(step.duration_s > 0 for step in found.steps)
    assert str(found).count("\n") == len(found.steps) + 2
    assert "own" in {step.product for step in found.steps}
    with pytest.raises(ValueError, match="duration_s is 0"):
        tagger.explain(0)
    with pytest.raises(ValueError, match="runs as a torch module"):
        AudioTagger(device="cpu", low_memory=True).explain(0.5)
