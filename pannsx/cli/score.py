"""``pannsx score`` and ``pannsx statistics``: how close generated audio is to real audio."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pannsx.cli.console import FAILED, CommandError, columns, complain, remark
from pannsx.cli.options import (
    add_network_options,
    add_verbosity,
    add_weights_options,
    network_of,
    new_command,
)
from pannsx.cli.outcome import counts
from pannsx.cli.output import Output, add_output, output_of, table_output, text_output, written
from pannsx.cli.parser import Commands
from pannsx.cli.progress import counting
from pannsx.corpus.outputs import OutputError, check_output
from pannsx.errors import WeightsError
from pannsx.table_files import Column

if TYPE_CHECKING:
    from pannsx.scoring import ClipSet, GenerationScorer, GenerationScores, Score

DEFAULT_MODEL = "Cnn14_16k"

_COLUMNS = (
    Column("score"), Column("value", "number"), Column("low", "number"), Column("high", "number"),
    Column("computed_as"),
)  # fmt: skip

_PRESETS = "audioldm_eval, av_bench (of 8 s; av_bench:10 of 10 s), kadtk or pannsx"

_DESCRIPTION = """\
Scores generated audio against real audio: FD (also called FAD), KAD, KID, KL and the inception
score, each with its convention in words and a bootstrap interval. A set is a folder (searched
recursively), a pattern in quotes, statistics (.npz, of `pannsx statistics`), or a cache of another
tool: kadtk's folder embeddings/MODEL, av-benchmark's pann_features.pth.

For KL a generated clip has the name of its reference; several generations of one reference go into
different folders. Both sets must have the same weights and preparation: the resampler alone moves FD
by tens. The preset sets the preparation of a file and, without --convention, the convention of KL;
statistics bring their own.

Silent output can score well, so silent files are listed. FD of few clips is biased upwards, so
compare it at the same number of clips. A file that cannot be read is listed in the report, never
replaced; the exit status is then 1. It is 0 if all files could be read."""

_EXAMPLES = """\
  pannsx score reference/ generated/
  pannsx score 'reference/*.wav' 'generated/*.wav' --preset av_bench -o scores.json
  pannsx statistics reference/ -o reference.npz && pannsx score reference.npz generated/"""

_STATISTICS_DESCRIPTION = """\
Runs a set of clips through the network and stores the statistics that the scores need, for
`pannsx score` in place of the folder. The extension of OUT selects the format:
  .npz  mean, covariance (or the centred embeddings, where there are fewer clips than dimensions),
        logits, names, count, digest of the weights, preparation, version
  .pth  av-benchmark's pann_features.pth
  else  a folder of .npy files, as kadtk's embeddings/MODEL

An existing OUT is replaced only by a complete new one. A file that cannot be read is reported and
left out; the exit status is then 1."""

_STATISTICS_EXAMPLES = """\
  pannsx statistics reference/ -o reference.npz
  pannsx statistics reference/ --preset av_bench -o cache/pann_features.pth"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``score`` and ``statistics`` to the parser."""
    score = new_command(
        commands,
        "score",
        run,
        summary="score generated audio against real audio",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    score.add_argument(
        "reference", metavar="REFERENCE", help="real audio: a folder, a pattern or a ready set"
    )
    score.add_argument("generated", metavar="GENERATED", help="generated audio, in the same forms")
    _add_set_options(score)
    score.add_argument(
        "--convention",
        choices=("exact", "audioldm_eval"),
        help="convention of KL: exact, or with 1e-6 added inside the logarithm (default: the preset's)",
    )
    score.add_argument(
        "--resamples",
        type=_n_resamples,
        default=200,
        metavar="N",
        help="resamples of the bootstrap intervals; 0: no intervals (default: 200)",
    )
    score.add_argument(
        "--infinity", action="store_true", help="also extrapolate FD to infinitely many clips: takes minutes"
    )
    score.add_argument(
        "--seed",
        type=_not_negative,
        default=0,
        metavar="N",
        help="seed of intervals and extrapolation (default: 0)",
    )
    add_output(score, "table", "json", "csv", "tsv")
    score.add_argument(
        "--json", action="store_const", dest="format", const="json", help="the same as --format json"
    )
    statistics = new_command(
        commands,
        "statistics",
        run_statistics,
        summary="store the statistics of a set of clips for score",
        description=_STATISTICS_DESCRIPTION,
        examples=_STATISTICS_EXAMPLES,
    )
    statistics.add_argument("source", metavar="FOLDER", help="a folder (searched recursively) or a pattern")
    statistics.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="OUT",
        help="file or folder to write; missing folders are created",
    )
    _add_set_options(statistics)


