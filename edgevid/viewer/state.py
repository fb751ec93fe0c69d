"""What is shown: one source through one pipeline, watched by whoever looks.

`ViewerState.observe` is called by the frame loop after each frame and costs it a tenth of a millisecond.
Everything that a viewer wants (records, images, grids) is made in other threads.
"""

from __future__ import annotations

import math
import threading
import time as clock
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.output.records import as_json
from edgevid.pipeline import Pipeline
from edgevid.site.file import write_places
from edgevid.speed.calibration import CameraCalibration
from edgevid.types import Array, Frame, Reason, Result, Tracks
from edgevid.viewer.annotations import grid, shown, taken
from edgevid.viewer.broadcast import Broadcast, Moment
from edgevid.viewer.playback import Playback
from edgevid.zones import Event, ZoneMonitor

EVENTS = 300
"""Events that a viewer which comes late is told."""
SMOOTHING = 0.1
"""Share of the newest frame in the shown frame rate."""


class Stale(InputError):
    """Places that were edited from an older state than the present one."""


class ViewerState:
    """A source and its pipeline, as viewers see them."""

    def __init__(
        self,
        source: Any,
        pipeline: Pipeline,
        *,
        title: str,
        model: str = "",
        notes: Sequence[str] = (),
        calibration: CameraCalibration | None = None,
        monitor: ZoneMonitor | None = None,
        site_file: Path | None = None,
        site_header: str = "",
        unit: str = "km/h",
        quality: int = 80,
        widest: int = 1280,
    ) -> None:
        """`title` and `model` name what is seen and by what; `notes` are shown above the image.

        Places are saved to `site_file`; without one they live as long as the show. `site_header` is how
        that file begins where it does not exist yet.
        """
        self.source, self.pipeline, self.calibration, self.site_file = (
            source,
            pipeline,
            calibration,
            site_file,
        )
        self.size: tuple[int, int] = tuple(source.size)
        self._calibrated, self._site_header = calibration, site_header
        self._about = {"title": title, "model": model, "notes": list(notes), "unit": unit}
        self.gate = Playback(paced=not source.live)
        self.monitor = monitor or ZoneMonitor(to_ground=calibration.to_ground if calibration else None)
        self._next_monitor: ZoneMonitor | None = None
        self._lock = threading.RLock()  # what is told inside arrives in the order in which it happened
        self._version = 0
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self._numbered = 0
        self._said: dict[tuple[str, int], int] = {}
        self._classes: dict[int, str] = {}
        self._last_stream_event: Any = None
        self._gap_s = 0.0
        self._before = math.nan
        self.hub = Broadcast(self._describe, quality=quality, widest=widest)

    # What the frame loop calls.

    def update(self, tracks: Tracks, time: float) -> list[Event]:
        """The zones' events of this moment; edits take effect here, between two frames."""
        with self._lock:
            if self._next_monitor is not None:
                self.monitor = self.monitor.changed(self._next_monitor.zones, self._next_monitor.lines)
                self._next_monitor = None
        events = self.monitor.update(tracks, time)
        names = self.pipeline.names["class"]
        for event in events:
            self._tell(
                event.kind, event.time, place=event.place, id=event.id, direction=event.direction,
                seconds=round(event.seconds, 2), **{"class": _name(names, event.label)},
            )  # fmt: skip
        return events

    def observe(self, frame: Frame, result: Result) -> None:
        """After each frame: tells events, and leaves the moment to those who look."""
        if frame.size != self.size:
            self._resize(frame.size)
        now = clock.monotonic()
        if math.isfinite(self._before):
            self._gap_s += (
                SMOOTHING * ((now - self._before) - self._gap_s) if self._gap_s else now - self._before
            )
        self._before = now
        for number, label in zip(result.tracks.ids.tolist(), result.tracks.labels.tolist(), strict=True):
            self._classes[number] = _name(self.pipeline.names["class"], label)
        self._tell_passages(result)
        self._tell_verdicts(result)
        extra = self._counts() if self.hub.watched else {}
        self.hub.publish(frame, result, **extra)

    @property
    def scale(self) -> tuple[float, float] | None:
        """ZoneMonitor.scale, which site_resize.Resizing sets when the stream changes its size."""
        return self.monitor.scale

    @scale.setter
    def scale(self, scale: tuple[float, float] | None) -> None:
        self.monitor.scale = scale

    def start_again(self) -> None:
        """The source begins anew: so do ids, counts and trails."""
        self.pipeline.reset()
        self.monitor.reset()
        self._said.clear()
        self._tell("restart", 0.0)

    def close(self) -> None:
        """Ends the frame loop's waiting and the encoding."""
        self.gate.close()
        self.hub.close()

    # What the server calls.

    def hello(self) -> dict[str, Any]:
        """Everything that a new viewer must know before its first image."""
        names = {task: list(given) for task, given in self.pipeline.names.items()}
        with self._lock:
            events = list(self._events)
        return {
            "type": "hello",
            **self._about,
            "live": bool(self.source.live),
            "size": list(self.size),
            "fps": self.source.fps,
            "names": names,
            "reasons": {reason.name: reason.description for reason in Reason},
            "grid": grid(self.calibration),
            "calibrated": self.calibration is not None,
            "saves": self.site_file is not None,
            "events": events,
            **self.state(),
            **self.places(),
        }

    def state(self) -> dict[str, Any]:
        """Whether it stands still."""
        return {"paused": self.gate.paused}

    def places(self) -> dict[str, Any]:
        """Zones and lines as the browser has them, with the number of their state."""
        with self._lock:
            now = self._next_monitor or self.monitor
            scale = self.monitor.scale  # None: another view, on which no place belongs
            made = shown(now.zones, now.lines, self.calibration, scale) if scale else []
            return {"places": made, "version": self._version}

    def set_places(self, given: Any, version: object) -> dict[str, Any]:
        """Takes edited places: checked, saved where there is a site file, applied before the next frame.

        InputError says what is wrong with them; Stale that somebody else changed them meanwhile.
        """
        with self._lock:
            if version != self._version:
                raise Stale("somebody else changed the places; theirs are shown now, please edit again")
            now, scale = self._next_monitor or self.monitor, self.monitor.scale
            if scale is None:
                raise InputError("the stream shows another view than the one that the places were drawn on")
            zones, lines = taken(given, self.size, self.calibration, (now.zones, now.lines), scale)
            monitor = ZoneMonitor(
                zones, lines, to_ground=self.calibration.to_ground if self.calibration else None
            )
            if self.site_file is not None:
                write_places(self.site_file, zones, lines, header=self._site_header)
            self._next_monitor = monitor
            self._version += 1
            told = self.places()
            self.hub.tell(type="places", **told)
        return {**told, "saved": self.site_file is not None}

    def control(self, asked: Any) -> None:
        """Pause, go on or one step; a live camera is never held, its viewers hold their own image."""
        if self.source.live or not isinstance(asked, dict):
            return
        if asked.get("step") is True:
            self.gate.step()
        elif isinstance(asked.get("paused"), bool):
            self.gate.pause(asked["paused"])
        self.hub.tell(type="state", **self.state())

    def poll(self) -> None:
        """Tells what happened to the connection since the last call (nobody does while no frame comes)."""
        events = list(getattr(self.source, "events", ()))
        known = [n for n, event in enumerate(events) if event is self._last_stream_event]
        for event in events[known[0] + 1 if known else 0 :]:
            self._tell(event.kind, event.time, detail=event.detail)
            self._last_stream_event = event

    def _resize(self, size: tuple[int, int]) -> None:
        """The stream changed its size: viewers are greeted anew, with the grid where it is now."""
        self.size = size
        try:
            self.calibration = self._calibrated.scaled_to(size) if self._calibrated else None
        except InputError:  # another aspect, so another view
            self.calibration = None
        self.hub.tell(**self.hello())

    # Records and events.

    def _describe(self, moment: Moment) -> dict[str, Any]:
        """A moment's record, as in JSON lines, with positions on the ground."""
        result, calibration = moment.result, self.calibration  # the frame loop may take the calibration away
        record = as_json(result)
        if calibration is not None and len(moment.result.tracks):
            boxes = moment.result.tracks.boxes.astype(float)
            feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], 1)
            for one, meters in zip(record["objects"], _on_ground(calibration, feet), strict=True):
                if np.isfinite(meters).all():
                    one["ground_m"] = [round(float(v), 2) for v in meters]
        return record

    def _counts(self) -> dict[str, Any]:
        names = self.pipeline.names["class"]
        counts = [
            {"place": place, "direction": direction, "class": _name(names, label), "n": n}
            for (place, direction, label), n in self.monitor.counts.items()
        ]
        return {
            "occupancy": self.monitor.occupancy(),
            "counts": counts,
            "fps": round(1 / self._gap_s, 2) if self._gap_s > 0 else None,
            "dropped": int(self.source.dropped),
            "lag_ms": round(1000 * float(getattr(self.source, "lag_s", 0.0)), 1),
        }

    def _tell_passages(self, result: Result) -> None:
        """One event for each object whose track ended with a speed; then its class is forgotten."""
        for row in result.speeds.track_speeds:
            if row.reason == Reason.OK:
                self._tell(
                    "track speed", result.time, id=row.id, mps=round(row.mps, 3),
                    sigma_mps=round(row.sigma, 3), **self._class_of(row.id),
                )  # fmt: skip
        present = set(result.tracks.ids.tolist())
        for number in [number for number in self._classes if number not in present]:
            del self._classes[number]

    def _tell_verdicts(self, result: Result) -> None:
        """An event whenever something else is said of an object than before."""
        present = {int(i) for i in result.tracks.ids}
        for key in [key for key in self._said if key[1] not in present]:
            del self._said[key]
        for task, verdicts in result.verdicts.items():
            if task == "class":
                continue
            names = result.names.get(task, ())
            for row in verdicts[verdicts.labels >= 0]:
                key = (task, row.id)
                if self._said.get(key) != row.label:
                    self._said[key] = row.label
                    self._tell(
                        "verdict", result.time, id=row.id, task=task, label=_name(names, row.label),
                        confidence=round(row.confidence, 3), **self._class_of(row.id),
                    )  # fmt: skip

    def _class_of(self, number: int) -> dict[str, str]:
        return {"class": self._classes[number]} if number in self._classes else {}

    def _tell(self, kind: str, time: float, **more: Any) -> None:
        with self._lock:
            self._numbered += 1
            event = {"n": self._numbered, "kind": kind, "time_s": round(float(time), 3), **more}
            self._events.append(event)
            self.hub.tell(type="event", event=event)


def _on_ground(calibration: CameraCalibration, feet: Array) -> Array:
    return np.where(calibration.contains(feet)[:, None], calibration.to_ground(feet), np.nan)


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if 0 <= label < len(names) else f"class {label}"
