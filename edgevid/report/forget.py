"""Deletion of what is known of a time, camera or track: in databases, records, events, crops and spools."""

import csv
import fcntl
import json
import math
import os
import sqlite3
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgevid.errors import EdgevidError, InputError, SourceError, require
from edgevid.files.atomic import atomic_path
from edgevid.files.folders import file_name, spool_folder
from edgevid.output.delivery import EVENTS, open_spool
from edgevid.output.recordings_folder import read_name
from edgevid.output.records import json_line, read_lines
from edgevid.output.tables import database_errors, open_database
from edgevid.report.store import form
from edgevid.types.event import EVENT_SCHEMA, HEADER_SCHEMA, utc_seconds, utc_text

CROPS = "????????T?????????-*.json"
"""Descriptions that `--save-abstained` writes; their names begin with the time at which the run began."""
ABOUT = ("camera", "run", "utc", "track")
BY_OBJECT = {"objects": "id", "events": "track", "smoothed": "id", "track_speeds": "id"}
"""Lists of a record, and the key that names the track."""


@dataclass(frozen=True)
class Selection:
    """What is to be forgotten: all that is stated must hold. Times are UTC seconds."""

    camera: str | None = None
    run: str | None = None
    track: int | None = None
    after: float | None = None
    before: float | None = None
    sources: frozenset[str] = field(default=frozenset(), compare=False)  # Of the camera, for crops: they name no other

    def holds(self, camera: Any, run: Any, utc: Any, track: Any = None) -> bool:
        """Whether something of a camera, run, time (ISO 8601) and track is to be forgotten."""
        exact = ((self.camera, camera), (self.run, run), (self.track, track and int(track)))
        if not all(mine in (None, its) for mine, its in exact):
            return False
        timed = self.after is not None or self.before is not None
        time = utc_seconds(utc) if timed and utc else math.nan  # which is neither before nor after
        return (self.after is None or time >= self.after) and (self.before is None or time < self.before)


def forget(paths: Sequence[Path], selection: Selection, *, dry_run: bool = True) -> dict[Path, Counter[str]]:
    """Deletes from files, folders of Parquet files or crops, and this user's spools; how many of each kind, by
    file. With `dry_run` it only counts. InputError, with nothing changed, where a run writes to one of them, as
    far as the system tells."""
    works: dict[Path, Any] = {path: _files if _has_files(path) else WORKS[form(path)] for path in paths}
    works |= dict.fromkeys(sorted(spool_folder().glob("*/")), _spool)
    for path in (path for path, work in works.items() if work is _sqlite):
        with open_database(path, "mode=rw") as base:
            found = base.execute("SELECT source FROM runs WHERE camera = ?", [selection.camera]).fetchall()
            selection = replace(selection, sources=selection.sources | {row[0] for row in found})
    counts = {path: _counted(path, work, selection) for path, work in works.items()}
    for path, work in works.items():
        if counts[path] and not dry_run:
            work(path, selection, True)
    return {path: +count for path, count in counts.items() if count or path in paths}


def _counted(path: Path, work: Any, selection: Selection) -> Counter[str]:
    try:
        return Counter(work(path, selection, False))
    except EdgevidError:
        raise
    except (ValueError, LookupError, TypeError, OSError) as error:  # pyarrow's are of these
        raise SourceError(f"{path}: cannot be read, so nothing was deleted: {error}; leave it out") from None


def _sqlite(path: Path, selection: Selection, apply: bool) -> Counter[str]:
    """The bytes go from the file and from its log, too; a run may write to it meanwhile."""
    rows = dict.fromkeys(("events", "objects"), "holds(camera, run, utc, track)")
    if selection.track is None:  # runs of which nothing is left
        left = " UNION ".join(f"SELECT run FROM {table} WHERE NOT {where}" for table, where in rows.items())
        rows = {"runs": f"holds(camera, run, start_utc, NULL) AND run NOT IN ({left})", **rows}
    with open_database(path, "mode=rw") as base:
        base.create_function("holds", 4, selection.holds, deterministic=True)
        if not apply:
            counted = (base.execute(f"SELECT count(*) FROM {table} WHERE {where}") for table, where in rows.items())
            return Counter({table: one.fetchone()[0] for table, one in zip(rows, counted, strict=True)})
        _erase(base, path, rows)
    return Counter()


