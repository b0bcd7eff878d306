"""``pannsx calibrate``: a threshold for each class, from recordings with reference annotations."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pannsx.cli.console import FAILED, CommandError, columns, complain, complain_of, remark
from pannsx.cli.event_options import add_hop
from pannsx.cli.options import add_model_options, add_verbosity, build, new_command
from pannsx.cli.outcome import Outcome
from pannsx.cli.output import written
from pannsx.cli.parser import Commands
from pannsx.cli.progress import Progress
from pannsx.corpus.inputs import Item, find_inputs
from pannsx.corpus.outputs import OutputError, check_output
from pannsx.errors import AudioError
from pannsx.weights.naming import kind_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pannsx.events import Event, OperatingPoints
    from pannsx.inference.fine_frames import FrameReader
    from pannsx.types import FloatArray

T = TypeVar("T")

TRUTH_FORMATS = ("tsv", "csv", "json", "jsonl", "rttm", "audacity", "raven", "jams", "parquet", "xlsx")
_NAMED = 3  # recordings named in an error

_DESCRIPTION = """\
Finds a threshold for each class on recordings with reference annotations: the one with the best
F1, or with a wanted precision. The thresholds are written as JSON beside the checkpoint (or in the
cache, for one of `pannsx models`). `pannsx events` and result.events() use them from then on,
unless a threshold is given.

TRUTH holds the annotations. Strong labels give each event with onset and offset, in any format
that `pannsx events` writes, or in BirdNET's selection tables or CSV; a folder may hold one file for
each recording. Thresholds are then fitted on frames. Weak labels give only the classes
in each recording, as DESED's table (filename, event_labels); thresholds are then fitted on
recordings, each with the greatest probability of its frames.

With --whole-events, hysteresis and smoothing of each class are chosen too, by the F1 of events
whose onset and offset are right.

