"""Make ``examples/scene.flac``: a guitar plays, a man speaks, a dog barks; all of it computed.

python examples/make_scene.py [FILE]

The scene exists so that the documentation and the tests have something to hear that anyone may use: no
recording went into it, and no synthesiser but this file.  The same samples come out every time; the FLAC
encoder's bytes may differ between its versions.

| seconds | sound | method |
| --- | --- | --- |
| 0.0 to 4.3 | a guitar: four strummed chords and a melody | plucked strings: Karplus and Strong (1983) |
| 3.9 to 6.2 | a man: "Hello, how are you this morning?" | glottal source and formants: Klatt (1980) |
| 6.5 to 8.3 | a dog: three barks | the same source and formants, of a dog's pitch and size |

The constants below were tuned until AudioSet taggers named the sounds; the principles are the cited ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import signal

SAMPLE_RATE = 32_000
DURATION_S = 8.6
SEED = 15

Samples = NDArray[np.float64]


def times(duration_s: float) -> Samples:
    """``(S,)`` sample times in seconds."""
    return np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE


def place(scene: Samples, sound: Samples, onset_s: float) -> None:
    """Add ``sound (S',)`` to ``scene (S,)`` from ``onset_s`` on; what reaches beyond the end is cut."""
    start = round(onset_s * SAMPLE_RATE)
    room = scene[start : start + len(sound)]
    room += sound[: len(room)]


def fade(sound: Samples, in_s: float, out_s: float) -> Samples:
    """``(S,)`` -> ``(S,)``: raised-cosine edges, so that no sound begins or ends with a click."""
    faded = sound.copy()
    for edge, duration_s in ((faded, in_s), (faded[::-1], out_s)):
        n_fade = round(duration_s * SAMPLE_RATE)
        edge[:n_fade] *= 0.5 - 0.5 * np.cos(np.pi * (np.arange(n_fade) + 0.5) / n_fade)
    return faded


def peak(sound: Samples) -> Samples:
    """``(S,)`` -> ``(S,)``: the largest magnitude becomes one."""
    return sound / np.abs(sound).max()


# A guitar: strings on a body

BEAT_S = 0.212
CHORDS = ((48, 52, 55, 60, 64), (45, 52, 57, 60, 64), (41, 48, 53, 57, 60, 65), (43, 47, 50, 55, 59, 67))
MELODY = ((0, 3, 72), (3, 1, 71), (4, 3, 69), (7, 1, 67), (8, 2, 69), (10, 2, 72), (12, 2, 71), (14, 2, 67))


class Note(NamedTuple):
    """One string plucked once: onset and length in beats, a MIDI pitch, a loudness up to one."""

    onset: float
    length: float
    pitch: int
    loudness: float


def pluck(rng: np.random.Generator, pitch: int, duration_s: float, bright: float) -> Samples:
    """``(S,)`` a plucked string of a MIDI pitch; ``bright`` up to one is the hardness of what plucks it.

    A burst of noise runs around a delay line of one period, through a low pass that damps high partials
    first (Karplus and Strong, "Digital Synthesis of Plucked-String and Drum Timbres", 1983).  The loop's
    weights also tune the string between whole samples, and the place of the pluck takes partials away (Jaffe
    and Smith, "Extensions of the Karplus-Strong Plucked-String Algorithm", 1983).
    """
    period = SAMPLE_RATE / (440 * 2 ** ((pitch - 69) / 12))
    n_delay = int(period - 1)
    between = period - 1 - n_delay  # the low pass is late by one sample
    decay_s = 2.0 + 270 * period / SAMPLE_RATE  # to a thousandth
    weights = np.convolve([0.002, 0.996, 0.002], [1 - between, between])
    weights *= 0.001 ** (period / SAMPLE_RATE / decay_s)
    n_past = n_delay + len(weights) - 1
    string = np.zeros(n_past + round(duration_s * SAMPLE_RATE))
    burst = signal.lfilter([bright], [1, bright - 1], rng.uniform(-1, 1, n_delay))
    string[n_past : n_past + n_delay] = burst - np.roll(burst, round(0.4 * n_delay))
    for start in range(n_past + n_delay, len(string), n_delay):
        block = string[start : start + n_delay]
        block += np.convolve(string[start - n_past : start + len(block) - n_delay], weights, "valid")
    return fade(string[n_past:], 0.0005, 0.05)


def wood(rng: np.random.Generator) -> Samples:
    """``(S,)`` a guitar body's answer to a knock: three known modes and forty small ones, unit energy."""
    t = times(0.18)
    modes_hz = np.concatenate([[104, 208, 395], 200 * 25 ** rng.random(40)])
    gains = (modes_hz / 100) ** -1.5 * rng.choice([-1, 1], len(modes_hz))
    decays_s = 0.058 * (modes_hz / 100) ** -0.5
    knock = gains @ (np.exp(-t / decays_s[:, None]) * np.sin(2 * np.pi * modes_hz[:, None] * t))
    return knock / np.sqrt((knock**2).sum())


def tune() -> list[Note]:
    """C, A minor, F and G strummed down and up, a melody above, and C to end on."""
    notes = [Note(onset, length, pitch, 0.45) for onset, length, pitch in MELODY]
    for bar, chord in enumerate(CHORDS):
        for beat, strings, loudness in ((0, chord, 0.6), (2, chord[:1:-1], 0.4)):
            for k, pitch in enumerate(strings):
                notes.append(Note(4 * bar + beat + 0.06 * k, 4 - beat, pitch, loudness * 0.9**k))
    return notes + [Note(16 + 0.1 * k, 8, pitch, 0.6) for k, pitch in enumerate((*CHORDS[0], 72))]


def guitar(rng: np.random.Generator, notes: Iterable[Note], duration_s: float) -> Samples:
    """``(S,)`` the ``notes`` on one guitar, the last of them dying away; peak one."""
    body = wood(rng)
    played = np.zeros(round(duration_s * SAMPLE_RATE))
    for note in notes:
        onset_s = note.onset * BEAT_S
        length_s = min(note.length * BEAT_S + 0.1, duration_s - onset_s)
        string = pluck(rng, note.pitch, length_s, 0.56 + 0.24 * note.loudness)
        sound = string + 2.3 * signal.fftconvolve(string, body)[: len(string)]
        place(played, note.loudness * sound / sound.std(), onset_s)  # else notes near a mode stand out
    return fade(peak(played), 0.001, 0.7)


# A throat: a source and formants

STEP_S = 0.002  # a formant's setting holds that long


def glottis(f0_hz: Samples, open_quotient: float) -> Samples:
    """``(S,)`` pitch in hertz -> ``(S,)`` the derivative of the flow between the vocal folds.

    Each period the flow goes as ``x**2 - x**3`` while the folds are open and stops abruptly (Klatt and
    Klatt, "Analysis, synthesis, and perception of voice quality variations", 1990).
    """
    x = np.cumsum(f0_hz) / SAMPLE_RATE % 1 / open_quotient
    return np.where(x < 1, 2 * x - 3 * x**2, 0.0)


def resonator(source: Samples, frequency_hz: Samples, bandwidth_hz: float) -> Samples:
    """``(S,)`` -> ``(S,)``: one formant, a resonance of unit gain at 0 Hz that moves.

    ``frequency_hz (N,)`` holds for ``STEP_S`` each (Klatt, "Software for a cascade/parallel formant
    synthesizer", 1980, equation 2).
    """
    n_step = round(STEP_S * SAMPLE_RATE)
    radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE)
    c = -(radius**2)
    filtered = np.empty_like(source)
    last, before = 0.0, 0.0
    for k, start in enumerate(range(0, len(source), n_step)):
        b = 2 * radius * np.cos(2 * np.pi * frequency_hz[k] / SAMPLE_RATE)
        state = np.array([b * last + c * before, c * last])
        block, _ = signal.lfilter([1 - b - c], [1, -b, -c], source[start : start + n_step], zi=state)
        filtered[start : start + n_step] = block
        last, before = block[-1], block[-2]
    return filtered


