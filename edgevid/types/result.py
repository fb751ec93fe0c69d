"""Result: everything that was found in one frame; SpeedReport: its speeds, and which to display."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np

from edgevid.errors import InputError, require
from edgevid.types.event import Event
from edgevid.types.frame import full_masks
from edgevid.types.peers import Hinted
from edgevid.types.rows import BOX_NAMES, flat_kinds, flat_rows, object_rows
from edgevid.types.table import Array, html_table, text_table
from edgevid.types.tables import Detections, Reason, Scores, Speeds, Tracks, Verdicts


class DisplaySpeed(NamedTuple):
    """The speed to display for one track."""

    kind: Literal["live", "smoothed"]
    mps: float  # m/s, NaN when abstaining
    sigma: float  # Standard error in m/s, NaN where unknown
    heading: float  # Degrees from +x towards +y, NaN at rest or when abstaining
    age_s: float  # How long ago the value held, seconds
    reason: Reason


@dataclass(frozen=True, slots=True, repr=False)
class SpeedReport:
    """The speeds that are known at one moment."""

    live: Speeds = field(default_factory=Speeds.empty)  # One row per track, of now
    smoothed: Speeds = field(default_factory=Speeds.empty)
    """Smoothed values of about half a second ago: store, report and alarm on these."""
    track_speeds: Speeds = field(default_factory=Speeds.empty)  # One value per track that ended now

    def __repr__(self) -> str:
        return "\n".join(f"{name} {getattr(self, name)!r}" for name in self.__slots__)

    def _repr_html_(self) -> str:
        return "".join(f"<h4>{name}</h4>{getattr(self, name)._repr_html_()}" for name in self.__slots__)

    def map(self, change: Callable[[Speeds], Speeds]) -> "SpeedReport":
        """The report with each of its three tables changed."""
        return SpeedReport(change(self.live), change(self.smoothed), change(self.track_speeds))

    def display(self, now: float) -> dict[int, DisplaySpeed]:
        """The speed to display at `now` by track id: live, or smoothed where the live one is UNCERTAIN. A
        smoothed value has the smaller standard error and holds for the past: `age_s` tells how far back."""
        smoothed = {row.id: row for row in self.smoothed if row.reason is Reason.OK}

        def choose(row: Any) -> DisplaySpeed:
            other = smoothed.get(row.id) if row.reason is Reason.UNCERTAIN else None
            kind, used = ("live", row) if other is None else ("smoothed", other)
            return DisplaySpeed(kind, used.mps, used.sigma, used.heading, now - used.time, used.reason)  # type: ignore[arg-type]

        return {row.id: choose(row) for row in self.live}


@dataclass(frozen=True, slots=True, repr=False)
class Result(Hinted):
    """Everything that was found in one frame; its length is the number of tracks."""

    frame_index: int
    time: float  # Seconds on the stream's clock
    size: tuple[int, int]  # (width, height) of the frame in pixels
    detections: Detections
    tracks: Tracks
    speeds: SpeedReport = field(default_factory=SpeedReport)  # Live, smoothed and track; empty without a calibration
    scores: Mapping[str, Scores] = field(default_factory=dict)  # Raw class scores of this frame by task ("action", ...)
    verdicts: Mapping[str, Verdicts] = field(default_factory=dict)  # By task; every task has one row per track
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # Of classes by task; "class": the detector's
    timings: Mapping[str, float] = field(default_factory=dict)  # Seconds spent in each stage
    utc: float = math.nan  # The frame's time in UTC seconds since 1970; NaN outside of a run
    events: tuple[Event, ...] = ()  # What happened since the frame before; found by a run (docs/events.md)
    damaged: bool = False  # Whether the frame is damaged, so that objects were predicted and not detected
    gated: bool = False  # Whether the frame needed no detection, so that objects were predicted and not detected
    image: Reason = Reason.OK  # OK, or why nothing can be recognized in it: DARK, BLURRED, OVEREXPOSED or DAMAGED

    @property
    def has_instances(self) -> bool:
        """Whether objects have more than boxes: masks, key points or rotated boxes."""
        tracks, masks = self.tracks, self.detections.masks
        more = tracks.keypoints.shape[1] or tracks.rotated.shape[1]
        return bool(more or (len(masks) and masks[0] is not None))

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

    def __repr__(self) -> str:
        return text_table(*self._shown())

    def _repr_html_(self) -> str:
        rows = ({"event": e.kind, "utc": e.utc, "class": e.class_name, "place": e.place} for e in self.events)
        return html_table(*self._shown()) + (html_table("Events", rows, len(self.events)) if self.events else "")

    def _shown(self) -> tuple[str, Iterable[Mapping[str, Any]], int]:
        """Title, a row per track of what a person reads, and their number."""
        counts = {"track": len(self.tracks), "detection": len(self.detections), "event": len(self.events)}
        text = ", ".join(f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items())
        title = f"Result: frame {self.frame_index}, {self.time:.3f} s, {self.size[0]}x{self.size[1]}, {text}"
        return title, map(self._cells, object_rows(self)), len(self)

    def _cells(self, row: Mapping[str, Any]) -> dict[str, Any]:
        cells = {name: row[name] for name in ("id", "class", "score", "box")}
        if len(self.speeds.live):
            speed = row.get("speed", {})
            error = f" ± {speed['sigma_mps']:.1f}" if "sigma_mps" in speed else ""
            cells["speed"] = f"{speed['mps']:.1f}{error} m/s" if "mps" in speed else speed.get("reason")
        found = {task: row.get("verdicts", {}).get(task, {}) for task in self.verdicts}
        return cells | {task: one.get("label") or one.get("reason") for task, one in found.items()}

    def __len__(self) -> int:
        return len(self.tracks)

    def __bool__(self) -> bool:
        return True  # a result without tracks is one too

    def __getitem__(self, key: object) -> NoReturn:
        what = f"Result[{key!r}]: a result is that of one frame"
        raise InputError(f"{what}; its rows are result.tracks[mask], result.to_dicts() or result.to_supervision()")

    def to_dicts(self) -> list[dict[str, Any]]:
        """A row per track of plain Python values, each with the same keys; None where there is no value.

        The keys are those of supervision's CSVSink (x_min, ..., confidence, tracker_id), then class_name,
        frame, time_s, speed_mps with speed_sigma_mps (standard error) and speed_reason, and for each task its
        label, confidence and reason: docs/records.md."""
        return flat_rows(self)

    def to_pandas(self) -> Any:
        """`to_dicts` as a pandas.DataFrame; MissingExtraError without pandas."""
        pandas = require("pandas", extra="pandas", purpose="Result.to_pandas")
        kinds = flat_kinds(self)
        numbers = {name: kind for name, kind in kinds.items() if kind is not str}
        return pandas.DataFrame(self.to_dicts(), columns=list(kinds)).astype(numbers)

    def to_polars(self) -> Any:
        """`to_dicts` as a polars.DataFrame; MissingExtraError without polars."""
        polars = require("polars", extra="polars", purpose="Result.to_polars")
        rows, kinds = self.to_dicts(), flat_kinds(self)
        return polars.DataFrame({name: [row[name] for row in rows] for name in kinds}, schema=kinds)

    def to_supervision(self) -> Any:
        """The tracks as supervision.Detections with tracker_id, in the order of `tracks`.

        `data` has the other columns of `to_dicts` (class_name, speed_mps, speed_sigma_mps, action, ...), with
        NaN and "" where there is no value, and key points; `mask` has the masks; `metadata` has frame, time_s
        and size. MissingExtraError without supervision."""
        kinds = {name: kind for name, kind in flat_kinds(self).items() if name not in (*BOX_NAMES, "frame", "time_s")}
        made = self.tracks.to_supervision()
        made.data |= _data(self.to_dicts(), kinds)
        masks = dict(enumerate(self.detections.masks))
        made.mask = full_masks([masks.get(row) for row in self.tracks.match.tolist()], self.size)
        made.metadata = {"frame": self.frame_index, "time_s": self.time, "size": self.size}
        return made


def with_speeds(detections: Any, tracks: Tracks, report: SpeedReport, time: float) -> Any:
    """A copy of supervision.Detections whose `data` has the displayed speed of each tracker_id."""
    result = Result(0, time, (0, 0), Detections.empty(), tracks, report)
    rows = {row["tracker_id"]: row for row in result.to_dicts()}
    kinds = {name: kind for name, kind in flat_kinds(result).items() if name.startswith("speed_")}
    ids = [] if detections.tracker_id is None else np.asarray(detections.tracker_id).tolist()
    made = copy.copy(detections)
    made.data = {**detections.data, **_data([rows.get(i, {}) for i in ids], kinds)}
    return made


def _data(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, type]) -> dict[str, Array]:
    """Columns of `flat_rows` as arrays: text with "", numbers with NaN where there is none."""
    made: dict[str, Array] = {}
    for name, kind in kinds.items():
        blank = "" if kind is str else math.nan
        made[name] = np.array([blank if row.get(name) is None else row[name] for row in rows], kind)
    return made
