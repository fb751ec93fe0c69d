"""Tables that a sink writes in its own thread: the loop leaves the rows of objects and frames for it."""

import threading
from typing import Any

from edgevid.types import Frame, Header, Result
from edgevid.types.closing import Closing
from edgevid.types.event import utc_text
from edgevid.types.rows import flat_rows

MOST_ROWS = 200_000  # Rows that wait in memory while a sink is slow; more are dropped and counted


class ObjectRows(Closing):
    """A sink's part that takes results in the loop, where `records` are requested, and gives their rows."""

    def __init__(self, *, records: bool) -> None:
        self.header = Header()
        self._rows: list[dict[str, Any]] = []
        self._lock, self._dropped = threading.Lock(), 0
        if records:  # else the sink is one of events only
            self.write = self._write

    def open(self, header: Header) -> None:
        """The run's header."""
        self.header = header

    def notes(self) -> list[str]:
        """What was dropped, for a user."""
        return [f"{self._dropped} rows of objects were dropped: it was too slow"] if self._dropped else []

    def _write(self, frame: Frame, result: Result) -> None:
        """Leaves a row per object: camera, run and utc, then `flat_names`."""
        head = {"camera": self.header.camera, "run": self.header.run, "utc": utc_text(result.utc)}
        self._add([head | row for row in flat_rows(result)])

    def _add(self, rows: list[dict[str, Any]], *, again: bool = False) -> None:
        """Rows for the next `_taken`; those that could not be written come first, `again`."""
        with self._lock:
            fits = again or len(self._rows) + len(rows) <= MOST_ROWS
            self._dropped += 0 if fits else len(rows)
            if fits:
                at = 0 if again else len(self._rows)
                self._rows[at:at] = rows

    def _taken(self) -> list[dict[str, Any]]:
        """The rows since the last call."""
        with self._lock:
            rows, self._rows = self._rows, []
        return rows
