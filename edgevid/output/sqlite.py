"""SqliteSink: events, tracks and, if requested, objects of each frame, of many cameras in one database."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edgevid.errors import InputError, SourceError
from edgevid.output.rows import ObjectRows
from edgevid.types import Event, Header
from edgevid.types.event import EVENT_FIELDS

SCRIPTS = (
    """
    CREATE TABLE runs (run TEXT PRIMARY KEY, camera TEXT, source TEXT, start_utc TEXT, header TEXT);
    CREATE TABLE events (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, utc TEXT NOT NULL, time_s REAL, camera TEXT, run TEXT,
        frame INTEGER, place TEXT, track INTEGER, class_name TEXT, confidence REAL, direction TEXT,
        seconds REAL, count INTEGER, speed_mps REAL, speed_sigma_mps REAL, speed_heading_deg REAL,
        speed_reason TEXT, task TEXT, label TEXT, label_confidence REAL, reason TEXT,
        box TEXT, first_box TEXT);
    CREATE INDEX events_by_camera ON events (camera, utc);
    CREATE INDEX events_by_kind ON events (kind, utc);
    CREATE INDEX events_by_track ON events (run, track);
    CREATE VIEW tracks AS
        SELECT run, camera, track, class_name, confidence, count AS frames, utc AS last_utc, time_s AS last_s,
            time_s - seconds AS first_s, speed_mps, speed_sigma_mps, speed_heading_deg, speed_reason,
            first_box, box AS last_box
        FROM events WHERE kind = 'track-ended';
    CREATE TABLE objects (
        run TEXT, camera TEXT, utc TEXT, frame INTEGER, time_s REAL, track INTEGER, class_name TEXT,
        confidence REAL, detected INTEGER, x_min REAL, y_min REAL, x_max REAL, y_max REAL, speed_mps REAL,
        speed_sigma_mps REAL, speed_heading_deg REAL, speed_kind TEXT, speed_age_s REAL, speed_reason TEXT,
        verdicts TEXT);
    CREATE INDEX objects_by_camera ON objects (camera, utc);
    CREATE INDEX objects_by_track ON objects (run, track);
    """,
    """
    ALTER TABLE events ADD COLUMN clip TEXT;
    ALTER TABLE events ADD COLUMN snapshot TEXT;
    CREATE INDEX events_by_utc ON events (utc);
    """,
)
"""Each script brings a database to the next version, which is its number from 1 on."""
APPLICATION_ID = 0x65647669  # Of SQLite's file header: "edvi"
BUSY_S = 10.0
_OBJECT = "run camera utc frame time_s track class_name confidence detected x_min y_min x_max y_max".split()  # noqa: SIM905
_OBJECT += "speed_mps speed_sigma_mps speed_heading_deg speed_kind speed_age_s speed_reason verdicts".split()  # noqa: SIM905


class SqliteSink(ObjectRows):
    """Events in a SQLite database (docs/events.md); several programs may write to the same one.

    Each batch is one transaction that is on the disk when it ends; an event that is sent twice is there once.
    """

    def __init__(self, path: str | Path, *, records: bool = False) -> None:
        """`records` adds the table `objects`. SourceError where `path` cannot be written or is no such
        database; InputError where it is of another version."""
        self.path, self.name = Path(path), f"sqlite {path}"
        if not self.path.parent.is_dir():
            raise SourceError(f"{path}: the folder {self.path.parent} does not exist; create it first")
        super().__init__(records=records)
        self._open()

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

    def _open(self) -> None:
        with database_errors(self.path):
            self._base = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
            version = version_of(self._base, self.path)
            if 0 < version < len(SCRIPTS):
                raise InputError(
                    f"{self.path}: a database of version {version}, this edgevid writes {len(SCRIPTS)}: run "
                    f"edgevid migrate {self.path}"
                )
            if not version:
                migrate(self._base, self.path)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Makes SQLite's errors SourceErrors that name the file and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise SourceError(
            f"{path}: cannot be used as a database: {error}; check the permissions and the free "
            "space, or choose another path"
        ) from None


def version_of(base: sqlite3.Connection, path: Path) -> int:
    """The version of a database, 0 of an empty one; InputError where it is not edgevid's, or a newer one."""
    version, owner = (base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id"))
    if owner != APPLICATION_ID and base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise InputError(
            f"{path}: expected a database of edgevid or a new file, got one of another program; choose another path"
        )
    if version > len(SCRIPTS):
        raise InputError(f"{path}: a database of version {version}, this edgevid knows {len(SCRIPTS)}: update edgevid")
    return int(version)


def migrate(base: sqlite3.Connection, path: Path) -> int:
    """Brings a database to today's version in one transaction; the version that it had."""
    base.execute("BEGIN IMMEDIATE")
    with base:
        version = version_of(base, path)
        for statement in "".join(SCRIPTS[version:]).split(";"):
            base.execute(statement)
        base.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        base.execute(f"PRAGMA user_version = {len(SCRIPTS)}")
    return version


def read_database(path: str | Path, query: str = "SELECT * FROM events ORDER BY utc") -> list[dict[str, Any]]:
    """The rows of a query as dicts, without changing the database; SourceError where it cannot be read."""
    place = Path(path).absolute()
    if not place.is_file():
        raise SourceError(f"{path}: there is no such file; check the path")
    with database_errors(Path(path)), closing(sqlite3.connect(f"{place.as_uri()}?mode=ro", uri=True)) as base:
        version_of(base, Path(path))
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
