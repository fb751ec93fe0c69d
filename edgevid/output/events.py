"""EventFinder: the events of a run, from its results, zones, camera health and stream."""

import threading
import time as clock
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevid.health.view_monitor import State
from edgevid.types import KMH, Array, Event, EventKind, Frame, Header, Reason, Result, SpeedReport, utc_text
from edgevid.zones import ZoneEvent

ENDED_S = 5.0  # A track that no frame had for this long has ended
SURE = 1.645  # Standard errors by which a speed must be above the limit: 95 of 100 such speeds are
ALARMS = (State.MOVED, State.LOST)

Box = tuple[float, float, float, float]


@dataclass(slots=True)
class _Object:
    """What is known of one track."""

    first: float
    first_box: Box
    last: float = 0.0
    box: Box = (0.0, 0.0, 0.0, 0.0)
    score: float = 0.0
    scores: float = 0.0
    frames: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    speed: dict[str, Any] = field(default_factory=dict)  # Of the latest track speed
    too_fast: bool = False
    verdicts: dict[str, tuple[str, str]] = field(default_factory=dict)  # By task: label emitted now, and the last one
    reasons: dict[str, int] = field(default_factory=dict)  # By task: why there is no label now


class EventFinder:
    """Finds events and hands each one to `emit`, numbered, in order, from any thread."""

    def __init__(self, header: Header, emit: Callable[[Event], None], source: Any = None, *,
                 speed_limit_kmh: float | None = None) -> None:  # fmt: skip
        """`source` is the run's; `speed_limit_kmh` adds "speed-limit" events on a calibrated camera."""
        self.header, self._emit, self._source = header, emit, source
        self._limit_mps = np.inf if speed_limit_kmh is None else speed_limit_kmh / KMH
        self._lock, self._count = threading.RLock(), 0
        self._objects: dict[int, _Object] = {}
        self._time, self._frame = 0.0, 0
        self._moved, self._unusable = False, ""
        self._stream_event: Any = None
        self._result: Result | None = None
        self._lost_at: float | None = None

    def utc(self, time: float) -> float:
        """UTC seconds of a moment on the stream's clock; of a live source by this machine's clock."""
        source = self._source
        if getattr(source, "live", False) and hasattr(source, "now"):
            return clock.time() - (float(source.now()) - time)
        return self.header.start + time

    def update(self, frame: Frame, result: Result, zones: Iterable[ZoneEvent] = (), health: Any = None) -> None:
        """Finds the events of one frame."""
        with self._lock:
            if result.time < self._time:  # the source starts again, and so do the ids
                self.close()
            self._time, self._frame = result.time, result.frame_index
            self.poll_stream()
            self._image(frame, result, health)
            self._observe(result)
            self._zones(result, zones)
            self._result = result
            self._speeds(result.speeds)
            self._verdicts(result)
            for number in [i for i, one in self._objects.items() if result.time - one.last > ENDED_S]:
                self._end(number)

    def finish(self, zones: Iterable[ZoneEvent], speeds: SpeedReport) -> None:
        """Adds the events of zones and speeds after the last frame."""
        with self._lock:
            self._speeds(speeds)
            if self._result is not None:
                self._zones(self._result, zones)

    def _zones(self, result: Result, zones: Iterable[ZoneEvent]) -> None:
        """Events of zones and lines, with what is known of their objects."""
        speeds: dict[int, dict[str, Any]] | None = None
        for one in zones:
            if speeds is None:
                speeds = {i: _speed(row) for i, row in result.display_speeds().items()}
            found = {} if one.id in self._objects else {"class_name": result.class_name(one.label)}
            times = {"seconds": round(one.seconds, 3)} if one.kind in ("leave", "dwell", "stopped") else {}
            counts = {"count": one.inside} if one.kind.startswith(("enter", "leave", "occup")) else {}
            self._add(one.kind, one.time, one.id, place=one.place, direction=one.direction,
                      **found | times | counts | speeds.get(one.id, {}))  # fmt: skip

    def poll_stream(self) -> None:
        """Finds what happened to a live stream since the last call, also while no frame comes."""
        with self._lock:
            events = list(getattr(self._source, "events", ()))
            known = [n for n, event in enumerate(events) if event is self._stream_event]
            for event in events[known[-1] + 1 if known else 0 :]:
                self._stream_event = event
                if event.kind in ("lost", "stalled") and self._lost_at is None:
                    self._lost_at = event.time
                    self._add("stream-lost", event.time, reason=event.detail)
                elif event.kind == "connected" and self._lost_at is not None:
                    away = round(event.time - self._lost_at, 3)
                    self._add("stream-back", event.time, seconds=away, reason=event.detail)
                    self._lost_at = None

    def report(self, kind: EventKind, reason: str, place: str = "") -> None:
        """Adds an event of the program itself, now."""
        with self._lock:
            self._add(kind, self._time, place=place, reason=reason)

    def close(self) -> None:
        """The run ends, and with it every track."""
        with self._lock:
            for number in list(self._objects):
                self._end(number)

    def _add(self, kind: EventKind, time: float, track: int | None = None, **values: Any) -> None:
        """Emits an event, with what is known of its object."""
        self._count += 1
        header, one = self.header, None if track is None else self._objects.get(track)
        if one is not None:
            class_name = one.labels.most_common(1)[0][0]
            values = {"class_name": class_name, "confidence": round(one.score, 4), "box": tuple(one.box)} | values
        self._emit(Event(f"{header.run}-{self._count:06d}", kind, utc_text(self.utc(time)), round(time, 4),
                         header.camera, header.run, self._frame, track=track, **values))  # fmt: skip

    def _image(self, frame: Frame, result: Result, health: Any) -> None:
        """Whether the camera stands as it was calibrated, and whether its image can be used."""
        if ((alarm := getattr(health, "alarm", None)) is not None) != self._moved:
            self._moved = alarm is not None
            self._add("camera-moved" if alarm else "camera-aligned", frame.time,
                      reason=alarm.message if alarm else "acknowledged")  # fmt: skip
        unknown = getattr(health, "state", None) is State.UNKNOWN and len(health.view.references) > 0
        found = result.image.description if result.image is not Reason.OK else health.view.detail if unknown else ""
        reason = "damaged" if frame.damaged else found
        if bool(reason) != bool(self._unusable):
            self._add("image-unusable" if reason else "image-usable", frame.time, reason=reason or self._unusable)
            self._unusable = reason

    def _observe(self, result: Result) -> None:
        """Notes where each object is."""
        tracks = result.tracks
        columns = (tracks.ids, np.round(tracks.boxes.astype(float), 2), tracks.scores, tracks.labels)
        for i, box, score, label in zip(*(column.tolist() for column in columns), strict=True):
            if (one := self._objects.get(i)) is None:
                one = self._objects[i] = _Object(result.time, tuple(box))
            one.last, one.box, one.score = result.time, box, score
            one.scores, one.frames = one.scores + score, one.frames + 1
            one.labels[result.class_name(label)] += 1

    def _speeds(self, speeds: SpeedReport) -> None:
        """Track speeds, and objects that are too fast by more than the standard error allows."""
        for row in speeds.track_speeds:
            one = self._objects.get(row.id)
            speed = _speed(row)
            if one is not None:
                one.speed = speed
            self._add("track-speed", row.time, row.id, **speed)
        if self._limit_mps < np.inf:
            for table in (speeds.smoothed, speeds.track_speeds):
                sigma = np.nan_to_num(table.sigma, nan=np.inf)
                for row in table[(table.reason == Reason.OK) & (table.mps - SURE * sigma > self._limit_mps)]:
                    if (one := self._objects.get(row.id)) is not None and not one.too_fast:
                        one.too_fast = True
                        self._add("speed-limit", row.time, row.id, **_speed(row))

    def _verdicts(self, result: Result) -> None:
        """Verdicts that are emitted, changed, or no longer emitted."""
        for task, table in result.verdicts.items():
            columns: tuple[Array, ...] = (table.ids, table.labels, table.confidence, table.reason)
            for i, label, confidence, reason in zip(*(c.tolist() for c in columns), strict=True):
                if (one := self._objects.get(i)) is None:
                    continue
                name = result.class_name(label, task) if label >= 0 else ""
                now, before = one.verdicts.get(task, ("", ""))
                one.reasons[task] = reason
                if name == now:
                    continue
                one.verdicts[task] = name, name or before
                kind: EventKind = "verdict-abstained" if not name else "verdict-changed" if before else "verdict"
                if name and name == before:  # emitted again
                    kind = "verdict"
                why = {} if name else {"reason": Reason(reason).name}
                self._add(kind, result.time, i, task=task, label=name or before,
                          label_confidence=round(float(np.nan_to_num(confidence)), 4), **why)  # fmt: skip

    def _end(self, number: int) -> None:
        one = self._objects[number]
        for task in one.reasons.keys() - one.verdicts.keys():  # no frame had a verdict
            self._add("verdict-abstained", one.last, number, task=task, reason=Reason(one.reasons[task]).name)
        mean = {"confidence": round(one.scores / one.frames, 4), "count": one.frames}
        self._add("track-ended", one.last, number, seconds=round(one.last - one.first, 3),
                  first_box=one.first_box, **one.speed | mean)  # fmt: skip
        del self._objects[number]


def _speed(row: Any) -> dict[str, Any]:
    """The fields of a speed, or of the reason for none."""
    if row.reason is not Reason.OK:
        return {"speed_reason": row.reason.name}
    found = {"speed_mps": row.mps, "speed_sigma_mps": row.sigma, "speed_heading_deg": row.heading}
    return {name: round(float(value), 4) for name, value in found.items() if value == value}  # NaN where unknown
