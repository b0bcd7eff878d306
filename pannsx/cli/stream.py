"""``pannsx stream``: what is heard in sound that comes through a pipe, while it comes."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pannsx.audio.pcm import ENCODINGS, PcmFormat, read_blocks, read_wav_header
from pannsx.cli.console import FAILED, CommandError, complain_of
from pannsx.cli.options import (
    Commands,
    add_format,
    add_network_options,
    add_quiet,
    add_weights_options,
    count,
    named,
    new_command,
    positive,
    probability,
)
from pannsx.corpus.inputs import STANDARD_INPUT
from pannsx.errors import AudioError

if TYPE_CHECKING:
    from pannsx.events import Event, EventSettings
    from pannsx.streaming import StreamTagger, StreamUpdate

_TOP = 3

_DESCRIPTION = """\
Says what is heard while it is heard: every second a line with the most probable classes of the
frames that have become certain. Reads WAV, or with --rate raw samples, from standard input.

A line comes later than its sound by the latency that standard error states at the beginning, for
the network hears what comes after, too. Memory and cost do not grow with time."""

_EXAMPLES = """\
  ffmpeg -i rtsp://camera/stream -f wav - | pannsx stream -
  arecord -f S16_LE -r 44100 -c 2 -t wav - | pannsx stream - --threshold 0.3
  arecord -f S16_LE -r 16000 -t raw - | pannsx stream - --rate 16000 --events
  ffmpeg -i film.mkv -f wav - | pannsx stream - --format json > film.jsonl"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``stream`` to the parser."""
    parser = new_command(
        commands,
        "stream",
        run,
        summary="say what is heard in sound from a pipe, while it comes",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "pipe",
        metavar="PIPE",
        help="- for standard input, or the path of a named pipe or file of uncompressed audio",
    )
    parser.add_argument(
        "-n",
        "--top",
        type=count,
        metavar="N",
        help=f"tags a line (default: {_TOP}, or with --threshold all that reach it)",
    )
    parser.add_argument(
        "-t", "--threshold", type=probability, metavar="P", help="only tags of at least this probability"
    )
    parser.add_argument(
        "--step",
        type=positive,
        default=1.0,
        metavar="S",
        help="seconds of sound a line, rounded down to whole frames; shorter is sooner and costs more "
        "(default: 1)",
    )
    parser.add_argument(
        "--events",
        action="store_true",
        help="print events with onset and offset, as each is over, instead of a line a step; --threshold "
        "says where they begin (default: the checkpoint's operating points, else 0.5)",
    )
    add_format(parser, "table", "json")
    add_quiet(parser)
    samples = parser.add_argument_group("raw samples")
    samples.add_argument("--rate", type=count, metavar="HZ", help="their rate; without it the pipe holds WAV")
    samples.add_argument("--channels", type=count, default=1, metavar="C", help="interleaved (default: 1)")
    samples.add_argument(
        "--encoding", choices=tuple(ENCODINGS), default="s16le", help="of a sample (default: s16le)"
    )
    add_weights_options(add_network_options(parser))


def run(arguments: argparse.Namespace) -> int:
    """Tag the pipe until it ends; the exit status."""
    if arguments.model is not None:
        named(arguments.model)  # a mistyped name is answered before torch is loaded
    with ExitStack() as stack:
        if arguments.pipe == STANDARD_INPUT:
            if sys.stdin.isatty():
                raise CommandError("standard input is a terminal; pipe audio into it", FAILED)
            pipe: BinaryIO = sys.stdin.buffer
        else:
            pipe = stack.enter_context(Path(arguments.pipe).open("rb"))
        try:
            return _tag(pipe, arguments)
        except AudioError as error:
            complain_of(arguments.pipe, error)
            return FAILED


def _tag(pipe: BinaryIO, arguments: argparse.Namespace) -> int:
    if arguments.rate is None:
        pcm = read_wav_header(pipe)
    else:
        pcm = PcmFormat(arguments.rate, arguments.channels, arguments.encoding)
    stream = _stream_tagger(arguments, pcm.sample_rate)
    if not arguments.quiet:
        print(
            f"pannsx: {pcm.sample_rate} Hz, {pcm.n_channels} channel{'s' * (pcm.n_channels > 1)}, "
            f"{pcm.encoding}; a line every {stream.step_s:.2f} s, its sound heard up to "
            f"{stream.latency_s:.2f} s before",
            file=sys.stderr,
            flush=True,
        )
    for block in read_blocks(pipe, pcm):
        _write(stream.push(block), stream, arguments)
    _write(stream.close(), stream, arguments)
    return 0


def _stream_tagger(arguments: argparse.Namespace, source_rate: int) -> StreamTagger:
    from pannsx.streaming import StreamTagger

    try:
        return StreamTagger(
            arguments.model,
            source_rate=source_rate,
            step_s=arguments.step,
            events=_settings(arguments) if arguments.events else None,
            checkpoint=arguments.checkpoint,
            device=arguments.device,
            precision=arguments.precision,
            cache_dir=arguments.cache_dir,
            allow_unverified=arguments.allow_unverified,
            progress=not arguments.quiet,
        )
    except AudioError:
        raise
    except ValueError as error:
        raise CommandError(str(error)) from error


def _write(updates: list[StreamUpdate], stream: StreamTagger, arguments: argparse.Namespace) -> None:
    threshold = arguments.threshold or 0.0
    n_tags = arguments.top or (_TOP if arguments.threshold is None else len(stream.labels))
    for event in (event for update in updates for event in update.events):
        _print_event(event, stream, arguments)
    for update in () if arguments.events else updates:
        tags = [tag for tag in update.top(n_tags) if tag.probability >= threshold]
        if arguments.format == "json":
            line = json.dumps(
                {
                    "start_s": round(update.start_s, 6),
                    "stop_s": round(update.stop_s, 6),
                    "model": stream.record.name,
                    "tags": [
                        {"label": tag.label, "probability": float(f"{tag.probability:.6g}")} for tag in tags
                    ],
                }
            )
        else:
            shown = "  ".join(f"{tag.label} {tag.probability:.2f}" for tag in tags)
            line = f"{update.start_s:9.2f} - {update.stop_s:.2f} s  {shown or '-'}"
        # Whoever reads the other end of a pipe wants the line now.
        print(line, flush=True)


def _settings(arguments: argparse.Namespace) -> EventSettings:
    from pannsx.events import EventSettings

    return EventSettings(threshold=arguments.threshold)


def _print_event(event: Event, stream: StreamTagger, arguments: argparse.Namespace) -> None:
    if arguments.format == "json":
        line = json.dumps(
            {
                "label": event.label,
                "onset_s": round(event.onset_s, 6),
                "offset_s": round(event.offset_s, 6),
                "probability": float(f"{event.probability:.6g}"),
                "model": stream.record.name,
            }
        )
    else:
        line = f"{event.onset_s:9.2f} - {event.offset_s:.2f} s  {event.label} {event.probability:.2f}"
    print(line, flush=True)
