"""Rows of objects and frames that the loop leaves for the thread of a sink."""

from __future__ import annotations

import threading
from typing import Any

from edgevid.types import Header, Result
from edgevid.types.event import utc_text
from edgevid.types.rows import flat_names, flat_rows

MOST_ROWS = 200_000
"""Rows that wait in memory while a sink is slow; more are dropped and counted."""


class ObjectRows:
    """Takes results in the loop, gives their rows in another thread."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self.dropped = 0

    def add(self, result: Result, header: Header) -> None:
        """A row per object: camera, run and utc, then `flat_names`."""
        head = {"camera": header.camera, "run": header.run, "utc": utc_text(result.utc)}
        rows = [head | row for row in flat_rows(result)]
        with self._lock:
            if len(self._rows) + len(rows) > MOST_ROWS:
                self.dropped += len(rows)
            else:
                self._rows += rows

    def take(self) -> list[dict[str, Any]]:
        """The rows since the last call."""
        with self._lock:
            rows, self._rows = self._rows, []
        return rows

    def give_back(self, rows: list[dict[str, Any]]) -> None:
        """Rows that could not be written, for the next time."""
        with self._lock:
            self._rows[:0] = rows

    def notes(self) -> list[str]:
        """What was dropped, for a user."""
        return [f"{self.dropped} rows of objects were dropped: it was too slow"] if self.dropped else []


def object_names(result: Result) -> list[str]:
    """The keys of the rows."""
    return ["camera", "run", "utc", *flat_names(result)]