def _add_set_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", metavar="PRESET", help=f"preparation of files: {_PRESETS} (default: audioldm_eval)"
    )
    parser.add_argument(
        "--leave-out-silent",
        action="store_true",
        help="keep silent files out of the scores; they are listed in either case",
    )
    add_verbosity(parser)
    add_weights_options(add_network_options(parser, default=DEFAULT_MODEL))


def run(arguments: argparse.Namespace) -> int:
    """Print the scores; the exit status."""
    _check_preset(arguments)
    output = output_of(arguments)
    from pannsx.scoring import score_sets
    from pannsx.scoring.scorer import default_convention, find_clips, read_set
    from pannsx.scoring.scores import check_origins

    with _said():
        reference, generated = read_set(arguments.reference), read_set(arguments.generated)
        for source, ready in ((arguments.reference, reference), (arguments.generated, generated)):
            if ready is None:
                find_clips(source)  # an empty set fails before the work on the other
        if reference is None or generated is None:
            ready = reference or generated
            scorer = _scorer(arguments, ready)
            if ready is not None:
                check_origins(ready.origin, scorer.origin, ready.source, "what these options make")
            reference = reference or _heard(scorer, arguments.reference, arguments)
            generated = generated or _heard(scorer, arguments.generated, arguments)
        else:
            _check_asked(arguments, reference)
        preparation = reference.origin.preparation
        found = score_sets(
            reference,
            generated,
            convention=arguments.convention
            or ("exact" if preparation is None else default_convention(preparation)),
            n_resamples=arguments.resamples,
            infinity=arguments.infinity,
            seed=arguments.seed,
        )
    _write(found, output)
    if not arguments.quiet:
        if output.path is not None:
            remark(written(output.path))
        for clips in (reference, generated):
            if clips.skipped.total() or any(not problem.kept for problem in clips.problems):
                remark(f"{clips.source}: {_counts(clips)}")
    return _status(reference, generated)


def run_statistics(arguments: argparse.Namespace) -> int:
    """Write the statistics; the exit status."""
    _check_preset(arguments)
    from pannsx.scoring import write_av_bench, write_kadtk, write_statistics
    from pannsx.scoring.caches import check_names
    from pannsx.scoring.scorer import find_clips

    output: Path = arguments.output
    is_file = output.suffix in (".npz", ".pth")
    if is_file == output.is_dir() and output.exists():
        kind = "a folder" if is_file else "a file"
        raise CommandError(f"{output} is {kind}; .npz and .pth are files, anything else is a folder")
    try:
        check_output(output, [], is_folder=not is_file)
    except OutputError as error:
        raise CommandError(str(error), FAILED) from error
    write = {".npz": write_statistics, ".pth": write_av_bench}.get(output.suffix, write_kadtk)
    with _said():
        _, inputs = find_clips(arguments.source)
        if write is not write_statistics:
            check_names(arguments.source, [Path(item.name).stem for item in inputs.items])
        clips = _heard(_scorer(arguments, None), arguments.source, arguments)
        try:
            write(output, clips)
        except OSError as error:
            raise CommandError(f"cannot write {output}: {error}", FAILED) from error
    for problem in clips.problems:
        complain(f"{problem.file}: {problem.kind}{'' if problem.kept else ', left out'}: {problem.why}")
    if not arguments.quiet:
        remark(f"{written(output)}: {clips.n_clips} clips, {clips.origin.preparation}; {_counts(clips)}")
    return _status(clips)


def _counts(clips: ClipSet) -> str:
    """How many files of a set are in the scores, and what became of the others."""
    n_failed = sum(problem.kind == "unreadable" for problem in clips.problems)
    n_silent = sum(problem.kind == "silent" and not problem.kept for problem in clips.problems)
    said = counts("heard", clips.n_clips, clips.n_clips + n_failed + n_silent, n_failed, clips.skipped)
    return said + (f", {n_silent} silent left out" if n_silent else "")


def _check_preset(arguments: argparse.Namespace) -> None:
    """A mistyped preset is answered before torch is loaded."""
    if arguments.preset is not None:
        from pannsx.audio.preparation import Preparation

        try:
            Preparation.named(arguments.preset)
        except ValueError as error:
            raise CommandError(str(error)) from error


