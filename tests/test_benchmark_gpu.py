"""The script for a GPU runs whole on a CPU, with tiny sizes and the few packages of such a machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu

ROOT = Path(__file__).resolve().parent.parent
LOG_MEL_DB = 1e-3
"""The golden input's quietest bands are 80 dB below its loudest, where float32 keeps no more."""

_WITHOUT_SOUNDFILE = """
import sys
sys.modules["soundfile"] = sys.modules["resampy"] = None
from benchmarks.gpu import main
sys.exit(main())
"""


def test_every_part_of_our_own_runs(tmp_path: Path) -> None:
    command = ["--device", "cpu", "--quick", "--minutes", "5", "-o", str(tmp_path), "--parts"]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_SOUNDFILE, *command, "front_end", "peak", "networks", "training"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text("utf-8"))
    parts = content["parts"]
    assert set(parts) == {"front_end", "peak", "networks", "training"}
    of_keys = [row for key, row in parts["front_end"].items() if key != "took_s"]
    assert len(of_keys) == 5
    assert all(row[measure] < LOG_MEL_DB for row in of_keys for measure in ("golden_db", "definition_db"))
    assert parts["peak"]["float32"] > 0
    row = parts["networks"]["MobileNetV1"]["bfloat16, module"]
    assert row["clips_per_s"] > 0
    assert 0 < row["change_of_a_probability"] < 0.05
    assert all("step_ms" in row for key, row in parts["training"].items() if key != "took_s")
    assert content["conditions"]["quick"]
    assert [goal["goal"] for goal in content["goals"]] == ["hours of 600,000 steps of Cnn14"]


def test_a_part_that_fails_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(bench: gpu.Bench) -> dict[str, object]:
        raise MemoryError("out of memory\nand more")

    monkeypatch.setitem(gpu.PARTS, "peak", fails)
    monkeypatch.setitem(gpu.PARTS, "training", lambda bench: {"left": bench.left_s})
    found = gpu.measured(gpu.Bench("cpu", True), 1.0, ["peak", "training"])
    assert found["peak"]["error"] == "MemoryError: out of memory"
    assert 0 < found["training"]["left"] <= 60
    capsys.readouterr()
    assert gpu.measured(gpu.Bench("cpu", True), -1.0, ["peak"])["peak"] == {"skipped": "no time left"}


def test_the_shares_are_of_all_parts() -> None:
    assert set(gpu.SHARES) == set(gpu.PARTS)
    assert sum(gpu.SHARES.values()) == pytest.approx(1.0)


def test_aims() -> None:
    found = {
        "networks": {
            "Cnn14": {
                "bfloat16, module": {"clips_per_s": 8_000},
                "bfloat16, CUDA graph": {"error": "x"},
                "float32, module": {"clips_per_s": 99_000},
            }
        },
        "training": {"bfloat16, 32 clips": {"hours_of_600000_steps": 10.5}, "took_s": 3.0},
    }
    assert [goal["held"] for goal in gpu.goals(found)] == [False, True]
    assert gpu.goals({}) == []
