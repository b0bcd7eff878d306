"""The command as a process: closed streams, SIGTERM, and Numba without compilation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pannsx.audio import polyphase
from pannsx.audio.resample import resample

ROOT = Path(__file__).resolve().parent.parent
SCENE = str(ROOT / "examples" / "scene.flac")
# Sums of a few hundred float32 products in another order, of samples up to 1.
SAME_SUMS = 1e-5

posix_only = pytest.mark.skipif(os.name != "posix", reason="closes streams as a POSIX shell does")


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@posix_only
def test_closed_standard_streams() -> None:
    """The results of a command whose output is closed are lost, and it says so; other commands go on."""
    found = run(
        """
        import os, subprocess, sys
        command = [sys.executable, "-m", "pannsx"]
        def closed(arguments, *descriptors):
            close = lambda: [os.close(number) for number in descriptors]
            return subprocess.run([*command, *arguments], preexec_fn=close, capture_output=True, text=True)
        lost = closed(["labels", "dog"], 1)
        print(lost.returncode, lost.stderr.strip())
        print(closed(["labels", "dog"], 0, 2).returncode)
        print(closed(["tag", "-"], 0, 1, 2).returncode)
        """
    )
    lost, without_errors, without_input = found.stdout.splitlines()
    assert lost.startswith("1 pannsx: standard output is closed, and the results are lost")
    assert (without_errors, without_input) == ("0", "1")


@posix_only
def test_sigterm_leaves_no_temporary_file(tmp_path: Path) -> None:
    output = tmp_path / "out.npz"
    pipe = tmp_path / "never.wav"
    os.mkfifo(pipe)  # the command waits for a writer, with its temporary file beside the output
    process = subprocess.Popen(
        [sys.executable, "-m", "pannsx", "embed", str(pipe), "-o", str(output)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    while process.poll() is None and not list(tmp_path.glob("*.tmp")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert [path.name for path in tmp_path.iterdir()] == ["never.wav"]


def test_the_resampler_without_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    waveform, _ = soundfile.read(SCENE, dtype="float32", frames=9_000)
    compiled = resample(waveform, 32_000, 22_050)
    monkeypatch.setattr(polyphase, "_kernel", lambda: polyphase._multiply)
    np.testing.assert_allclose(resample(waveform, 32_000, 22_050), compiled, rtol=0, atol=SAME_SUMS)


def test_numba_without_compilation() -> None:
    found = run(
        """
        import numpy as np
        from pannsx import AudioTagger
        tone = 0.1 * np.sin(np.arange(12_000))
        print(AudioTagger().inference(tone, 44_100, framewise=False).clipwise.shape)
        """,
        NUMBA_DISABLE_JIT="1",
    )
    assert found.stdout == "(527,)\n", found.stderr
