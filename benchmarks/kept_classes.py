"""How well do the 527 AudioSet classes stay when the network learns ten more, with and without keeping them?

    python -m benchmarks.kept_classes ESC-10-FOLDER

The bundled network is trained on ten clips of each class of ESC-10's folds 1 to 4, once with its classes kept
(``pannsx finetune --tune --keep-audioset``), and without, with batch norms that stay or are trained; then
its old classifier is put on the embeddings of the trained network. All are compared with the network of
before on the clips of fold 5: mean change of the 527 probabilities, and share of the clips whose first tag
stays. A quarter of an hour on one core. :mod:`benchmarks.transfer_page` makes the table from the result in
``benchmarks/kept_scores``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from scipy.special import expit

from benchmarks.conditions import ROOT
from pannsx import weights
from pannsx.atomic import replacing
from pannsx.metrics import accuracy
from pannsx.transfer.clips import Clips
from pannsx.transfer.embedding import embed
from pannsx.transfer.experiment import all_to_train, few, targets_of
from pannsx.transfer.head import apply
from pannsx.transfer.kept import ExtendedHead, clip_head_of
from pannsx.transfer.method import Method
from train.transfer.data_sets import read_data_set

RESULT = ROOT / "benchmarks" / "kept_scores" / "esc10.json"
SHOTS, SEED, HELD_OUT = 10, 0, "5"

WAYS = {
    "--keep-audioset": Method(tune=True, seed=SEED, keep_audioset=True),
    "--freeze-norms, without": Method(tune=True, seed=SEED, freeze_norms=True),
    "without": Method(tune=True, seed=SEED),
}
"""Ways of training by their name in the page."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kept_classes", description="What the old classes lose by training."
    )
    parser.add_argument("folder", type=Path, help="folder of ESC-10")
    parser.add_argument("--epochs", type=int, default=5, help="(default: %(default)s)")
    given = parser.parse_args()
    data = read_data_set("esc10", given.folder)
    base = weights.load(None)
    old_classifier = clip_head_of(base.model).fc_audioset
    clips, targets = Clips(data.recordings, base.record.sample_rate), targets_of(data)
    learned_from = few(targets, data.rows({"1", "2", "3", "4"}), SHOTS, SEED)
    tests = data.rows({HELD_OUT})
    heard = [clips[row] for row in tests]
    before = expit(apply(old_classifier, embed(base, heard)))
    ways = {}
    for way, method in WAYS.items():
        learn = replace(method, epochs=given.epochs).learner(
            base, clips, targets, clip_s=data.clip_s, multi_label=False, divide=all_to_train
        )
        fitted = learn(learned_from, SEED)
        if fitted.base is None:
            raise RuntimeError("nothing was learned")
        embeddings = embed(fitted.base, heard)
        old = fitted.head if isinstance(fitted.head, ExtendedHead) else old_classifier
        with torch.inference_mode():
            after = expit(apply(old, embeddings)[:, : before.shape[1]])
        new = apply(fitted.head, embeddings)[:, -targets.shape[1] :]
        ways[way] = {
            "mean_change": round(float(abs(after - before).mean()), 6),
            "first_tag_stays": round(float((after.argmax(1) == before.argmax(1)).mean()), 4),
            "accuracy_of_new": round(accuracy(targets[tests].argmax(axis=1), new), 4),
        }
        print(way, ways[way], flush=True)
    content = {
        "data_set": data.name, "n_learned_from": len(learned_from), "n_tested": len(tests),
        "epochs": given.epochs, "model": base.record.name, "weights_sha256": base.record.sha256,
        "mean_probability": round(float(before.mean()), 6), "ways": ways,
    }  # fmt: skip
    with replacing(RESULT) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(RESULT)


if __name__ == "__main__":
    main()
