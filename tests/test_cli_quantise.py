"""``pannsx quantise``: files with weights in 8 bits, their records, and what the command says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from cli_files import write_wav
from narrow_mobilenet import LABELS, STEPS, narrow_mobilenet
from safetensors.numpy import load_file, save_file

from pannsx import AudioTagger, audio, create_model, save
from pannsx.cli import main
from pannsx.cli.options import PRECISIONS
from pannsx.cli.quantise import _spread
from pannsx.errors import WeightsError
from pannsx.events import OperatingPoint, OperatingPoints, read_operating_points, write_operating_points
from pannsx.inference.engine import Precision
from pannsx.inference.quantisation import int8_steps, rounded_module
from pannsx.weights import operating_points_path, read_state_dict
from pannsx.weights.loading import load
from pannsx.weights.state_dict import read_arrays

Captured = pytest.CaptureFixture[str]
narrow = narrow_mobilenet
SAME_PROBABILITIES = 2e-5  # another log-mel and another order of sums
A_FEW_UNITS = 1e-3  # of rounding, in a network of two products
NO_DIFFERENCE = 2e-6  # of a logit: the same whole numbers, times scales that are rounded once more


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with three clips, in folders."""
    for seed in range(3):
        write_wav(tmp_path / "clips" / f"{seed}" / "a.wav", 0.4 + seed, seed)
    return tmp_path / "clips"


def quantise(model: Path | str, clips: Path | str, output: Path, *more: str) -> int:
    return main(["quantise", str(model), "--calibrate", str(clips), "-o", str(output), *more])


def test_a_quantised_file_gives_what_the_steps_give(
    narrow: Path, clips: Path, tmp_path: Path, capsys: Captured
) -> None:
    output = tmp_path / "small.safetensors"
    assert quantise(narrow, clips, output) == 0
    shown = capsys.readouterr()
    printed = dict(line.split("  ", 1) for line in shown.out.splitlines())
    assert list(printed) == [
        "size",
        "clips",
        "first tags kept",
        "mean change of a probability",
        "largest change",
    ]
    assert printed["clips"].strip() == "3"
    assert main(["info", str(output)]) == 0
    assert "calibrated, for --precision int8" in capsys.readouterr().out
    assert f"wrote {output}" in shown.err
    assert "3 of 3 used" in shown.err

    source, loaded = load(checkpoint=narrow), load(checkpoint=output)
    waveforms = [audio.load(path, 32000).waveform for path in sorted(clips.rglob("*.wav"))]
    steps = {layer: float(f"{step:.5g}") for layer, step in int8_steps(source.model, waveforms).items()}
    assert loaded.record.int8_steps == loaded.model.int8_steps == steps
    assert loaded.labels.names == LABELS
    assert loaded.record.name == "small"
    assert loaded.record.size_bytes == output.stat().st_size
    assert str(loaded.record.notes).startswith("Products in 8 bits, from narrow (sha256 ")
    assert str(loaded.record.notes).endswith("inputs calibrated on 3 clips of clips.")
    of_steps, of_file = rounded_module(source.model, steps), rounded_module(loaded.model, steps)
    with torch.inference_mode():
        for waveform in waveforms:
            batch = torch.from_numpy(waveform)[None]
            want, got = of_steps(batch).logits, of_file(batch).logits
            np.testing.assert_allclose(got, want, rtol=0, atol=NO_DIFFERENCE * float(want.abs().max()))

    held = load_file(output)
    eight = {key for key, array in held.items() if array.dtype == np.int8}
    assert eight == {f"{layer}.weight" for layer in STEPS}
    assert {key for key in held if key.endswith("_scale")} == {f"{key}_scale" for key in eight}
    assert read_state_dict(output)["features.1.4.weight"].dtype == torch.float32
    again = tmp_path / "again.safetensors"
    assert quantise(output, clips, again, "-q") == 0
    for key in eight:
        assert np.array_equal(load_file(again)[key], held[key])
    with torch.inference_mode():
        want = torch.sigmoid(loaded.model(torch.from_numpy(waveforms[1])[None]).logits)[0]
    got = AudioTagger(str(output)).inference(waveforms[1], framewise=False).clipwise
    np.testing.assert_allclose(got, want, rtol=0, atol=SAME_PROBABILITIES)
    rounds = AudioTagger(str(output), precision="int8").inference(waveforms[1], framewise=False).clipwise
    np.testing.assert_allclose(rounds, want, rtol=0, atol=A_FEW_UNITS)


