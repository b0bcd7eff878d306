"""Atomic, verified download of a file from a URL.

The bytes go to ``<name>.part`` next to the destination, which is renamed once size and digest are verified.
A broken transfer leaves the part and the server's name of that version of the file, if a later call can
resume from it.
"""

from __future__ import annotations

import http.client
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any

from filelock import FileLock
from tqdm.auto import tqdm

from pannsx.errors import WeightsError
from pannsx.weights.digests import check_file
from pannsx.weights.partial_file import PartialFile
from pannsx.weights.record import Digest

TIMEOUT_S = 30.0
RETRIES = 3
BACKOFF_S = 1.0
MIN_BYTES_PER_S = 1024
"""A transfer slower than this over a whole timeout counts as stalled."""

_BLOCK_BYTES = 1 << 18
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Transient(Exception):
    """A failure that may not recur: a dropped connection, a busy server."""


def download(
    url: str,
    destination: Path,
    *,
    size_bytes: int | None = None,
    digest: Digest | None = None,
    progress: bool = True,
    timeout_s: float = TIMEOUT_S,
    retries: int = RETRIES,
    backoff_s: float = BACKOFF_S,
) -> None:
    """Download ``url`` to ``destination``, resuming an earlier part; one process downloads, others wait.

    If ``destination`` already has the given digest, nothing is downloaded.

    Args:
        url: http or https; a redirection from https to http is refused.
        destination: file to write; its folder is created if necessary.
        size_bytes: expected size of the file, if known.
        digest: expected digest of the file; None: only the size is checked.
        progress: show a progress bar on a terminal.
        timeout_s: longest silence of the server, in seconds.
        retries: further attempts after a transient failure; progress resets the counter.
        backoff_s: wait before the first of them, in seconds; doubled for each next one.

    Raises:
        WeightsError: refused, dropped, stalled, of the wrong size or digest, or not writable.
    """
    _check_scheme(url)
    locks = destination.parent / ".locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{destination.name}.lock"):
            if digest is not None and _is_right(destination, size_bytes, digest):
                return  # another process was first
            part = PartialFile(destination)
            try:
                _fetch(url, part, size_bytes, digest, progress, timeout_s, retries, backoff_s)
            finally:
                part.discard_unless_resumable()
            part.path.replace(destination)
            part.validator_path.unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(f"cannot write {destination}: {error}") from error


def _is_right(path: Path, size_bytes: int | None, digest: Digest) -> bool:
    try:
        check_file(path, size_bytes=size_bytes, digest=digest)
    except WeightsError:
        return False
    return True


def _fetch(
    url: str,
    part: PartialFile,
    size_bytes: int | None,
    digest: Digest | None,
    progress: bool,
    timeout_s: float,
    retries: int,
    backoff_s: float,
) -> None:
    """Attempt transfers until the part is complete and verified."""
    failures = 0
    furthest = part.size
    while True:
        resumed = part.validator is not None
        try:
            _transfer(url, part, size_bytes, progress, timeout_s)
            try:
                check_file(part.path, size_bytes=size_bytes, digest=digest)
            except WeightsError as error:
                part.discard()
                if resumed:  # the server may have joined two versions of the file; one try from the start
                    raise _Transient(f"the resumed file is wrong: {error}") from error
                raise
            part.complete = True
            return
        except _Transient as error:
            if part.size > furthest:
                furthest, failures = part.size, 0
            failures += 1
            if failures > retries:
                raise WeightsError(f"{error} ({failures} attempts)") from error
            time.sleep(backoff_s * 2 ** (failures - 1))


def _transfer(url: str, part: PartialFile, size_bytes: int | None, progress: bool, timeout_s: float) -> None:
    """One request: append the missing bytes, or restart the part if the server does not resume."""
    if size_bytes is not None and part.size > size_bytes:
        part.discard()
    offset = part.size
    validator = part.validator
    if validator is not None and offset == size_bytes:
        return  # complete; only the rename was missing
    headers = {"User-Agent": "pannsx", "Accept-Encoding": "identity"}
    if validator is not None:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    with _open(urllib.request.Request(url, headers=headers), part, timeout_s) as response:
        if response.status == 206 and _range_start(response) == offset:
            mode = "ab"
        elif response.status == 200:
            offset, mode = 0, "wb"
            part.start(_validator(response))
        else:
            part.discard()
            raise _Transient(f"the server answered a request for a part with status {response.status}")
        total = _announced_size(response, offset)
        _check_announced(part, offset, total, size_bytes)
        try:
            with part.path.open(mode) as file:
                _copy(response, file, part.name, offset, total, progress, timeout_s)
        except OSError as error:  # _copy turns the network's into _Transient: this is the disk's
            part.discard()  # a full disk gets its space back
            raise WeightsError(f"cannot write {part.path}: {error}") from error


