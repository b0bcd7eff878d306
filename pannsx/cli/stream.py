"""``pannsx stream``: tags or events of live sound from a pipe."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pannsx.audio.pcm import ENCODINGS, PcmFormat, read_blocks, read_wav_header
from pannsx.cli.class_options import add_class_options, check_classes
from pannsx.cli.console import FAILED, CommandError, complain_of, remark
from pannsx.cli.options import (
    add_network_options,
    add_verbosity,
    add_weights_options,
    count,
    network_of,
    new_command,
    positive,
    probability,
)
from pannsx.cli.output import Output, add_output, live_output, output_of
from pannsx.cli.parser import Commands
from pannsx.cli.stream_formats import Streaming, StreamWriter, stream_writer
from pannsx.corpus.inputs import STANDARD_INPUT
from pannsx.errors import AudioError
from pannsx.weights.manifest import labels_of

if TYPE_CHECKING:
    from pannsx.events import EventSettings
    from pannsx.streaming import StreamTagger, StreamUpdate

_TOP = 3
_FORMATS = ("table", "jsonl", "csv", "tsv", "json")  # json: another name of jsonl

_DESCRIPTION = """\
Tags live sound: every second, one line with the most probable classes of the newest final frames.
Reads WAV from standard input, or raw samples with --rate.

The network also needs the sound after a frame, so a line appears with a delay; its upper bound is
printed on standard error at the start. Memory and cost do not grow with time.

Each line is written at once, to standard output or to the file of --output:
  .csv .tsv  a row for each tag of a step: file, onset_s, offset_s, label, mid, probability
  .jsonl     an object for each step, with its tags
With --events, a row or an object is an event."""

_EXAMPLES = """\
  ffmpeg -i rtsp://camera/stream -f wav - | pannsx stream -
  arecord -f S16_LE -r 44100 -c 2 -t wav - | pannsx stream - --threshold 0.3
  arecord -f S16_LE -r 16000 -t raw - | pannsx stream - --rate 16000 --events --class 'all birds'
  ffmpeg -i film.mkv -f wav - | pannsx stream - -o film.jsonl"""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add ``stream`` to the parser."""
    parser = new_command(
        commands,
        "stream",
        run,
        summary="tag live sound from a pipe",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "pipe",
        metavar="PIPE",
        help="- for standard input, or the path of a named pipe or file with uncompressed audio",
    )
    parser.add_argument(
        "-n",
        "--top",
        type=count,
        metavar="N",
        help=f"tags per line (default: {_TOP}; with --threshold, all that reach it)",
    )
    parser.add_argument(
        "-t", "--threshold", type=probability, metavar="P", help="only tags of at least this probability"
    )
    parser.add_argument(
        "--step",
        type=positive,
        default=1.0,
        metavar="S",
        help="seconds of sound per line, rounded down to whole frames; a shorter step has a shorter delay "
        "and a higher cost (default: 1)",
    )
    parser.add_argument(
        "--events",
        action="store_true",
        help="instead of a line per step, print each event with onset and offset once it is final; it begins "
        "at --threshold (default: the checkpoint's operating points, else 0.5)",
    )
    add_class_options(parser, with_group=False)
    add_output(parser, *_FORMATS, is_live=True)
    add_verbosity(parser)
    samples = parser.add_argument_group("raw samples")
    samples.add_argument(
        "--rate",
        type=count,
        metavar="HZ",
        help="sample rate of raw samples; without it, the pipe must hold WAV",
    )
    samples.add_argument(
        "--channels",
        type=count,
        default=1,
        metavar="C",
        help="interleaved channels of raw samples (default: 1)",
    )
    samples.add_argument(
        "--encoding",
        choices=tuple(ENCODINGS),
        default="s16le",
        help="encoding of raw samples (default: s16le)",
    )
    add_weights_options(add_network_options(parser))


def run(arguments: argparse.Namespace) -> int:
    """Tag the pipe until it ends; returns the exit status."""
    if arguments.events and arguments.leaves:
        raise CommandError(
            "--leaves needs all events of a recording; leave out --events, or use `pannsx events` on a file"
        )
    output = output_of(arguments)
    if output.path is not None and output.path.suffix.lower() == ".json":
        raise CommandError("a stream is written line by line; name the file .jsonl")
    with ExitStack() as stack:
        if arguments.pipe == STANDARD_INPUT:
            if sys.stdin.isatty():
                raise CommandError("standard input is a terminal; pipe audio into it", FAILED)
            pipe: BinaryIO = sys.stdin.buffer
        else:
            pipe = stack.enter_context(Path(arguments.pipe).open("rb"))
        try:
            return _tag(pipe, output, arguments)
        except AudioError as error:
            complain_of(arguments.pipe, error)
            return FAILED


def _tag(pipe: BinaryIO, output: Output, arguments: argparse.Namespace) -> int:
    if arguments.rate is None:
        pcm = read_wav_header(pipe)
    else:
        pcm = PcmFormat(arguments.rate, arguments.channels, arguments.encoding)
    stream = _stream_tagger(arguments, pcm.sample_rate)
    check_classes(arguments, labels_of(stream.record))
    if not arguments.quiet:
        remark(
            f"{pcm.sample_rate} Hz, {pcm.n_channels} channel{'s' * (pcm.n_channels > 1)}, "
            f"{pcm.encoding}; a line every {stream.step_s:.2f} s, at most "
            f"{stream.latency_s:.2f} s after its sound"
        )
    labels = labels_of(stream.record)
    mids = dict(zip(labels.names, labels.ids or (), strict=labels.ids is not None))
    with live_output(output, quiet=arguments.quiet) as file:
        writer = stream_writer(output.form, file, Streaming(arguments.pipe, stream.record.name, mids))
        try:
            for block in read_blocks(pipe, pcm):
                _write(stream.push(block), writer, stream, arguments)
        except AudioError:  # the pipe ended too early
            _write(stream.close(), writer, stream, arguments)
            raise
        _write(stream.close(), writer, stream, arguments)
    return 0


def _stream_tagger(arguments: argparse.Namespace, source_rate: int) -> StreamTagger:
    from pannsx.streaming import StreamTagger

    try:
        return StreamTagger(
            arguments.model,
            source_rate=source_rate,
            step_s=arguments.step,
            events=_settings(arguments) if arguments.events else None,
            **network_of(arguments),
        )
    except AudioError:
        raise
    except ValueError as error:
        raise CommandError(str(error)) from error


def _write(
    updates: list[StreamUpdate], writer: StreamWriter, stream: StreamTagger, arguments: argparse.Namespace
) -> None:
    n_tags = arguments.top or (_TOP if arguments.threshold is None else len(stream.labels))
    for update in updates:
        for event in update.events:
            writer.event(event)
    for update in () if arguments.events else updates:
        tags = update.top(
            n_tags, threshold=arguments.threshold, classes=arguments.classes, leaves=arguments.leaves
        )
        writer.tags(update.start_s, update.stop_s, tags)


def _settings(arguments: argparse.Namespace) -> EventSettings:
    from pannsx.events import EventSettings

    return EventSettings(threshold=arguments.threshold, classes=arguments.classes)
