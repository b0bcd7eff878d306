"""``pannsx corpus``: a table of any number of recordings, resumable."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pannsx.cli.console import FAILED, CommandError, caution, remark
from pannsx.cli.options import (
    add_channel_options,
    add_model_options,
    add_verbosity,
    build,
    count,
    new_command,
    positive,
)
from pannsx.cli.parser import Commands
from pannsx.corpus.schema import OUTPUTS, check_outputs
from pannsx.corpus.sinks import LANCE_TABLE, SINKS
from pannsx.readable import duration, file_size

if TYPE_CHECKING:
    from pannsx.corpus.local import Summary
    from pannsx.corpus.run import Progress

ENGINES = ("local", "ray")
_SAID_EVERY_S = 60.0  # where there is no terminal, as in the log of a batch job

_DESCRIPTION = """\
Writes a table with a row for each recording of a corpus, of any size: its most probable classes, its
embedding, its events. The table is a folder of files, part-*.parquet, which DuckDB, pandas, polars
and Spark read as one.

MANIFEST is an audio file, a folder (searched recursively), a pattern, or by its extension:
  .jsonl .json  an object in each line with audio_filepath (or path), and for a part of a file offset
                and duration in seconds, as in NeMo's manifests; or a MonoCut of Lhotse; also with .gz
  .parquet      the same as columns; or recordings in a column of bytes, as in Hugging Face datasets
  .tar          a WebDataset shard; recordings are read in place, without unpacking
A pattern may have braces, as in 'shard-{000..127}.tar'; every name that they give must exist.
Relative paths in a manifest are relative to its folder. A row may have an id; otherwise its path and
part are its id.

A recording that cannot be read is a row with the status "error" and the reason. An interrupted run
continues with --resume; each recording is in the table once. It must have the settings, weights and
manifest of the first run. The exit status is 0 if every recording has its row, unless all of them
failed.
Needs pip install "pannsx[parquet]\""""

