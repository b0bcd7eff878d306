"""A local server that speaks enough of the Hugging Face Hub's protocol, with faults on demand.

Real clients talk to it over real sockets: ``HEAD`` and ``GET`` of ``/{repo}/resolve/{revision}/{file}``
and ``/datasets/...``, with ``ETag``, ``X-Repo-Commit``, ``Content-Length``, ``Range`` and ``If-Range``.
The same server stands for any web server that has the file behind a URL.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = Path(__file__).parent.parent.parent


@dataclass
class Fault:
    """What goes wrong with a file; the first ``times`` answers to ``method`` are hit (None: all of them).

    Attributes:
        status: answer with this status instead.
        error_code: the Hub's ``X-Error-Code`` beside it.
        stop_after: close the connection after so many bytes of the body.
        stall_after: send nothing more for ``stall_s`` after so many bytes of the body.
        delay_s: wait so long before the answer.
        trickle_s: send the body byte by byte, so many seconds apart.
    """

    status: int | None = None
    error_code: str | None = None
    stop_after: int | None = None
    stall_after: int | None = None
    stall_s: float = 30.0
    delay_s: float | None = None
    trickle_s: float | None = None
    method: str = "GET"
    times: int | None = None


@dataclass
class Served:
    """A file on the server, and how the server treats it."""

    content: bytes | Path
    """Its bytes, or the file that has them: read when it is asked for, since weights are large."""
    fault: Fault | None = None
    ranges: bool = True
    etag: str | None = None
    token: str | None = None
    redirect: str | None = None
    commit: str = COMMIT


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class LocalHub:
    """The server's files by path, and what was asked of it."""

    url: str = ""
    files: dict[str, Served] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, content: bytes | Path, **how: object) -> Served:
        """Serve ``content`` at ``path``."""
        self.files[path] = Served(content, **how)  # type: ignore[arg-type]
        return self.files[path]

    def put_hub_file(
        self, repo: str, name: str, content: bytes, revision: str = "main", **how: object
    ) -> Served:
        """Serve ``content`` as a file of a Hub repository; ``datasets/owner/name`` is a data set."""
        return self.put(f"/{repo}/resolve/{revision}/{name}", content, **how)

    def count(self, method: str) -> int:
        """How many requests of a method arrived."""
        return sum(request.method == method for request in self.seen)


class Handler(BaseHTTPRequestHandler):
    """Answers a request from the files of a hub, which `serving` gives it."""

    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        with self.hub.lock:
            self.hub.seen.append(
                Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
            )
            file = self.hub.files.get(self.path)
            fault = self._fault_of(file)
        if fault is not None and fault.delay_s is not None:
            self.hub.closing.wait(fault.delay_s)
        if file is None:
            self._refuse(404, "EntryNotFound")
        elif file.token is not None and self.headers.get("Authorization") != f"Bearer {file.token}":
            self._refuse(403, "GatedRepo")
        elif fault is not None and fault.status is not None:
            self._refuse(fault.status, fault.error_code)
        elif file.redirect is not None:
            self.send_response(302)
            self.send_header("Location", file.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send(file, fault, body)

    def _fault_of(self, file: Served | None) -> Fault | None:
        if file is None or file.fault is None or file.fault.method != self.command:
            return None
        if file.fault.times is not None:
            if file.fault.times == 0:
                return None
            file.fault.times -= 1
        return file.fault

    def _refuse(self, status: int, error_code: str | None) -> None:
        self.send_response(status)
        if error_code is not None:
            self.send_header("X-Error-Code", error_code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, file: Served, fault: Fault | None, body: bool) -> None:
        content = file.content.read_bytes() if isinstance(file.content, Path) else file.content
        etag = file.etag or f'"{hashlib.sha256(content).hexdigest()}"'
        start = 0
        wanted = self.headers.get("Range", "")
        current = self.headers.get("If-Range", etag) == etag
        if file.ranges and current and wanted.startswith("bytes="):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= len(content):
                self._refuse(416, None)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        self.send_header("X-Repo-Commit", file.commit)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            self._send_body(content[start:], fault or Fault())

    def _send_body(self, content: bytes, fault: Fault) -> None:
        try:
            if fault.trickle_s is not None:
                for byte in content:
                    self.wfile.write(bytes([byte]))
                    if self.hub.closing.wait(fault.trickle_s):
                        break
            stops = [stop for stop in (fault.stop_after, fault.stall_after) if stop is not None]
            if fault.trickle_s is None:
                self.wfile.write(content[: min(stops, default=len(content))])
            if fault.stall_after is not None:
                self.hub.closing.wait(fault.stall_s)
            if stops or fault.trickle_s is not None:
                self.close_connection = True
        except OSError:  # the client gave up, as it should
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up is part of the tests


def local_hub() -> AbstractContextManager[LocalHub]:
    """Run the server on a free port."""
    return serving(LocalHub(), Handler)


_HubT = TypeVar("_HubT", bound=LocalHub)


@contextmanager
def serving(hub: _HubT, handler_class: type[Handler]) -> Iterator[_HubT]:
    """Run a server that answers as ``handler_class`` does, on a free port."""
    handler = type("HandlerOfHub", (handler_class,), {"hub": hub})
    with _Server(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.closing.set()
            server.shutdown()
            thread.join()


# What a client process runs: resolve the record given, and say in JSON what came of it.
_CLIENT = """
import json, sys
from pannsx.errors import WeightsError
from pannsx.weights.fetch import resolve
from pannsx.weights.manifest import read_record
try:
    path = resolve(read_record(sys.argv[1]), progress=False, **json.loads(sys.argv[2]))
    print(json.dumps({"path": str(path)}))
except WeightsError as error:
    print(json.dumps({"error": str(error)}))
"""


@dataclass
class Client:
    """Processes that fetch from the server, with caches of their own under ``home``."""

    hub: LocalHub
    home: Path

    def environment(self, **extra: str) -> dict[str, str]:
        """The environment of a client: the server as the Hub, and nothing of the user's own settings."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "PANNSX_"))}
        return {
            **{k: v for k, v in kept.items() if not k.lower().endswith("_proxy")},
            "PYTHONPATH": str(REPOSITORY),
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PANNSX_HOME": str(self.home / "pannsx"),
            **extra,
        }

    def start(
        self, record: Path, *, prelude: str = "", env: dict[str, str] | None = None, **options: object
    ) -> subprocess.Popen[str]:
        """Begin to resolve a record in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", prelude + _CLIENT, str(record), json.dumps(options)],
            env=self.environment(**(env or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def resolve(self, record: Path, **how: object) -> dict[str, str]:
        """Resolve a record in a process of its own: ``{"path": ...}`` or ``{"error": ...}``."""
        return outcome(self.start(record, **how))  # type: ignore[arg-type]


def outcome(process: subprocess.Popen[str], timeout_s: float = 60.0) -> dict[str, str]:
    """What a client process found."""
    stdout, stderr = process.communicate(timeout=timeout_s)
    if process.returncode:
        raise RuntimeError(f"the client failed with {process.returncode}: {stderr}")
    answer: dict[str, str] = json.loads(stdout.splitlines()[-1])
    return answer


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for a callable to become true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.01)
