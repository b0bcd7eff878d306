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
from pannsx.integrations.hub import upload
from pannsx.weights.record import HubSource


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
    record = weights.load(checkpoint=folder).record
    return upload(folder, repo_id, record, private=private, message=message)


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