def _check_asked(arguments: argparse.Namespace, ready: ClipSet) -> None:
    """CommandError if both sets are ready, and an option asks for another network or preparation."""
    from pannsx.audio.preparation import Preparation

    preparation = ready.origin.preparation
    same_model = arguments.model in (None, ready.origin.model) and arguments.checkpoint is None
    same_preset = arguments.preset is None or (
        preparation is not None and not Preparation.named(arguments.preset).differences(preparation)
    )
    if not (same_model and same_preset):
        raise CommandError(
            f"both sets are ready, made with {ready.origin.model}"
            + ("" if preparation is None else f" and {preparation}")
            + "; leave --model, --checkpoint and --preset out, or give the audio"
        )


def _scorer(arguments: argparse.Namespace, ready: ClipSet | None) -> GenerationScorer:
    """The scorer of the options; without ``--model`` or ``--preset``, of the ready set's model or preset."""
    from pannsx.scoring import GenerationScorer

    model = arguments.model
    if model is None and arguments.checkpoint is None:
        model = DEFAULT_MODEL if ready is None or ready.origin.cache else ready.origin.model
    preparation = arguments.preset
    if preparation is None:
        preparation = (None if ready is None else ready.origin.preparation) or "audioldm_eval"
    return GenerationScorer(
        model,
        preparation=preparation,
        silent="leave_out" if arguments.leave_out_silent else "keep",
        **network_of(arguments),
    )


def _heard(scorer: GenerationScorer, source: str, arguments: argparse.Namespace) -> ClipSet:
    with counting(source, quiet=arguments.quiet) as one_more:
        return scorer.clips(source, lambda _: one_more())


@contextmanager
def _said() -> Iterator[None]:
    """Errors of sets as one line."""
    try:
        yield
    except WeightsError:
        raise
    except ValueError as error:
        raise CommandError(str(error), FAILED) from error


def _write(found: GenerationScores, output: Output) -> None:
    if output.form in ("table", "json"):
        with text_output(output) as file:
            print(found.as_json() if output.form == "json" else _report(found), file=file)
        return
    with table_output(output, _COLUMNS) as table:
        for score in found.scores:
            limits = (None, None) if score.interval is None else (score.interval.low, score.interval.high)
            table.write((score.name, score.value, *limits, score.why_not or score.convention))


def _report(found: GenerationScores) -> str:
    lines = columns([*_about(found)])
    rows = [("score", "value", "interval", "computed as")]
    rows += [_row(score) for score in found.scores]
    lines += ["", *columns(rows, right=frozenset({1}))]
    problems = [
        (which, problem.file, problem.kind + ("" if problem.kept else ", left out"), problem.why)
        for which, clips in (("reference", found.reference), ("generated", found.generated))
        for problem in clips.problems
    ]
    if problems:
        lines += ["", *columns([("set", "file", "", "why"), *problems])]
    if found.warnings:
        lines += ["", *(f"note: {warning}" for warning in found.warnings)]
    return "\n".join(lines)


def _about(found: GenerationScores) -> Iterator[tuple[str, str]]:
    origin = found.reference.origin
    for which, clips in (("reference", found.reference), ("generated", found.generated)):
        n_left_out = sum(not problem.kept for problem in clips.problems)
        yield (
            which,
            f"{clips.source}: {clips.n_clips} clips" + (f", {n_left_out} left out" if n_left_out else ""),
        )
    if origin.cache is not None:
        yield (
            "model",
            f"{origin.model}, by the cache of {origin.cache}: weights and preparation are not known",
        )
        return
    yield "model", f"{origin.model}, weights sha256 {str(origin.weights_sha256)[:12]}"
    yield "preparation", str(origin.preparation)


def _row(score: Score) -> tuple[str, str, str, str]:
    if score.value is None:
        return score.name, "-", "", f"not computed: {score.why_not}"
    interval = score.interval
    within = (
        "" if interval is None else f"{interval.low:.4f} to {interval.high:.4f} ({100 * interval.level:g} %)"
    )
    return score.name, f"{score.value:.4f}", within, score.convention


def _status(*sets: ClipSet) -> int:
    unreadable = any(problem.kind == "unreadable" for clips in sets for problem in clips.problems)
    return FAILED if unreadable else 0


def _n_resamples(text: str) -> int:
    n = _not_negative(text)
    if n == 1:
        raise argparse.ArgumentTypeError("one resample has no spread; use 0 for no intervals, or 2 or more")
    return n


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)
