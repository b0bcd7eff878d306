"""``pannsx tag``: the most probable classes of each file."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from pannsx.class_tree import audioset_tree
from pannsx.cli.class_options import add_class_options, check_classes, check_group
from pannsx.cli.console import FAILED, CommandError
from pannsx.cli.options import (
    add_files,
    add_model_options,
    add_selection_options,
    add_verbosity,
    build,
    count,
    new_command,
    probability,
    selection_of,
)
from pannsx.cli.outcome import Outcome
from pannsx.cli.output import TABLE_FORMATS, Output, add_output, output_of
from pannsx.cli.parser import Commands
from pannsx.cli.progress import Progress
from pannsx.cli.tag_formats import Tagging, TaskTags, qualified, tag_writer
from pannsx.corpus.batches import each_answer
from pannsx.corpus.inputs import Item, find_inputs
from pannsx.errors import AudioError
from pannsx.labels import LabelSet
from pannsx.weights.manifest import labels_of

if TYPE_CHECKING:
    from pannsx.results import Tag, TaggingResult
    from pannsx.types import OnProgress, Source

_TOP = 5

_DESCRIPTION = """\
Tags each file: prints the network's most probable classes, most probable first.

Without --output, the results go to standard output, in the order of the files. With it, the
extension selects the format:
  .csv .tsv .parquet .xlsx  a row for each tag: file, onset_s, offset_s, label, mid, probability
  .json .jsonl              an object for each file, with its tags

For a file longer than --window, the probability of a tag is the mean over the windows; the maximum
over the windows stands beside it. A file that cannot be read is reported on standard error and does
not stop the others; the exit status is then 1.

With --head, the tags of a further task follow those of the network, which runs once for all. In
tables, and for --class, its labels are TASK/LABEL."""

_EXAMPLES = """\
  pannsx tag street.mp3
  pannsx tag night.flac --start 0.5 --duration 0.25 --channel 0
  pannsx tag recordings/ 'archive/**/*.flac' --model Cnn14 --top 10
  pannsx tag street.mp3 --leaves --group
  pannsx tag night.flac --class 'all birds' --threshold 0.1
  pannsx tag recordings/ --threshold 0.5 -o tags.csv
  pannsx tag recordings/ --wide -o tags.xlsx
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
        help=f"tags per file (default: {_TOP}; with --class, all of these; with --threshold, all that reach "
        "it)",
    )
    parser.add_argument(
        "-t", "--threshold", type=probability, metavar="P", help="only tags of at least this probability"
    )
    add_class_options(parser)
    add_output(parser, "table", *TABLE_FORMATS)
    parser.add_argument(
        "--wide",
        action="store_true",
        help="a row for each file with a column for each label, by default all of them; `pannsx labels` has "
        "their MIDs, and so have .parquet (metadata of the fields) and .xlsx (second sheet)",
    )
    add_verbosity(parser)
    add_selection_options(parser)
    add_model_options(parser)
    parser.add_argument(
        "--head",
        dest="heads",
        action="append",
        metavar="PATH",
        help="checkpoint of a further task that was trained on this network frozen, as by `pannsx finetune "
        "--adapt head`; may be given several times. The default network is then the base of the first one",
    )


def run(arguments: argparse.Namespace) -> int:
    """Tag the files; returns the exit status."""
    inputs = find_inputs(arguments.files)
    output = _output(arguments, inputs.items)
    outcome = Outcome(inputs, "tagged", quiet=arguments.quiet)
    if not inputs.items:
        return outcome.close()

    from pannsx.tagger import AudioTagger

    tagger = build(AudioTagger, arguments, heads=arguments.heads)
    threshold = arguments.threshold or 0.0
    is_short = arguments.threshold is None and arguments.classes is None and not arguments.wide
    labels = labels_of(tagger.record)
    mids = dict(zip(labels.names, labels.ids or (), strict=labels.ids is not None))
    of_tasks = {task: {qualified(task, label): label for label in of} for task, of in tagger.tasks.items()}
    known = LabelSet((*labels, *chain(*of_tasks.values()))) if of_tasks else labels
    check_classes(arguments, known)
    n_tags = arguments.top or (_TOP if is_short else len(known))
    chosen = [known[i] for i in known.select(arguments.classes or known)]
    tagging = Tagging(
        tagger.record.name, threshold, chosen, mids, arguments.window, arguments.group, arguments.start
    )
    own = _Top.of(arguments, n_tags, chosen, {label: label for label in labels})
    tops = {task: _Top.of(arguments, n_tags, chosen, of) for task, of in of_tasks.items()}

    selection = asdict(selection_of(arguments))

    def analyse(sources: list[Source], on_progress: OnProgress) -> Iterator[TaggingResult]:
        return tagger.iter_inference(sources, **selection, on_progress=on_progress)

    with tag_writer(output, tagging, wide=arguments.wide) as writer:
        with Progress(
            inputs.items, quiet=arguments.quiet, start_s=arguments.start, duration_s=arguments.duration
        ) as progress:
            for item, answer in each_answer(inputs.items, analyse, progress):
                with progress.writing():
                    if isinstance(answer, AudioError):
                        outcome.failed(item.name, answer)
                    else:
                        outcome.n_done += 1
                        tasks = [TaskTags(task, r, tops[task](r)) for task, r in answer.tasks.items()]
                        writer.write(item.name, answer, own(answer), tasks)
        if outcome.n_done == 0 and output.path is not None:
            raise CommandError(f"no file could be read; {output.path} is not written", FAILED)
    return outcome.close(output.path)


class _Top(NamedTuple):
    """Which tags of a result are written."""

    n_tags: int
    threshold: float | None
    classes: list[str] | None  # of this task; None: all
    leaves: bool

    @classmethod
    def of(
        cls, arguments: argparse.Namespace, n_tags: int, chosen: Collection[str], of: Mapping[str, str]
    ) -> _Top:
        """Of a task with these labels, by their names in tables."""
        classes = None if arguments.classes is None else [of[name] for name in of if name in chosen]
        # Labels outside AudioSet's tree have no parents to hide.
        leaves = arguments.leaves and any(label in audioset_tree() for label in of.values())
        return cls(n_tags, arguments.threshold, classes, leaves)

    def __call__(self, result: TaggingResult) -> list[Tag]:
        if self.classes == []:
            return []
        return result.top(self.n_tags, threshold=self.threshold, classes=self.classes, leaves=self.leaves)


def _output(arguments: argparse.Namespace, items: list[Item]) -> Output:
    output = output_of(arguments, items)
    if arguments.wide and output.form == "table":
        raise CommandError("--wide needs a table for programs: give --output or --format, such as csv")
    check_group(arguments, output.form)
    return output
