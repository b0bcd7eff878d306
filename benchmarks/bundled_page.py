"""Write ``docs/reference/bundled-scores.md``, its picture and README's rows from the recorded scores.

python -m benchmarks.bundled_page

Sound events and transfer come from ``benchmarks/sound_events`` and ``benchmarks/transfer_scores``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.bundled import FEWEST_CLIPS, FEWEST_POSITIVES, POSITIVE, RESULTS, worst_kind
from benchmarks.conditions import ROOT
from pannsx.atomic import replacing

NAME = "MobileNetV1_distilled"
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "reference" / "bundled-scores.md"
PICTURE = ROOT / "docs" / "images" / "bundled-scores.svg"

LEFT, WIDTH, ROW, TOP = 190, 420, 26, 34
INK, FIRST, FIVE, FAINT = "#1f2430", "#0b6e99", "#9cc9dc", "#d8dde6"

_TEXT = f"""# Scores of the bundled checkpoint

`python -m benchmarks.bundled_page` generates this page from the results of
[`benchmarks.bundled`](../../benchmarks/bundled.py), [`benchmarks.sed`](../../benchmarks/sed.py) and
[`benchmarks.transfer`](../../benchmarks/transfer.py), on clips held out from its training.
[The bundled checkpoint](../explanation/bundled-checkpoint.md) explains that training.

The checkpoint imitates a larger tagger, its **teacher** (EfficientAT mn04_as, mAP .432 on AudioSet). Most
clips have no labels of their own, so the scores measure how often the two agree. **First**: the first tag is
the teacher's. **Among five**: the teacher's first tag is among the checkpoint's first five. An error of the
teacher counts as correct.

