"""Events of databases and files of any form, each once, in a temporary DuckDB database; the tables of a report on it.
The tables are made by the SQL of report.sql, and what is shown of them by that of views.sql."""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from edgevid.errors import EdgevidError, InputError, SourceError, did_you_mean, log, require
from edgevid.files.cells import FORMULA
from edgevid.output.overlay import UNITS
from edgevid.output.records import SCHEMA
from edgevid.output.tables import FIELDS, SCRIPT, open_database
from edgevid.types import Closing
from edgevid.types.event import EVENT_FIELDS, EVENT_SCHEMA, HEADER_SCHEMA

BATCH = 5_000
MEMORY = "100MB"  # DuckDB's own limit; what does not fit is on disk
_TYPES = {float: "DOUBLE", int: "BIGINT", tuple: "FLOAT[]", str: "VARCHAR"}
EVENTS = {name: "TIMESTAMP" if name == "utc" else _TYPES[kind] for name, kind in FIELDS.items()}
RUNS = dict.fromkeys(("run", "camera", "source", "start_utc"), "VARCHAR")
_OF_SQLITE = {"REAL": "DOUBLE", "INTEGER": "BIGINT", "TEXT": "VARCHAR"}
_CSV = """auto_detect = false, delim = ',', quote = '"', escape = '"', nullstr = '', parallel = false"""
TABLES = ("counts", "speeds", "no_speed", "zones", "ways", "incidents", "gaps")
VEHICLES = ["car", "truck", "bus", "van", "motorcycle", "motorbike", "vehicle", "tram", "train"]
"""Motor vehicles: where there are any, speeds are theirs."""
CELL = 4.0  # Side of the finest cells of heat maps, in pixels
DAY, MOST = 86400, 20_000
LONGEST = 3653 * DAY


