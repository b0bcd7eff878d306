"""The model card of a checkpoint: the ``README.md`` of its folder and of its repository on the Hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pannsx.weights.record import Checkpoint, Scores


def model_card(
    record: Checkpoint, *, recipe: Mapping[str, Any] | None = None, repository: str | None = None
) -> str:
    """The card's text: metadata for the Hub, use and origin of the checkpoint.

    Args:
        record: as `pannsx.weights.save_checkpoint` returned it.
        recipe: its training recipe, if known.
        repository: ``owner/name`` on the Hub, if the card is for one.
    """
    sections = [
        _front_matter(record),
        f"# {record.name}",
        f"{record.description or record.architecture}. {_summary(record)}",
        _usage(record, repository),
        _scores(record),
        _training(record, recipe),
        f"## Notes\n\n{record.notes}" if record.notes else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(record: Checkpoint) -> str:
    """Metadata for the Hub, as YAML; strings are written as JSON, a subset of YAML."""
    lines = [
        "---",
        *([f"license: {json.dumps(record.licence.lower())}"] if record.licence else []),
        "library_name: pannsx",
        "pipeline_tag: audio-classification",
        "tags: [audio, audio-tagging, audio-classification, audioset, panns]",
    ]
    scores = record.scores
    if scores is not None and scores.mAP is not None:
        lines += [
            "model-index:",
            f"- name: {json.dumps(record.name)}",
            "  results:",
            "  - task: {type: audio-classification}",
            f"    dataset: {{type: {_data_set(record)}, name: {json.dumps(_data_set(record))}}}",
            f"    metrics: [{{type: mAP, value: {scores.mAP:.4f}}}]",
        ]
    return "\n".join([*lines, "---"])


def _data_set(record: Checkpoint) -> str:
    return "audioset" if record.labels == "audioset" else "own"


def _summary(record: Checkpoint) -> str:
    kind = "AudioSet's" if record.labels == "audioset" else "own"
    frontend = record.frontend
    takes = (
        f"a log-mel of {frontend.n_mels} bands, {frontend.fmin:g} to {frontend.fmax:g} Hz"
        if frontend
        else "samples"
    )
    return (
        f"A pretrained audio neural network (PANN, [Kong et al. 2020](https://arxiv.org/abs/1912.10211)) of "
        f"architecture {record.architecture} on {takes}, at {record.sample_rate} Hz, with "
        f"{record.n_classes} classes ({kind})."
    )


def _usage(record: Checkpoint, repository: str | None) -> str:
    where = "" if repository else ", in a copy of this folder"
    given = f'"{repository}"' if repository else f'checkpoint="{record.filename}"'
    return f"""## Use

With pannsx{where}:

```python
from pannsx import AudioTagger

tagger = AudioTagger({given})
print(tagger.inference("sound.wav").top())
```"""


def _scores(record: Checkpoint) -> str:
    scores = record.scores or Scores(mAP=None, auc=None, d_prime=None, source=None, other={})
    known = {"mAP": scores.mAP, "AUC": scores.auc, "d-prime": scores.d_prime, **scores.other}
    rows = [f"| {name} | {value:.4f} |" for name, value in known.items() if value is not None]
    if not rows:
        return "## Scores\n\nNone known."
    source = f"\n\nSource: {scores.source}." if scores.source else ""
    return "\n".join(["## Scores", "", "| measure | value |", "| --- | --- |", *rows]) + source


def _training(record: Checkpoint, recipe: Mapping[str, Any] | None) -> str:
    parts = ["## Training"]
    if record.trained_on:
        parts.append(record.trained_on)
    if recipe is not None:
        parts.append(f"Recipe:\n\n```json\n{json.dumps(recipe, indent=1)}\n```")
    return "\n\n".join(parts) if len(parts) > 1 else ""