The clips of the pool are its split `valid`: whole packages, voices and instruments, held out from training. A
clip is tagged at its own length, of 0.25 to 5 s; the teacher's input was padded with zeros to 5 s. Precision
is the mean over classes with {FEWEST_POSITIVES} positives or more; a positive has a teacher's probability
above {POSITIVE}.
"""


def main() -> None:
    scores = read_scores()
    written = {
        PAGE: page(scores),
        PICTURE: picture(scores["pool"]["kinds"]),
        README: readme(README.read_text("utf-8"), scores),
    }
    for path, text in written.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        print(path)


def read_scores() -> dict[str, Any]:
    """The scores of the bundled checkpoint."""
    scores: dict[str, Any] = json.loads((RESULTS / f"{NAME}.json").read_text("utf-8"))
    return scores


def readme(text: str, scores: Mapping[str, Any]) -> str:
    """README with these scores in the last column of its rows.

    Raises:
        LookupError: a row is missing.
    """
    pool = scores["pool"]
    fold_5 = f"{_of(scores['fold5_first'])} / {_of(scores['fold5_among_five'])}"
    rows = {
        r"[\d,]+ held-out clips of .*? / among its first five": _both(pool),
        r"368 clips of ESC-50 and ESC-10, fold 5: the same": fold_5,
        r"80 clips of ESC-10, fold 5, zero-shot: accuracy": _of(scores["esc10_zero_shot_accuracy"]),
    }
    for measured, score in rows.items():
        row = re.compile(rf"^(\|[^|]*\| {measured} \| )[^|]*\|$", re.M)
        text, n_found = row.subn(rf"\g<1>{score} |", text)
        if n_found != 1:
            raise LookupError(f"README has {n_found} rows like {measured!r}; it needs one")
    return re.sub(r"[\d,]+ held-out clips", f"{pool['clips']:,} held-out clips", text)


def page(scores: Mapping[str, Any]) -> str:
    """The page's text."""
    pool = scores["pool"]
    kind, worst = worst_kind(pool["kinds"])
    named = pool["named"]
    rows = [
        ("valid split of the pool, first / among five", _both(pool)),
        (f"worst kind with {FEWEST_CLIPS} clips or more ({kind}), among five", _of(worst["among_five"])),
        ("clips that the teacher calls `Speech` first: first", _of(named["Speech"]["first"])),
        ("clips that the teacher calls `Music` first: first", _of(named["Music"]["first"])),
        (f"mean average precision, {pool['classes']} classes", _of(pool["mean_average_precision"])),
        ("first tag unchanged when the clip is 10 / 30 dB softer", _softer(pool)),
        ("ESC-10 fold 5, zero-shot: accuracy (teacher .985, all folds)",
         _of(scores["esc10_zero_shot_accuracy"])),
        ("368 clips of ESC-50 and ESC-10, fold 5: first / among five",
         f"{_of(scores['fold5_first'])} / {_of(scores['fold5_among_five'])}"),
        *_sound_events(),
        *_transfer(),
    ]  # fmt: skip
    lines = [_TEXT, "| measured | score |", "| --- | ---: |", *(f"| {a} | {b} |" for a, b in rows), ""]
    lines += [
        "## By kind of sound",
        "",
        "![Agreement with the teacher by kind of sound](../images/bundled-scores.svg)",
        "",
        "| kind | clips | first | among five |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, found in by_size(pool["kinds"]):
        lines.append(f"| {name} | {found['clips']} | {_of(found['first'])} | {_of(found['among_five'])} |")
    return "\n".join(lines) + "\n"


def by_size(kinds: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Kinds, those with most clips first."""
    return sorted(kinds.items(), key=lambda each: (-each[1]["clips"], each[0]))


def picture(kinds: Mapping[str, Any]) -> str:
    """An SVG: two bars a kind."""
    rows = by_size(kinds)
    height = TOP + ROW * len(rows) + 40
    described = "; ".join(f"{name} {_both(found)}" for name, found in rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 110} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img" '
        f'aria-label="Agreement with the teacher, first and among five: {escape(described)}">',
        f'<rect width="100%" height="100%" fill="#ffffff"/><g fill="{INK}">',
        f'<rect x="{LEFT}" y="10" width="12" height="10" fill="{FIRST}"/>',
        f'<text x="{LEFT + 18}" y="19">first tag is the teacher\'s</text>',
        f'<rect x="{LEFT + 190}" y="10" width="12" height="10" fill="{FIVE}"/>',
        f'<text x="{LEFT + 208}" y="19">teacher\'s first among five</text>',
    ]
    bottom = TOP + ROW * len(rows)
    for tick in range(0, 101, 25):
        x = LEFT + WIDTH * tick / 100
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}" stroke="{FAINT}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{tick} %</text>')
    for row, (name, found) in enumerate(rows):
        y = TOP + ROW * row
        parts.append(
            f'<text x="{LEFT - 10}" y="{y + 17}" text-anchor="end">{escape(name)} ({found["clips"]})</text>'
        )
        for colour, part, margin in ((FIVE, "among_five", 4), (FIRST, "first", 8)):
            parts.append(
                f'<rect x="{LEFT}" y="{y + margin}" width="{WIDTH * found[part]:.1f}" '
                f'height="{ROW - 2 * margin}" fill="{colour}"/>'
            )
        parts.append(f'<text x="{LEFT + WIDTH + 10}" y="{y + 17}">{_both(found)}</text>')
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def _sound_events() -> list[tuple[str, str]]:
    found = _json(ROOT / "benchmarks" / "sound_events" / f"{NAME}.json")["scores"]["usual"]
    calibrated = found["rules"]["calibrated for whole events"]["event_f1"]
    link = "[sound events on composed soundscapes](sound-event-scores.md)"
    return [
        (f"{link}, usual scene: PSDS1 / PSDS2", f"{_of(found['PSDS1'])} / {_of(found['PSDS2'])}"),
        ("the same: event F1 within 0.2 s, calibrated for whole events", _of(calibrated)),
    ]


def _transfer() -> list[tuple[str, str]]:
    folder = ROOT / "benchmarks" / "transfer_scores"
    frozen, mfcc = (_json(folder / f"ravdess_{way}_L1.json") for way in ("frozen", "mfcc"))
    link = "[RAVDESS](transfer-scores.md), one layer on frozen embeddings (MFCC)"
    return [(link, f"{_of(frozen['results'][0]['mean'])} ({_of(mfcc['results'][0]['mean'])})")]


def _softer(pool: Mapping[str, Any]) -> str:
    return f"{_of(pool['unchanged_10_db_softer'])} / {_of(pool['unchanged_30_db_softer'])}"


def _both(found: Mapping[str, Any]) -> str:
    return f"{_of(found['first'])} / {_of(found['among_five'])}"


def _of(value: float) -> str:
    return f"{value:.3f}"


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


if __name__ == "__main__":
    main()
