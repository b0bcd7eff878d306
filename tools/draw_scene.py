"""Draw README's picture: the example scene's waveform and the bundled checkpoint's probabilities over time.

    python tools/draw_scene.py

writes ``docs/images/scene.svg`` from ``examples/scene.flac``.  Every number in it is computed here.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from pannsx import AudioTagger
from pannsx.audio import load

ROOT = Path(__file__).resolve().parents[1]
N_CLASSES = 7
WINDOW_S, OVERLAP_S = 1.28, 0.96  # short overlapping windows: finer than the 0.32 s of one frame

LEFT, WIDTH, ROW, WAVE = 230, 560, 24, 80
INK, ACCENT, FAINT = "#1f2430", "#0b6e99", "#d8dde6"


def main() -> None:
    """Compute and draw."""
    scene = load(ROOT / "examples" / "scene.flac", 32000)
    result = AudioTagger(device="cpu", window_s=WINDOW_S, overlap_s=OVERLAP_S).inference(scene.waveform)
    framewise = result.framewise
    if framewise is None:
        raise RuntimeError("the tagger returned no frames")
    classes = np.argsort(-framewise.max(axis=0))[:N_CLASSES]
    classes = classes[np.argsort(framewise[:, classes].argmax(axis=0), kind="stable")]
    seconds = result.duration_s
    per_second = WIDTH / seconds
    height = 30 + WAVE + 20 + N_CLASSES * ROW + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 30} {height}" '
        'font-family="system-ui, sans-serif" font-size="13" role="img" '
        'aria-label="Waveform of the example scene and the probability of its likeliest classes over time">',
        f'<rect width="100%" height="100%" fill="#ffffff"/><g fill="{INK}">',
        f'<text x="{LEFT - 12}" y="{30 + WAVE / 2 + 4}" text-anchor="end">waveform</text>',
        _wave(scene.waveform, 30 + WAVE / 2),
    ]
    top = 30 + WAVE + 20
    for row, k in enumerate(classes):
        y = top + row * ROW
        label = escape(result.labels[k])
        parts.append(f'<text x="{LEFT - 12}" y="{y + ROW / 2 + 4}" text-anchor="end">{label}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y + 2}" width="{WIDTH}" height="{ROW - 4}" fill="#f3f5f8"/>')
        for time_s, probability in zip(result.frame_times, framewise[:, k], strict=True):
            begin = max(0.0, time_s - result.hop_s / 2) * per_second
            end = min(seconds, time_s + result.hop_s / 2) * per_second
            parts.append(
                f'<rect x="{LEFT + begin:.1f}" y="{y + 2}" width="{end - begin:.1f}" height="{ROW - 4}" '
                f'fill="{ACCENT}" fill-opacity="{probability:.3f}"/>'
            )
    bottom = top + N_CLASSES * ROW
    for second in range(int(seconds) + 1):
        x = LEFT + second * per_second
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="30" y2="{bottom}" stroke="{FAINT}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{second} s</text>')
    parts.append("</g></svg>")
    target = ROOT / "docs" / "images" / "scene.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _wave(waveform: np.ndarray, centre: float) -> str:
    """The envelope as one closed path, a point every two pixels."""
    n = WIDTH // 2
    pieces = np.array_split(waveform, n)
    peak = float(np.abs(waveform).max())
    upper = [f"{LEFT + 2 * i},{centre - WAVE / 2 * p.max() / peak:.1f}" for i, p in enumerate(pieces)]
    lower = [f"{LEFT + 2 * i},{centre - WAVE / 2 * p.min() / peak:.1f}" for i, p in enumerate(pieces)]
    return f'<polygon points="{" ".join(upper + lower[::-1])}" fill="{ACCENT}"/>'


if __name__ == "__main__":
    main()
