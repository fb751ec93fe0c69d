"""ParquetSink: events, tracks and, if requested, objects of frames as Parquet files that are whole."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

from edgevid.errors import require
from edgevid.files.atomic import atomic_path, make_folder
from edgevid.output.rows import ObjectRows, object_names
from edgevid.types import Event, Frame, Header, Result
from edgevid.types.closing import Closing
from edgevid.types.event import utc_text

ROW_GROUP = 50_000


class ParquetSink(Closing):
    """A folder with files events-*, tracks-* and objects-*.parquet, named by the time of their start in UTC.

    Each file is written under another name and moved into place when it is complete, after `segment_s` and
    at the end. What a killed run had not completed is in no file; its events come again with the next run.
    """

    def __init__(self, folder: str | Path, *, records: bool = False, segment_s: float = 600.0) -> None:
        """`records` adds objects-*.parquet. SourceError where the folder cannot be written; MissingExtraError
        without pyarrow."""
        self._arrow = require("pyarrow", extra="parquet", purpose="Parquet files")
        self._parquet = require("pyarrow.parquet", extra="parquet", purpose="Parquet files")
        self.path, self.name, self._segment_s = Path(folder), f"parquet {folder}", segment_s
        make_folder(self.path)
        for left in self.path.glob(".*.part.parquet"):  # of a killed run
            left.unlink(missing_ok=True)
        self._rows, self._header = ObjectRows() if records else None, Header()
        if records:
            self.write = self._write
        self._kinds = _types(self._arrow)
        self._object_names: list[str] = []
        self._tasks: tuple[str, ...] = ()
        self.held = 0
        """Events whose file is not complete."""
        self._begin()

    def open(self, header: Header) -> None:
        """The header goes into the metadata of each file."""
        self._header = header

    def send(self, events: Sequence[Event]) -> None:
        """Adds events, and the objects of the frames since the last call; an error loses all that is held."""
        try:
            rows = [asdict(event) for event in events]
            self._put("events", rows)
            self._put("tracks", [row for row in rows if row["kind"] == "track-ended"])
            self._put("objects", self._rows.take() if self._rows else [])
            self.held += len(events)
            if clock.monotonic() - self._started > self._segment_s:
                self._complete()
        except Exception:
            self._abandon()
            raise

    def close(self) -> None:
        """Completes the files."""
        self._started = -math.inf
        self.send([])

    def notes(self) -> list[str]:
        """What was dropped."""
        return self._rows.notes() if self._rows else []

    def _write(self, frame: Frame, result: Result) -> None:
        """Leaves the objects of a frame for the next `send`."""
        assert self._rows
        self._object_names, self._tasks = object_names(result), tuple(result.verdicts)
        self._rows.add(result, self._header)

    def _begin(self) -> None:
        self._files, self._writers = ExitStack(), dict[str, Any]()
        self._buffers: dict[str, list[dict[str, Any]]] = {}
        self._started, self._stamp = clock.monotonic(), ""

    def _put(self, kind: str, rows: list[dict[str, Any]]) -> None:
        buffer = self._buffers.setdefault(kind, [])
        buffer += rows
        if len(buffer) >= ROW_GROUP:
            self._flush(kind)

    def _flush(self, kind: str) -> None:
        """Writes the rows of a kind as one row group."""
        rows = self._buffers[kind]
        if not rows:
            return
        if kind not in self._writers:
            self._stamp = self._stamp or utc_text(clock.time()).translate({ord(c): None for c in "-:."})
            path = self._files.enter_context(atomic_path(self.path / f"{kind}-{self._stamp}.parquet"))
            self._writers[kind] = self._files.enter_context(
                self._parquet.ParquetWriter(path, self._schema(kind))
            )
        writer = self._writers[kind]
        writer.write_table(self._arrow.Table.from_pylist(rows, schema=writer.schema))
        self._buffers[kind] = []

    def _complete(self) -> None:
        """Moves the files into place, and begins the next ones."""
        for kind in self._buffers:
            self._flush(kind)
        self._files.close()
        self._begin()
        self.held = 0

    def _abandon(self) -> None:
        """Deletes the files, which cannot be completed."""
        files = self._files
        self._begin()
        self.held = 0
        with suppress(Exception), files:
            raise InterruptedError  # so that they are not moved into place

    def _schema(self, kind: str) -> Any:
        arrow = self._arrow
        types = self._kinds
        if kind == "objects":
            text = ("camera", "run", "utc", "class_name", "speed_kind", "speed_reason", *self._tasks,
                    *(f"{task}_reason" for task in self._tasks))  # fmt: skip
            whole = ("frame", "class_id", "tracker_id")
            types = {name: arrow.string() if name in text else arrow.int64() if name in whole
                     else arrow.bool_() if name == "detected" else arrow.float64()
                     for name in self._object_names}  # fmt: skip
        return arrow.schema(list(types.items()), metadata={"edgevid": str(self._header.to_dict())})


def _types(arrow: Any) -> dict[str, Any]:
    """Arrow's type of each field of an event."""
    found = {}
    for name, hint in get_type_hints(Event).items():
        kinds = {float: arrow.float64(), float | None: arrow.float64(), int | None: arrow.int64()}
        boxes = arrow.list_(arrow.float32()) if name.endswith("box") else arrow.string()
        found[name] = kinds.get(hint, boxes)
    return found
