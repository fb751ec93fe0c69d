"""What a viewer shows: one source through one pipeline, sent to every connected browser. `ViewerState.observe` is
called by the frame loop after each frame and costs it 0.1 ms. Everything that a client needs (records, images, grids)
is made in other threads. `EventStore` has the events that it lists and filters."""

import json
import math
import sqlite3
import threading
import time as clock
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.output import SqliteSink, as_json
from edgevid.output.recordings import DATABASE
from edgevid.pipeline import Pipeline
from edgevid.site.file import read_shapes, write_zones
from edgevid.speed.abstain import contact_points
from edgevid.speed.calibration import CameraCalibration
from edgevid.types import KMH, Event, Frame, Reason, Result, Tracks
from edgevid.viewer.annotations import from_json, grid_json, in_shares, to_json
from edgevid.viewer.broadcast import Broadcast, Published
from edgevid.viewer.playback import Playback, Rounds
from edgevid.zones import ZoneEvent, ZoneMonitor

LISTED = 300  # Events that a client gets when it connects; it asks for others
MAX_SEEK_S = 1e9
SMOOTHING = 0.1  # Weight of the newest frame in the displayed frame rate


class EditConflict(InputError):
    """Annotations that were edited from an older version than the current one."""


class ViewerState:
    """A source and its pipeline, as browsers get them."""

    def __init__(self, source: Any, pipeline: Pipeline, *, title: str, model: str = "", notes: Sequence[str] = (),
                 calibration: CameraCalibration | None = None, monitor: ZoneMonitor | None = None,
                 site_file: Path | None = None, site_header: str = "", unit: str = "km/h", quality: int = 80,
                 max_side: int = 1280, recordings: Path | None = None, reopen: Callable[[], Any] | None = None,
                 tap: Any = None, review: Any = None) -> None:  # fmt: skip
        """`title` and `model` name the source and the detector; `notes` are shown above the image.

        Zones and lines are saved to `site_file`; without one they last as long as the program. `site_header` is the
        beginning of that file where it does not exist yet. `recordings` is the folder of the run's recorder.
        `reopen` opens a file again at its end; `tap` gets its packets; `review` is a Review, shown as a tab."""
        self.pipeline, self.recordings, self.review = pipeline, recordings, review
        self.calibration, self.site_file = calibration, site_file
        self.size: tuple[int, int] = tuple(source.size)
        self._original_calibration, self._site_header = calibration, site_header
        self._known = read_shapes(site_file) if site_file else {}  # Of the file's zones and lines
        self._about = {"title": title, "model": model, "notes": list(notes), "unit": unit}
        self.playback = Playback(paced=not source.live)
        self.source = Rounds(source, self.playback, reopen, tap)  # What the run takes frames from
        self.source.restart = self._restart
        self.monitor = monitor or self._monitor((), ())
        self._edited: ZoneMonitor | None = None
        self._relative = self.monitor.relative  # Names of those that stay shares of the frame in the file
        self._lock = threading.RLock()  # versions are sent in their order
        self._version = 0
        self._interval_s = 0.0
        self._before = math.nan
        self.broadcast = Broadcast(self._describe, quality=quality, max_side=max_side)
        self.run: str | None = None  # Name of the run, once there was an event
        self.events = EventStore(recordings / DATABASE if recordings else MEMORY)

    # What the frame loop calls.

    def update(self, tracks: Tracks, time: float) -> list[ZoneEvent]:
        """The events of zones and lines; edits take effect here, between two frames."""
        with self._lock:
            if self._edited is not None:
                self.monitor = self.monitor.changed(self._edited.zones, self._edited.lines)
                self._edited = None
        return self.monitor.update(tracks, time)

    def finish(self) -> list[ZoneEvent]:
        """The events of zones and lines after the last frame."""
        return self.monitor.finish()

    def add_event(self, event: Event) -> None:
        """After each event: stores it, and sends it to every client."""
        self.run = event.run
        self.events.add(event)
        self.broadcast.send(type="event", event=_without_addresses(event.to_dict()))

    def observe(self, frame: Frame, result: Result) -> None:
        """After each frame: publishes the result."""
        if frame.size != self.size:
            self.resize(frame.size)
        now = clock.monotonic()
        if math.isfinite(self._before):
            interval = now - self._before
            self._interval_s += SMOOTHING * (interval - self._interval_s) if self._interval_s else interval
        self._before = now
        self.broadcast.publish(frame, result, **(self._counts() if self.broadcast.watched else {}))

    def resize(self, size: tuple[int, int]) -> None:
        """The stream's size changed: every client gets a new hello, with grid and zones rescaled."""
        self.size = size
        self.monitor.resize(size)
        try:
            original = self._original_calibration
            self.calibration = original.scaled_to(size) if original else None
        except InputError:  # another aspect ratio, so another view
            self.calibration = None
        self.broadcast.send(**self.hello())

    def _restart(self) -> None:
        """The source starts again, or from another moment: so do tracks, counts and trails."""
        self.pipeline.reset()
        self.monitor.reset()
        self.broadcast.send(type="rounds", rounds=self.source.list)

    def close(self) -> None:
        """Ends the playback and the encoding."""
        self.playback.close()
        self.broadcast.close()
        if self.review is not None:
            self.review.close()

    # What the server calls.

    def hello(self) -> dict[str, Any]:
        """Everything that a new client needs before its first image."""
        return {"type": "hello", **self._about, "live": bool(self.source.live), "size": list(self.size),
                "fps": self.source.fps, "reasons": {reason.name: reason.description for reason in Reason},
                "grid": grid_json(self.calibration), "calibrated": self.calibration is not None,
                "saves": self.site_file is not None, "events": self.events.find({}, limit=LISTED)[::-1],
                "paused": self.playback.paused, "records": self.recordings is not None,
                "review": self.review is not None, "run": self.run, "rounds": self.source.list,
                "duration": getattr(self.source, "duration", None), **self.annotations()}  # fmt: skip

    def annotations(self) -> dict[str, Any]:
        """Zones and lines as the browser has them, with the number of their version."""
        with self._lock:
            current = self._edited or self.monitor
            scale = self.monitor.scale  # None: another view, where no annotation applies
            items = to_json(current.zones, current.lines, self.calibration, scale) if scale else []
            return {"annotations": items, "version": self._version}

    def set_annotations(self, items: Any, version: object) -> dict[str, Any]:
        """Takes edited annotations: checked, saved where there is a site file, applied before the next frame.
        InputError where they are invalid; EditConflict where another user changed them meanwhile."""
        with self._lock:
            if version != self._version:
                raise EditConflict("another user changed the zones or lines; the page shows theirs now, "
                                   "please edit again")  # fmt: skip
            current, scale = self._edited or self.monitor, self.monitor.scale
            if scale is None:
                raise InputError("the stream shows another view than the one that zones and lines belong to")
            before = (current.zones, current.lines)
            zones, lines = from_json(items, self.size, self.calibration, before, scale)
            edited = self._monitor(zones, lines)
            shares = {item["name"].strip() for item in items
                      if item.get("previous_name", item["name"]) in self._relative}  # fmt: skip
            drawn = self.size[0] * scale[0], self.size[1] * scale[1]
            if self.site_file is not None:
                saved = (in_shares(shapes, shares, drawn) for shapes in (zones, lines))
                old = [in_shares(shapes, self._relative, drawn) for shapes in before]
                self._known = write_zones(self.site_file, *saved, header=self._site_header, before=old,
                                          known=self._known)  # fmt: skip
            self._edited, self._relative = edited, shares
            self._version += 1
            answer = self.annotations()
            self.broadcast.send(type="annotations", **answer)
        return {**answer, "saved": self.site_file is not None}

    def control(self, message: Any) -> None:
        """Pause, continue, step or seek; a live camera is not paused, its viewers freeze their own image."""
        if self.source.live or not isinstance(message, dict):
            return
        if message.get("step") is True:
            self.playback.step()
        elif type(message.get("seek")) in (int, float) and 0 <= message["seek"] < MAX_SEEK_S:
            self.playback.seek(float(message["seek"]))
        elif isinstance(message.get("paused"), bool):
            self.playback.pause(message["paused"])
        self.broadcast.send(type="state", paused=self.playback.paused)

    def _monitor(self, zones: Sequence[Any], lines: Sequence[Any]) -> ZoneMonitor:
        to_ground = self.calibration.to_ground if self.calibration else None
        return ZoneMonitor(zones, lines, to_ground=to_ground, size=self.size)

    def _describe(self, published: Published) -> dict[str, Any]:
        """The record of a published frame, as in JSON lines, with positions on the ground."""
        result, calibration = published.result, self.calibration  # the frame loop may clear the calibration
        record = as_json(result)
        if calibration is not None and len(result.tracks):
            feet = contact_points(result.tracks.boxes.astype(float))
            ground = np.where(calibration.contains(feet)[:, None], calibration.to_ground(feet), np.nan)
            for item, meters in zip(record["objects"], ground, strict=True):
                if np.isfinite(meters).all():
                    item["ground_m"] = [round(float(v), 2) for v in meters]
        return record

    def _counts(self) -> dict[str, Any]:
        names = self.pipeline.names["class"]
        counts = [{"place": place, "direction": direction, "count": count,
                   "class": names[label] if 0 <= label < len(names) else str(label)}
                  for (place, direction, label), count in self.monitor.counts.items()]  # fmt: skip
        return {"occupancy": self.monitor.occupancy(), "counts": counts,
                "fps": round(1 / self._interval_s, 2) if self._interval_s > 0 else None,
                "dropped": int(self.source.dropped),
                "lag_ms": round(1000 * float(getattr(self.source, "lag_s", 0.0)), 1)}  # fmt: skip