def wander(rng: np.random.Generator, n_samples: int, rate_hz: float) -> Samples:
    """``(S,)`` slow noise of standard deviation one: no throat holds its pitch or its strength."""
    slow = signal.lfilter(*signal.butter(2, rate_hz, fs=SAMPLE_RATE), rng.standard_normal(n_samples))
    return slow / slow.std()


# A man


class Phone(NamedTuple):
    """One speech sound: its length, the first three formants, and what drives them: voice, breath or hiss."""

    duration_s: float
    formants_hz: tuple[float, float, float]
    voice: float = 1.0
    breath: float = 0.0
    hiss: float = 0.0


# "Hello, how are you this morning?", a sound a line; formants near those of Klatt (1980), table II, and of
# Peterson and Barney, "Control methods used in a study of the vowels" (1952), for men.
SENTENCE = (
    Phone(0.09, (530, 1_700, 2_450), 0.0, 0.5),  # h
    Phone(0.08, (530, 1_720, 2_450)),  # e
    Phone(0.08, (340, 1_000, 2_700), 0.6),  # l
    Phone(0.12, (540, 1_050, 2_400)),  # o, from
    Phone(0.14, (420, 850, 2_350), 0.9),  # o, to
    Phone(0.22, (420, 900, 2_350), 0.0),  # pause
    Phone(0.09, (650, 1_250, 2_450), 0.0, 0.5),  # h
    Phone(0.13, (740, 1_300, 2_500), 1.1),  # ow, from
    Phone(0.09, (450, 950, 2_350), 0.9),  # ow, to
    Phone(0.12, (700, 1_150, 2_500)),  # a
    Phone(0.10, (420, 1_250, 1_650), 0.8),  # r
    Phone(0.07, (280, 2_200, 2_950), 0.6),  # y
    Phone(0.12, (310, 1_050, 2_300), 0.9),  # ou
    Phone(0.05, (280, 1_300, 2_600), 0.35, 0.05, 0.02),  # th
    Phone(0.07, (400, 1_850, 2_550), 0.9),  # i
    Phone(0.12, (340, 1_500, 2_600), 0.0, 0.02, 0.35),  # s
    Phone(0.08, (260, 1_050, 2_250), 0.5),  # m
    Phone(0.14, (570, 880, 2_400), 0.95),  # o
    Phone(0.08, (450, 1_150, 1_700), 0.9),  # r
    Phone(0.07, (270, 1_500, 2_550), 0.5),  # n
    Phone(0.10, (390, 1_950, 2_550)),  # i
    Phone(0.16, (270, 2_000, 2_700), 0.55),  # ng
    Phone(0.12, (320, 1_700, 2_600), 0.0),  # rest
)
PITCH_AT_S = (0.0, 0.15, 0.35, 0.5, 0.75, 0.9, 1.15, 1.3, 1.55, 1.8, 2.0, 2.3, 2.7)
PITCH_HZ = (138, 150, 168, 126, 132, 174, 150, 142, 156, 138, 162, 120, 98)
TEMPO = 1.054
FORMANT_SCALE = 1.1  # a throat shorter than the mean of the tables


