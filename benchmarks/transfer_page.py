"""Write ``docs/reference/transfer-scores.md`` from ``benchmarks/transfer_scores`` and two more results.

python -m benchmarks.transfer_page
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from benchmarks import few_shot, kept_classes
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
    parts += [*few_clips(), *kept()]
    return "\n".join(parts).rstrip() + "\n"


_FEW = """## Few clips a class

Accuracy on ESC-50 by [`benchmarks.few_shot`](../../benchmarks/few_shot.py), with one, two and five clips of
each of the 50 classes to learn from, drawn from the other folds: mean over the folds and {n_draws} draws, and
standard deviation over the draws of the mean over the folds. **Prototypes** (`pannsx finetune --prototypes`)
are not trained; the **trained head** is the one layer of above, on the same clips. In the columns **fold 5**
its clips are tested, which the checkpoint has not heard. The two constants of prototypes were chosen on folds
1 to 4.

| clips a class | prototypes | fold 5 | trained head | fold 5 |
| ---: | ---: | ---: | ---: | ---: |"""

_KEPT = """## Old classes beside new ones

{model} trained with ten new classes, those of {data_set} ({n_learned_from} clips of folds 1 to 4,
{epochs} epochs), by [`benchmarks.kept_classes`](../../benchmarks/kept_classes.py), and its 527 AudioSet
classes compared with before on the {n_tested} clips of fold 5. Without `--keep-audioset` the old classifier
is put on the new embeddings. The mean of all probabilities is {mean_probability:.4f}. Where the network is
not trained, the old classes stay as they are.

| `--tune` | mean change of a probability | first tag stays | accuracy of the new classes |
| --- | ---: | ---: | ---: |"""


def few_clips() -> list[str]:
    """The lines of the section on few clips."""
    found = json.loads(few_shot.RESULT.read_text("utf-8"))
    draws = {(each["way"], each["shots"]): each["accuracy"] for each in found["curves"]}
    n_draws = len(next(iter(draws.values()))[UNSEEN])
    rows = []
    for shots in few_shot.SHOTS:
        cells = [str(shots)]
        for way in few_shot.WAYS:
            accuracies = draws[way, shots]
            over_folds = np.mean([accuracies[fold] for fold in accuracies], axis=0)
            for each in (over_folds, np.array(accuracies[UNSEEN])):
                cells.append(f"{each.mean():.3f} ± {each.std():.3f}")
        rows.append(_row(cells))
    return [_FEW.format(n_draws=n_draws), *rows, ""]


def kept() -> list[str]:
    """The lines of the section on old classes."""
    found = json.loads(kept_classes.RESULT.read_text("utf-8"))
    rows = [
        _row([
            way.replace("--keep-audioset", "`--keep-audioset`").replace("--freeze-norms", "`--freeze-norms`"),
            f"{each['mean_change']:.4f}", f"{each['first_tag_stays']:.3f}",
            f"{each['accuracy_of_new']:.3f}",
        ])
        for way, each in found["ways"].items()
    ]  # fmt: skip
    return [_KEPT.format(**{key: value for key, value in found.items() if key != "ways"}), *rows, ""]


def _mean(found: dict[str, Any]) -> str:
    return f"{found['results'][0]['mean']:.3f} ± {found['results'][0]['spread']:.3f}"


def _of(found: dict[str, Any], split: str) -> str:
    return f"{found['results'][0]['scores'][split]:.3f}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
