"""Speech of free synthesisers: sentences of a grammar of this project, and numbers in many languages."""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import soundfile
from numpy.typing import NDArray

from train.pool.cutting import at_rate
from train.pool.errors import PoolError

_WHO = (
    "my neighbour", "the old captain", "a tall woman", "our teacher", "the girl from the bakery",
    "nobody here", "the night train", "his younger brother", "every morning the postman", "the radio",
    "a small white dog", "Doctor Hale",
)  # fmt: skip
_DID = (
    "forgot", "carried", "was looking for", "never wanted", "bought", "repaired", "talked about", "found",
    "painted", "lost",
)  # fmt: skip
_WHAT = (
    "the keys to the garden", "seven boxes of apples", "a letter from Lisbon", "that broken window",
    "the last ticket", "an umbrella", "the blue bicycle", "a map of the river", "two cups of tea",
    "the whole story",
)  # fmt: skip
_WHEN = (
    "last Tuesday", "before the rain began", "at a quarter past nine", "in the middle of the night",
    "without a word", "for the third time", "near the station", "and laughed", "while we were waiting",
    "in spite of the cold",
)  # fmt: skip

FLITE_VOICES = ("slt", "awb", "rms", "kal16")
HELD_OUT_VOICE = "rms"
"""Of the valid split, so that nothing in the training split may use it."""

_LANGUAGES = (
    "af", "ar", "bg", "bn", "ca", "cmn", "cs", "cy", "da", "de", "el", "en-gb", "en-us", "en-gb-scotland",
    "eo", "es", "es-419", "et", "eu", "fa", "fi", "fr-fr", "ga", "gu", "he", "hi", "hr", "hu", "hy", "id",
    "is", "it", "ka", "kn", "ko", "ku", "la", "lt", "lv", "mk", "ml", "mr", "ms", "nb", "ne", "nl", "pa",
    "pl", "pt", "pt-br", "ro", "ru", "sk", "sl", "sq", "sr", "sv", "sw", "ta", "te", "tr", "uk", "ur", "vi",
)  # fmt: skip
_VARIANTS = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5", "croak", "klatt", "klatt2",
    "klatt3",
)  # fmt: skip


def sentence(rng: np.random.Generator) -> str:
    """An English sentence."""
    words = " ".join(str(rng.choice(part)) for part in (_WHO, _DID, _WHAT, _WHEN))
    return words[0].upper() + words[1:] + str(rng.choice([".", "?", "!"], p=[0.7, 0.2, 0.1]))


def flite(voice: str, text: str) -> NDArray[np.float32]:
    """``(S,)`` of a text read by Flite."""
    return _spoken_into_file(["flite", "-voice", voice, "-t", text, "-o"])


def flite_speech(voice: str, count: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Pairs of sentences read by Flite."""
    for number in range(count):
        rng = np.random.default_rng([number, sum(map(ord, voice))])
        yield f"{voice} {number}", flite(voice, " ".join(sentence(rng) for _ in range(2)))


def festival_speech(voice: str, count: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Pairs of sentences read by Festival."""
    for number in range(count):
        rng = np.random.default_rng([number, sum(map(ord, voice))])
        text = " ".join(sentence(rng) for _ in range(2))
        yield f"{voice} {number}", _spoken_into_file(["text2wave", "-eval", f"({voice})", "-o"], text)


def espeak_speech(takes: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Numbers read by eSpeak NG in many languages, sentences in English."""
    for place, language in enumerate(_LANGUAGES):
        for take in range(takes):
            rng = np.random.default_rng([place, take])
            voice = f"{language}+{_VARIANTS[(place * takes + take) % len(_VARIANTS)]}"
            text = f"{sentence(rng)} {sentence(rng)}" if language.startswith("en") else _numbers(rng)
            yield f"{voice} {take}", _espeak(voice, text, rng)


def whispers(count: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Whispered English sentences."""
    for number in range(count):
        rng = np.random.default_rng([number, 77])
        voice = f"en-us+whisper{'f' if number % 2 else ''}"
        yield f"whisper {number}", _espeak(voice, f"{sentence(rng)} {sentence(rng)}", rng)


def _numbers(rng: np.random.Generator) -> str:
    return ". ".join(str(rng.integers(10, 10 ** int(rng.integers(2, 7)))) for _ in range(6)) + "."


def _espeak(voice: str, text: str, rng: np.random.Generator) -> NDArray[np.float32]:
    speed, pitch = str(rng.integers(120, 210)), str(rng.integers(20, 80))
    done = _run(["espeak-ng", "--stdout", "-v", voice, "-s", speed, "-p", pitch], text)
    return _read(io.BytesIO(done.stdout), voice)


def _spoken_into_file(command: Sequence[str], text: str = "") -> NDArray[np.float32]:
    """The audio of a program with its output file as the last argument."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        _run([*command, file.name], text)
        return _read(file.name, command[0])


def _run(command: Sequence[str], text: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(list(command), input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise PoolError(f"{command[0]} failed with status {done.returncode}: {reason}")
    return done


def _read(source: str | io.BytesIO, what: str) -> NDArray[np.float32]:
    try:
        frames, rate = soundfile.read(source, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise PoolError(f"{what} gave no audio: {error}") from error
    return at_rate(frames.mean(axis=1), rate)
