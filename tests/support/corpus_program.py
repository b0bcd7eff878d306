"""A program that runs a stage without a network, to be killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from corpus_stages import StubStage, run_stub

from pannsx.corpus import Progress


def main(arguments: list[str]) -> None:
    """Run a stub as a program that says what is done: ``MANIFEST OUTPUT OPTIONS``, the last as JSON."""
    manifest, output = map(Path, arguments[:2])
    options = json.loads(arguments[2])
    if (limit := options.pop("file_limit", None)) is not None:
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    memory = options.pop("memory", None)
    stage = StubStage(options.pop("does", None), memory and Path(memory))

    def say(progress: Progress) -> None:
        print(progress.n_done, flush=True)  # noqa: T201

    run_stub(manifest, output, stage, on_progress=say, **options)


if __name__ == "__main__":
    main(sys.argv[1:])
