"""Events, tracks and, if requested, objects of each frame: SqliteSink and ParquetSink."""

import json
import math
import sqlite3
import threading
import time as clock
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_type_hints

from edgevid.errors import InputError, SourceError, require
from edgevid.files import atomic_path, check_file, file_name, make_folder
from edgevid.files.atomic import sweep
from edgevid.types import Closing, Event, Frame, Header, Result
from edgevid.types.event import EVENT_FIELDS, utc_text
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
        """Leaves a row per object: camera, run and utc, then `flat_kinds`."""
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


ODD = """SELECT name FROM sqlite_master AS m WHERE lower(name) IN ('events', 'objects', 'runs')
    AND (sql NOT LIKE 'CREATE TABLE %' OR EXISTS (SELECT 1 FROM pragma_table_xinfo(m.name) WHERE hidden))"""
SCRIPT = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
VERSION, APPLICATION_ID = 2, 0x65647669  # That the script writes into the header of the file
BUSY_S = 10.0
_OBJECT = "run camera utc frame time_s track class_name confidence detected x_min y_min x_max y_max".split()  # noqa: SIM905
_OBJECT += "speed_mps speed_sigma_mps speed_heading_deg speed_kind speed_age_s speed_reason verdicts".split()  # noqa: SIM905


class SqliteSink(ObjectRows):
    """Events in a SQLite database (docs/events.md); several programs may write to the same one. Each batch is one
    transaction that is on the disk when it ends; an event that is sent twice is there once."""

    def __init__(self, path: str | Path, *, records: bool = False) -> None:
        """`records` adds the table `objects`. SourceError where `path` cannot be written or is no such
        database; InputError where it is of another version."""
        self.path, self.name = Path(path), f"sqlite {path}"
        if not self.path.parent.is_dir():
            raise SourceError(f"{path}: the folder {self.path.parent} does not exist; create it first")
        super().__init__(records=records)
        with database_errors(self.path):
            self._base = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
            if not version_of(self._base, self.path):
                self._base.executescript(f"BEGIN IMMEDIATE; {SCRIPT} COMMIT;")
            ends = clock.monotonic() + BUSY_S
            while True:  # for this change SQLite itself does not wait until another program's is done
                try:
                    self._base.execute("PRAGMA journal_mode = WAL")
                    break
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or clock.monotonic() > ends:
                        raise
                    clock.sleep(0.02)
            self._base.execute("PRAGMA synchronous = FULL")

    def open(self, header: Header) -> None:
        """Adds the run."""
        super().open(header)
        values = header.to_dict()
        row = (header.run, header.camera, header.source, values["start_utc"], json.dumps(values))
        with database_errors(self.path), self._base:
            self._base.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", row)

    def send(self, events: Sequence[Event]) -> None:
        """Adds events, and the objects of the frames since the last call, in one transaction."""
        rows = self._taken()
        try:
            with self._base:
                self._base.executemany(f"INSERT OR IGNORE INTO events VALUES ({_marks(EVENT_FIELDS)})",
                                       [_event_row(event) for event in events])  # fmt: skip
                self._base.executemany(f"INSERT INTO objects VALUES ({_marks(_OBJECT)})", map(_object_row, rows))
        except sqlite3.Error:
            self._add(rows, again=True)
            raise

    def close(self) -> None:
        """Closes the database."""
        self.send([])
        self._base.close()


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Makes SQLite's errors SourceErrors that name the file and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise SourceError(f"{path}: cannot be used as a database: {error}; check the permissions "
                          "and the free space, or choose another path") from None  # fmt: skip


