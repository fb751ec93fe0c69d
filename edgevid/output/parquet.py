"""ParquetSink: events, tracks and, if requested, objects of frames as Parquet files that are whole."""

import json
import math
import re
import time as clock
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

from edgevid.errors import require
from edgevid.files.atomic import atomic_path, check_file, make_folder
from edgevid.output.rows import ObjectRows
from edgevid.types import Event, Header
from edgevid.types.event import utc_text

ROW_GROUP = 50_000
OBJECT_TYPES = {"frame": int, "class_id": int, "tracker_id": int, "detected": bool}
"""Columns of objects that are no text and no floating point."""
FIELDS = {
    name: next((kind for kind in (float, int) if hint in (kind, kind | None)), tuple if "box" in name else str)
    for name, hint in get_type_hints(Event).items()
}
"""The Python type of each field of an event."""


class ParquetSink(ObjectRows):
    """A folder with files events-*, tracks-* and objects-*.parquet, named by camera and start in UTC.

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
        check_file(self.path / "events.parquet")
        super().__init__(records=records)
        self.held = 0  # Events whose file is not complete
        self._camera = "camera"
        self._begin()

    def open(self, header: Header) -> None:
        """Deletes what a killed run of the camera left; other cameras may write to the same folder."""
        super().open(header)
        self._camera = re.sub(r"[^\w.-]+", "-", header.camera)
        for kind in ("events", "tracks", "objects"):
            for left in self.path.glob(f".{kind}-{self._camera}-????????T?????????Z.*.part.parquet"):
                left.unlink(missing_ok=True)

    def send(self, events: Sequence[Event]) -> None:
        """Adds events, and the objects of the frames since the last call; an error loses all that is held."""
        try:
            rows = [asdict(event) for event in events]
            self._put("events", rows)
            self._put("tracks", [row for row in rows if row["kind"] == "track-ended"])
            self._put("objects", self._taken())
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
            path = self._files.enter_context(atomic_path(self.path / f"{kind}-{self._camera}-{self._stamp}.parquet"))
            self._writers[kind] = self._files.enter_context(
                self._parquet.ParquetWriter(path, self._schema(kind, rows[0]))
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

    def _schema(self, kind: str, row: dict[str, Any]) -> Any:
        arrow = self._arrow
        types = {float: arrow.float64(), int: arrow.int64(), bool: arrow.bool_(), str: arrow.string()}
        found = {name: types.get(one, arrow.list_(arrow.float32())) for name, one in FIELDS.items()}
        if kind == "objects":
            tasks = {name.removesuffix("_reason") for name in row if name.endswith("_reason")} - {"speed"}
            texts = {"camera", "run", "utc", "class_name", *tasks}
            found = {name: types[str if name in texts or name.endswith(("_kind", "_reason")) else
                                 OBJECT_TYPES.get(name, float)] for name in row}  # fmt: skip
        return arrow.schema(list(found.items()), metadata={"edgevid": json.dumps(self.header.to_dict())})
