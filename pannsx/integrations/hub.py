"""Publish checkpoints on the Hugging Face Hub, for ``AudioTagger("owner/name")`` and transformers to load.

>>> push_to_hub(AudioTagger(checkpoint="mine.safetensors"), "owner/doors", private=True)

A repository holds ``model.safetensors`` with its record ``model.json``, labels and operating points if it has
them, a card, and the ``config.json`` and ``preprocessor_config.json`` of transformers
(:mod:`pannsx.integrations.transformers`). These are the conventions of ``huggingface_hub.ModelHubMixin``,
without its fall-back to pickled weights. Token (`hf auth login`, or ``HF_TOKEN``) and endpoint
(``HF_ENDPOINT``) are those of the Hub's client.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pannsx.atomic import replacing
from pannsx.errors import WeightsError
from pannsx.labels import LabelSet
from pannsx.types import PathLike
from pannsx.weights import save
from pannsx.weights.card import model_card
from pannsx.weights.manifest import labels_of
from pannsx.weights.operating_points import operating_points_path
from pannsx.weights.record import Checkpoint, HubSource

WEIGHTS = "model.safetensors"


def save_pretrained(
    network: Any,
    folder: PathLike,
    *,
    labels: Sequence[str] | LabelSet | None = None,
    name: str | None = None,
    description: str | None = None,
    repository: str | None = None,
) -> Checkpoint:
    """Write a repository's files to a folder, which is created if necessary -> the record.

    Args:
        network, labels, description: as for :func:`pannsx.save`.
        folder: the folder.
        name: name of the checkpoint; None: that of the repository, or of the folder.
        repository: ``owner/name``, for the card.

    Raises:
        ValueError, WeightsError: as :func:`pannsx.save`.
    """
    folder = Path(folder)
    chosen = name or (repository.rpartition("/")[2] if repository else folder.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record = save(network, folder / WEIGHTS, labels=labels, name=chosen, description=description)
        texts = {
            "config.json": json.dumps(config_of(record), indent=2, ensure_ascii=False) + "\n",
            "preprocessor_config.json": json.dumps(preprocessor_config_of(record), indent=2) + "\n",
            "README.md": model_card(record, repository=repository),
        }
        for file, text in texts.items():
            with replacing(folder / file) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise WeightsError(f"cannot write {folder}: {error}") from error
    return record


def push_to_hub(
    network: Any,
    repo_id: str,
    *,
    labels: Sequence[str] | LabelSet | None = None,
    name: str | None = None,
    description: str | None = None,
    private: bool | None = None,
    branch: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    token: str | None = None,
) -> HubSource:
    """Save a model in a repository of the Hub, made if necessary, in one commit.

    Args:
        network, labels, name, description: as for :func:`save_pretrained`.
        repo_id: ``owner/name``.
        private: whether a new repository is private; None: the owner's default.
        branch: branch to commit to; None: the default one.
        create_pr: open a pull request instead of a commit to the branch.
        commit_message: None: "Add" and the name.
        token: None: that of the client.

    Returns:
        Location of the weights, commit included, as in a record's ``sources``.

    Raises:
        ValueError: as :func:`pannsx.save`.
        WeightsError: as :func:`pannsx.save`, or the Hub refuses; the message says why.
    """
    with tempfile.TemporaryDirectory(prefix="pannsx-") as folder:
        record = save_pretrained(
            network, folder, labels=labels, name=name, description=description, repository=repo_id
        )
        return upload(
            Path(folder), repo_id, record,
            private=private, branch=branch, create_pr=create_pr, message=commit_message, token=token,
        )  # fmt: skip


def upload(
    folder: Path,
    repo_id: str,
    record: Checkpoint,
    *,
    private: bool | None = None,
    branch: str | None = None,
    create_pr: bool = False,
    message: str | None = None,
    token: str | None = None,
) -> HubSource:
    """Upload a checkpoint's own files from a folder, and no others; arguments as for :func:`push_to_hub`.

    Raises:
        WeightsError: the Hub refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="pannsx", token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if branch is not None:
            api.create_branch(repo_id, branch=branch, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=_files(record),
            commit_message=message or f"Add {record.name}",
            revision=branch,
            create_pr=create_pr or None,
        )
    except Exception as error:  # the client's errors have no common base class across versions and transports
        status = getattr(getattr(error, "response", None), "status_code", None)
        advice = "; log in with `hf auth login`, or set HF_TOKEN" if status in (401, 403) else ""
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(f"cannot publish to {repo_id}: {said[0]}{advice}") from error
    return HubSource(
        repo_id=repo_id,
        repo_type="model",
        filename=record.weights_filename,
        revision=commit.oid,
        digest_seen=True,
        licence=record.licence,
    )


def config_of(record: Checkpoint) -> dict[str, Any]:
    """The content of ``config.json``, for transformers and the Hub's pages.

    Raises:
        OSError, ValueError: the labels of the record cannot be read.
    """
    labels = labels_of(record).names
    return {
        "model_type": "pannsx",
        "architectures": ["PannsxForAudioClassification"],
        "problem_type": "multi_label_classification",  # a sigmoid of each class
        "sampling_rate": record.sample_rate,
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def preprocessor_config_of(record: Checkpoint) -> dict[str, Any]:
    """The content of ``preprocessor_config.json``."""
    return {"feature_extractor_type": "PannsxFeatureExtractor", "sampling_rate": record.sample_rate}


def _files(record: Checkpoint) -> list[str]:
    weights = Path(record.weights_filename)
    own_labels = [] if record.labels == "audioset" else [record.labels]
    points = operating_points_path(record).name
    of_transformers = ["config.json", "preprocessor_config.json"]
    return [
        weights.name,
        weights.with_suffix(".json").name,
        "README.md",
        points,
        *own_labels,
        *of_transformers,
    ]
