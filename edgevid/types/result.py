"""Result: everything that was found in one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgevid.types.speeds import DisplaySpeed, SpeedReport
from edgevid.types.tables import Detections, Scores, Tracks, Verdicts


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
