"""The log-mel front end on the CPU: one callable with tables, scratch memory and compiled kernel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from pannsx.frontend.kernel import compiled_kernel
from pannsx.frontend.plan import Plan, make_plan
from pannsx.frontend.settings import FrontEnd
from pannsx.jit.atomic import LINE, address_of_give_way
from pannsx.jit.simd import N_LANES
from pannsx.types import FloatArray

_FEWEST_SHARED = 64  # minimum frames per thread for which another thread pays


class Threads(Protocol):
    """Threads that run ``share(0)`` to ``share(n - 1)`` in parallel."""

    @property
    def n(self) -> int:
        """Number of threads now."""

    def run(self, share: Callable[[int], None], n: int, *, each_ends_with_all: bool) -> None:
        """Run all shares; if each of them ends with all the work, until the first ends."""


class Workspace(NamedTuple):
    """Scratch memory of one thread, in float32 (``n = n_fft / 2``, ``W`` columns)."""

    samples: FloatArray  # (W * hop,) samples of a block that extends past an end of the waveform
    columns: FloatArray  # (phases * W,) transposed samples
    spectrum: FloatArray  # (n * 2 * L,)
    power: FloatArray  # ((n + 1) * L,)
    decibels: FloatArray  # (F' * L,), F' = F rounded up to a multiple of L
    rows: FloatArray  # (L * F',)


def make_workspace(plan: Plan) -> Workspace:
    """Allocate one thread's scratch memory for ``plan``."""
    n = plan.frontend.n_fft // 2
    hop = plan.frontend.hop_length
    n_bands = -(-plan.frontend.n_mels // N_LANES) * N_LANES
    sizes = (
        plan.n_columns * hop,
        max(min(hop, plan.frontend.n_fft), N_LANES) * plan.n_columns,
        n * 2 * N_LANES,
        (n + 1) * N_LANES,
        n_bands * N_LANES,
        N_LANES * n_bands,
    )
    return Workspace(*(np.zeros(size, np.float32) for size in sizes))


class LogMelKernel:
    """``(S,)`` float32 waveform -> ``(T, F)`` float32 log-mel in dB, compiled.

    One object may be called from many threads at once; each has its own workspace.
    """

    def __init__(self, frontend: FrontEnd) -> None:
        self.frontend = frontend
        plan = make_plan(frontend, N_LANES)
        self._plan = plan
        self._function = compiled_kernel(frontend.n_fft, plan.radices)
        self._tables = (
            plan.column_samples,
            plan.window,
            plan.twiddles,
            plan.twiddle_starts,
            plan.places,
            plan.untangling,
            plan.segment_ends,
            plan.rising,
            plan.falling,
            plan.decibel_polynomial,
        )
        self._limits = (plan.n_columns, plan.first_bin, plan.last_bin)
        n_bands = frontend.n_mels
        self._unchanged = np.ones(n_bands, np.float32), np.zeros(n_bands, np.float32)
        self._local = threading.local()

    def __reduce__(self) -> tuple[type[LogMelKernel], tuple[FrontEnd]]:
        return LogMelKernel, (self.frontend,)  # tables and scratch memory are rebuilt on unpickling

    def __call__(self, waveform: FloatArray, threads: Threads | None = None) -> FloatArray:
        """``(S,)`` waveform -> ``(T, F)`` log-mel in dB, ``T = S // hop_length + 1``; ``S >= 1``.

        Runs on the calling thread, or on ``threads`` which take blocks of frames.
        """
        x = np.ascontiguousarray(waveform, np.float32)
        if x.ndim != 1 or len(x) == 0:
            raise ValueError(f"the waveform has shape {x.shape}; (S,) with at least one sample is needed")
        n_frames = self.frontend.n_frames(len(x))
        result = np.empty((n_frames, self.frontend.n_mels), np.float32)
        share = self.into(result.reshape(-1), 0, self.frontend.n_mels, x, *self._unchanged)
        n = 1 if threads is None else threads.n
        if threads is None or n_frames < _FEWEST_SHARED * n:
            share()
        else:
            threads.run(lambda _: share(), n, each_ends_with_all=True)
        return result

    def into(
        self,
        target: FloatArray,
        at: int,
        step: int,
        waveform: FloatArray,
        scale: FloatArray,
        shift: FloatArray,
    ) -> Callable[[], None]:
        """What computes the log-mel, each band scaled and shifted, into a flat array: for threads to call.

        Each call does what others that run have not begun, and returns when all is done.

        Args:
            target: one-dimensional.
            at: where its first frame begins.
            step: from one frame to the next.
            waveform: ``(S,)`` float32, contiguous.
            scale: ``(F,)``.
            shift: ``(F,)``.
        """
        n_frames = self.frontend.n_frames(len(waveform))
        # New ones for each waveform: a thread that starts too late finds that all is done.
        counters = np.zeros(2 * LINE, np.int64)

        def share() -> None:
            self._function(
                waveform, counters, n_frames, self.frontend.n_mels, self.frontend.hop_length, scale, shift,
                target, at, step, self._workspace(), self._tables, self._limits, address_of_give_way(),
            )  # fmt: skip

        return share

    def _workspace(self) -> tuple[FloatArray, ...]:
        workspace: Workspace | None = getattr(self._local, "workspace", None)
        if workspace is None:
            workspace = self._local.workspace = make_workspace(self._plan)
        return tuple(workspace)