def track(phones: Sequence[Phone], values: Iterable[float], glide_s: float, at_s: Samples) -> Samples:
    """``(N,)`` a setting at the times ``at_s (N,)``: one of ``values`` a phone, with glides."""
    targets = list(values)
    edges_s = np.cumsum([phone.duration_s for phone in phones]) / TEMPO
    setting = np.full(len(at_s), float(targets[0]))
    for edge_s, old, new in zip(edges_s[:-1], targets[:-1], targets[1:], strict=True):
        x = np.clip((at_s - edge_s) / glide_s + 0.5, 0, 1)
        setting += (new - old) * (3 * x**2 - 2 * x**3)
    return setting


def speech(rng: np.random.Generator, phones: Sequence[Phone]) -> Samples:
    """``(S,)`` a man says ``phones``: voice and breath through six formants, hiss beside them; peak one."""
    t = times(sum(phone.duration_s for phone in phones) / TEMPO)
    steps_s = np.arange(0, t[-1] + STEP_S, STEP_S)
    low_pass = signal.butter(1, 8, fs=SAMPLE_RATE)
    f0_hz = np.interp(t * TEMPO, PITCH_AT_S, PITCH_HZ) - PITCH_HZ[0]
    f0_hz = PITCH_HZ[0] + signal.lfilter(*low_pass, f0_hz)
    pulses = glottis(f0_hz * (1 + 0.005 * wander(rng, len(t), 12)), 0.565)
    pulses *= track(phones, (p.voice for p in phones), 0.04, t) * (1 + 0.14 * wander(rng, len(t), 25))
    breath = 0.28 * (0.044 + track(phones, (p.breath for p in phones), 0.04, t))
    sound = signal.lfilter([0.69], [1, -0.31], pulses) + breath * rng.standard_normal(len(t))
    for k, bandwidth_hz in enumerate((52, 67, 97)):
        formant_hz = track(phones, (p.formants_hz[k] for p in phones), 0.08, steps_s)
        sound = resonator(sound, FORMANT_SCALE * formant_hz, bandwidth_hz)
    for fixed_hz, bandwidth_hz in ((3_400, 165), (4_300, 225), (6_000, 600)):
        sound = resonator(sound, np.full(len(steps_s), FORMANT_SCALE * fixed_hz), bandwidth_hz)
    band = signal.butter(2, (4_300, 9_500), "bandpass", fs=SAMPLE_RATE)
    hiss = signal.lfilter(*band, rng.standard_normal(len(t)))
    hiss *= 0.1 * track(phones, (p.hiss for p in phones), 0.03, t) / hiss.std()
    return peak(fade(peak(sound) + hiss, 0.01, 0.03))