MEMORY = ":memory:"
MOST_KEPT = 100_000  # Events of a run without a database; the oldest beyond are forgotten
MOST_ANSWERED = 1000
EQUAL = {"class": "class_name"} | {name: name for name in ("camera", "kind", "place", "track", "run")}  # The columns
BOUNDS = {"after": "utc >=", "before": "utc <", "min_kmh": "speed_mps >=", "max_kmh": "speed_mps <="}


class EventStore(SqliteSink):
    """Events by filters, newest first."""

    def __init__(self, path: str | Path = MEMORY) -> None:
        """A database that a run's sink fills, or, in memory, what `add` gets."""
        super().__init__(path)
        self._reading = threading.Lock()

    def add(self, event: Event) -> None:
        """Takes an event, where no sink brings it into the database."""
        if str(self.path) != MEMORY:
            return
        with self._reading:
            self.send([event])
            limit = "rowid <= (SELECT max(rowid) FROM events) - ?"
            self._base.execute(f"DELETE FROM events WHERE {limit}", (MOST_KEPT,))

    def find(self, filters: Mapping[str, str], *, limit: int = 100) -> list[dict[str, Any]]:
        """Events without the fields that do not apply; a filter may name several values, split by commas. InputError
        for an unknown filter, or a bound that is no number."""
        where, values = _where(filters)
        sql = f"SELECT * FROM events {where} ORDER BY utc DESC, id DESC LIMIT ?"
        rows = self._select(sql, [*values, min(limit, MOST_ANSWERED)])
        found = [_without_addresses({key: one for key, one in row.items() if one not in (None, "")}) for row in rows]
        for row in found:
            row |= {key: json.loads(row[key]) for key in ("box", "first_box") if key in row}
        return found

    def counts(self, filters: Mapping[str, str]) -> list[dict[str, Any]]:
        """How many events there are of each camera, kind, place, direction and class."""
        where, values = _where(filters)
        names = "camera, kind, CASE WHEN kind LIKE '%-failed' THEN '' ELSE place END AS place, direction, class_name"
        return self._select(f"SELECT {names}, count(*) AS events FROM events {where} GROUP BY 1, 2, 3, 4, 5", values)

    def _select(self, sql: str, values: list[Any]) -> list[dict[str, Any]]:
        with self._reading:
            self._base.row_factory = sqlite3.Row
            return [dict(row) for row in self._base.execute(sql, values)]


def _without_addresses(event: dict[str, Any]) -> dict[str, Any]:
    """An event for clients: of one of a camera or sink that failed without the texts, which name hosts and folders."""
    hidden = ("place", "reason") if event["kind"].endswith("-failed") else ()
    return {key: value for key, value in event.items() if key not in hidden}


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