TRUTH and the FILEs must cover the same recordings; they are matched by name. Classes missing from
TRUTH keep the threshold 0.5."""

_EXAMPLES = """\
  pannsx calibrate truth.tsv recordings/
  pannsx calibrate truth.jams night.flac --wanted-precision 0.9
  pannsx calibrate truth.tsv recordings/ --whole-events --hop 0.16
  pannsx calibrate weak.tsv clips/*.wav --model Cnn14 -o cnn14_points.json"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``calibrate`` to the parser."""
    parser = new_command(
        commands,
        "calibrate",
        run,
        summary="find event thresholds on annotated recordings",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("truth", metavar="TRUTH", type=Path, help="reference annotations of the recordings")
    parser.add_argument("files", nargs="+", metavar="FILE", help="the recordings, or folders of them")
    parser.add_argument(
        "--wanted-precision", type=_share, metavar="P", help="precision to reach (default: best F1)"
    )
    parser.add_argument(
        "--whole-events",
        action="store_true",
        help="choose hysteresis and smoothing of each class, too, by the F1 of whole events",
    )
    parser.add_argument(
        "--truth-format", choices=TRUTH_FORMATS, help="format of TRUTH (default: by its extension)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PATH", help="file to write (default: beside the checkpoint)"
    )
    add_hop(parser)
    add_verbosity(parser)
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Calibrate; returns the exit status."""
    inputs = find_inputs(arguments.files)
    outcome = Outcome(inputs, "used", quiet=arguments.quiet)
    items = inputs.items
    if inputs.problems:
        return FAILED
    if arguments.output is None and arguments.model is not None and kind_of(arguments.model) == "repository":
        raise CommandError(
            f"thresholds cannot be written beside the weights of the repository {arguments.model}; choose a "
            "path with --output, for --operating-points of `pannsx events`"
        )
    if not arguments.truth.exists():
        raise CommandError(f"there is no file or folder {str(arguments.truth)!r}; check the path", FAILED)

    from pannsx.events import write_operating_points
    from pannsx.inference.fine_frames import FrameReader
    from pannsx.tagger import AudioTagger
    from pannsx.weights import operating_points_path

    tagger = build(AudioTagger, arguments)
    output: Path = arguments.output or operating_points_path(tagger.record, arguments.checkpoint)
    try:
        check_output(output, items)
    except OutputError as error:
        raise CommandError(f"{error}; choose another path with --output", FAILED) from error
    try:
        reader = FrameReader(tagger, arguments.hop)
        points = _calibrated(arguments, items, reader, tagger.record.name)
    except AudioError:
        raise
    except ValueError as error:
        raise CommandError(str(error)) from error
    if points is None:
        return FAILED
    n_files = f"{len(items)} recording" + ("s" if len(items) > 1 else "")
    points = replace(points, data=f"{n_files}, {arguments.truth.name}", weights_sha256=tagger.record.sha256)
    try:
        write_operating_points(points, output)
    except OSError as error:
        raise CommandError(
            f"cannot write {output}: {error}; choose another path with --output", FAILED
        ) from error
    print("\n".join(_table(points)))
    if not arguments.quiet:
        remark(f"{written(output)}: {points.rule}, {len(points.points)} classes")
    outcome.n_done = len(items)
    return outcome.close()


def _calibrated(
    arguments: argparse.Namespace, items: list[Item], reader: FrameReader, model: str
) -> OperatingPoints | None:
    """Operating points from all recordings; None, after a message, if one cannot be read."""
    import numpy as np

    from pannsx.events import Annotated, calibrate, frame_edges, frame_targets, tune_events
    from pannsx.events.formats import read_events
    from pannsx.events.formats.weak_labels import are_weak, read_weak_labels
    from pannsx.labels import LabelSet

    truth: Path = arguments.truth
    if arguments.whole_events and arguments.wanted_precision is not None:
        raise ValueError("--whole-events finds the best F1 of events; leave --wanted-precision out")
    is_weak = arguments.truth_format in (None, "tsv") and not truth.is_dir() and are_weak(truth)
    weak: dict[str, tuple[str, ...]] = {}
    strong: dict[str, list[Event]] = {}
    if is_weak:
        weak = _matched(read_weak_labels(truth, LabelSet(reader.labels)), items, truth)
        occurring = {label for labels in weak.values() for label in labels}
    else:
        recordings = read_events(truth, arguments.truth_format, labels=reader.labels)
        strong = _matched({each.name: each.events for each in recordings}, items, truth)
        occurring = {event.label for events in strong.values() for event in events}
    labels = tuple(label for label in reader.labels if label in occurring)
    if not labels:
        raise ValueError(
            f"{truth} holds no events, so there is nothing to calibrate on; give annotated recordings"
        )
    if is_weak and arguments.whole_events:
        raise ValueError(f"{truth} gives no times of events, which --whole-events needs")
    wanted = np.array([reader.labels.index(label) for label in labels])
    recorded: list[Annotated] = []
    targets: list[npt.NDArray[np.bool_]] = []
    scores: list[FloatArray] = []
    with Progress(items, quiet=arguments.quiet) as progress:
        for item in items:
            try:
                blocks = list(_columns(reader, item, wanted, progress))
            except AudioError as error:
                complain_of(item.name, error)
                return None
            finally:
                progress.finished(item)
            framewise = np.concatenate([frames for frames, _ in blocks])
            if is_weak:
                targets.append(np.array([[label in weak[item.name] for label in labels]]))
                scores.append(framewise.max(axis=0, keepdims=True))
            else:
                edges = frame_edges(
                    len(framewise), reader.hop_s, offset_s=reader.offset_s, duration_s=blocks[-1][1]
                )
                targets.append(frame_targets(strong[item.name], edges, labels))
                scores.append(framewise)
                recorded.append(Annotated(framewise, strong[item.name], blocks[-1][1] or 0.0))
    points = calibrate(
        np.concatenate(targets),
        np.concatenate(scores),
        labels,
        precision=arguments.wanted_precision,
        model=model,
        hop_s=reader.hop_s,
    )
    if arguments.whole_events:
        points = tune_events(recorded, points, labels, hop_s=reader.hop_s, offset_s=reader.offset_s)
    without = [label for label in labels if label not in points.points]
    if without:
        complain(
            f"no threshold for {', '.join(without)}: too few examples, or the precision is never reached"
        )
    return points


def _columns(
    reader: FrameReader, item: Item, wanted: npt.NDArray[np.intp], progress: Progress
) -> Iterable[tuple[FloatArray, float | None]]:
    """Blocks of a source's frames for the wanted classes; the last block also has the duration."""
    for block in reader.blocks(item.source):
        progress.reached(item, (block.first_frame + len(block.framewise)) * reader.hop_s)
        yield block.framewise[:, wanted], block.duration_s


def _matched(truth: Mapping[str, T], items: list[Item], path: Path) -> dict[str, T]:
    """Annotations by item name; ValueError if they do not cover exactly the items."""
    from pannsx.events.formats.recording import base_name, base_stem

    for key in (str, base_name, base_stem):
        by_key = {key(name): value for name, value in truth.items()}
        keys = {item.name: key(item.name) for item in items}
        if len(by_key) == len(truth) and set(keys.values()) == set(by_key) and len(by_key) == len(items):
            return {name: by_key[each] for name, each in keys.items()}
    known, given = ({base_stem(name) for name in names} for names in (truth, [i.name for i in items]))
    parts = []
    for names, what in ((given - known, f"not in {path}"), (known - given, f"only in {path}")):
        if names:
            shown = ", ".join(sorted(names)[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
            parts.append(f"{len(names)} are {what} ({shown})")
    raise ValueError(
        f"{path} and the files are not of the same recordings: {'; '.join(parts) or 'some names occur twice'}"
    )


def _table(points: OperatingPoints) -> list[str]:
    rows = [("class", "threshold", "precision", "recall", "F1", "positive")]
    for label, point in points.points.items():
        precision, recall, f1 = (f"{value or 0:.3f}" for value in (point.precision, point.recall, point.f1))
        rows.append((label, f"{point.threshold:.4g}", precision, recall, f1, str(point.n_positive)))
    return columns(rows, right=frozenset({1, 2, 3, 4, 5}))


def _share(text: str) -> float:
    from pannsx.cli.options import probability

    value = probability(text)
    if value == 0:
        raise argparse.ArgumentTypeError("every threshold reaches a precision of 0; give one above 0")
    return value