# A dog


def bark(rng: np.random.Generator, pitch: float) -> Samples:
    """``(S,)`` one bark, peak one: pitch and mouth go up and down together, within a sixth of a second.

    The folds vibrate unevenly: every other pulse is weaker, and breath comes with the pulses, as the harmonic
    and noisy parts of barks are described by Riede, Herzel, Hammerschmidt, Brunnberg and Tembrock, "The
    harmonic-to-noise ratio applied to dog barks" (2001).
    """
    t = times(0.175)
    x = np.linspace(0, 1, len(t))
    f0_hz = pitch * np.interp(x, (0, 0.25, 0.6, 1), (278, 554, 471, 258))
    f0_hz *= 1 + 0.07 * wander(rng, len(t), 150)
    pulses = glottis(f0_hz, 0.72)
    every_other = np.cumsum(f0_hz) / SAMPLE_RATE % 2 < 1
    pulses *= 1 - 0.73 * every_other * np.interp(x, (0, 0.2, 0.5, 1), (1, 0.3, 0.5, 1))
    sound = pulses + 0.44 * (0.3 + np.maximum(pulses, 0)) * rng.standard_normal(len(t))
    mouth = 0.71 + 0.29 * np.sin(np.pi * np.linspace(0, 1, int(t[-1] / STEP_S) + 2) ** 0.7)
    formants = ((968, 120, 1.0), (1_870, 200, 1.0), (3_640, 280, 0.3), (5_380, 360, 0.3))
    for formant_hz, bandwidth_hz, mobility in formants:
        sound = resonator(sound, formant_hz * mouth**mobility, bandwidth_hz)
    sound = signal.lfilter([1, -0.9], [1], sound)  # the muzzle radiates high frequencies best
    sound *= np.interp(x, (0, 0.06, 0.25, 0.6, 1), (0, 0.8, 1, 0.5, 0)) ** 1.5
    return peak(fade(sound, 0.002, 0.02))


def dog(rng: np.random.Generator) -> Samples:
    """``(S,)`` three barks, the second one highest and loudest."""
    barks = np.zeros(round(2.0 * SAMPLE_RATE))
    for onset_s, pitch, loudness in ((0.0, 0.95, 0.85), (0.5, 1.05, 1.0), (1.25, 0.92, 0.9)):
        place(barks, loudness * bark(rng, pitch), onset_s)
    return barks


# The scene


def in_room(rng: np.random.Generator, dry: Samples, wet: float, decay_s: float) -> Samples:
    """``(S,)`` -> ``(S,)``: the sound and its echo, noise that falls by 60 dB in ``decay_s``.

    After Moorer, "About This Reverberation Business" (1979).
    """
    t = times(1.5 * decay_s)
    echo = rng.standard_normal(len(t)) * 10 ** (-3 * t / decay_s) * (t > 0.008)
    echo = signal.lfilter([0.5], [1, -0.5], echo)
    return dry + wet * signal.fftconvolve(dry, echo / np.sqrt((echo**2).sum()))[: len(dry)]


def make_scene() -> NDArray[np.int16]:
    """``(S,)`` the scene at 32 kHz: guitar, man and dog one after the other in a furnished room."""
    rng = np.random.default_rng(SEED)
    scene = np.zeros(round(DURATION_S * SAMPLE_RATE))
    # The order matters: all draw from one generator.
    place(scene, 0.4 * guitar(rng, tune(), 4.3), 0.05)
    place(scene, 0.5 * speech(rng, SENTENCE), 3.95)
    place(scene, 0.6 * dog(rng), 6.5)
    scene = in_room(rng, scene, 0.25, 0.35)
    scene += 0.0004 * rng.standard_normal(len(scene))  # a quiet room is not silent
    return np.round(np.clip(scene, -1, 1) * 32_767).astype(np.int16)


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("scene.flac")
    soundfile.write(target, make_scene(), SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
