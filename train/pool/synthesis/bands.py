"""Bands by genre: generated scores, distorted guitars, singers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from train.pool.synthesis.blocks import level, noise, rms, room, shape, wet
from train.pool.synthesis.midi import DRUM_CHANNEL, Score, note, play, program
from train.pool.synthesis.singing import SCALES, SINGERS, choir, line, rap
from train.pool.synthesis.waves import RATE, Draws, Wave

# Keys of General MIDI's drum kit.
KICK, RIM, SNARE, CLAP, HAT, OPEN_HAT, CRASH, RIDE = 36, 37, 38, 39, 42, 46, 49, 51
TAMBOURINE, COWBELL, BONGO, CONGA, LOW_CONGA, TIMBALE, SHAKER, JINGLE = 54, 56, 60, 63, 64, 65, 70, 83
QUIET_DRUMS = (HAT, SHAKER, RIDE, CONGA, TAMBOURINE, LOW_CONGA, TIMBALE)

# General MIDI programs played through the amplifier, if the genre has one.
GUITARS = (26, 27, 28, 29, 30)
LEAD_GUITARS = (27, 29, 30)
LEAD_CHANNEL = 5

# Sixteen steps of each drum; capitals are louder.
GROOVES: dict[str, dict[int, str]] = {
    "rock": {KICK: "x.....x.x.x.....", SNARE: "....x.......x...", HAT: "x.x.x.x.x.x.x.x."},
    "metal": {KICK: "xxxxxxxxxxxxxxxx", SNARE: "....x.......x...", CRASH: "x.......x......."},
    "punk": {KICK: "x.x...x.x.x...x.", SNARE: "..x...x...x...x.", OPEN_HAT: "x.x.x.x.x.x.x.x."},
    "shuffle": {KICK: "x.....x..x......", SNARE: "....x.......x...", RIDE: "x..xx..xx..xx..x"},
    "four": {KICK: "x...x...x...x...", CLAP: "....x.......x...", OPEN_HAT: "..x...x...x...x."},
    "house": {
        KICK: "x...x...x...x...",
        CLAP: "....x.......x...",
        OPEN_HAT: "..x...x...x...x.",
        SHAKER: "xxxxxxxxxxxxxxxx",
    },
    "hip hop": {KICK: "x..x......x.x...", SNARE: "....x.......x...", HAT: "x.x.x.x.x.xxx.x."},
    "trap": {KICK: "x......x..x.....", CLAP: "........x.......", HAT: "x.xxx.x.xxxxx.xx"},
    "one drop": {KICK: "........x.......", RIM: "........x.......", HAT: "x.x.x.x.x.x.xxx."},
    "ska": {KICK: "x...x...x...x...", SNARE: "....x.......x...", HAT: "..x...x...x...x."},
    "swing": {RIDE: "x...x..xx...x..x", HAT: "....x.......x...", KICK: "x.......x......."},
    "train": {SNARE: "x.xXx.xXx.xXx.xX", KICK: "x...x...x...x..."},
    "funk": {KICK: "x..x..x...x..x..", SNARE: "....x..x.x..x..x", HAT: "xxxxxxxxxxxxxxxx"},
    "salsa": {
        CONGA: "..x...xx..x...xx",
        LOW_CONGA: "......x.......xx",
        COWBELL: "x...x.x.x...x.x.",
        TIMBALE: "..x.x...x..x..x.",
        SHAKER: "x.xxx.xxx.xxx.xx",
    },
    "bossa": {KICK: "x..xx..xx..xx..x", RIM: "x..x..x...x..x..", SHAKER: "xxxxxxxxxxxxxxxx"},
    "afro": {
        KICK: "x.....x...x.x...",
        COWBELL: "x.x.xx.x.x.x.xx.",
        CONGA: "..xx..xx..xx..xx",
        HAT: "x.x.x.x.x.x.x.x.",
    },
    "breaks": {KICK: "x.x.......x.....", SNARE: "....x..x.x..x...", HAT: "x.x.x.x.x.x.x.x."},
    "dubstep": {KICK: "x.........x.....", SNARE: "........x.......", HAT: "x.x.xxx.x.x.x.xx"},
    "tabla": {CONGA: "x..x..x.x..x.xx.", BONGO: "..x..x.x..x.x...", LOW_CONGA: "x.......x......."},
    "darbuka": {LOW_CONGA: "x...x.....x.....", CONGA: "..xx..x.xx..x.xx", TAMBOURINE: "....x.......x..."},
    "march": {SNARE: "x.xxx.xxx.xxx.xx", KICK: "x...x...x...x..."},
    "brush": {RIDE: "x...x.x.x...x.x.", SNARE: "....x.......x..."},
    "gospel": {KICK: "x.....x.x.......", TAMBOURINE: "x.xxx.xxx.xxx.xx", CLAP: "....x.......x..."},
    "sleigh": {JINGLE: "x.x.x.x.x.x.x.x.", KICK: "x.......x......."},
    "none": {},
}

# Patterns of sixteenths.
E8 = "x.x.x.x.x.x.x.x."
OFF = "..x...x...x...x."
WHOLE = "x..............."
ARP = "arp"
CHOP = "x..x..x...x.x..."
POWER = "x.xxx.xxx.xxx.xx"
RIFF = "x..xx.x.x..x.x.."

# Progressions: degrees of the chords, a bar each.
ROCKISH = [[0, 4, 5, 3], [0, 3, 4, 3], [5, 3, 0, 4]]
BLUESY = [[0, 0, 3, 0, 4, 3]]
MINORISH = [[0, 5, 2, 6], [0, 6, 5, 6], [0, 3, 5, 4]]
JAZZY = [[1, 4, 0, 5], [0, 5, 1, 4]]
DOO = [[0, 5, 3, 4]]


class Genre(NamedTuple):
    """Parameters of a genre's songs.

    Attributes:
        classes: intended classes of AudioSet.
        groove: a name in `GROOVES`.
        kits: drum kits to choose from.
        tempi: range of tempi in beats a minute, the upper end exclusive.
        scale: a name in `SCALES`.
        progressions: chord progressions to choose from.
        bass: program and pattern.
        comps: programs, patterns and octaves of the chord instruments.
        drive: overdrive of the guitars' amplifier; 0: no amplifier.
        leads: programs of the melody to choose from.
        singers: singers to choose from; None: an instrumental song.
    """

    classes: Sequence[str]
    groove: str
    kits: Sequence[int]
    tempi: tuple[int, int]
    scale: str
    progressions: Sequence[Sequence[int]]
    bass: tuple[int, str]
    comps: Sequence[tuple[int, str, int]]
    drive: float
    leads: Sequence[int]
    singers: Sequence[str | None]


GENRES: dict[str, Genre] = {
    "rock": Genre(
        ["Rock music", "Electric guitar", "Song"],
        "rock",
        [16, 0],
        (105, 150),
        "major",
        ROCKISH,
        (34, E8),
        [(29, POWER, 0), (27, E8, 1)],
        1,
        [30, 29],
        ["man", "man 2", "woman", None],
    ),
    "heavy metal": Genre(
        ["Heavy metal", "Rock music", "Electric guitar", "Angry music"],
        "metal",
        [16],
        (140, 190),
        "phrygian",
        MINORISH,
        (34, "xxxxxxxxxxxxxxxx"),
        [(30, "x.xxx.xxxxx.xxxx", -1)],
        2,
        [30],
        ["tenor", None, "man"],
    ),
    "punk rock": Genre(
        ["Punk rock", "Rock music", "Electric guitar"],
        "punk",
        [16],
        (165, 200),
        "major",
        ROCKISH,
        (34, E8),
        [(30, E8, 0), (29, "xxxxxxxxxxxxxxxx", 0)],
        1,
        [],
        ["man", "man 2"],
    ),
    "grunge": Genre(
        ["Grunge", "Rock music", "Electric guitar"],
        "rock",
        [16],
        (90, 125),
        "minor",
        MINORISH,
        (34, E8),
        [(30, RIFF, 0)],
        2,
        [29],
        ["man", None],
    ),
    "progressive rock": Genre(
        ["Progressive rock", "Rock music"],
        "rock",
        [16],
        (90, 140),
        "dorian",
        MINORISH,
        (33, E8),
        [(29, POWER, 0), (18, WHOLE, 1)],
        1,
        [81, 30, 18],
        [None, "tenor"],
    ),
    "psychedelic rock": Genre(
        ["Psychedelic rock", "Rock music"],
        "rock",
        [0],
        (85, 120),
        "mixo",
        ROCKISH,
        (33, E8),
        [(18, E8, 1), (28, CHOP, 1)],
        1,
        [29, 104],
        ["man", None],
    ),
    "rock and roll": Genre(
        ["Rock and roll", "Rock music"],
        "shuffle",
        [0],
        (150, 185),
        "mixo",
        BLUESY,
        (32, "x...x...x...x..."),
        [(27, E8, 0), (0, E8, 1)],
        0,
        [27, 66],
        ["man 2", "man"],
    ),
    "pop": Genre(
        ["Pop music", "Song", "Dance music"],
        "four",
        [24, 0],
        (100, 126),
        "major",
        ROCKISH,
        (38, E8),
        [(4, WHOLE, 1), (81, OFF, 1)],
        0,
        [80, 11],
        ["woman", "girl", "man"],
    ),
    "ballad": Genre(
        ["Pop music", "Song", "Sad music", "Tender music", "Soul music"],
        "rock",
        [0],
        (65, 80),
        "major",
        ROCKISH,
        (33, WHOLE),
        [(0, ARP, 1), (48, WHOLE, 1)],
        0,
        [],
        ["woman", "man", "tenor"],
    ),
    "hip hop": Genre(
        ["Hip hop music", "Rapping"],
        "hip hop",
        [25, 8],
        (82, 98),
        "minor",
        MINORISH,
        (38, "x..x......x....."),
        [(4, WHOLE, 1), (11, ARP, 2)],
        0,
        [],
        ["rap"],
    ),
    "trap": Genre(
        ["Hip hop music", "Rapping"],
        "trap",
        [25],
        (68, 75),
        "minor",
        MINORISH,
        (38, "x......x..x....."),
        [(88, WHOLE, 1), (11, ARP, 2)],
        0,
        [80],
        ["rap", None],
    ),
    "rhythm and blues": Genre(
        ["Rhythm and blues", "Soul music", "Song"],
        "hip hop",
        [8, 25],
        (70, 95),
        "dorian",
        JAZZY,
        (33, "x..x..x.....x..."),
        [(4, CHOP, 1), (49, WHOLE, 1)],
        0,
        [],
        ["woman", "man"],
    ),
    "soul": Genre(
        ["Soul music", "Rhythm and blues", "Gospel music"],
        "funk",
        [8],
        (95, 115),
        "major",
        DOO,
        (33, E8),
        [(16, WHOLE, 1), (27, "....x.......x...", 1), (61, "x......x........", 1)],
        0,
        [61],
        ["woman", "tenor", "man"],
    ),
    "reggae": Genre(
        ["Reggae", "Song"],
        "one drop",
        [0, 8],
        (68, 84),
        "major",
        ROCKISH,
        (33, "x..x..x...x.x..."),
        [(28, "....x.......x...", 1), (16, OFF, 1)],
        0,
        [22, 56],
        ["man", "man 2", None],
    ),
    "ska": Genre(
        ["Ska", "Reggae"],
        "ska",
        [0],
        (130, 165),
        "major",
        ROCKISH,
        (33, "x...x...x...x..."),
        [(27, OFF, 1), (0, OFF, 1)],
        0,
        [56, 57, 66],
        ["man", None],
    ),
    "country": Genre(
        ["Country", "Song"],
        "train",
        [0],
        (100, 130),
        "major",
        ROCKISH,
        (32, "x.......x......."),
        [(25, "..x...x...x...x.", 1), (25, ARP, 1)],
        0,
        [110, 105, 25],
        ["man", "woman"],
    ),
    "bluegrass": Genre(
        ["Bluegrass", "Country", "Banjo", "Folk music"],
        "none",
        [0],
        (120, 150),
        "major",
        ROCKISH,
        (32, "x.......x......."),
        [(105, ARP, 1), (25, OFF, 1)],
        0,
        [110, 105],
        [None, "man"],
    ),
    "swing": Genre(
        ["Swing music", "Jazz"],
        "swing",
        [40],
        (130, 180),
        "mixo",
        JAZZY,
        (32, "x...x...x...x..."),
        [(26, "x...x...x...x...", 1), (61, "..x......x......", 1)],
        0,
        [71, 56, 65],
        [None, "woman"],
    ),
    "jazz": Genre(
        ["Jazz", "Saxophone", "Double bass"],
        "swing",
        [40],
        (95, 160),
        "dorian",
        JAZZY,
        (32, "x...x...x...x..."),
        [(0, "x..x......x.....", 1)],
        0,
        [65, 66, 56, 26],
        [None],
    ),
    "blues": Genre(
        ["Blues", "Electric guitar", "Rhythm and blues"],
        "shuffle",
        [0],
        (75, 115),
        "blues",
        BLUESY,
        (33, "x...x...x...x..."),
        [(26, "x..xx..xx..xx..x", 0), (16, WHOLE, 1)],
        0.5,
        [29, 27, 22],
        ["man", None, "man 2"],
    ),
    "funk": Genre(
        ["Funk", "Soul music"],
        "funk",
        [8],
        (98, 116),
        "dorian",
        [[0], [0, 0, 3, 0]],
        (36, RIFF),
        [(28, "x.xx..x.xx.x..x.", 1), (7, CHOP, 1)],
        0,
        [61, 66],
        [None, "man"],
    ),
    "folk": Genre(
        ["Folk music", "Acoustic guitar", "Song"],
        "none",
        [0],
        (85, 120),
        "major",
        ROCKISH,
        (32, WHOLE),
        [(25, ARP, 1), (24, ARP, 1)],
        0,
        [22, 73, 40],
        ["woman", "man"],
    ),
    "disco": Genre(
        ["Disco", "Dance music", "Pop music"],
        "four",
        [0, 8],
        (115, 128),
        "minor",
        MINORISH,
        (33, "x.xx.xx.x.xx.xx."),
        [(28, "..x...x...x...x.", 1), (48, WHOLE, 2)],
        0,
        [48, 61],
        ["woman", "soprano", None],
    ),
    "classical": Genre(
        ["Classical music", "Orchestra", "String section", "Violin, fiddle"],
        "none",
        [48],
        (75, 130),
        "major",
        [[0, 4, 5, 2, 3, 0, 3, 4], [0, 3, 4, 0]],
        (43, "x...x...x...x..."),
        [(48, E8, 1), (60, WHOLE, 1)],
        0,
        [40, 73, 68, 71],
        [None],
    ),
    "opera": Genre(
        ["Opera", "Classical music", "Female singing", "Male singing"],
        "none",
        [48],
        (60, 85),
        "minor",
        [[0, 3, 4, 0], [0, 5, 3, 4]],
        (43, WHOLE),
        [(48, WHOLE, 1), (45, "x...x...x...x...", 1)],
        0,
        [],
        ["soprano", "tenor"],
    ),
    "house": Genre(
        ["House music", "Electronic dance music", "Dance music"],
        "house",
        [25],
        (120, 128),
        "minor",
        MINORISH,
        (38, OFF),
        [(0, CHOP, 1), (90, WHOLE, 1)],
        0,
        [81],
        [None, "woman"],
    ),
    "techno": Genre(
        ["Techno", "Electronic music", "Electronic dance music"],
        "four",
        [25, 24],
        (126, 140),
        "phrygian",
        [[0]],
        (39, "..xx..xx..xx..xx"),
        [(81, RIFF, 1)],
        0,
        [80],
        [None],
    ),
    "trance": Genre(
        ["Trance music", "Electronic dance music"],
        "house",
        [24],
        (134, 142),
        "minor",
        MINORISH,
        (38, "..xx..xx..xx..xx"),
        [(81, "x.xx.xx.x.xx.xx.", 2), (90, WHOLE, 1)],
        0,
        [81],
        [None],
    ),
    "dubstep": Genre(
        ["Dubstep", "Electronic music"],
        "dubstep",
        [25],
        (138, 142),
        "phrygian",
        [[0]],
        (87, WHOLE),
        [(81, "x.....x.........", 1)],
        0,
        [],
        [None],
    ),
    "drum and bass": Genre(
        ["Drum and bass", "Electronic music"],
        "breaks",
        [24, 0],
        (168, 178),
        "minor",
        MINORISH,
        (38, WHOLE),
        [(95, WHOLE, 1)],
        0,
        [],
        [None, "woman"],
    ),
    "ambient": Genre(
        ["Ambient music", "New-age music", "Electronica", "Soundtrack music"],
        "none",
        [0],
        (45, 65),
        "major",
        ROCKISH,
        (89, WHOLE),
        [(88, WHOLE, 1), (91, WHOLE, 1)],
        0,
        [98, 100],
        [None],
    ),
    "salsa": Genre(
        ["Salsa music", "Music of Latin America"],
        "salsa",
        [0],
        (90, 108),
        "minor",
        [[0, 3, 4, 3], [0, 4, 4, 0]],
        (32, "...x..x....x..x."),
        [(0, "x.xx.x.xx.x.xx.x", 2), (61, "x.....x..x......", 1)],
        0,
        [56, 57],
        ["man", None],
    ),
    "bossa": Genre(
        ["Music of Latin America", "Jazz"],
        "bossa",
        [0],
        (115, 140),
        "dorian",
        JAZZY,
        (32, "x..xx..xx..xx..x"),
        [(24, "x..x..x...x.x...", 1)],
        0,
        [73, 65],
        ["woman", None],
    ),
    "flamenco": Genre(
        ["Flamenco", "Acoustic guitar", "Guitar"],
        "none",
        [0],
        (110, 150),
        "hijaz",
        [[0, 1, 2, 1], [3, 2, 1, 0]],
        (24, WHOLE),
        [(24, "x.xxx.xxx.x.xxxx", 1)],
        0,
        [24],
        [None, "man"],
    ),
    "afrobeat": Genre(
        ["Afrobeat", "Music of Africa"],
        "afro",
        [0, 8],
        (105, 122),
        "dorian",
        [[0, 0, 3, 3]],
        (33, RIFF),
        [(27, "x.xx.x.xx.xx.x.x", 1), (16, OFF, 1), (61, "x..x............", 1)],
        0,
        [66, 12],
        ["man", None],
    ),
    "african": Genre(
        ["Music of Africa", "Chant"],
        "afro",
        [0],
        (95, 125),
        "penta",
        [[0]],
        (12, ARP),
        [(108, ARP, 1), (12, "x.xx.x.xx.xx.x.x", 1)],
        0,
        [],
        ["choir", "man"],
    ),
    "gospel": Genre(
        ["Gospel music", "Christian music", "Choir"],
        "gospel",
        [0],
        (80, 120),
        "major",
        DOO,
        (33, E8),
        [(16, WHOLE, 1), (0, "x..x..x.x..x..x.", 1)],
        0,
        [],
        ["choir", "woman"],
    ),
    "hymn": Genre(
        ["Christian music", "Choir", "Organ"],
        "none",
        [0],
        (60, 80),
        "major",
        ROCKISH,
        (19, WHOLE),
        [(19, WHOLE, 1)],
        0,
        [],
        ["choir"],
    ),
    "christmas": Genre(
        ["Christmas music", "Jingle bell", "Choir"],
        "sleigh",
        [0],
        (100, 130),
        "major",
        DOO,
        (32, "x.......x......."),
        [(14, "x...x...x...x...", 2), (48, WHOLE, 1)],
        0,
        [14, 9],
        ["choir", "girl", None],
    ),
    "lullaby": Genre(
        ["Lullaby", "Music for children", "Tender music"],
        "none",
        [0],
        (70, 95),
        "major",
        ROCKISH,
        (10, WHOLE),
        [(10, ARP, 2), (8, WHOLE, 2)],
        0,
        [10, 8],
        ["girl", "woman", None],
    ),
    "children": Genre(
        ["Music for children", "Child singing", "Happy music"],
        "rock",
        [0],
        (110, 135),
        "major",
        ROCKISH,
        (32, "x...x...x...x..."),
        [(25, "..x...x...x...x.", 1), (13, "x...x...x...x...", 2)],
        0,
        [74, 12],
        ["child", "choir of children"],
    ),
    "middle eastern": Genre(
        ["Middle Eastern music"],
        "darbuka",
        [0],
        (95, 125),
        "hijaz",
        [[0, 0, 1, 0]],
        (32, "x..x..x."),
        [(104, ARP, 1), (48, "x......x", 1)],
        0,
        [40, 68, 15, 111],
        [None, "man"],
    ),
    "indian": Genre(
        ["Carnatic music", "Music of Asia", "Music of Bollywood", "Sitar", "Tabla"],
        "tabla",
        [0],
        (85, 120),
        "hijaz",
        [[0]],
        (104, WHOLE),
        [(104, ARP, 1), (48, "x..x..x.", 2)],
        0,
        [104, 111, 78],
        [None, "soprano"],
    ),
    "asian": Genre(
        ["Music of Asia", "Zither"],
        "none",
        [0],
        (70, 100),
        "penta",
        [[0, 4, 2, 0]],
        (107, WHOLE),
        [(107, ARP, 1)],
        0,
        [107, 77, 106],
        [None],
    ),
    "wedding": Genre(
        ["Wedding music", "Organ", "Classical music"],
        "none",
        [48],
        (80, 110),
        "major",
        [[0, 4, 5, 3, 0, 4]],
        (19, "x...x..."),
        [(19, WHOLE, 1), (56, WHOLE, 1)],
        0,
        [56, 40],
        [None],
    ),
    "soundtrack": Genre(
        ["Soundtrack music", "Theme music", "Exciting music", "Orchestra"],
        "march",
        [48],
        (90, 130),
        "minor",
        MINORISH,
        (43, E8),
        [(48, "x.xxx.xxx.xxx.xx", 1), (61, WHOLE, 1)],
        0,
        [60, 56, 48],
        [None, "choir"],
    ),
    "scary": Genre(
        ["Scary music", "Sad music"],
        "none",
        [48],
        (45, 70),
        "phrygian",
        [[0, 1, 0, 5]],
        (43, WHOLE),
        [(48, WHOLE, 1), (95, WHOLE, 2)],
        0,
        [98, 44],
        [None],
    ),
    "circus": Genre(
        ["Funny music", "Happy music", "Jingle (music)", "Accordion"],
        "march",
        [0],
        (120, 160),
        "major",
        [[0, 4, 4, 0]],
        (58, "x...x...x...x..."),
        [(21, "..x...x...x...x.", 1)],
        0,
        [72, 21, 71],
        [None],
    ),
    "a capella": Genre(
        ["A capella", "Vocal music", "Choir", "Singing"],
        "none",
        [0],
        (60, 100),
        "major",
        DOO,
        (52, ""),
        [],
        0,
        [],
        ["choir only"],
    ),
    "indie": Genre(
        ["Independent music", "Song", "Rock music"],
        "rock",
        [0],
        (110, 140),
        "major",
        ROCKISH,
        (33, E8),
        [(27, ARP, 1), (28, E8, 1)],
        0.3,
        [],
        ["woman", "man"],
    ),
}


class Vocals(NamedTuple):
    """Properties of a song for its singers and its mix.

    Attributes:
        singer: ``rap``, a name in `SINGERS` or one beginning with ``choir``; None: an instrumental song.
        beat_s: length of a beat, in seconds.
        key: key of the song (MIDI).
        scale: name of the scale.
        drive: overdrive of the guitars' amplifier; 0: clean.
    """

    singer: str | None
    beat_s: float
    key: int
    scale: str
    drive: float


@dataclass(frozen=True)
class _Bars:
    """Positions and pitches in a song.

    Attributes:
        rng: random numbers of the song.
        step_s: length of a sixteenth, in seconds.
        swing_s: delay of every second sixteenth, in seconds.
        n_steps: number of sixteenths of the song.
        key: MIDI key of the first degree.
        degrees: semitones of the scale.
        roots: degree of the chord of each bar.
        first_root: position of the first bar's chord in `roots`.
    """

    rng: Draws
    step_s: float
    swing_s: float
    n_steps: int
    key: int
    degrees: Sequence[int]
    roots: Sequence[int]
    first_root: int

    def time(self, step: int) -> float:
        """Time of a sixteenth in seconds, with a small random deviation."""
        return step * self.step_s + (self.swing_s if step % 2 else 0) + float(self.rng.normal(0, 0.004))

    def pitch(self, degree: int) -> int:
        """MIDI key of a degree."""
        return self.key + 12 * (degree // 7) + self.degrees[degree % 7]

    def root(self, step: int) -> int:
        """Degree of the chord at a sixteenth."""
        return self.roots[(self.first_root + step // 16) % len(self.roots)]


def track(rng: Draws, name: str, seconds: float) -> tuple[Score, Score, Vocals]:
    """A band's scores, without distorted guitars and for these alone, and the song's properties."""
    genre = GENRES[name]
    tempo = int(rng.integers(*genre.tempi))
    step_s = 15 / tempo
    # Chords need a scale of seven notes; that of blues and pentatonic melodies has fewer.
    chords = {"blues": "mixo", "penta": "major"}.get(genre.scale, genre.scale)
    swings = genre.groove in ("swing", "shuffle") and rng.random() < 0.5
    swing_s = 0.3 * step_s if swings else rng.uniform(0, 0.06) * step_s
    key = int(rng.integers(40, 50))
    roots = genre.progressions[int(rng.integers(len(genre.progressions)))]
    first_root = int(rng.integers(len(roots)))
    clean: Score = [program(DRUM_CHANNEL, int(rng.choice(genre.kits)))]
    dirty: Score = []
    bars = _Bars(rng, step_s, swing_s, int(seconds / step_s), key, SCALES[chords], roots, first_root)
    clean += _drums(bars, genre.groove)
    clean += _bass(bars, genre)
    for number, comp in enumerate(genre.comps):
        distorted = bool(genre.drive) and comp[0] in GUITARS
        part = _comp(bars, name, genre, comp, 1 + number, tempo, distorted=distorted)
        (dirty if distorted else clean).extend(part)
    if genre.leads and rng.random() < 0.65:
        number = int(rng.choice(genre.leads))
        distorted = bool(genre.drive) and number in LEAD_GUITARS
        (dirty if distorted else clean).extend(_lead(bars, genre.scale, number, seconds, distorted=distorted))
    singer = genre.singers[int(rng.integers(len(genre.singers)))]
    return clean, dirty, Vocals(singer, 60 / tempo, key, genre.scale, genre.drive)


def _drums(bars: _Bars, groove: str) -> Score:
    rng, score = bars.rng, Score()
    for drum, steps in GROOVES[groove].items():
        loudness = 70 if drum in QUIET_DRUMS else 105
        for step in range(bars.n_steps):
            mark = steps[step % 16]
            if mark != "." and rng.random() < 0.97:
                time_s = max(bars.time(step), 0)
                velocity = loudness + (25 if mark == "X" else 0) + rng.integers(-14, 14)
                score += note(time_s, 0.12, DRUM_CHANNEL, drum, np.clip(velocity, 20, 127))
    if groove in ("rock", "punk", "funk", "breaks", "metal") and rng.random() < 0.5:
        first = 16 * int(rng.integers(0, max(bars.n_steps // 16, 1)))
        for place, drum in enumerate((50, 50, 48, 48, 45, 45, 43, 43)):
            score += note((first + 8 + place) * bars.step_s, 0.1, DRUM_CHANNEL, drum, 115)
        score += note((first + 16) * bars.step_s, 0.8, DRUM_CHANNEL, CRASH, 120)
    return score


def _bass(bars: _Bars, genre: Genre) -> Score:
    number, pattern = genre.bass
    rng, score = bars.rng, [program(0, number)]
    steps = pattern or "."
    drop = 12 if number < 48 or number > 80 else 0
    for step in range(bars.n_steps):
        root = bars.root(step)
        if steps == ARP:
            if step % 2 == 0:
                time_s, degree = max(bars.time(step), 0), root + (0, 4, 7, 4)[step // 2 % 4]
                score += note(time_s, bars.step_s * 1.8, 0, bars.pitch(degree), rng.integers(80, 105))
        elif steps[step % len(steps)] == "x":
            if genre.groove == "swing":
                degree = root + int(rng.choice([0, 2, 4, 6, 1]))
            else:
                degree = root + (int(rng.choice([0, 0, 0, 4, 7])) if step % 16 else 0)
            time_s, length_s = max(bars.time(step), 0), bars.step_s * _steps_to_next(steps, step) * 0.92
            score += note(time_s, length_s, 0, bars.pitch(degree) - drop, rng.integers(88, 112))
    return score


def _comp(
    bars: _Bars,
    name: str,
    genre: Genre,
    comp: tuple[int, str, int],
    channel: int,
    tempo: int,
    *,
    distorted: bool,
) -> Score:
    """Chords or broken chords of one instrument."""
    number, steps, octave = comp
    rng = bars.rng
    if distorted:  # a clean or muted guitar is the amplifier's input
        number = 27 if rng.random() < 0.5 else 28 if rng.random() < 0.3 else 29
    score = [program(channel, number)]
    if distorted:
        chord: tuple[int, ...] = (0, 4, 7)
    elif genre.groove in ("swing", "bossa") or name in ("rhythm and blues", "soul", "jazz"):
        chord = (0, 2, 4, 6)
    else:
        chord = (0, 2, 4)
    is_short = steps in (OFF, CHOP, "....x.......x...")
    every = 2 if tempo >= 100 else 1
    for step in range(bars.n_steps):
        root = bars.root(step)
        if steps == ARP:
            if step % 2 == 0 or tempo < 100:
                time_s, degree = max(bars.time(step), 0), root + (0, 2, 4, 7, 4, 2, 9, 4)[step // every % 8]
                key = bars.pitch(degree) + 12 * octave
                score += note(time_s, bars.step_s * 2.5, channel, key, rng.integers(65, 95))
        elif steps[step % len(steps)] == "x":
            length_s = bars.step_s * _steps_to_next(steps, step) * (0.4 if is_short else 0.93)
            for place, third in enumerate(chord):
                time_s = max(bars.time(step) + 0.006 * place, 0)
                key = bars.pitch(root + third) + 12 * octave
                score += note(time_s, length_s, channel, key, rng.integers(68, 96))
    return score


def _lead(bars: _Bars, scale: str, number: int, seconds: float, *, distorted: bool) -> Score:
    """A melody."""
    rng = bars.rng
    score = [program(LEAD_CHANNEL, 29 if distorted and rng.random() < 0.5 else number)]
    time_s, degree = 0.0, int(rng.integers(7, 12))
    while time_s < seconds:
        length_s = bars.step_s * float(rng.choice([1, 2, 2, 2, 4, 6]))
        if rng.random() < 0.88:
            degree = int(np.clip(degree + rng.integers(-2, 3), 7, 19))
            key = bars.key + 12 * (degree // 7) + SCALES[scale][degree % 7] + (12 if number > 70 else 0)
            score += note(time_s, length_s * 0.95, LEAD_CHANNEL, key, rng.integers(88, 118))
        time_s += length_s
    return score


def _steps_to_next(steps: str, step: int) -> int:
    """Sixteenths from a mark of a pattern to its next one, at most a bar."""
    return next((ahead for ahead in range(1, 17) if steps[(step + ahead) % len(steps)] == "x"), 16)


def amplifier(audio: Wave, drive: float, rng: Draws) -> Wave:
    """A guitar amplifier: a filter, overdrive, the band of a loudspeaker."""
    x = audio / max(np.abs(audio).max(), 1e-6)
    x = shape(x, [(60, -24), (150, 0), (800, 4), (3000, 2), (9000, -12)])
    gain = (4, 15, 60)[min(int(drive + 0.5), 2)] * rng.uniform(0.6, 1.6)
    x = np.tanh(gain * x + 0.15) - np.tanh(0.15)
    return shape(
        x, [(50, -30), (90, 0), (180, 2), (500, -2), (2500, 3), (4500, 0), (6500, -24), (12000, -50)]
    )


def _vocals(rng: Draws, singer: str, song: Vocals, seconds: float) -> Wave:
    """The singing of a song's singer or choir."""
    if singer == "rap":
        return rap(rng, song.beat_s, seconds)
    if singer.startswith("choir"):
        if "children" in singer:
            return choir(rng, ("child", "girl", "child"), 2, seconds, beat=song.beat_s * 2)
        voices = ("woman", "man", "soprano", "bass")
        return choir(rng, voices, 1 + int(rng.integers(2)), seconds, beat=song.beat_s * 2)
    lowest = SINGERS[singer].keys[0]
    key = song.key + 12 * int(np.ceil((lowest - song.key) / 12))
    beats = 1 if song.beat_s > 0.45 else 2 if song.beat_s < 0.33 else 1
    return line(rng, singer, key=key, scale=song.scale, beat=song.beat_s * beats, seconds=seconds)


