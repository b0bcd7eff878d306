"""The adapter for NeMo Curator against its protocol, without Curator: one result for each item, in order."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow_checkpoint import LABELS, narrow_file
from small_models import noise

from pannsx import AudioTagger, WeightsError
from pannsx.integrations import curator
from pannsx.integrations.curator import SEDAdapter, SEDResult, frames_in_order

RATE = 32_000
SAME = 2e-6
"""Of a probability: float32 sums of a batch of another size, as in test_corpus_stage."""
SECONDS = (2.0, 0.1, 11.0, 0.9)


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger()


@pytest.fixture(scope="module")
def adapter() -> Iterator[SEDAdapter]:
    opened = SEDAdapter()
    opened.load_model(num_gpus=0)
    yield opened
    opened.unload_model()


own = narrow_file


def items(*waveforms: Any) -> list[dict[str, Any]]:
    return [{"waveform": each} for each in waveforms]


def test_each_waveform_is_heard_alone_and_in_order(adapter: SEDAdapter, tagger: AudioTagger) -> None:
    waveforms = [noise(round(RATE * s), i) for i, s in enumerate(SECONDS)]
    found = adapter.infer_batch(items(*waveforms))
    assert len(found) == len(waveforms)
    for result, waveform in zip(found, waveforms, strict=True):
        alone = tagger.inference(waveform).framewise
        assert alone is not None
        assert result.fps == pytest.approx(3.125)
        assert result.original_num_samples == len(waveform)
        assert result.valid_frames == len(result.framewise_output) >= len(alone)
        np.testing.assert_allclose(result.framewise_output[: len(alone)], alone, rtol=0, atol=SAME)
        # A rest too short for a frame of its own is that of the last.
        assert result.valid_frames - len(alone) <= 1
        assert (result.framewise_output[len(alone) :] == result.framewise_output[len(alone) - 1]).all()


@pytest.mark.parametrize("hop_s", [0.04, 0.32])
@pytest.mark.parametrize("offset_s", [0.0, 0.155, 0.32])
@pytest.mark.parametrize("duration_s", [0.05, 0.96, 1.0])
def test_rows_are_of_their_time(hop_s: float, offset_s: float, duration_s: float) -> None:
    n = 1 + max(0, int((duration_s - offset_s) / hop_s - 0.5))
    frames = np.arange(n, dtype=np.float32)[:, None]
    rows = frames_in_order(frames, hop_s, offset_s, duration_s)[:, 0]
    assert duration_s <= len(rows) * hop_s + 1e-6 < duration_s + hop_s + 2e-6
    for i, row in enumerate(rows.tolist()):
        middle_s, centre_s = (i + 0.5) * hop_s, offset_s + hop_s * row
        before_or_behind = (row == 0 and middle_s < centre_s) or (row == n - 1 and middle_s > centre_s)
        assert before_or_behind or abs(middle_s - centre_s) <= hop_s / 2 + 1e-9


def test_finer_frames_show_where_a_sound_begins(own: Path) -> None:
    """Silence for two seconds, then noise: the row where the answer changes is at that time."""
    adapter = SEDAdapter(str(own), classes_num=len(LABELS), hop_s=0.04)
    adapter.load_model(num_gpus=0)
    waveform = np.concatenate([np.zeros(2 * RATE, np.float32), 5 * noise(2 * RATE)])
    (result,) = adapter.infer_batch(items(waveform))
    assert result.fps == pytest.approx(25)
    assert result.valid_frames == 100
    steps = np.abs(np.diff(result.framewise_output, axis=0)).max(axis=1)
    assert abs((steps.argmax() + 1) / result.fps - 2.0) < 0.4  # a frame's own hop and its neighbour's


def test_what_cannot_be_heard_has_no_frames(adapter: SEDAdapter, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = noise(RATE), noise(RATE)
    bad[7] = np.nan
    with caplog.at_level(logging.WARNING, "pannsx"):
        found = adapter.infer_batch(items(bad, good, np.zeros(0, np.float32), good[None]))
    assert [each.valid_frames for each in found] == [0, 4, 0, 0]
    assert [each.framewise_output.shape[1] for each in found] == 4 * [527]
    assert [each.original_num_samples for each in found] == [RATE, RATE, 0, RATE]
    for reason in ("0 of 4 has no frames: it has samples that are not finite", "2 of 4", "(1, 32000)"):
        assert reason in caplog.text
    assert adapter.infer_batch([]) == []


def test_another_rate_is_resampled(tagger: AudioTagger) -> None:
    adapter = SEDAdapter(None, 16_000)
    adapter.load_model(num_gpus=0)
    (result,) = adapter.infer_batch(items(noise(16_000)))
    alone = tagger.inference(noise(16_000), 16_000).framewise
    assert alone is not None
    np.testing.assert_allclose(result.framewise_output[: len(alone)], alone, rtol=0, atol=SAME)


def test_a_checkpoint_of_ones_own(own: Path) -> None:
    with pytest.raises(ValueError, match=r"has classes of its own.*say classes_num=3"):
        SEDAdapter(str(own)).load_model(num_gpus=0)
    adapter = SEDAdapter(str(own), classes_num=3)
    adapter.download_weights_on_node()
    adapter.load_model(num_gpus=0)
    (result,) = adapter.infer_batch(items(noise(RATE)))
    assert result.framewise_output.shape[1] == len(LABELS)
    adapter.unload_model()
    with pytest.raises(RuntimeError, match="call load_model"):
        adapter.infer_batch([])


def test_the_settings_of_curators_own_adapter() -> None:
    published: dict[str, Any] = {
        "model_type": "Cnn14_DecisionLevelMax", "window_size": 1024, "hop_size": 320, "mel_bins": 64,
        "fmin": 50, "fmax": 14000, "classes_num": 527, "pad_short_segments": True,
    }  # fmt: skip
    SEDAdapter(None, RATE, **published)
    for name, value, message in (
        ("mel_bins", 128, "mel_bins is 128, and Cnn14_DecisionLevelMax was trained with 64"),
        ("classes_num", 10, "classes_num is 10, and Cnn14_DecisionLevelMax has 527"),
        ("model_type", "Cnn14_DecisionLevelMx", "did you mean 'Cnn14_DecisionLevelMax'"),
    ):
        with pytest.raises(ValueError, match=message):
            SEDAdapter(None, RATE, **{**published, name: value})


def test_weights_are_fetched_to_the_named_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetched: list[Any] = []
    monkeypatch.setattr(curator, "resolve", lambda record, **how: fetched.append((record.name, how)))
    name = "Cnn14_DecisionLevelMax"
    SEDAdapter(model_type=name).download_weights_on_node()
    path = tmp_path / "Cnn14_DecisionLevelMax_mAP=0.385.pth"
    SEDAdapter(str(path), model_type=name).download_weights_on_node()
    assert [(each, how["cache_dir"]) for each, how in fetched] == [(name, None), (name, tmp_path)]
    path.write_bytes(b"there")
    SEDAdapter(str(path), model_type=name).download_weights_on_node()
    assert len(fetched) == 2
    for model_type in (name, None):
        with pytest.raises(WeightsError, match=r"there is no file .*other\.pth; check checkpoint_path"):
            SEDAdapter(str(tmp_path / "other.pth"), model_type=model_type).download_weights_on_node()


@pytest.mark.parametrize("rate", [0, 1.5, True, "32000"])
def test_a_rate_that_is_none(rate: Any) -> None:
    with pytest.raises(ValueError, match="a whole number of Hz"):
        SEDAdapter(None, rate)


def test_wrong_calls(adapter: SEDAdapter) -> None:
    for wrong in (-1, True, 0.5):
        with pytest.raises(ValueError, match="num_gpus is"):
            SEDAdapter().load_model(num_gpus=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hop_s"):
        SEDAdapter(hop_s=7.0).load_model(num_gpus=0)
    with pytest.raises(ValueError, match="an item has 'audio'; 'waveform' is needed"):
        adapter.infer_batch([{"audio": noise(RATE)}])


def test_curator_is_not_imported() -> None:
    program = (
        "import sys\n"
        "from pannsx.integrations.curator import SEDAdapter\n"
        "SEDAdapter(model_type='Cnn14')\n"
        "print({'torch', 'nemo_curator'} & {*sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out == "set()\n"


def test_fields_of_a_result() -> None:
    assert list(SEDResult.__dataclass_fields__) == [
        "framewise_output", "fps", "valid_frames", "original_num_samples",
    ]  # fmt: skip
