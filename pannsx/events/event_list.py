"""Events of one recording with the names that a table of them needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pannsx.events.event import Event
from pannsx.table import Row, data_frame

if TYPE_CHECKING:
    from pandas import DataFrame


class EventList(list[Event]):
    """A list of events that can become a table.

    Args:
        events: the events.
        file: name of their recording, or None.
        mids: machine ids by label; a label without one has None in the table.
    """

    def __init__(
        self, events: Iterable[Event] = (), *, file: str | None = None, mids: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(events)
        self.file = file
        self.mids = dict(mids or {})

    def to_pandas(self) -> DataFrame:
        """A row for each event: ``file, onset_s, offset_s, label, mid, probability``.

        >>> import pandas as pd
        >>>
        >>> results = AudioTagger().inference(["dog.wav", "rain.flac"])
        >>> table = pd.concat([result.events().to_pandas() for result in results], ignore_index=True)

        ``file`` is missing for bytes, arrays and tensors, ``mid`` for super-classes and for labels without
        an id.

        Raises:
            ImportError: pandas, the extra ``pannsx[pandas]``, is not installed.
        """
        return data_frame(
            Row(
                self.file,
                each.onset_s,
                each.offset_s,
                each.label,
                self.mids.get(each.label),
                each.probability,
            )
            for each in self
        )