def test_the_types_of_other_tensors_stay(narrow: Path, clips: Path, tmp_path: Path) -> None:
    halves = {
        key: array.astype(np.float16) if array.dtype.kind == "f" else array
        for key, array in read_arrays(narrow).items()
    }
    save_file(halves, narrow)
    record = json.loads(narrow.with_suffix(".json").read_text("utf-8"))
    record |= {"size_bytes": None, "sha256": None, "licence": "CC BY 4.0", "notes": "Of rain."}
    narrow.with_suffix(".json").write_text(json.dumps(record), "utf-8")
    output = tmp_path / "small.safetensors"
    assert quantise(narrow, clips, output, "-q") == 0
    held = load_file(output)
    assert {str(array.dtype) for array in held.values()} == {"int8", "int64", "float16", "float32"}
    assert all(key.endswith("_scale") for key, array in held.items() if array.dtype == np.float32)
    written = json.loads(output.with_suffix(".json").read_text("utf-8"))
    assert written["licence"] == "CC BY 4.0"
    assert written["notes"].endswith(" Of narrow: Of rain.")
    assert output.stat().st_size < narrow.stat().st_size


def test_thresholds_go_along(narrow: Path, clips: Path, tmp_path: Path) -> None:
    record = load(checkpoint=narrow).record
    points = OperatingPoints(
        {"Rain": OperatingPoint(threshold=0.3)},
        model=record.name,
        weights_sha256=record.sha256,
        rule="best F1",
    )
    write_operating_points(points, operating_points_path(record))
    output = tmp_path / "small.safetensors"
    assert quantise(narrow, clips, output, "-q") == 0
    found = read_operating_points(output.with_name("small.operating_points.json"))
    assert found.points == points.points
    assert AudioTagger(str(output)).operating_points == found


def test_broken_files_are_passed_over(narrow: Path, clips: Path, tmp_path: Path, capsys: Captured) -> None:
    (clips / "broken.wav").write_bytes(b"RIFF and no more")
    whole = Path(write_wav(clips / "cut.wav", 1.0))
    whole.write_bytes(whole.read_bytes()[:20_000])
    output = tmp_path / "small.safetensors"
    assert quantise(narrow, clips, output) == 1
    shown = capsys.readouterr()
    assert "broken.wav: " in shown.err
    assert shown.err.count("cut.wav: ") == 1
    assert "3 of 5 used, 2 failed" in shown.err
    assert "inputs calibrated on 3 clips" in str(load(checkpoint=output).record.notes)


def test_nothing_is_written_without_clips(
    narrow: Path, clips: Path, tmp_path: Path, capsys: Captured
) -> None:
    output = tmp_path / "small.safetensors"
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    broken.mkdir()
    (broken / "a.wav").write_bytes(b"RIFF and no more")
    for folder, said in ((empty, "has no audio files in it"), (broken, "a.wav: "), (tmp_path / "no", "no")):
        assert quantise(narrow, folder, output) == 1
        assert said in capsys.readouterr().err
    assert quantise(narrow, clips, narrow) == 2
    assert "would replace that of" in capsys.readouterr().err
    assert quantise(narrow, clips, tmp_path / "small.pth") == 2
    assert "checkpoints are written as .safetensors" in capsys.readouterr().err
    assert quantise(narrow, clips, clips / "0" / "a.wav") == 1
    assert "is one of the sources" in capsys.readouterr().err
    assert quantise(narrow, clips, output, "--clips", "0") == 2
    assert "is not a whole number from 1 up" in capsys.readouterr().err
    assert quantise("MobileNetV3", clips, output) == 2
    assert "did you mean" in capsys.readouterr().err
    assert not output.exists()
    assert not output.with_suffix(".json").exists()


