"""Synthesised audio for the pool: instruments, drums, songs, speech, crowds, rooms, tones and noises.

All notes and sentences come from seeded generators and are this project's own. A step yields waveforms at
32 kHz; with the same programs it yields the same ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pannsx.errors import did_you_mean
from train.pool.errors import PoolError
from train.pool.synthesis import chosen, midi, music, rooms, signals, speech

Named = tuple[str, NDArray[np.float32]]
"""Name and waveform ``(S,)`` of a synthesised sound."""


@dataclass(frozen=True)
class Step:
    """A step of synthesis.

    Attributes:
        programs: required commands.
        fonts: names of the required soundfonts.
        sounds: function that yields its sounds.
    """

    programs: tuple[str, ...]
    fonts: tuple[str, ...]
    sounds: Callable[[], Iterator[Named]]

    def make(self) -> Iterator[Named]:
        """Its sounds.

        Raises:
            PoolError: a program or a soundfont is not installed.
        """
        missing = [program for program in self.programs if shutil.which(program) is None]
        missing += [str(midi.FONTS[font]) for font in self.fonts if not midi.FONTS[font].is_file()]
        if missing:
            raise PoolError(f"{', '.join(missing)} not found; install the packages {' '.join(PACKAGES)}")
        yield from self.sounds()


PACKAGES = (
    "fluidsynth", "fluid-soundfont-gm", "musescore-general-soundfont", "espeak-ng", "flite", "festival",
    "festvox-kallpc16k", "festvox-us-slt-hts",
)  # fmt: skip
"""Debian packages with the programs, voices and soundfonts."""


def _played(sounds: Callable[[], Iterator[Named]], font: str, *programs: str) -> Step:
    return Step(("fluidsynth", *programs), (font,), sounds)


STEPS: dict[str, Step] = {
    **{f"instruments {font}": _played(partial(music.instruments, font, False), font) for font in midi.FONTS},
    **{
        f"held-out instruments {font}": _played(partial(music.instruments, font, True), font)
        for font in midi.FONTS
    },
    **{f"drums {font}": _played(partial(music.drums, font), font) for font in midi.FONTS},
    "songs fluid": _played(partial(music.songs, "fluid", 0, 3), "fluid"),
    "songs musescore": _played(partial(music.songs, "musescore", 5, 3), "musescore"),
    "held-out songs": _played(partial(music.songs, "musescore", 10, 1), "musescore"),
    **{
        f"flite {voice}": Step(("flite",), (), partial(speech.flite_speech, voice, 40))
        for voice in speech.FLITE_VOICES
    },
    "festival kal": Step(("text2wave",), (), partial(speech.festival_speech, "voice_kal_diphone", 16)),
    "festival slt": Step(
        ("text2wave",), (), partial(speech.festival_speech, "voice_cmu_us_slt_arctic_hts", 16)
    ),
    "espeak": Step(("espeak-ng",), (), partial(speech.espeak_speech, 2)),
    "whispers": Step(("espeak-ng",), (), partial(speech.whispers, 16)),
    "crowds": Step(("flite",), (), partial(rooms.crowds, 40)),
    "rooms": _played(partial(rooms.rooms, 40), "fluid", "flite"),
    **{
        f"chosen {group}": Step((), (), partial(chosen.chosen, group))
        for group in chosen.GROUPS
        if group not in ("singing", "bands")
    },
    "chosen singing": Step(("flite",), (), partial(chosen.chosen, "singing")),
    "chosen bands": Step(("fluidsynth", "flite"), tuple(midi.FONTS), partial(chosen.chosen, "bands")),
    "signals": Step((), (), partial(signals.signals, 0, 6)),
    "held-out signals": Step((), (), partial(signals.signals, 100, 1)),
}
"""Every step by the name that rows of the table give it."""


def find_step(name: str) -> Step:
    """A step by its name.

    Raises:
        PoolError: there is no step with that name.
    """
    if name not in STEPS:
        raise PoolError(f"there is no step of synthesis {name!r}{did_you_mean(name, STEPS)}")
    return STEPS[name]