def version_of(base: sqlite3.Connection, path: Path) -> int:
    """The version of a database, 0 of an empty one; InputError where it is not edgevid's, or of another version."""
    made = base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]  # first: another program may make it now
    version, owner = (base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id"))
    if owner != APPLICATION_ID and made:
        raise InputError(f"{path}: expected a database of edgevid or a new file, got "
                         "one of another program; choose another path")  # fmt: skip
    if version not in (0, VERSION):
        raise InputError(f"{path}: expected a database of version {VERSION}, got {version}, of another edgevid")
    return int(version)


@contextmanager
def open_database(path: Path, mode: str = "mode=ro") -> Iterator[sqlite3.Connection]:
    """A database that edgevid made; SourceError where it cannot be read, InputError where it is another one."""
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file; check the path")
    address = f"{path.absolute().as_uri()}?{mode}"
    with database_errors(path), closing(sqlite3.connect(address, BUSY_S, uri=True)) as base:
        with suppress(AttributeError):  # before Python 3.11
            base.setlimit(0, 1 << 24)  # SQLITE_LIMIT_LENGTH, of a row
        if not version_of(base, path):
            raise InputError(f"{path}: expected a database of edgevid, got another or an empty one")
        if odd := base.execute(ODD).fetchone():  # a view, or a column that is computed, may never end
            raise InputError(f"{path}: expected the table {odd[0]}, got something else of its name")
        yield base


def read_database(path: str | Path, query: str = "SELECT * FROM events ORDER BY utc") -> list[dict[str, Any]]:
    """The rows of a query as dicts, without changing the database; errors as of `open_database`."""
    with open_database(Path(path)) as base:
        base.row_factory = sqlite3.Row
        return [dict(row) for row in base.execute(query)]


def _marks(names: Sequence[str]) -> str:
    return ", ".join("?" * len(names))


def _event_row(event: Event) -> list[Any]:
    values = (getattr(event, name) for name in EVENT_FIELDS)
    return [json.dumps(value) if isinstance(value, tuple) else None if value == "" else value for value in values]


def _object_row(row: dict[str, Any]) -> list[Any]:
    known = set(_OBJECT) | {"class_id", "tracker_id", "track_age_s"}
    verdicts = {key: value for key, value in row.items() if key not in known and value is not None}
    more = {"track": row["tracker_id"], "verdicts": json.dumps(verdicts) if verdicts else None}
    return [(row | more)[name] for name in _OBJECT]


ROW_GROUP = 50_000
STAMPED, FIRST = "????????T?????????Z", "19700101T000000000Z"
OBJECT_TYPES = {"frame": int, "class_id": int, "tracker_id": int, "detected": bool}
"""Columns of objects that are no text and no floating point."""
FIELDS = {name: next((kind for kind in (float, int) if hint in (kind, kind | None)), tuple if "box" in name else str)
          for name, hint in get_type_hints(Event).items()}  # fmt: skip
"""The Python type of each field of an event."""


class ParquetSink(ObjectRows):
    """A folder with files events-*, tracks-* and objects-*.parquet, named by camera and start in UTC. Each file is
    written under another name and moved into place when it is complete, after `segment_s` and at the end. What a killed
    run had not completed is in no file; its events come again with the next run, and each is in the files once."""

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
        self._camera, self._known = "camera", dict[str, set[str]]()
        self._begin()

    def open(self, header: Header) -> None:
        """Deletes what killed runs left; other cameras may write to the same folder."""
        super().open(header)
        self._camera = file_name(header.camera)
        sweep(self.path)
        self._read_known()

    def send(self, events: Sequence[Event]) -> None:
        """Adds events, and the objects of the frames since the last call; an error loses all that is held."""
        try:
            rows = [asdict(event) for event in events]
            self._put("events", self._new("events", rows))
            self._put("tracks", self._new("tracks", [row for row in rows if row["kind"] == "track-ended"]))
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

    def _read_known(self) -> None:
        """The ids in the latest files: they come again where a run ended before it noted that they were moved."""
        for kind in ("events", "tracks"):
            for path in sorted(self.path.glob(f"{kind}-{self._camera}-{STAMPED}.parquet"))[-1:]:
                with suppress(Exception):  # the file of another program
                    self._known[kind] = set(self._parquet.read_table(path, columns=["id"])["id"].to_pylist())

    def _new(self, kind: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["id"] not in self._known.get(kind, ())]

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
        if not (rows := self._buffers[kind]):
            return
        if kind not in self._writers:
            if not self._stamp:  # after that of every file, also where the clock was set back
                stamps = (path.stem[-len(STAMPED) :] for path in self.path.glob(f"*-{self._camera}-{STAMPED}.parquet"))
                last = datetime.strptime(max(stamps, default=FIRST), "%Y%m%dT%H%M%S%fZ").replace(tzinfo=timezone.utc)
                stamp = utc_text(max(clock.time(), last.timestamp() + 0.001))
                self._stamp = stamp.translate({ord(c): None for c in "-:."})
            path = self._files.enter_context(atomic_path(self.path / f"{kind}-{self._camera}-{self._stamp}.parquet"))
            opened = self._parquet.ParquetWriter(path, self._schema(kind, rows[0]))
            self._writers[kind] = self._files.enter_context(opened)
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
        self._read_known()

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
