"""Command-line options for event detection, and the settings made from them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pannsx.cli.class_options import add_class_options
from pannsx.cli.console import FAILED, CommandError
from pannsx.cli.options import count, not_negative, positive, probability
from pannsx.weights.manifest import labels_of

if TYPE_CHECKING:
    from pannsx.events import EventSettings
    from pannsx.tagger import AudioTagger


def add_event_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for thresholds, smoothing and classes."""
    group = parser.add_argument_group("events")
    add_thresholds(group)
    group.add_argument(
        "--off",
        type=probability,
        metavar="P",
        help="probability below which an event ends (default: the threshold)",
    )
    group.add_argument(
        "--both-ends",
        action="store_true",
        default=None,
        help="let --off move begins too: an event begins where its probability rose to that",
    )
    group.add_argument(
        "--median",
        type=not_negative,
        metavar="S",
        help="length of the median filter in seconds (default: calibrated, else 0)",
    )
    add_joining(group)
    add_class_options(group)
    group.add_argument(
        "--super-classes",
        metavar="PATH",
        help='combine classes by noisy-or: a JSON file such as {"Pet": ["Dog", "all cats"]}, or an ontology',
    )
    group.add_argument(
        "--top-k", type=count, metavar="N", help="only the N most probable classes in each frame"
    )
    add_hop(group)


def add_hop(parser: argparse._ActionsContainer) -> None:
    """Add the option for the time between frames."""
    parser.add_argument(
        "--hop",
        type=positive,
        metavar="S",
        help="seconds between frames, 0.02 to 1, by overlapping windows (default: the network's own)",
    )


def add_thresholds(group: argparse._ArgumentGroup) -> None:
    """Add ``--threshold`` and ``--operating-points``, one of which may be given."""
    thresholds = group.add_mutually_exclusive_group()
    thresholds.add_argument(
        "-t",
        "--threshold",
        type=probability,
        metavar="P",
        help="probability at which an event begins (default: the calibrated thresholds, else 0.5)",
    )
    thresholds.add_argument(
        "--operating-points",
        metavar="PATH",
        help="file from `pannsx calibrate` with a threshold for each class",
    )


def add_joining(group: argparse._ArgumentGroup) -> None:
    """Add ``--gap`` and ``--shortest``."""
    group.add_argument(
        "--gap",
        type=not_negative,
        metavar="S",
        help="join events of a class at most this many seconds apart (default: calibrated, else 0)",
    )
    group.add_argument(
        "--shortest",
        type=not_negative,
        metavar="S",
        help="leave out events shorter than this many seconds (default: calibrated, else 0)",
    )


def settings_of(arguments: argparse.Namespace, tagger: AudioTagger) -> EventSettings:
    """The settings from the options of :func:`add_event_options`, checked against the classes.

    Raises:
        CommandError: invalid settings, or a file named in them cannot be read.
    """
    from pannsx.events import EventDetector, EventSettings

    threshold: Any = 0.5 if tagger.operating_points is None else tagger.operating_points
    try:
        settings = EventSettings(
            super_classes=arguments.super_classes,
            classes=arguments.classes,
            top_k=arguments.top_k,
            threshold=_first(arguments.threshold, arguments.operating_points, threshold),
            off_threshold=arguments.off,
            median_s=arguments.median,
            both_ends=arguments.both_ends,
            max_gap_s=arguments.gap,
            min_duration_s=arguments.shortest,
        )
        detector = EventDetector(labels_of(tagger.record), arguments.hop or tagger.hop_s, settings)
        if arguments.leaves:
            detector.check_has_parents()
    except ValueError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"cannot read {error.filename}: {error.strerror}", FAILED) from error
    return settings


def thresholds_in_words(arguments: argparse.Namespace, tagger: AudioTagger) -> str | None:
    """Which thresholds hold where none is given; None if one is."""
    if arguments.threshold is not None or arguments.operating_points is not None:
        return None
    points = tagger.operating_points
    if points is None:
        return "threshold 0.5 for every class, as this checkpoint is not calibrated"
    return (
        f"thresholds calibrated for {len(points.points)} classes, {points.default:.2f} for the others; "
        "--threshold sets one for all"
    )


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
