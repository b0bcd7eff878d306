"""``pannsx verify``: compare weights with their published digests and scores."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from pannsx.cli.console import FAILED, CommandError, columns, complain, complain_of
from pannsx.cli.options import MODEL_HELP, add_cache_dir, add_hub_options, new_command, record_named
from pannsx.cli.parser import Commands
from pannsx.errors import AudioError
from pannsx.weights.local import VerifyReport, verify
from pannsx.weights.naming import kind_of
from pannsx.weights.record import Checkpoint, Example

SCORE_TOLERANCE = 0.005
"""Greatest allowed difference from a published probability: 0.0005 of it for rounding to three decimals, the
rest for other decoders, resamplers and convolutions; a wrong front end or layer moves scores by far more."""

_DESCRIPTION = f"""\
Hashes the weights on this computer again and compares size and digest with the published ones.
With an audio file (the clip with published scores; `pannsx info NAME` names it), computes its
scores and compares them label by label, with a tolerance of {SCORE_TOLERANCE}.

The findings go to standard output. The exit status is 0 if everything is as published, and 1 if
anything differs, if no digest is known, or if the weights are not on this computer. Nothing is
fetched."""

_EXAMPLES = """\
  pannsx verify Cnn14
  pannsx verify Cnn14 R9_ZSCveAHg_7s.wav
  pannsx verify Cnn10 --checkpoint downloads/Cnn10_mAP=0.380.pth
  pannsx verify my_checkpoint.json          a checkpoint of your own, by its record
  pannsx verify owner/name                  the downloaded files of a repository on the Hub"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``verify`` to the parser."""
    parser = new_command(
        commands,
        "verify",
        run,
        summary="check weights against their published digests and scores",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("model", metavar="NAME", help=MODEL_HELP)
    parser.add_argument("audio", nargs="?", metavar="AUDIO", help="the clip with published scores")
    parser.add_argument(
        "--checkpoint", metavar="PATH", help="check this file instead of the one in the caches"
    )
    add_cache_dir(parser)
    add_hub_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the digests, and the scores if there is audio; returns the exit status."""
    record = record_named(arguments, fetch=False)
    example = record.example
    if arguments.audio is not None and example is None:
        raise CommandError(f"no scores of a clip are published for {record.name}; leave AUDIO out")
    if arguments.checkpoint is not None and record.folder is not None:
        raise CommandError(f"the record of {record.name} names its file itself; leave --checkpoint out")
    if arguments.checkpoint is None:
        report = verify(record, cache_dir=arguments.cache_dir)
    else:
        report = _verify_file(record, Path(arguments.checkpoint))
    _print_report(report)
    if report.ok is False or arguments.audio is None or example is None:
        return 0 if report.ok else FAILED
    try:
        if record.folder is None:
            scores_ok = _compare_scores(record.name, report.path, example, arguments.audio)
        else:  # by its record, so that its own labels are used
            own = record.folder if kind_of(arguments.model) == "repository" else arguments.model
            scores_ok = _compare_scores(None, own, example, arguments.audio)
    except AudioError as error:
        complain_of(arguments.audio, error)
        return FAILED
    return 0 if report.ok and scores_ok else FAILED


def _verify_file(record: Checkpoint, path: Path) -> VerifyReport:
    """The report on this file, as if it lay beside a record of its own: that place is searched first."""
    if not path.is_file():
        raise CommandError(f"there is no file {str(path)!r}; check the path", FAILED)
    return verify(replace(record, filename=path.name, folder=path.parent))


def _print_report(report: VerifyReport) -> None:
    print(f"{report.name}: {report.path}")
    size, digest = report.expected_size_bytes, report.expected_digest
    rows = [
        (
            "  size",
            f"{report.size_bytes:,} bytes",
            _verdict(size == report.size_bytes, None if size is None else f"{size:,} bytes"),
        ),
        (
            f"  {report.digest.algorithm}",
            report.digest.hexdigest,
            _verdict(digest == report.digest, None if digest is None else digest.hexdigest),
        ),
    ]
    print("\n".join(columns(rows)))
    if report.ok is None:
        complain(
            f"no digest of {report.name} is known, so this file cannot be compared with the published one"
        )
    elif not report.ok:
        complain(f"{report.path} is not the file that its record describes; fetch it again")


def _verdict(same: bool, expected: str | None) -> str:
    if expected is None:
        return "(none on record)"
    return "as on record" if same else f"DIFFERS: {expected} on record"


def _compare_scores(model: str | None, checkpoint: str | Path, example: Example, audio: str) -> bool:
    from pannsx.tagger import AudioTagger

    tagger = AudioTagger(model, checkpoint=checkpoint)
    result = tagger.inference(audio, framewise=False)
    rows = [("label", "published", "here", "")]
    n_different = 0
    for label, published in example.top.items():
        here = result.probability(label)
        same = abs(here - published) <= SCORE_TOLERANCE
        n_different += not same
        rows.append((label, f"{published:.3f}", f"{here:.3f}", "ok" if same else "DIFFERS"))
    print(f"\n{audio} against the published scores of {example.file}, tolerance {SCORE_TOLERANCE}:")
    print("\n".join("  " + line for line in columns(rows, right=frozenset({1, 2}))))
    if n_different:
        complain(
            f"{n_different} of {len(example.top)} scores differ; is {audio} the published {example.file}?"
        )
    return n_different == 0
