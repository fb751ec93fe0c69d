"""The tables of a report, by the SQL of report.sql, and what is shown of them, by that of views.sql."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edgevid.errors import InputError, did_you_mean
from edgevid.output.overlay import UNITS
from edgevid.report.store import Store

TABLES = ("counts", "speeds", "no_speed", "zones", "ways", "incidents", "gaps")
VEHICLES = ["car", "truck", "bus", "van", "motorcycle", "motorbike", "vehicle", "tram", "train"]
"""Motor vehicles: where there are any, speeds are theirs."""
CELL = 4.0  # Side of the finest cells of heat maps, in pixels
DAY, MOST = 86400, 20_000
LONGEST = 3653 * DAY


class View(NamedTuple):
    """A table of texts."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str


class Report:
    """A report in the database of a store, which must stay open."""

    def __init__(
        self, store: Store, every: int = 0, zone: str = "UTC", *, unit: str = "km/h", camera: str = "",
        classes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """By intervals of `every` seconds (0: about a hundred of a usual length), of one camera and some
        classes (empty: all). InputError for a camera, class or time zone that is not there."""
        self.store, self.zone, self.unit = store, zone, unit
        store.base.execute("UPDATE events SET camera = '' WHERE camera IS NULL")
        ((length, first, last),) = store.rows("SELECT epoch(max(utc) - min(utc)), min(utc), max(utc) FROM events")
        if length > LONGEST:
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
    seconds = seconds_of(text)
    if not seconds or (DAY % seconds and seconds % DAY):
        raise InputError(f"--every: expected a time that divides a day, such as 15m, 1h or 1d, got {text!r}")
    return seconds


def _sql(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _check(option: str, known: Sequence[str], names: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            few = f"one of {', '.join(known)}" if len(known) < 30 else "a name such as Europe/Berlin"
            raise InputError(f"{option}: expected {few}, got {name!r}{did_you_mean(name, known)}")
