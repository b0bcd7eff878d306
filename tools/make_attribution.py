"""List the audio behind the bundled checkpoint, with authors and licences.

    python tools/make_attribution.py DATA BANK [BANK ...]

Reads the ESC clips (``DATA/distill/mixtures.csv``, ``clips.csv``, the attribution texts of both) and
the lists of the banks of ``train.pool`` (``BANK/index.csv``), and writes
``pannsx/data/MobileNetV1_distilled.ATTRIBUTION.txt``: every ESC recording, and every package with its
version and its licences. CC BY asks for the attribution; the rest is listed out of courtesy.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

PACKAGES = Path(__file__).parent.parent / "train" / "pool" / "packages.csv"
PACKAGES_HEADING = "\n\npackage version: clips [licences]\n\n"
TARGET = Path(__file__).parent.parent / "pannsx" / "data" / "MobileNetV1_distilled.ATTRIBUTION.txt"

HEADER = """\
MobileNetV1_distilled.safetensors: the audio it was trained on

The weights were trained on scenes composed of two kinds of clips; none of the audio is distributed here. The
clips were changed: resampled, cut, shifted in time, scaled, mixed, put in rooms, filtered and coded.

1. {total} clips of ESC-10 and ESC-50 (K. J. Piczak, "ESC: Dataset for Environmental Sound Classification",
ACM Multimedia 2015, https://dx.doi.org/10.7910/DVN/YDEPUT), which are cuts of recordings from freesound.org.
Only clips under CC BY ({by}) and CC0 ({zero}) of folds 1 to 4 were used.

2. {pool} clips of packages of Debian 12 (main), and of synthesis, listed at the end with version, number of
clips and licences of the audio. Authors are named in each package's own copyright file
(/usr/share/doc/PACKAGE/copyright). "own" is synthesised by this project's own code; what the synthesisers
espeak-ng, flite, festival and fluidsynth made has the licence of their voices and sound fonts.

CC BY: Creative Commons Attribution 3.0, https://creativecommons.org/licenses/by/3.0/
CC0: Creative Commons Zero, https://creativecommons.org/publicdomain/zero/1.0/
The teacher whose outputs the weights imitate: EfficientAT mn04_as (MIT),
F. Schmid, K. Koutini, G. Widmer, https://github.com/fschmid56/EfficientAT

For some ESC clips the data set's index does not say which of the recordings of their class they are cut
from; every recording that they can be from is listed.

clip: original recording, author, address [licence]
"""

_CATEGORY = re.compile(r"^(?P<number>\d{3}) - .*:\s*$")
_ENTRY = re.compile(
    r"^- \[(?P<clip>[^\]]+)\.ogg\]:\s+clip derived from (?P<title>.+)\s*\((?P<url>https?://.*/sounds/\d+/?)\)"
    r"\s+by (?P<author>.+?)\s+\[(?P<licence>[^\]]+)\]\s*$"
)


class Recording(NamedTuple):
    """An entry of an attribution text: the clip's name, its class, and its origin."""

    clip: str
    category: str
    title: str
    author: str
    url: str
    licence: str

    @property
    def fold(self) -> str:
        """The first number of a clip's name."""
        return self.clip.partition("-")[0]

    def __str__(self) -> str:
        licence = self.licence.replace("-", " ")
        return f"{self.clip}: {self.title}, {self.author}, {self.url} [{licence}]"


def read_attributions(path: Path) -> dict[str, Recording]:
    """Recordings by clip name (``1-100032-A``) from an ``ATTRIBUTION.txt``."""
    recordings = {}
    category = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := _CATEGORY.match(line):
            category = match["number"]
        elif match := _ENTRY.match(line):
            title = match["title"].strip().removeprefix("[").removesuffix("]")
            recordings[match["clip"]] = Recording(
                match["clip"], category, title, match["author"], match["url"], match["licence"]
            )
    return recordings


def recordings_behind(data: Path, clips: set[str], licences: dict[str, str]) -> list[Recording]:
    """Every recording that is, or may be, the origin of a clip.

    ESC-50's index leaves some clips without a name.  The candidates for such a clip are the clips of its
    class, fold and licence without a row of their own; all of them are credited.
    """
    esc10 = read_attributions(data / "esc10" / "ATTRIBUTION.txt")
    esc50 = read_attributions(data / "esc50_16k" / "ATTRIBUTION.txt")
    with (data / "esc50_16k" / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = {f"esc50/{row['file']}#{row['chunk']}": row for row in csv.DictReader(file)}
    named = {row["name"].rsplit("-", 1)[0] for row in rows.values() if row["name"]}

    credited: dict[str, Recording] = {}
    for clip in clips:
        if clip.startswith("esc10/"):
            found = [esc10[Path(clip).stem]]
        elif rows[clip]["name"]:
            found = [esc50[rows[clip]["name"].rsplit("-", 1)[0]]]
        else:
            row = rows[clip]
            found = [
                recording
                for recording in esc50.values()
                if recording.category == row["file"].partition("-")[0]
                and recording.fold == row["fold"]
                and recording.licence == row["licence"]
                and recording.clip not in named
            ]
        if not found or any(recording.licence != licences[clip] for recording in found):
            raise SystemExit(f"{clip} is {licences[clip]!r} in clips.csv; the attribution texts give {found}")
        credited.update({recording.clip: recording for recording in found})
    return sorted(credited.values())


def packages_behind(banks: list[Path], table: Path) -> tuple[int, list[str]]:
    """Number of training clips of the banks, and a line for each package: version, clips, licences."""
    with table.open(encoding="utf-8", newline="") as file:
        versions = {row["package"]: row["version"] for row in csv.DictReader(file)}
    clips: Counter[str] = Counter()
    licences: dict[str, set[str]] = {}
    for bank in banks:
        with (bank / "index.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["split"] == "train":
                    clips[row["package"]] += 1
                    licences.setdefault(row["package"], set()).add(row["licence"])
    lines = []
    for package, n_clips in sorted(clips.items()):
        version = versions.get(package, "")
        if not version and ":" not in package:
            raise SystemExit(f"{package} is in a bank but not in {table}; add its row")
        named = " ".join(filter(None, (package, version)))
        lines.append(f"{named}: {n_clips} clips [{'; '.join(sorted(licences[package]))}]")
    return clips.total(), lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with distill, esc10 and esc50_16k")
    parser.add_argument("banks", type=Path, nargs="+", metavar="BANK", help="folder made by train.pool")
    given = parser.parse_args()
    data: Path = given.data

    with (data / "distill" / "mixtures.csv").open(encoding="utf-8", newline="") as file:
        used = {row[key] for row in csv.DictReader(file) for key in ("clip_a", "clip_b")} - {""}
    with (data / "distill" / "clips.csv").open(encoding="utf-8", newline="") as file:
        licences = {row["clip"]: row["licence"] for row in csv.DictReader(file)}
    recordings = recordings_behind(data, used, licences)
    licences_used = Counter(licences[clip] for clip in used)
    if set(licences_used) != {"CC-BY", "CC0"}:
        raise SystemExit(f"only CC BY and CC0 clips may be behind the weights; got {dict(licences_used)}")

    n_pool, packages = packages_behind(given.banks, PACKAGES)
    header = HEADER.format(total=len(used), by=licences_used["CC-BY"], zero=licences_used["CC0"], pool=n_pool)
    temporary = TARGET.with_suffix(".tmp")
    temporary.write_text(
        header + "\n" + "\n".join(map(str, recordings)) + PACKAGES_HEADING + "\n".join(packages) + "\n",
        encoding="utf-8",
        newline="\n",
    )
    temporary.replace(TARGET)
    print(f"{TARGET.name}: {len(used)} ESC clips of {len(recordings)} recordings")
    print(f"{n_pool} clips of {len(packages)} packages")


if __name__ == "__main__":
    main()