class Store(Closing):
    """`base` is a DuckDB connection with the tables `events`, `runs`, `objects` and the view `tracks`. Columns
    are those of docs/events.md, `utc` as TIMESTAMP. An event that several files hold is there once."""

    def __init__(self, paths: Sequence[Path], *, objects: bool = False) -> None:
        """`objects` loads the objects of frames, too. SourceError or InputError for a file that cannot be
        read or holds no event, MissingExtraError without duckdb."""
        duckdb = require("duckdb", extra="report", purpose="edgevid report")
        self.error, self._objects, self._loaded = duckdb.Error, objects, False
        with ExitStack() as opened:
            self._folder = Path(opened.enter_context(TemporaryDirectory(prefix="edgevid-report-")))
            settings = {"memory_limit": MEMORY, "threads": 1, "temp_directory": str(self._folder / "spill"),
                        "preserve_insertion_order": False}  # fmt: skip
            base = duckdb.connect(str(self._folder / "events.duckdb"), config=settings)
            self.base = opened.enter_context(closing(base))
            self.base.execute("SET TimeZone = 'UTC'")
            for table, names in (("events", EVENTS), ("runs", RUNS)):
                self.base.execute(f"CREATE TABLE {table} ({', '.join(f'{n} {k}' for n, k in names.items())})")
            for path in paths:
                kind = form(path)
                try:
                    getattr(self, f"_add_{kind}")(path)
                except EdgevidError:
                    raise
                except (duckdb.Error, OSError) as error:
                    problem = f"cannot be read as {kind}: {first_line(error)}"
                    raise SourceError(f"{path}: {problem}; check the file and free disk space") from None
            self._finish(paths)
            self._open = opened.pop_all()

    def close(self) -> None:
        """Deletes the database."""
        self._open.close()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        found: list[tuple[Any, ...]] = self.base.execute(query, values or None).fetchall()
        return found

    def query(self, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Names of columns, and rows, of one SELECT; this store then reads no other file any more. InputError
        for anything that is no SELECT, that touches a file, or that fails."""
        with self.errors("query"):
            statements = self.base.extract_statements(sql)
            if (kinds := [str(one.type).rpartition(".")[2] for one in statements]) not in (["SELECT"], ["EXPLAIN"]):
                found = " and ".join(kinds) or "nothing"
                raise InputError(f"query: expected one SELECT, got {found}; it only reads")
            self.base.execute("SET enable_external_access = false; SET lock_configuration = true")
            return [column[0] for column in self.base.execute(statements[0]).description], self._fetched()

    def _fetched(self) -> Iterator[tuple[Any, ...]]:
        with self.errors("query"):
            while rows := self.base.fetchmany(BATCH):
                yield from rows

    @contextmanager
    def errors(self, name: str) -> Iterator[None]:
        """Makes DuckDB's errors InputErrors of one line."""
        try:
            yield
        except self.error as error:
            raise InputError(f"{name}: {first_line(error)}") from None

    def _into(self, table: str, select: str) -> None:
        """Adds rows, as far as the table has their columns."""
        if table == "objects":
            before = "FROM objects UNION ALL BY NAME " * bool(self._loaded)
            self.base.execute(f"CREATE OR REPLACE TABLE objects AS {before}"
                              f"SELECT * REPLACE (utc::TIMESTAMP AS utc) FROM ({select})")  # fmt: skip
            self._loaded = True
            return
        found = {row[0] for row in self.rows(f"DESCRIBE {select}")}
        kinds = {n: k for n, k in (EVENTS if table == "events" else RUNS).items() if n in found}
        texts = {n for n, kind in kinds.items() if kind == "VARCHAR"} - {"camera"}
        names = (f"nullif({n}, '') AS {n}" if n in texts else n for n in kinds)
        self.base.execute(f"INSERT INTO {table} BY NAME SELECT {', '.join(names)} FROM ({select})")

    def _add_parquet(self, path: Path) -> None:
        files = sorted(f for f in path.rglob("*.parquet") if f.is_file()) if path.is_dir() else [path]
        found = ([_text(f) for f in files if f.name.startswith(kind)] for kind in ("events", "objects"))
        events, objects = (f"[{', '.join(texts)}]" for texts in found)
        if events == "[]":
            raise InputError(f"{path}: expected files events-*.parquet, got none; give --parquet's folder")
        self._into("events", f"FROM read_parquet({events}, union_by_name = true)")
        header = f"SELECT decode(value)::JSON AS h FROM parquet_kv_metadata({events})"
        fields = ", ".join(f"h->>{name!r} AS {name}" for name in RUNS)
        self._into("runs", f"SELECT {fields} FROM ({header} WHERE decode(key) = 'edgevid')")
        if self._objects and objects != "[]":
            self._into("objects", "SELECT * RENAME (tracker_id AS track) FROM "
                       f"read_parquet({objects}, union_by_name = true)")  # fmt: skip

    def _add_sqlite(self, path: Path) -> None:
        """By way of CSV: DuckDB's own reader of SQLite would have to be downloaded."""
        with open_database(path) as base:
            for table in ("events", "runs", *["objects"] * self._objects):
                copied = self._folder / f"{table}.csv"
                found = [r[1:3] for r in base.execute(f"PRAGMA table_info({table})") if r[1].isidentifier()]
                names = {name: _OF_SQLITE[kind] for name, kind in found if kind in _OF_SQLITE}  # no one else's SQL
                with copied.open("w", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerows(base.execute(f"SELECT {', '.join(names)} FROM {table}"))
                columns = f"columns = {names}, header = false"
                self._into(table, f"FROM read_csv({_text(copied)}, {columns}, {_CSV})")
                copied.unlink()

    def _add_csv(self, path: Path) -> None:
        names = {name: "VARCHAR" if "box" in name else kind for name, kind in EVENTS.items()}
        made = [f"'[' || replace({one}, ' ', ',') || ']' AS {one}" for one in ("box", "first_box")]
        quoted = FORMULA.replace("'", "''")
        texts = (name for name, kind in EVENTS.items() if kind == "VARCHAR")
        made += [f"regexp_replace({one}, '^''({quoted})', '\\1') AS {one}" for one in texts]
        options = f"columns = {names}, header = true, ignore_errors = true, {_CSV}"
        rows = f"read_csv({_text(path)}, {options}) WHERE id <> ''"
        self._into("events", f"SELECT * REPLACE ({', '.join(made)}) FROM {rows}")

    def _add_lines(self, path: Path) -> None:
        """Lines of events, of records with events, and headers; torn ones are left out and reported."""
        nested = ", ".join(f'"{name}" {kind}' for name, kind in EVENTS.items())
        columns = EVENTS | RUNS | {"schema": "VARCHAR", "events": f"STRUCT({nested})[]"}
        options = f"columns = {columns}, ignore_errors = true, maximum_object_size = 4194304"
        self.base.execute(f"CREATE TABLE lines AS FROM read_ndjson({_text(path)}, {options}) "
                          f"WHERE schema IS DISTINCT FROM '{SCHEMA}' OR len(events) > 0")  # fmt: skip
        ((torn,),) = self.rows("SELECT count(*) FROM lines WHERE schema IS NULL")
        if torn:
            log.warning("%s: %d lines are torn or no JSON: left out", path, torn)
        self._into("events", f"FROM lines WHERE schema = '{EVENT_SCHEMA}'")
        self._into("events", "SELECT e.* FROM (SELECT unnest(events) AS e FROM lines)")
        self._into("runs", f"FROM lines WHERE schema = '{HEADER_SCHEMA}'")
        self.base.execute("DROP TABLE lines")

    def _finish(self, paths: Sequence[Path]) -> None:
        """Of events with one id, one is left."""
        for table, key in (("events", "id"), ("runs", "run")):
            if self.rows(f"SELECT 1 FROM {table} HAVING count(*) > count(DISTINCT hash({key}))"):
                kept = f"SELECT min(rowid) FROM {table} GROUP BY {key}"
                self.base.execute(f"DELETE FROM {table} WHERE rowid NOT IN ({kept})")
        self.base.execute(next(one for one in SCRIPT.split(";") if "CREATE VIEW" in one))
        if not self.rows("SELECT 1 FROM events LIMIT 1"):
            raise InputError(f"{', '.join(map(str, paths))}: expected events, got none; `edgevid run` with "
                             "--sqlite, --events, --jsonl or --parquet writes them")  # fmt: skip


def form(path: Path) -> str:
    """ "parquet", "sqlite", "csv" or "lines"; SourceError or InputError for what holds no events."""
    if path.is_dir():
        return "parquet"
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    starts = {b"SQLite format 3\0": "sqlite", b"PAR1": "parquet", ",".join(EVENT_FIELDS[:3]).encode(): "csv",
              b"{": "lines", b"\x1f\x8b": "lines", b"\0": "lines"}  # fmt: skip
    for start, kind in starts.items():
        if head.startswith(start):
            return kind
    got = "another file" if head else "an empty file"
    raise InputError(f"{path}: expected a database, records or events of edgevid (docs/report.md), got {got}")


def first_line(error: Exception) -> str:
    """What DuckDB reports, in one line."""
    kept = (line.strip() for line in str(error).split("\n\nLINE ")[0].splitlines())
    return " ".join(line for line in kept if line).rstrip(".")


def _text(path: Path) -> str:
    """A path in SQL, taken as it is and not as a pattern."""
    return "'" + "".join(f"[{c}]" if c in "*?[" else c for c in str(path)).replace("'", "''") + "'"


class View(NamedTuple):
    """A table of texts."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str


class Report:
    """A report in the database of a store, which must stay open."""

    def __init__(self, store: Store, every: int = 0, zone: str = "UTC", *, unit: str = "km/h", camera: str = "",
                 classes: Sequence[str] = ()) -> None:  # fmt: skip
        """By intervals of `every` seconds (0: about a hundred of a usual length), of one camera and some
        classes (empty: all). InputError for a camera, class or time zone that is not there."""
        self.store, self.zone, self.unit = store, zone, unit
        store.base.execute("UPDATE events SET camera = '' WHERE camera IS NULL")
        ((length, first, last),) = store.rows("SELECT epoch(max(utc) - min(utc)), min(utc), max(utc) FROM events")
        if length is None or length > LONGEST:
            raise InputError(f"expected events of up to ten years, got {first} to {last}: a clock was "
                             "not set; edgevid forget --before and --after delete what is wrong")  # fmt: skip
        if every and length / every > MOST:
            raise InputError(f"--every: expected up to {MOST} intervals, got {length / every:.0f}; longer ones")
        _check("--timezone", [row[0] for row in store.rows("SELECT name FROM pg_timezone_names()")], [zone])
        given = ("camera", "camera", [camera] * bool(camera)), ("classes", "class_name", classes)
        for option, column, names in given:
            known = store.rows(f"SELECT DISTINCT {column} FROM events WHERE {column} IS NOT NULL ORDER BY 1")
            _check(f"--{option}", [row[0] for row in known], names)
        variables = {"camera": camera, "classes": list(classes), "vehicles": VEHICLES, "factor": UNITS[unit],
                     "unit": unit, "zone": zone, "every": every, "cell": CELL}  # fmt: skip
        for name, value in variables.items():
            cast = "::VARCHAR[]" * isinstance(value, list)
            store.base.execute(f"SET VARIABLE {name} = $1{cast}", [value])
        with store.errors("report"):
            store.base.execute(_sql("report.sql"))
        self.cameras = [row[0] for row in store.rows("SELECT DISTINCT camera FROM spans ORDER BY 1")]

    def table(self, name: str, *, by_interval: bool) -> list[tuple[Any, ...]]:
        """One of TABLES, its column names first; of intervals, or of the whole time, and the share of it that
        was observed, 0 to 1. Times are ISO 8601."""
        texts = 'iso_text(start) AS start, iso_text("end") AS "end"'
        query = f"SELECT * REPLACE ({texts}) FROM {name} ORDER BY ALL"
        if name == "ways":
            query = "FROM ways ORDER BY ALL"
        elif name in TABLES[:4]:
            query = f"""SELECT t.camera, iso_text(c.a) AS start, iso_text(c.b) AS "end", observed, t.* EXCLUDE
                (camera, start) FROM {name} t JOIN coverage c ON c.camera = t.camera AND c.start IS NOT
                DISTINCT FROM t.start WHERE t.start IS {"NOT" if by_interval else ""} NULL ORDER BY ALL"""
        rows = self.store.rows(query)
        return [tuple(column[0] for column in self.store.base.description), *rows]

    def views(self, camera: str) -> list[View]:
        """The tables of a camera that have rows: the summary first, that of intervals last."""
        self.store.base.execute("SET VARIABLE one = $1", [camera])
        found = []
        for text in _sql("views.sql").split("\n\n")[1:]:
            title, _, note = text.partition("\n")[0].removeprefix("-- ").partition(" |")
            if rows := self.store.rows(text):
                head = tuple(column[0].strip() for column in self.store.base.description)
                texts = [tuple("-" if value is None else str(value) for value in row) for row in rows]
                found.append(View(title.format(unit=self.unit), head, texts, note.strip()))
        return found


def seconds_of(text: str) -> int:
    """The seconds of "15m", "1h" or "1d", 0 for other texts."""
    found = re.fullmatch(r"(\d+)\s*([smhd])(?:in)?", text.strip())
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": DAY}[found[2]] if found else 0


def interval_of(text: str) -> int:
    """The seconds of an interval; InputError for one that does not divide days evenly."""
    if not (seconds := seconds_of(text)) or (DAY % seconds and seconds % DAY):
        raise InputError(f"--every: expected a time that divides a day, such as 15m, 1h or 1d, got {text!r}")
    return seconds


def _sql(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _check(option: str, known: Sequence[str], names: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            few = f"one of {', '.join(known)}" if len(known) < 30 else "a name such as Europe/Berlin"
            raise InputError(f"{option}: expected {few}, got {name!r}{did_you_mean(name, known)}")
