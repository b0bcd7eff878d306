"""Write ``docs/reference/transfer-scores.md`` from ``benchmarks/transfer_scores``.

python -m benchmarks.transfer_page
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.conditions import ROOT
from benchmarks.transfer import EPOCHS, WAYS, options, result_path
from pannsx.atomic import replacing

PAGE = ROOT / "docs" / "reference" / "transfer-scores.md"
UNSEEN = "fold 5"

_TEXT = """# Transfer scores of the bundled checkpoint

`python -m benchmarks.transfer_page` generates this page from the results of
[`benchmarks.transfer`](../../benchmarks/transfer.py) with [`train.finetune`](../how-to/transfer.md); the
numbers of every fold are in [`benchmarks/transfer_scores`](../../benchmarks/transfer_scores).

Accuracies on the official folds: mean and standard deviation over them. **frozen** trains a head of one
(L1) or three (L3) layers on the embeddings, **fine-tuned** head and network, and **MFCC** is logistic
regression on means and deviations of cepstral coefficients, to measure the benefit of a network.

The checkpoint was distilled on clips of folds 1 to 4 of ESC-10 and ESC-50, without their labels. Their
**fold 5** has a column of its own: it alone is unseen, and it is tested after training a head on folds 1 to
4. The settings of heads were chosen on ESC-10, including its fold 5, and not on ESC-50 or RAVDESS. ESC-50 is
the copy at 16 kHz and 8 bits, with lower scores than those published for 44.1 kHz. RAVDESS (speech, eight
emotions) is split by actors.

For sounds similar to the training data, one layer on the embeddings is far better than cepstral coefficients.
For the emotions of a voice, one layer on the embeddings is a little better than cepstral coefficients, whose
statistics the checkpoint has learned as an [auxiliary task](../explanation/bundled-checkpoint.md); three
layers are worse. For more, fine-tune. Fine-tuning has not been measured with this checkpoint yet; `python -m
benchmarks.transfer` adds its rows.
"""


def main() -> None:
    with replacing(PAGE) as temporary:
        temporary.write_text(page(), encoding="utf-8", newline="\n")
    print(PAGE)


def page() -> str:
    """The page's text."""
    parts = [_TEXT]
    for data_set, epochs in EPOCHS.items():
        rows = {}
        for way in WAYS:
            path = result_path(data_set, way)
            if path.exists():
                rows[way] = json.loads(path.read_text("utf-8"))
        if not rows:
            continue
        first = next(iter(rows.values()))
        splits = first["results"][0]["scores"]
        unseen = UNSEEN in splits
        parts.append(f"## {first['data_set']}\n")
        parts.append(
            f"{first['n_clips']} clips, {len(splits)} splits, seed {first['seed']}; {first['model']}.\n"
        )
        heads = ["", "accuracy", *([UNSEEN] if unseen else []), "epochs", "options of `train.finetune`"]
        parts.append(_row(heads))
        parts.append("| --- |" + " ---: |" * (3 if unseen else 2) + " --- |")
        for way, found in rows.items():
            cells = [way.name, _mean(found), *([_of(found, UNSEEN)] if unseen else [])]
            told = f"`{data_set} FOLDER {' '.join(options(way, epochs))}`"
            parts.append(_row([*cells, str(found["epochs"]), told]))
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _mean(found: dict[str, Any]) -> str:
    return f"{found['results'][0]['mean']:.3f} ± {found['results'][0]['spread']:.3f}"


def _of(found: dict[str, Any], split: str) -> str:
    return f"{found['results'][0]['scores'][split]:.3f}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
