"""Scores as MIDI files, played by FluidSynth."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import SupportsInt

import numpy as np
import soundfile
from numpy.typing import NDArray

from train.pool.cutting import SAMPLE_RATE
from train.pool.errors import PoolError

Score = list[tuple[float, bytes]]
"""Times in seconds and MIDI messages."""

FONTS = {
    "fluid": Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    "musescore": Path("/usr/share/sounds/sf3/MuseScore_General_Full.sf3"),
}
"""Soundfonts, both under the MIT licence, where Debian's packages install them."""

N_CHANNELS = 16
DRUM_CHANNEL = 9


def note(start_s: float, length_s: float, channel: int, key: float, velocity: SupportsInt) -> Score:
    """A note; its key is limited to MIDI's range, 0 to 127."""
    clamped = int(min(max(key, 0), 127))
    return [
        (start_s, bytes([0x90 | channel, clamped, int(velocity)])),
        (start_s + length_s, bytes([0x80 | channel, clamped, 0])),
    ]


def program(channel: int, number: int) -> tuple[float, bytes]:
    """A program change at time 0: an instrument, or a kit on the drum channel."""
    return 0.0, bytes([0xC0 | channel, number])


def midi_file(score: Score) -> bytes:
    """A MIDI file of one track; a tick is a millisecond."""
    track, now = b"", 0
    for time_s, message in sorted(score, key=lambda event: event[0]):
        ticks, now = round(time_s * 1000) - now, round(time_s * 1000)
        delta = bytes([ticks & 127])
        while ticks := ticks >> 7:
            delta = bytes([ticks & 127 | 128]) + delta
        track += delta + message
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + struct.pack(">LHHH", 6, 0, 1, 500)
    return header + b"MTrk" + struct.pack(">L", len(track)) + track


def play(font: str, scores: Sequence[Score], duration_s: float) -> list[NDArray[np.float32]]:
    """Waveforms ``(S,)`` of scores of the same duration, from one run of FluidSynth.

    Raises:
        PoolError: FluidSynth fails.
    """
    together: Score = []
    for place, score in enumerate(scores):
        begin = place * duration_s
        together += [
            (begin + 0.02 + time_s, message) for time_s, message in score if time_s < duration_s - 0.05
        ]
        silence = begin + duration_s - 0.02  # no note rings into the next score
        together += [(silence, bytes([0xB0 | channel, 120, 0])) for channel in range(N_CHANNELS)]
    together.append((len(scores) * duration_s, bytes([0xB0, 7, 100])))
    with tempfile.TemporaryDirectory() as folder:
        song, wave = Path(folder, "song.mid"), Path(folder, "song.wav")
        song.write_bytes(midi_file(together))
        command = [
            "fluidsynth", "-ni", "-q", "-g", "0.6", "-R", "0", "-C", "0",
            "-r", str(SAMPLE_RATE), "-F", str(wave), str(FONTS[font]), str(song),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not wave.is_file():
            raise PoolError(f"fluidsynth failed with status {done.returncode}: {done.stderr.strip()[-300:]}")
        frames, _ = soundfile.read(wave, dtype="float32", always_2d=True)
    waveform = frames.mean(axis=1)
    n_samples = int(duration_s * SAMPLE_RATE)
    return [waveform[place * n_samples : (place + 1) * n_samples] for place in range(len(scores))]
