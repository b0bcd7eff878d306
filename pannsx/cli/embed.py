"""``pannsx embed``: embeddings of audio files, in one output file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pannsx.atomic import replacing
from pannsx.cli.console import FAILED, CommandError
from pannsx.cli.options import (
    add_files,
    add_model_options,
    add_selection_options,
    add_verbosity,
    build,
    new_command,
    selection_of,
)
from pannsx.cli.outcome import Outcome
from pannsx.cli.parser import Commands
from pannsx.cli.progress import Progress
from pannsx.corpus.batches import each_answer
from pannsx.corpus.inputs import Item, find_inputs
from pannsx.corpus.outputs import OutputError, check_output
from pannsx.errors import AudioError

if TYPE_CHECKING:
    from pannsx.audio import Selection
    from pannsx.corpus.embedding_files import Origin
    from pannsx.features import FeatureExtractor
    from pannsx.tagger import AudioTagger
    from pannsx.types import OnProgress, Source

    Analyse = Callable[[list[Source], OnProgress], Iterable[Any]]

SUFFIXES = (".npz", ".parquet", ".csv")

_DESCRIPTION = """\
Writes an embedding of each file to one output file. An embedding is the layer before the network's
classifier: features for search, for clustering, or for a classifier of your own. With --frames,
every frame has an embedding, with its time.

The extension of OUT selects the format:
  .npz      files (N,), embeddings (N, D), model, weights (their digest), normalised, sample_rate;
            read it with numpy.load. With --frames: embeddings (M, D) of all files in order,
            times_s (M,), file_index (M,) into files, and hop_s
  .parquet  columns id, path, offset_s, duration_s, with --frames time_s, and embedding, a list of
            fixed size; model, weights, normalised and sample_rate as metadata, with --frames hop_s.
            For pandas, polars, DuckDB and others. Needs pip install "pannsx[parquet]"
  .csv      columns file, with --frames time_s, then e0 to e(D-1)

An existing OUT is replaced only by a complete new one. A file that cannot be read is reported on
standard error and left out; the exit status is then 1."""

_EXAMPLES = """\
  pannsx embed clips/*.wav -o clips.npz
  pannsx embed recordings/ --model Cnn14 -o recordings.parquet
  pannsx embed lecture.flac --frames -o lecture.csv"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``embed`` to the parser."""
    parser = new_command(
        commands,
        "embed",
        run,
        summary="write embeddings of audio files to a file",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    add_files(parser)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=_output,
        metavar="OUT",
        help=f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file to write; missing folders are created",
    )
    parser.add_argument("--frames", action="store_true", help="one embedding per frame, with its time")
    parser.add_argument(
        "--normalise",
        "--normalize",
        action="store_true",
        help="scale each embedding to the length 1, so that a product of two is the cosine between them",
    )
    add_verbosity(parser)
    add_selection_options(parser)
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Embed the files; returns the exit status."""
    output: Path = arguments.output
    if output.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise CommandError('writing .parquet needs pyarrow: pip install "pannsx[parquet]"', FAILED)
    inputs = find_inputs(arguments.files)
    outcome = Outcome(inputs, "embedded", quiet=arguments.quiet)
    if not inputs.items:
        return outcome.close()

    try:
        check_output(output, inputs.items)
        with replacing(output) as temporary:
            temporary.touch()  # an unwritable place fails before the work, not after it
            _write(inputs.items, temporary, outcome, arguments)
            if outcome.n_done == 0:
                raise CommandError(f"no file could be read; {output} is not written", FAILED)
    except OutputError as error:
        raise CommandError(str(error), FAILED) from error
    except OSError as error:
        raise CommandError(f"cannot write {output}: {error}", FAILED) from error
    return outcome.close(output)


def _write(items: list[Item], temporary: Path, outcome: Outcome, arguments: argparse.Namespace) -> None:
    """Embed the items into a file."""
    from pannsx.corpus.embedding_files import WRITERS, Embedded, unit_length
    from pannsx.features import FeatureExtractor
    from pannsx.tagger import AudioTagger

    tagger = build(AudioTagger, arguments)
    extractor = FeatureExtractor(tagger, window_s=arguments.window, overlap_s=arguments.overlap)
    selection = selection_of(arguments)
    analyse: Analyse = _frames(extractor, selection) if arguments.frames else _clips(tagger, selection)
    origin = _origin(extractor, arguments)
    with (
        WRITERS[arguments.output.suffix.lower()](temporary, origin) as writer,
        Progress(
            items, quiet=arguments.quiet, start_s=arguments.start, duration_s=arguments.duration
        ) as progress,
    ):
        for item, answer in each_answer(items, analyse, progress):
            if isinstance(answer, AudioError):
                with progress.writing():
                    outcome.failed(item.name, answer)
                continue
            found: Embedded = answer._replace(
                name=item.name,
                offset_s=arguments.start,
                is_whole=not arguments.start and arguments.duration is None,
            )
            if arguments.normalise:
                found = found._replace(embeddings=unit_length(found.embeddings))
            writer.write(found)
            outcome.n_done += 1


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(
            f"{text!r} ends in {path.suffix!r}; {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} is needed"
        )
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; name a file")
    return path


def _clips(tagger: AudioTagger, selection: Selection) -> Analyse:
    from pannsx.corpus.embedding_files import Embedded

    def analyse(sources: list[Source], on_progress: OnProgress) -> Iterator[Embedded]:
        for found in tagger.iter_inference(sources, **asdict(selection), on_progress=on_progress):
            yield Embedded("", found.embedding[None], 0.0, found.duration_s)

    return analyse


def _frames(extractor: FeatureExtractor, selection: Selection) -> Analyse:
    from pannsx.corpus.embedding_files import Embedded

    def analyse(sources: list[Source], on_progress: OnProgress) -> Iterator[Embedded]:
        for found in extractor.extract_frames(sources, **asdict(selection), on_progress=on_progress):
            yield Embedded("", found.embeddings, 0.0, None, found.times_s)

    return analyse


def _origin(extractor: FeatureExtractor, arguments: argparse.Namespace) -> Origin:
    from pannsx.corpus.embedding_files import Origin

    return Origin(
        model=extractor.record.name,
        weights=extractor.weights_digest or "",
        sample_rate=extractor.sample_rate,
        embedding_size=extractor.embedding_size,
        hop_s=extractor.hop_s if arguments.frames else None,
        normalised=arguments.normalise,
    )
