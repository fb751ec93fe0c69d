"""The numbered events of a viewer's source: zones and lines, track speeds, verdicts, the stream."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from edgevid.types import Reason, Result
from edgevid.zones import ZoneEvent

MAX_EVENTS = 300
"""Events that a client which connects late gets."""


class EventLog:
    """The latest events; each new one goes to `send` at once."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._lock = threading.Lock()  # numbers are sent in their order
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._count = 0
        self._labels: dict[tuple[str, int], int] = {}
        self._classes: dict[int, str] = {}
        self._last_stream_event: Any = None

    def latest(self) -> list[dict[str, Any]]:
        """The latest events, oldest first."""
        with self._lock:
            return list(self._events)

    def emit(self, kind: str, time: float, **fields: Any) -> None:
        """Adds and sends one event."""
        with self._lock:
            self._count += 1
            event = {"n": self._count, "kind": kind, "time_s": round(float(time), 3), **fields}
            self._events.append(event)
            self._send(event)

    def add_zone_events(self, events: Iterable[ZoneEvent], names: Sequence[str]) -> None:
        """Events of zones and lines; `names` are those of the classes."""
        for event in events:
            self.emit(
                event.kind, event.time, place=event.place, id=event.id, direction=event.direction,
                seconds=round(event.seconds, 2), **{"class": class_name(names, event.label)},
            )  # fmt: skip

    def add_result(self, result: Result) -> None:
        """Track speeds of tracks that ended, and verdicts that changed."""
        present = set(result.tracks.ids.tolist())
        for number, label in zip(result.tracks.ids.tolist(), result.tracks.labels.tolist(), strict=True):
            self._classes[number] = result.class_name(label)
        for row in result.speeds.track_speeds:
            if row.reason is Reason.OK:
                self.emit(
                    "track_speed", result.time, id=row.id, mps=round(row.mps, 3),
                    sigma_mps=round(row.sigma, 3), **self._class_of(row.id),
                )  # fmt: skip
        for number in [number for number in self._classes if number not in present]:
            del self._classes[number]
        for key in [key for key in self._labels if key[1] not in present]:
            del self._labels[key]
        for task in result.verdicts:
            if task != "class":
                self._add_verdicts(task, result)

    def add_stream_events(self, source: Any) -> None:
        """What happened to a live source's connection since the last call (also while no frame comes)."""
        events = list(getattr(source, "events", ()))
        known = [n for n, event in enumerate(events) if event is self._last_stream_event]
        for event in events[known[0] + 1 if known else 0 :]:
            self.emit(event.kind, event.time, detail=event.detail)
            self._last_stream_event = event

    def restart(self) -> None:
        """The source starts again: so do the ids."""
        self._labels.clear()
        self._classes.clear()
        self.emit("restart", 0.0)

    def _add_verdicts(self, task: str, result: Result) -> None:
        """An event for each object whose emitted label is another one than before."""
        verdicts = result.verdicts[task]
        for row in verdicts[verdicts.labels >= 0]:
            if self._labels.get((task, row.id)) == row.label:
                continue
            self._labels[task, row.id] = row.label
            self.emit(
                "verdict", result.time, id=row.id, task=task, label=result.class_name(row.label, task),
                confidence=round(row.confidence, 3), **self._class_of(row.id),
            )  # fmt: skip

    def _class_of(self, number: int) -> dict[str, str]:
        return {"class": self._classes[number]} if number in self._classes else {}


def class_name(names: Sequence[str], label: int) -> str:
    """The name of a class index, or the index as text where it has no name."""
    return names[label] if 0 <= label < len(names) else str(label)
