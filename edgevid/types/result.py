"""Result: everything that was found in one frame; SpeedReport: its speeds, and which to display."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from edgevid.types.tables import Detections, Reason, Scores, Speeds, Tracks, Verdicts


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


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that was found in one frame."""

    frame_index: int
    time: float
    """Seconds on the stream's clock."""
    size: tuple[int, int]
    """(width, height) of the frame in pixels."""
    detections: Detections
    tracks: Tracks
    speeds: SpeedReport = field(default_factory=SpeedReport)
    """Live, smoothed and track speeds (empty without a calibration)."""
    scores: Mapping[str, Scores] = field(default_factory=dict)
    """Raw class scores of this frame by task ("action", ...)."""
    verdicts: Mapping[str, Verdicts] = field(default_factory=dict)
    """By task; every task has one row per track."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Class names by task; "class" names the detector's labels."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds spent in each stage."""

    def display_speeds(self) -> dict[int, DisplaySpeed]:
        """The speed to display of each track by its id (see `SpeedReport.display`)."""
        return self.speeds.display(self.time)

    def class_name(self, label: int, task: str = "class") -> str:
        """The name of a class index of `task`, or the index as text where the task has no such name.

        >>> empty = Detections.empty(), Tracks.empty()
        >>> Result(0, 0.0, (4, 4), *empty, names={"class": ("car",)}).class_name(0)
        'car'
        """
        names = self.names.get(task, ())
        return names[label] if 0 <= label < len(names) else str(label)