def _erase(base: sqlite3.Connection, path: Path, rows: dict[str, str]) -> None:
    """Deletes rows by table and condition, and their bytes."""
    base.execute("PRAGMA secure_delete = ON")
    with base:
        for table, where in rows.items():
            base.execute(f"DELETE FROM {table} WHERE {where}")
    base.execute("VACUUM")
    if base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise SourceError(f"{path}: deleted, but a reader keeps bytes in its -wal; end it, then forget again")


def _check_idle(path: Path) -> None:
    """InputError where a program has the file open for writing: Linux then grants no lease on it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(PermissionError):  # another user's file
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        raise InputError(f"{path}: a run is writing to it; end it first, then forget again") from None
    finally:
        os.close(handle)


def _text(path: Path, selection: Selection, apply: bool) -> Counter[str]:
    """JSON lines, and events as CSV; the file is replaced in one step, or deleted where nothing is left."""
    _check_idle(path)
    counts: Counter[str] = Counter()
    kept = (_kept_csv if form(path) == "csv" else _kept_lines)(path, selection, counts)
    if not apply:
        deque(kept, 0)
        return counts
    with atomic_path(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        file.writelines(kept)
    if not path.stat().st_size:
        path.unlink()
    return counts


def _kept_csv(path: Path, selection: Selection, counts: Counter[str]) -> Iterator[str]:
    as_text: Any = SimpleNamespace(write=str)
    line = csv.writer(as_text).writerow
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        columns = next(rows)
        yield line(columns)
        for cells in rows:
            if selection.holds(*map(dict(zip(columns, cells, strict=False)).get, ABOUT)):
                counts["events"] += 1
            else:
                yield line(cells)


def _kept_lines(path: Path, selection: Selection, counts: Counter[str]) -> Iterator[str]:
    """What stays of headers, events and records; a header that is selected goes with the last of its run."""
    header: Any = {}
    waits = False
    for _, one in read_lines(path):
        if one.get("schema") == HEADER_SCHEMA:
            counts["runs"] += waits
            header, waits = one, False
            if selection.track is None and selection.holds(one["camera"], one["run"], one["start_utc"]):
                waits = True
            else:
                yield json_line(one)
        elif kept := _kept(one, header, selection, counts):
            yield json_line(header) * waits + json_line(kept)
            waits = False
    counts["runs"] += waits


def _kept(one: Any, header: Any, selection: Selection, counts: Counter[str]) -> Any:
    """What stays of an event or a record, {} where nothing does."""
    of_event = one.get("schema") == EVENT_SCHEMA
    source = one if of_event else header
    about = source.get("camera"), source.get("run"), one.get("utc")
    if of_event or selection.track is None:
        gone = selection.holds(*about, track=one.get("track"))
        counts["events" if of_event else "frames"] += gone
        return {} if gone else one
    made = dict(one)
    for name in BY_OBJECT.keys() & one.keys():
        made[name] = [row for row in one[name] if not selection.holds(*about, track=row.get(BY_OBJECT[name]))]
        counts[name] += len(one[name]) - len(made[name])
    return made


def _parquet(path: Path, selection: Selection, apply: bool) -> Counter[str]:
    """Each file is written again without the rows, or deleted where none is left."""
    arrow = require("pyarrow", extra="parquet", purpose="Parquet files")
    parquet = require("pyarrow.parquet", extra="parquet", purpose="Parquet files")
    counts: Counter[str] = Counter()
    for file in sorted(path.rglob("*.parquet")) if path.is_dir() else [path]:
        if file.name.startswith("."):  # not complete: of a run that writes now, or was killed
            _check_idle(file)
            continue
        with parquet.ParquetFile(file) as source:
            track = "tracker_id" if "tracker_id" in source.schema_arrow.names else "track"
            names, groups = [*ABOUT[:3], track], range(source.num_row_groups)
            columns = (source.read_row_group(n, columns=names).select(names) for n in groups)
            rows = (zip(*(column.to_pylist() for column in one.columns), strict=True) for one in columns)
            kept = [[not selection.holds(*row) for row in some] for some in rows]
            gone = sum(len(one) - sum(one) for one in kept)
            counts[file.name.partition("-")[0]] += gone
            if apply and gone:
                with atomic_path(file) as new, parquet.ParquetWriter(new, source.schema_arrow) as writer:
                    for n in groups:
                        writer.write_table(source.read_row_group(n).filter(arrow.array(kept[n])))
        if apply and gone and not any(map(any, kept)):
            file.unlink()
    return counts


def _has_files(path: Path) -> bool:
    return any(path.glob(CROPS)) or any(read_name(file.name) for file in path.glob("*/*"))


def _found(path: Path, selection: Selection) -> Iterator[tuple[str, tuple[Any, ...], list[Path]]]:
    """Kind, what `holds` takes, and files: of crops (their source is one that the camera has in a database),
    and of recorded videos (by the time of their first frame) and snapshots."""
    for about in filter(Path.is_file, path.glob(CROPS)):
        try:
            one = json.loads(about.read_text(encoding="utf-8"))
            start = datetime.strptime(about.name[:18], "%Y%m%dT%H%M%S%f").replace(tzinfo=timezone.utc).timestamp()
            camera = selection.camera if one["source"] in selection.sources else None
            known = (camera, None, utc_text(start + one["time_s"]), one["track"])
        except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
            raise InputError(f"{about}: expected what describes a crop, got another file; move it away") from None
        yield "crops", known, [about.with_name(about.stem + end) for end in (".jpg", "-film.jpg", ".json")]
    for file in path.glob("*/*"):
        if named := read_name(file.name):
            track = named.kind if named.kind.isdecimal() else None
            camera = selection.camera or ""
            own = camera if file.parent.name == file_name(camera) else file.parent.name
            known = (own, None, utc_text(named.utc), track)
            yield "videos" if track is None else "snapshots", known, [file]


def _files(path: Path, selection: Selection, apply: bool) -> Counter[str]:
    gone = [(kind, files) for kind, known, files in _found(path, selection) if selection.holds(*known)]
    for file in (file for _, files in gone for file in files if file.is_file()):
        _check_idle(file)
        if apply:
            file.unlink()
    return Counter(kind for kind, _ in gone)


def _spool(folder: Path, selection: Selection, apply: bool) -> Counter[str]:
    """Events that wait for sinks."""
    if not (folder / EVENTS).exists():
        return Counter()
    lock = os.open(folder, os.O_RDONLY)
    try:
        with database_errors(folder), closing(open_spool(folder)) as base:
            base.create_function("holds", 1, lambda line: selection.holds(*map(json.loads(line).get, ABOUT)))
            ((gone,),) = base.execute("SELECT count(*) FROM events WHERE holds(line)")
            if gone:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if apply:
                _erase(base, folder, {"events": "holds(line)"})
                left = "SELECT min(number) FROM events WHERE number >= acknowledged"
                base.execute(f"UPDATE sinks SET acknowledged = coalesce(({left}), acknowledged)")
                base.commit()
    except BlockingIOError:
        raise InputError(f"{folder}: a run of this camera is writing; end it, then forget again") from None
    finally:
        os.close(lock)
    return Counter({"events that wait for sinks": gone} if gone else {})


WORKS = {"sqlite": _sqlite, "lines": _text, "csv": _text, "parquet": _parquet}
