"""Speeds over the ground: the table, the report of one moment, and what to display of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from edgevid.types.reason import Reason
from edgevid.types.table import F64, I64, U8, Table, column


@dataclass(frozen=True, slots=True, eq=False)
class Speeds(Table):
    """Speeds over the ground, one row per object; abstained rows carry NaN and a Reason."""

    ids: I64 = column(np.int64, row="id")
    """(N,) track ids."""
    mps: F64 = column(np.float64, row="mps")
    """(N,) m/s, NaN when abstaining."""
    sigma: F64 = column(np.float64, row="sigma")
    """(N,) standard error in m/s, NaN where unknown."""
    heading: F64 = column(np.float64, row="heading")
    """(N,) direction of travel on the plane, degrees from +x towards +y, NaN at rest or when abstaining."""
    time: F64 = column(np.float64, row="time")
    """(N,) the moment in seconds that the value holds for (smoothed values hold for the past)."""
    reason: U8 = column(np.uint8, row="reason", enum=Reason)
    """(N,) Reason."""


class DisplaySpeed(NamedTuple):
    """The speed to display for one track."""

    kind: Literal["live", "smoothed"]
    mps: float
    """m/s, NaN when abstaining."""
    sigma: float
    """Standard error in m/s, NaN where unknown."""
    heading: float
    """Degrees from +x towards +y, NaN at rest or when abstaining."""
    age_s: float
    """How long ago the value held, seconds."""
    reason: Reason


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """The speeds that are known at one moment."""

    live: Speeds = field(default_factory=Speeds.empty)
    """One row per track, of now."""
    smoothed: Speeds = field(default_factory=Speeds.empty)
    """Smoothed values of about half a second ago: store, report and alarm on these."""
    track_speeds: Speeds = field(default_factory=Speeds.empty)
    """One value per track that ended now."""

    def map(self, change: Callable[[Speeds], Speeds]) -> SpeedReport:
        """The report with each of its three tables changed."""
        return SpeedReport(change(self.live), change(self.smoothed), change(self.track_speeds))

    def display(self, now: float) -> dict[int, DisplaySpeed]:
        """The speed to display at `now` by track id: live, or smoothed where the live one is UNCERTAIN.

        A smoothed value has the smaller standard error and holds for the past: `age_s` tells how far back.
        """
        smoothed = {row.id: row for row in self.smoothed if row.reason is Reason.OK}

        def choose(row: Any) -> DisplaySpeed:
            other = smoothed.get(row.id) if row.reason is Reason.UNCERTAIN else None
            kind, used = ("live", row) if other is None else ("smoothed", other)
            return DisplaySpeed(kind, used.mps, used.sigma, used.heading, now - used.time, used.reason)  # type: ignore[arg-type]

        return {row.id: choose(row) for row in self.live}
