"""A camera's day for tests of reports, in each form that a report reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgevid.output import EventCsv, EventLines, ParquetSink, SqliteSink
from edgevid.types import Event, Header, utc_seconds, utc_text

NOON = utc_seconds("2026-01-31T12:00:00Z")
BOXES = {"box": (30.0, 40.0, 50.0, 60.0), "first_box": (0.0, 0.0, 20.0, 20.0)}


class Day:
    """Events in the order in which they are added, numbered."""

    def __init__(self, camera: str = "gate", start: float = NOON) -> None:
        self.header = Header(camera, f"rtsp://{camera}/1", start, run=f"{camera}-{start:.0f}")
        self.events: list[Event] = []

    def add(self, kind: Any, at: float, track: int | None = None, **values: Any) -> None:
        """An event at so many seconds after the start."""
        header = self.header
        number = len(self.events) + 1
        moment = utc_text(header.start + at)
        self.events.append(Event(f"{header.run}-{number:06d}", kind, moment, at, header.camera, header.run,
                                 track=track, **values))  # fmt: skip

    def vehicle(self, track: int, at: float, kmh: float | None = None, **values: Any) -> None:
        """A car that crosses the gate and ends two seconds later."""
        about = {"class_name": "car", "box": BOXES["box"]} | values
        self.add("cross", at, track, place="gate", direction="forward", **about)
        speed = {"speed_reason": "UNCERTAIN"} if kmh is None else {"speed_mps": kmh / 3.6, "speed_sigma_mps": 0.0}
        self.add("track-ended", at + 2, track, seconds=4.0, first_box=BOXES["first_box"], **about | speed)


def write(path: Path, *days: Day) -> Path:
    """A file of the form that the name's suffix states; a folder of Parquet files without one."""
    kind: Any = {".jsonl": EventLines, ".csv": EventCsv, ".db": SqliteSink, "": ParquetSink}[path.suffix]
    for day in days:
        with kind(path, append=True) if path.suffix in (".jsonl", ".csv") else kind(path) as sink:
            sink.open(day.header)
            sink.send(day.events)
    return path


FORMS: Sequence[str] = ("day.jsonl", "day.csv", "day.db", "day")