def band_mix(rng: Draws, clean: Wave, dirty: Wave, song: Vocals, seconds: float) -> Wave:
    """Clean and distorted instruments and voices, mixed as on a record or as in a room."""
    size = len(clean)
    out = clean / rms(clean)
    if np.abs(dirty).max() > 1e-4:
        amp = amplifier(dirty, song.drive, rng)
        double = np.roll(amp, int(rng.integers(200, 700))) if rng.random() < 0.5 else np.zeros(len(amp))
        out = out + rng.uniform(0.6, 1.3) * (amp + 0.7 * double) / rms(amp)
    if song.singer:
        vocals = _vocals(rng, song.singer, song, seconds)
        vocals = vocals[:size] / rms(vocals)
        vocals = shape(vocals, [(80, -20), (200, 0), (3000, 4), (9000, 2)])
        if rng.random() < 0.7:
            vocals = 0.8 * vocals + 0.5 * wet(vocals, room(rng, rng.uniform(0.6, 2)))[:size]
        vocals = np.pad(vocals, (0, size - len(vocals)))
        band_share = 0.02 if song.singer == "choir only" else rng.uniform(0.4, 0.9)
        out = band_share * out + rng.uniform(0.8, 1.4) * vocals / rms(vocals)
    if rng.random() < 0.5:
        out = 0.85 * out + rng.uniform(0.1, 0.5) * wet(out, room(rng, rng.uniform(0.4, 2.2)))[:size]
    low, warm, bright, air = (rng.uniform(*ends) for ends in ((-8, 2), (-2, 3), (-5, 4), (-16, 4)))
    out = shape(out, [(40, low), (120, warm), (1500, 0), (6000, bright), (14000, air)])
    out = np.tanh(rng.uniform(0.2, 0.9) * out / rms(out) / 1.5)  # a mastering limiter
    if rng.random() < 0.15:
        out = wet(out, room(rng, rng.uniform(0.5, 2), direct=0.5))[:size]
        out = out + 0.03 * noise(rng, [(40, 4), (300, 0), (2000, -8), (9000, -25)], size)
    return level(out, rng.uniform(-30, -9)).astype(np.float32)


def bands(font: str, jobs: Sequence[tuple[str, int]], seconds: float = 5.0) -> Iterator[tuple[str, Wave]]:
    """Songs by genre and seed, played with a soundfont."""
    rngs = [np.random.default_rng([number, 41, *map(ord, name)]) for name, number in jobs]
    tracks = [track(rng, name, seconds) for rng, (name, _) in zip(rngs, jobs, strict=True)]
    clean = play(font, [score for score, _, _ in tracks], seconds)
    distorted = [place for place, (_, score, _) in enumerate(tracks) if score]
    played = play(font, [tracks[place][1] for place in distorted], seconds) if distorted else []
    dirty = dict(zip(distorted, played, strict=True))
    size = int(seconds * RATE)
    for place, ((name, number), rng) in enumerate(zip(jobs, rngs, strict=True)):
        base = _of_length(clean[place], size) + 1e-6 * rng.standard_normal(size)
        guitars = _of_length(dirty.get(place, np.zeros(1)), size)
        yield f"{name} {number}", band_mix(rng, base, guitars, tracks[place][2], seconds)


def _of_length(waveform: Wave, size: int) -> Wave:
    return np.pad(waveform[:size].astype(np.float64), (0, max(0, size - len(waveform))))