_EXAMPLES = """\
  pannsx corpus recordings/ -o table/
  pannsx corpus manifest.jsonl -o table-events/ --outputs tags,embedding,events --resume
  pannsx corpus 'shards/*.tar' -o table-shards/ --float16
  pannsx corpus archive/ -o table-minutes/ --split 60
  pannsx corpus manifest.jsonl -o table-shared/ --shard 3/64 --resume"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``corpus`` to the parser."""
    parser = new_command(
        commands,
        "corpus",
        run,
        summary="write a table of any number of recordings, resumable",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST", help="recordings, or lists of them")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="DIR", help="folder of the table; it is created"
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="local: worker processes on this machine; ray: Ray, on its cluster or here (default: local)",
    )
    parser.add_argument(
        "--outputs",
        type=_outputs,
        default=("tags", "embedding"),
        metavar="LIST",
        help=f"columns to compute, of {', '.join(OUTPUTS)} (default: tags,embedding)",
    )
    parser.add_argument(
        "--format",
        choices=tuple(SINKS),
        default="parquet",
        help="format of the table; lance: a dataset, table.lance (default: parquet)",
    )
    parser.add_argument(
        "-n", "--top", type=count, default=10, metavar="N", help="number of tags (default: 10)"
    )
    parser.add_argument(
        "--float16", action="store_true", help="embeddings in float16: half the size, three digits"
    )
    parser.add_argument(
        "--split",
        type=positive,
        metavar="S",
        help="a row for each S seconds of a recording, with the same id and its offset_s; at most 300",
    )
    work = parser.add_argument_group("run")
    work.add_argument("--resume", action="store_true", help="continue the run in DIR, if there is one")
    work.add_argument(
        "--retry-failed", action="store_true", help="try recordings that failed again; also resumes"
    )
    work.add_argument(
        "--shard",
        type=_shard,
        default=(0, 1),
        metavar="I/N",
        help="do only share I, from 0, of N; all may write to one DIR at the same time",
    )
    work.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="processes that each have a network (default: one on a GPU, otherwise one for every four "
        "processors); with Ray, the maximum number of its actors",
    )
    work.add_argument(
        "--gpus",
        type=positive,
        metavar="N",
        help="with Ray, GPUs of an actor, which takes the same share of the processors; 0.5: two share one "
        "(default: none)",
    )
    add_verbosity(parser)
    add_channel_options(parser.add_argument_group("audio"))
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the table; returns the exit status."""
    if arguments.engine == "ray" and arguments.shard != (0, 1):
        raise CommandError("--shard is not for --engine ray; leave it out, or use --engine local")
    if arguments.engine != "ray" and arguments.gpus is not None:
        raise CommandError("--gpus is for --engine ray; elsewhere --device chooses the GPU")
    from pannsx.corpus.local import process
    from pannsx.corpus.manifest import ManifestError
    from pannsx.corpus.parts import RunError
    from pannsx.corpus.stage import Stage

    try:
        settings = {
            "outputs": arguments.outputs,
            "top_k": arguments.top,
            "split_s": arguments.split,
            "embedding_dtype": "float16" if arguments.float16 else "float32",
            "channel": arguments.channel,
            "salvage": arguments.salvage,
        }
        stage = build(partial(Stage, **settings), arguments)
        with _progress(quiet=arguments.quiet) as on_progress:
            how: dict[str, Any] = {
                "stage": stage,
                "table": arguments.format,
                "resume": arguments.resume,
                "retry_failed": arguments.retry_failed,
                "on_progress": on_progress,
            }
            if arguments.engine == "ray":
                from pannsx.corpus.ray import run as run_on_ray

                how |= {"actors": arguments.workers, "num_gpus": arguments.gpus or 0.0}
                summary = run_on_ray(arguments.manifests, arguments.output, **how)
            else:
                how |= {"workers": arguments.workers, "shard": arguments.shard}
                summary = process(arguments.manifests, arguments.output, **how)
    except KeyboardInterrupt:
        caution(f"interrupted; what is done is in {arguments.output}, and --resume goes on with it")
        raise
    except (ManifestError, RunError, ImportError) as error:
        raise CommandError(str(error), FAILED) from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    _say(summary, arguments)
    return FAILED if summary.n_failed and summary.n_failed >= summary.n_rows else 0


def _say(summary: Summary, arguments: argparse.Namespace) -> None:
    """The closing lines."""
    for path, reason in summary.damaged:
        caution(f"{path.name[1:].removesuffix('.damaged')} was damaged ({reason}) and is made again")
    if arguments.quiet:
        return
    if summary.skipped:
        reasons = ", ".join(f"{n} {reason}" for reason, n in summary.skipped.items())
        remark(f"{summary.skipped.total()} files and folders were passed over: {reasons}")
    files = (*summary.path.glob("part-*"), *summary.path.glob(f"{LANCE_TABLE}/**/*"))
    size = sum(path.stat().st_size for path in files if path.is_file())
    n_new = summary.n_rows - summary.n_before
    speed = f", {summary.audio_s / summary.took_s:,.0f} s of audio a second" if summary.audio_s else ""
    before = f", {summary.n_before:,} of them before" if summary.n_before else ""
    failed = f', {summary.n_failed:,} failed (status "error")' if summary.n_failed else ""
    new = [f"{n_new:,}"] if n_new or not summary.n_retried else []
    new += [f"{summary.n_retried:,} tried again"] if summary.n_retried else []
    share = f" of share {arguments.shard[0]}/{arguments.shard[1]}" if arguments.shard[1] > 1 else ""
    remark(
        f"wrote {summary.path} ({summary.n_parts} part{'s' * (summary.n_parts != 1)}, {file_size(size)}): "
        f"{summary.n_rows:,} rows{share}{before}{failed}; "
        f"{' and '.join(new)} in {duration(summary.took_s)}{speed}"
    )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A bar on a terminal, otherwise a line a minute: rows, time left, rows and audio a second."""
    if quiet:
        yield None
        return
    begin = time.monotonic()
    first: list[int] = []

    def speeds(progress: Progress) -> tuple[float, float]:
        took_s = max(time.monotonic() - begin, 1e-3)
        return (progress.n_done - first[0]) / took_s, progress.audio_s / took_s

    if not sys.stderr.isatty():
        said = begin

        def say(progress: Progress) -> None:
            nonlocal said
            first[:] = first or [progress.n_done]
            if time.monotonic() - said < _SAID_EVERY_S:
                return
            said = time.monotonic()
            rows_s, audio_s = speeds(progress)
            left = f", {duration((progress.n_rows - progress.n_done) / rows_s)} left" if rows_s else ""
            remark(
                f"{progress.n_done:,} of {progress.n_rows:,} rows, {progress.n_failed:,} failed{left}, "
                f"{rows_s:,.1f} rows and {audio_s:,.0f} s of audio a second"
            )

        yield say
        return
    from tqdm import tqdm

    with tqdm(unit=" rows", file=sys.stderr, leave=False, smoothing=0.1) as bar:

        def draw(progress: Progress) -> None:
            if not first:
                first.append(progress.n_done)
                bar.reset(total=progress.n_rows)
                bar.initial = bar.n = progress.n_done
            bar.set_postfix_str(
                f"{speeds(progress)[1]:,.0f} s of audio a second, {progress.n_failed:,} failed", refresh=False
            )
            bar.update(progress.n_done - bar.n)

        yield draw


def _outputs(text: str) -> Any:
    try:
        return check_outputs([part for part in text.split(",") if part])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _shard(text: str) -> tuple[int, int]:
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; 0/8 to 7/8 are those of eight")
    return int(i), int(n)
