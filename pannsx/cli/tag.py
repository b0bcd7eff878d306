"""``pannsx tag``: the most probable classes of each file."""

from __future__ import annotations

import argparse
import sys

from pannsx.cli.options import (
    add_files,
    add_format,
    add_model_options,
    add_quiet,
    build,
    count,
    named,
    new_command,
    probability,
)
from pannsx.cli.outcome import Outcome
from pannsx.cli.parser import Commands
from pannsx.cli.progress import Progress
from pannsx.cli.tag_formats import WRITERS
from pannsx.corpus.batches import each_answer
from pannsx.corpus.inputs import find_inputs
from pannsx.errors import AudioError

_TOP = 5

_DESCRIPTION = """\
Tags each file: prints the network's most probable classes, most probable first.

Results go to standard output, in the order of the files. A file that cannot be read is reported on
standard error and does not stop the others; the exit status is then 1. With several files, the last
line on standard error counts them: tagged, failed, and skipped (hidden, not named as audio, given or
linked twice)."""

_EXAMPLES = """\
  pannsx tag street.mp3
  pannsx tag recordings/ 'archive/**/*.flac' --model Cnn14 --top 10
  pannsx tag *.wav --threshold 0.5 --format csv > tags.csv
  ffmpeg -i film.mkv -f wav - | pannsx tag - --format json"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``tag`` to the parser."""
    parser = new_command(
        commands,
        "tag",
        run,
        summary="tag audio files",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    add_files(parser)
    parser.add_argument(
        "-n",
        "--top",
        type=count,
        metavar="N",
        help=f"tags per file (default: {_TOP}; with --threshold, all that reach it)",
    )
    parser.add_argument(
        "-t", "--threshold", type=probability, metavar="P", help="only tags of at least this probability"
    )
    add_format(parser, *WRITERS)
    add_quiet(parser)
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Tag the files; returns the exit status."""
    if arguments.model is not None:
        named(arguments.model)  # a mistyped name fails before torch is loaded
    inputs = find_inputs(arguments.files)
    outcome = Outcome(inputs, "tagged", quiet=arguments.quiet)
    if not inputs.items:
        return outcome.close()

    from pannsx.tagger import AudioTagger

    tagger = build(AudioTagger, arguments)
    threshold = arguments.threshold or 0.0
    n_tags = arguments.top or (_TOP if arguments.threshold is None else len(tagger.labels))
    writer = WRITERS[arguments.format](sys.stdout, tagger.record.name, threshold)
    with Progress(inputs.items, quiet=arguments.quiet) as progress:
        for item, answer in each_answer(inputs.items, tagger.iter_inference, progress):
            with progress.writing():
                if isinstance(answer, AudioError):
                    outcome.failed(item.name, answer)
                else:
                    outcome.n_done += 1
                    tags = [tag for tag in answer.top(n_tags) if tag.probability >= threshold]
                    writer.write(item.name, answer.duration_s, tags)
    writer.close()
    return outcome.close()
