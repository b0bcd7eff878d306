"""Download of one segment by yt-dlp: its arguments, and the meaning of its output."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pannsx import audio
from pannsx.errors import AudioError
from train.data.ledger import State
from train.data.segments import Segment

TIMEOUT_S = 300.0

_VIDEO_ID = re.compile(r"[\w-]+", re.ASCII)
_BLOCKED = re.compile(r"429|too many requests|not a bot|rate.?limit", re.IGNORECASE)
_GONE = re.compile(
    r"private video|video unavailable|not available|no longer available|been removed|been terminated|"
    r"does not exist|copyright|members.only|confirm your age|inappropriate|in your country|invalid.* id",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Fetcher:
    """Settings of the download of a segment.

    Attributes:
        program: the executable.
        audio_format: ``flac`` or ``wav``.
        timeout_s: time limit per clip, in seconds.
        more_arguments: further arguments for yt-dlp, such as ``--cookies``.
    """

    program: str
    audio_format: str = "flac"
    timeout_s: float = TIMEOUT_S
    more_arguments: tuple[str, ...] = ()

    def command(self, segment: Segment, stem: Path) -> list[str]:
        """The program and its arguments; no shell is involved."""
        return [
            *(self.program, "--ignore-config", "--no-playlist", "--quiet", "--no-warnings", "--no-progress"),
            *("--format", "bestaudio/best", "--extract-audio", "--audio-format", self.audio_format),
            *("--download-sections", f"*{segment.start_s:.3f}-{segment.end_s:.3f}"),
            *("--postprocessor-args", "ExtractAudio:-ac 1"),
            *("--output", str(stem).replace("%", "%%") + ".%(ext)s"),
            *self.more_arguments,
            *("--", f"https://www.youtube.com/watch?v={segment.id}"),
        ]

    def fetch(self, segment: Segment, place: Path) -> tuple[State, str]:
        """Fetch a segment to ``place``, atomically; returns its state and the reason."""
        if not _VIDEO_ID.fullmatch(segment.id):
            return "gone", f"{segment.id!r} is not a video id"
        stem = place.parent / ".partial" / f"Y{segment.id}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                self.command(segment, stem),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.timeout_s,
                check=False,
            )
            return self._outcome(done, stem, place)
        except subprocess.TimeoutExpired:
            return "failed", f"no answer in {self.timeout_s:g} s"
        finally:
            for leftover in stem.parent.glob(f"Y{segment.id}.*"):
                leftover.unlink(missing_ok=True)

    def _outcome(
        self, done: subprocess.CompletedProcess[bytes], stem: Path, place: Path
    ) -> tuple[State, str]:
        if done.returncode != 0:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "")
            reason = reason.removeprefix("ERROR: ") or f"exit status {done.returncode}"
            if _BLOCKED.search(reason):
                return "blocked", reason
            return ("gone" if _GONE.search(reason) else "failed"), reason
        fetched = stem.with_name(f"{stem.name}.{self.audio_format}")
        try:
            duration_s = audio.info(fetched).duration_s
        except AudioError as error:
            return "failed", f"the downloaded file is unusable: {error}"
        if not duration_s:
            return "gone", "the video has no sound there"
        fetched.replace(place)
        return "have", f"{duration_s:.3f} s"
