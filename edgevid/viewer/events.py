"""The events that a viewer lists and filters: of a recording's database, or of this run alone."""

import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgevid.errors import InputError
from edgevid.output.tables import SqliteSink
from edgevid.types import KMH, Event

MEMORY = ":memory:"
MOST_KEPT = 100_000  # Events of a run without a database; the oldest beyond are forgotten
MOST_ANSWERED = 1000
EQUAL = {"camera": "camera", "kind": "kind", "class": "class_name", "place": "place", "track": "track",
         "run": "run"}  # fmt: skip
"""Filters of equality, and their columns."""
BOUNDS = {"after": "utc >=", "before": "utc <", "min_kmh": "speed_mps >=", "max_kmh": "speed_mps <="}


class EventStore(SqliteSink):
    """Events by filters, newest first."""

    def __init__(self, path: str | Path = MEMORY) -> None:
        """A database that a run's sink fills, or, in memory, what `add` gets."""
        super().__init__(path)
        self._reading, self._added = threading.Lock(), 0

    def add(self, event: Event) -> None:
        """Takes an event, where no sink brings it into the database."""
        if str(self.path) != MEMORY:
            return
        with self._reading:
            self.send([event])
            self._added += 1
            if self._added % 1000 == 0:
                limit = "rowid <= (SELECT max(rowid) FROM events) - ?"
                self._base.execute(f"DELETE FROM events WHERE {limit}", (MOST_KEPT,))

    def find(self, filters: Mapping[str, str], *, limit: int = 100) -> list[dict[str, Any]]:
        """Events without the fields that do not apply; a filter may name several values, split by commas. InputError
        for an unknown filter, or a bound that is no number."""
        where, values = _where(filters)
        sql = f"SELECT * FROM events {where} ORDER BY utc DESC, id DESC LIMIT ?"
        rows = self._select(sql, [*values, min(limit, MOST_ANSWERED)])
        found = [{key: value for key, value in row.items() if value not in (None, "")} for row in rows]
        for row in found:
            row |= {key: json.loads(row[key]) for key in ("box", "first_box") if key in row}
        return found

    def counts(self, filters: Mapping[str, str]) -> list[dict[str, Any]]:
        """How many events there are of each camera, kind, place, direction and class."""
        where, values = _where(filters)
        names = "camera, kind, place, direction, class_name"
        return self._select(f"SELECT {names}, count(*) AS events FROM events {where} GROUP BY {names}", values)

    def _select(self, sql: str, values: list[Any]) -> list[dict[str, Any]]:
        with self._reading:
            self._base.row_factory = sqlite3.Row
            return [dict(row) for row in self._base.execute(sql, values)]


def _where(filters: Mapping[str, str]) -> tuple[str, list[Any]]:
    parts, values = [], list[Any]()
    for name, text in filters.items():
        if name in EQUAL:
            words = text.split(",")
            parts.append(f"{EQUAL[name]} IN ({', '.join('?' * len(words))})")
            values += words
        elif name in BOUNDS:
            parts.append(f"{BOUNDS[name]} ?")
            try:
                values.append(float(text) / KMH if name.endswith("kmh") else text)
            except ValueError:
                raise InputError(f"{name}: expected a number, got {text!r}") from None
        else:
            raise InputError(f"filter: expected one of {', '.join([*EQUAL, *BOUNDS])}, got {name!r}")
    return f"WHERE {' AND '.join(parts)}" if parts else "", values
