"""The journal of ``pannsx events``: its place, and the settings its results depend on."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pannsx.cli.console import FAILED, CommandError
from pannsx.weights.digests import file_digest

if TYPE_CHECKING:
    from pannsx.corpus.journal import Journal
    from pannsx.events import EventDetector
    from pannsx.tagger import AudioTagger

_JOURNAL = ".journal"

# Options that change neither the events nor how a file is recognised. All others, later ones included, count.
_WITHOUT_INFLUENCE = {
    "run", "files", "output", "format", "keep_folders", "quiet", "verbose", "leaves", "group", "device",
    "cache_dir", "allow_unverified",
}  # fmt: skip


def journal_path(output: Path) -> Path:
    """The journal beside an output."""
    output = output if output.name else output.absolute()
    return output.with_name(output.name + _JOURNAL) if output.name else output / _JOURNAL


def open_journal(arguments: argparse.Namespace, tagger: AudioTagger, detector: EventDetector) -> Journal:
    """The journal beside the output, resumed if its settings are the same; CommandError if they are not."""
    from pannsx.corpus.journal import Journal, JournalError

    try:
        return Journal(journal_path(arguments.output), _settings(arguments, tagger, detector))
    except JournalError as error:
        raise CommandError(str(error), FAILED) from error


def _settings(arguments: argparse.Namespace, tagger: AudioTagger, detector: EventDetector) -> dict[str, Any]:
    """Everything the events depend on, apart from the files: all options but those without influence."""
    from pannsx.version import __version__
    from pannsx.weights.local import digest_of_weights

    options = {name: value for name, value in vars(arguments).items() if name not in _WITHOUT_INFLUENCE}
    thresholds, smoothing = (
        hashlib.sha256(b"".join(each.tobytes() for each in arrays)).hexdigest()
        for arrays in (detector.thresholds, detector.smoothing)
    )
    contents = {
        name: file_digest(Path(path), "sha256")
        for name in ("super_classes", "operating_points")
        if (path := options.get(name)) is not None
    }
    return {
        **{name: str(value) if isinstance(value, Path) else value for name, value in options.items()},
        **contents,
        "version": __version__,
        "model": tagger.record.name,
        "weights": digest_of_weights(
            tagger.record,
            given=Path(arguments.checkpoint) if arguments.model and arguments.checkpoint else None,
            cache_dir=arguments.cache_dir,
        ),
        "hop": detector.hop_s,
        "labels": list(detector.labels),
        "thresholds": thresholds,
        "smoothing": smoothing,
        "both-ends": detector.both_ends,
    }
