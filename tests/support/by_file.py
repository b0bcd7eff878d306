"""The order of the tests for several processes of pytest-xdist: by file, large ones alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdist.scheduler import LoadScopeScheduling

_LARGE = "large"


class ByFile(LoadScopeScheduling):
    """Gives files to processes in the order of the collection.

    All large files go to one process, and the others wait until it has run them. All middle ones go to one
    process, too, and nothing waits for them.
    """

    def __init__(self, config: Any, log: Any, large: Sequence[str], middle: Sequence[str]) -> None:
        super().__init__(config, log)
        self._scopes = {**dict.fromkeys(large, _LARGE), **dict.fromkeys(middle, "middle")}

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Note the end of a test; after the last large one the waiting processes begin."""
        waited = self._n_large() > 0
        super().mark_test_complete(node, item_index, duration)
        if waited and self._n_large() == 0:
            for other in self.nodes:
                # Twice, since a process runs its last test only when it has got another one.
                self._reschedule(other)
                self._reschedule(other)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return self._scopes.get(file.rpartition("/")[2], file)

    def _n_large(self) -> int:
        """Number of large tests that are assigned and not finished."""
        return sum(self._pending_of({_LARGE: work.get(_LARGE, {})}) for work in self.assigned_work.values())

    def _waits(self, node: Any) -> bool:
        own = self._pending_of({_LARGE: self.assigned_work.get(node, {}).get(_LARGE, {})})
        return self._n_large() > own

    def _assign_work_unit(self, node: Any) -> None:
        if not self._waits(node):
            super()._assign_work_unit(node)

    def _reschedule(self, node: Any) -> None:
        if not self._waits(node):
            super()._reschedule(node)
