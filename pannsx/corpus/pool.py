"""Worker processes as seen by their parent: started, fed, watched, replaced."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any, NamedTuple

from pannsx.corpus.worker import Ready, Refused

_PROGRAM = """\
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, who also gets it, ends this process
sys.path[:] = {path!r}
from pannsx.corpus.worker import main
main()
"""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Message(NamedTuple):
    """A message of a worker; None: it has ended."""

    worker: Worker
    content: Any


class Worker:
    """A process that runs a stage.

    Args:
        stage: the stage, pickled.
        threads: threads of the network.
        messages: gets what the worker sends.

    Attributes:
        ready: its first message, once it has come.
        sent: the work sent to it and not answered, oldest first.
        refusal: the stated reason of its end, if any.
    """

    def __init__(self, stage: bytes, threads: int, messages: queue.SimpleQueue[Message]) -> None:
        self.ready: Ready | None = None
        self.sent: deque[Any] = deque()
        self.refusal: Refused | None = None
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._messages = messages
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._outgoing.put(stage)
        # Threads, since a pipe that is full blocks either side.
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def send(self, work: Any, batch: Any) -> None:
        """Give it a batch; ``work`` is kept in `sent` until it is answered."""
        self.sent.append(work)
        self._outgoing.put(pickle.dumps(batch, protocol=pickle.HIGHEST_PROTOCOL))

    def end(self) -> None:
        """Say that nothing more comes."""
        self._outgoing.put(pickle.dumps(None))
        self._outgoing.put(None)

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._process.kill()
        self._outgoing.put(None)
        for thread in self._threads:
            thread.join()

    def reason(self) -> str:
        """The reason of its end, in words."""
        if self.refusal is not None:
            return f"{self.refusal.kind}: {self.refusal.message}"
        code = self._process.wait()
        if code < 0:
            known = {each.value: each.name for each in signal.Signals}
            name = known.get(-code, f"signal {-code}")
            hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
            return f"the process that ran it was ended by {name}{hint}"
        return f"the process that ran it ended with status {code}"

    def _write(self) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        try:
            while (content := self._outgoing.get()) is not None:
                pipe.write(content)
                pipe.flush()
        except OSError:  # it has ended, which `_read` reports
            pass
        with suppress(OSError):
            pipe.close()

    def _read(self) -> None:
        pipe = self._process.stdout
        if pipe is None:
            return
        try:
            while True:
                self._messages.put(Message(self, pickle.load(pipe)))
        except Exception as error:
            if not isinstance(error, EOFError):  # half of a message, or one that there is no memory for
                self._process.kill()
            pipe.close()
            self._process.wait()
            self._messages.put(Message(self, None))
