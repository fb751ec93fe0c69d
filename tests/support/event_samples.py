"""Events and results for tests of what finds, stores and delivers events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgevid.types import Detections, Event, Frame, Reason, Result, SpeedReport, Speeds, Tracks, Verdicts

FRAME = np.zeros((48, 64, 3), np.uint8)


def an_event(number: int, **values: Any) -> Event:
    """The event of a number, in the run "gate-1"."""
    moment = f"2026-01-31T12:{number // 60:02d}:{number % 60:02d}.000Z"
    return Event(f"gate-1-{number:06d}", "cross", moment, float(number), "gate", "gate-1", **values)


def a_result(
    time: float,
    ids: Sequence[int],
    *,
    verdicts: Sequence[int] = (),
    track_speeds: Sequence[tuple[int, float, float]] = (),
    smoothed: Sequence[tuple[int, float, float]] = (),
) -> Result:
    """One moment with these tracks; verdicts by row (-1 abstains); (id, m/s, standard error) of speeds."""
    n = len(ids)
    tracks = Tracks.of(
        ids=ids, boxes=[[0, 0, 9, 9]] * n, scores=[0.9] * n, labels=[0] * n, match=range(n), age=[1] * n,
        unseen=[0] * n,
    )  # fmt: skip
    reasons = [Reason.OK if label >= 0 else Reason.LOW_MARGIN for label in verdicts]
    table = Verdicts.of(ids=ids[: len(verdicts)], labels=verdicts, confidence=[0.8] * len(verdicts), reason=reasons)
    report = SpeedReport(smoothed=speeds(smoothed, time), track_speeds=speeds(track_speeds, time))
    return Result(
        round(time * 10), time, (64, 48), Detections.empty(), tracks, report, {},
        {"action": table} if verdicts else {}, {"class": ("car",), "action": ("walk", "run")},
    )  # fmt: skip


def speeds(rows: Sequence[tuple[int, float, float]], time: float) -> Speeds:
    """A speed per row of id, m/s and standard error."""
    ids, mps, sigma = zip(*rows, strict=True) if rows else ((), (), ())
    ok = [Reason.OK] * len(rows)
    return Speeds.of(ids=ids, mps=mps, sigma=sigma, heading=[90] * len(rows), time=[time] * len(rows), reason=ok)


def a_frame(result: Result, *, damaged: bool = False) -> Frame:
    """The frame of a result."""
    frame = Frame(FRAME, result.time, result.frame_index)
    frame.damaged = damaged
    return frame


class SlowToAccept:
    """A sink that fails some times, and then takes everything."""

    name = "slow"

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.calls = failures, 0
        self.ids: list[str] = []
        self.closed = False

    def send(self, events: Sequence[Event]) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError("the server is away")
        self.ids += [event.id for event in events]

    def close(self) -> None:
        self.closed = True