def test_other_networks_are_refused(clips: Path, tmp_path: Path, capsys: Captured) -> None:
    save(create_model("MobileNetV2", n_classes=2), tmp_path / "v2.safetensors", labels=["a", "b"])
    output = tmp_path / "small.safetensors"
    assert quantise(tmp_path / "v2.safetensors", clips, output) == 2
    assert "MobileNetV2 cannot be computed in 8 bits: only a MobileNetV1 can" in capsys.readouterr().err
    assert quantise("Cnn14", clips, output) == 2, "and its weights are not fetched"
    assert "Cnn14 cannot be computed in 8 bits" in capsys.readouterr().err
    assert not output.exists()


def test_clips_are_spread_over_files_and_over_long_ones(
    narrow: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert _spread(3, 200) == [0, 1, 2]
    assert _spread(10, 2) == [2, 7]
    assert _spread(1, 1) == [0]
    write_wav(tmp_path / "clips" / "long.wav", 41.0)
    write_wav(tmp_path / "clips" / "short.wav", 0.5)
    for n, (n_clips, n_files) in {"1": (1, 1), "2": (2, 2), "6": (4, 2), "200": (5, 2)}.items():
        assert quantise(narrow, tmp_path / "clips", tmp_path / "small.safetensors", "--clips", n) == 0
        shown = capsys.readouterr()
        assert f"clips                         {n_clips}\n" in shown.out
        assert f"{n_files} of 2 used" in shown.err


def damaged(state: dict[str, np.ndarray], change: dict[str, Any]) -> dict[str, np.ndarray]:
    changed = {**state, **change}
    return {key: array for key, array in changed.items() if array is not None}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"a.weight_scale": None}, r"a\.weight is in 8 bits, and there is no a\.weight_scale"),
        ({"a.weight_scale": np.ones(2, np.float32)}, r"a\.weight_scale is float32 \(2,\); floating \(3,\)"),
        ({"a.weight_scale": np.ones((3, 1), np.float32)}, r"a\.weight_scale is float32 \(3, 1\)"),
        ({"a.weight_scale": np.ones(3, np.int64)}, r"a\.weight_scale is int64 \(3,\)"),
        ({"a.weight_scale": np.array([1, np.nan, 1], np.float32)}, "NaN or infinite"),
        ({"a.weight": np.ones((3, 2), np.float32)}, r"a\.weight in 8 bits is needed: it is float32"),
        ({"a.weight": None}, r"a\.weight in 8 bits is needed: it is missing"),
        ({"a.bias": np.ones(3, np.int8)}, r"a\.bias is in 8 bits, and there is no a\.bias_scale"),
        ({"a.bias": np.ones(3, np.int8), "a.bias_scale": np.ones(3, np.float32)}, r"a\.bias is in 8 bits"),
    ],
)
def test_weights_in_8_bits_need_their_scales(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    path = tmp_path / "a.safetensors"
    state = {"a.weight": np.array([[1, -2], [3, 127], [0, 5]], np.int8), "a.weight_scale": np.ones(3, "f4")}
    save_file(damaged(state, change), path)
    with pytest.raises(WeightsError, match=complaint):
        read_arrays(path)


def test_weights_in_8_bits_come_back_in_float32(tmp_path: Path) -> None:
    whole, scale = np.array([[[1]], [[-127]]], np.int8), np.array([0.5, 0.25], np.float16)
    path = tmp_path / "a.safetensors"
    save_file({"module.a.weight": whole, "module.a.weight_scale": scale}, path)
    (found,) = read_arrays(path).items()
    assert found[0] == "a.weight"
    assert found[1].dtype == np.float32
    assert found[1].tolist() == [[[0.5]], [[-31.75]]]


def test_every_command_of_a_network_offers_the_precisions_of_the_engine() -> None:
    assert get_args(Precision) == PRECISIONS