def _open(request: urllib.request.Request, part: PartialFile, timeout_s: float) -> Any:
    """The server's response; _Transient or WeightsError if it is unusable."""
    try:
        return _OPENER.open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answered {error.code} {error.reason}"
        if error.code == 416:  # the part is longer than the file now is
            part.discard()
        elif error.code not in _TRANSIENT_STATUS:
            raise WeightsError(answer) from error
        raise _Transient(answer) from error
    except (http.client.HTTPException, OSError) as error:
        raise _network_failure(error, timeout_s) from error


def _network_failure(error: Exception, timeout_s: float) -> Exception:
    reason = getattr(error, "reason", error)  # URLError wraps the socket's own error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return WeightsError(f"the server's certificate is not trusted: {reason}")
    if isinstance(reason, TimeoutError):
        return _Transient(f"timed out: the server was silent for {timeout_s:g} s")
    return _Transient(f"the connection failed: {reason}")


def _copy(
    response: Any,
    file: IO[bytes],
    name: str,
    offset: int,
    total: int | None,
    progress: bool,
    timeout_s: float,
) -> None:
    """Copy the body to the file; _Transient if it stalls or ends early, OSError if the disk fails."""
    received = offset
    window_start, window_bytes = time.monotonic(), 0
    with tqdm(
        total=total, initial=offset, unit="B", unit_scale=True, desc=name, disable=None if progress else True
    ) as bar:
        while block := _read(response, timeout_s):
            file.write(block)
            received += len(block)
            window_bytes += len(block)
            bar.update(len(block))
            elapsed = time.monotonic() - window_start
            if elapsed >= timeout_s:
                if window_bytes < MIN_BYTES_PER_S * elapsed:
                    raise _Transient(f"timed out: the server sent {window_bytes} bytes in {elapsed:.0f} s")
                window_start, window_bytes = time.monotonic(), 0
    if total is not None and received < total:
        raise _Transient(f"the answer is truncated: it ended after {received:,} of {total:,} bytes")


def _read(response: Any, timeout_s: float) -> bytes:
    """The bytes that have arrived; ``read`` would wait for a whole block and hide a slow transfer."""
    try:
        block: bytes = response.read1(_BLOCK_BYTES)
    except (http.client.HTTPException, OSError) as error:
        raise _network_failure(error, timeout_s) from error
    return block


def _check_announced(part: PartialFile, offset: int, total: int | None, size_bytes: int | None) -> None:
    if None not in (total, size_bytes) and total != size_bytes:
        part.discard()
        raise WeightsError(
            f"the server offers another file: {total:,} bytes where the record says {size_bytes:,}"
        )
    needed = (total if total is not None else size_bytes or 0) - offset
    free = shutil.disk_usage(part.path.parent).free
    if needed > free:
        raise WeightsError(
            f"the disk of {part.path.parent} is too full: {needed:,} bytes are needed, {free:,} are free"
        )


def _validator(response: Any) -> str | None:
    """A valid value of If-Range: a strong ETag, else the date of last change."""
    etag: str = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    modified: str | None = response.headers.get("Last-Modified")
    return modified


def _announced_size(response: Any, offset: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdecimal() else None


def _range_start(response: Any) -> int | None:
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    start = span.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdecimal() else None


def _check_scheme(url: str, *, came_from: str = "") -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("http", "https"):
        raise WeightsError(f"{url!r} is not an http or https address")
    if scheme == "http" and came_from.startswith("https:"):
        raise WeightsError(f"{came_from} redirects to {url}, which is not encrypted; refused")


class _CarefulRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_scheme(newurl, came_from=req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_CarefulRedirects)
