"""Write ``docs/reference/sound-event-scores.md`` and its plot from ``benchmarks/sound_events``.

python -m benchmarks.sed_page
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.conditions import ROOT
from benchmarks.sed import RESULTS
from pannsx.atomic import replacing

PAGE = "reference/sound-event-scores.md"
_COLOURS = ("#0b6e99", "#c2410c", "#5b7f2b", "#7c3aed", "#8a6d00")
_INK, _FAINT = "#1f2430", "#d8dde6"
_LEFT, _WIDTH, _LINE, _HEAD = 240, 420, 26, 64
_HIGHEST = 0.8

_TEXT = """# Sound event scores

`python -m benchmarks.sed_page` generates this page from the results of
[`benchmarks.sed`](../../benchmarks/sed.py). With `pip install -e ".[sed]"` and the folder of ESC-10,
`python -m benchmarks.sed --data ESC10` repeats the measurement, with `--model` for any other checkpoint.

Soundscapes of three minutes are composed from clips of ESC-10's fold 5 over pink noise, with a
seed ([`benchmarks/soundscapes.py`](../../benchmarks/soundscapes.py)). An event is the audible part of a clip;
many are shorter than a second. Thresholds are chosen on soundscapes of folds 1 to 4, part of the bundled
checkpoint's training data; fold 5 is not. The operating points in the package take no part: each rule gives
its own. A class is the noisy-or of its AudioSet labels.

Rules: *hysteresis* ends an event at half its threshold. *Smoothed* adds a median of 0.5 s, gaps of 0.5 s and
a shortest event of 0.2 s. *Calibrated* thresholds have the best F1 of frames. *Calibrated for whole events*
is `pannsx.events.tune_events`: threshold, hysteresis at both ends, median and gaps of each class by the F1 of
events.

* **PSDS1, PSDS2**: polyphonic sound detection scores of DCASE task 4, over all thresholds, by
  sed_scores_eval. PSDS1 requires exact times, PSDS2 the right class at about the right time. *Filtered*: of
  the frames after a median filter, as usual for these scores (`pannsx.events.median_filter`), whose length is
  chosen on the soundscapes of folds 1 to 4.
* **event F1**: onset within 0.2 s, offset within 0.2 s or a fifth of the event, by sed_scores_eval, mean over
  classes; beside it the same with 1 s.
* **segment F1**: presence of a class in each second, by sed_eval, mean over classes; a class that is never
  found counts 0.

"""


def main() -> None:
    for name, text in pages(RESULTS).items():
        path = ROOT / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        print(path)


def pages(results: Path) -> dict[str, str]:
    """The text of the page and of every plot, by its path in ``docs``."""
    parts, written = [_TEXT], {}
    for path in sorted(results.glob("*.json")):
        result = json.loads(path.read_text("utf-8"))
        plot = f"images/sound-events-{result['model']}.svg"
        written[plot] = picture(result)
        parts.append(_section(result, plot))
    return {PAGE: "\n".join(parts).rstrip() + "\n", **written}


def _section(result: dict[str, Any], plot: str) -> str:
    lines = [
        f"## {result['model']}",
        "",
        f"{result['soundscapes']} soundscapes of each kind, frames {result['hop_s']} s apart; thresholds from"
        f" {result['known_soundscapes']} soundscapes.",
        "",
        f"![Segment F1 of each way to decide in each kind of soundscape](../{plot})",
        "",
        "| soundscapes | signal to noise | at a time | repetition | events | PSDS1 | PSDS2 | "
        "PSDS1, filtered | PSDS2, filtered |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, scores in result["scores"].items():
        scene = result["scenes"][name]
        lines.append(
            f"| {name} | {scene['snr_db']:g} dB | {scene['overlap']} | {scene['repetition']:g} | "
            f"{scores['events']} | {scores['PSDS1']:.3f} | {scores['PSDS2']:.3f} | "
            f"{scores['PSDS1_median']:.3f} | {scores['PSDS2_median']:.3f} |"
        )
    for name, scores in result["scores"].items():
        lines += [
            "",
            f"### {result['model']}, {name}",
            "",
            "| events by | found | event F1 | within 1 s | segment F1 |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {rule} | {each['events']} | {each['event_f1']:.3f} | {each['event_f1_1s']:.3f} | "
            f"{each['segment_f1']:.3f} |"
            for rule, each in scores["rules"].items()
        ]
    chosen = ", ".join(f"{label} {value:.3f}" for label, value in result["thresholds"]["calibrated"].items())
    lines += [
        "",
        f"Chosen thresholds: one for all {result['thresholds']['one']:.2f}; calibrated: {chosen}. Median "
        f"filter for PSDS: {result['psds_median_s']:g} s.",
        "",
    ]
    return "\n".join(lines)


def picture(result: dict[str, Any]) -> str:
    """An SVG: a row for each decision rule, a dot for each kind of soundscape, segment F1 in x."""
    scenes = list(result["scores"])
    rules = list(result["scores"][scenes[0]]["rules"])
    bottom = _HEAD + _LINE * len(rules)

    def at(value: float) -> float:
        return _LEFT + _WIDTH * value / _HIGHEST

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 30} {bottom + 30}" '
        f'font-family="sans-serif" font-size="13" fill="{_INK}" role="img">',
        f"<title>Segment F1 of {escape(result['model'])}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for i, scene in enumerate(scenes):
        x = 16 + i * 130
        parts.append(f'<circle cx="{x}" cy="20" r="5" fill="{_COLOURS[i % len(_COLOURS)]}"/>')
        parts.append(f'<text x="{x + 10}" y="24">{escape(scene)}</text>')
    for tick in range(round(_HIGHEST * 10) + 1):
        x = at(tick / 10)
        parts.append(f'<path d="M{x:.1f} {_HEAD - 16}V{bottom}" stroke="{_FAINT}"/>')
        if tick % 2 == 0:
            parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick / 10:g}</text>')
    for row, rule in enumerate(rules):
        y = _HEAD + _LINE * row
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(rule)}</text>')
        for i, scene in enumerate(scenes):
            value = result["scores"][scene]["rules"][rule]["segment_f1"]
            parts.append(
                f'<circle cx="{at(value):.1f}" cy="{y}" r="5" fill="{_COLOURS[i % len(_COLOURS)]}">'
                f"<title>{escape(scene)}: {value:.3f}</title></circle>"
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
