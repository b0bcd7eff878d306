"""Publish an exported checkpoint in your own repository on the Hugging Face Hub.

python -m train.publish FOLDER OWNER/NAME [--private] [--message TEXT]

The folder is that of train.export or train.convert_published. It is loaded and its digest checked before
the upload; only the checkpoint's own files are uploaded. Token (`hf auth login`, or HF_TOKEN) and endpoint
(HF_ENDPOINT) are those of the Hub's client.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pannsx import weights
from pannsx.errors import WeightsError
from pannsx.weights.record import Checkpoint, HubSource


def publish(folder: Path, repo_id: str, *, private: bool = False, message: str | None = None) -> HubSource:
    """Create the repository if necessary, and upload the checkpoint's files in one commit.

    Args:
        folder: folder of one checkpoint: weights, record, card and any labels of its own.
        repo_id: ``owner/name``.
        private: whether a new repository is private.
        message: commit message.

    Returns:
        The published location of the weights, commit included, as in a record's ``sources``.

    Raises:
        WeightsError: the folder holds no complete checkpoint, or the Hub refuses; the message says which.
    """
    from huggingface_hub import HfApi

    record = weights.load(checkpoint=folder).record
    api = HfApi(library_name="pannsx")
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=_files(record),
            commit_message=message or f"Add {record.name}",
        )
    except Exception as error:  # the client's errors have no common base class across versions and transports
        status = getattr(getattr(error, "response", None), "status_code", None)
        advice = "; log in with `hf auth login`, or set HF_TOKEN" if status in (401, 403) else ""
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(f"cannot publish to {repo_id}: {said[0]}{advice}") from error
    return HubSource(
        repo_id=repo_id,
        repo_type="model",
        filename=str(record.filename),
        revision=commit.oid,
        digest_seen=True,
        licence=record.licence,
    )


def _files(record: Checkpoint) -> list[str]:
    weights_file = Path(str(record.filename))
    own_labels = [] if record.labels == "audioset" else [record.labels]
    return [weights_file.name, weights_file.with_suffix(".json").name, "README.md", *own_labels]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="train.publish", description="Publish a checkpoint on the Hub.")
    parser.add_argument("folder", type=Path, help="output folder of train.export or train.convert_published")
    parser.add_argument("repository", help="owner/name")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--message", help="commit message")
    given = parser.parse_args(arguments)
    try:
        source = publish(given.folder, given.repository, private=given.private, message=given.message)
    except (WeightsError, ValueError) as error:
        print(f"train.publish: {error}", file=sys.stderr)
        return 1
    described = {"repo_id": source.repo_id, "filename": source.filename, "revision": source.revision}
    print(json.dumps(described))
    return 0


if __name__ == "__main__":
    sys.exit(main())
