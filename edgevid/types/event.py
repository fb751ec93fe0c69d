"""Event: what happened in front of a camera, or to it; Header: which run of which camera found it."""

import math
import platform
import time as clock
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, Literal

from edgevid._version import __version__
from edgevid.errors import visible

EVENT_SCHEMA = "edgevid.event/1"
HEADER_SCHEMA = "edgevid.header/1"
EventKind = Literal[  # What an event reports: docs/events.md
    "cross", "enter", "leave", "dwell", "stopped", "wrong-way", "occupancy-above", "occupancy-normal",
    "track-speed", "speed-limit", "track-ended", "verdict", "verdict-changed", "verdict-abstained",
    "camera-moved", "camera-aligned", "image-unusable", "image-usable", "stream-lost", "stream-back",
    "camera-failed", "sink-failed",
]  # fmt: skip


CLOCK_SET_S = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
"""edgevid is not older: a clock that shows less has not been set."""


def utc_text(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the millisecond; "" for NaN.

    >>> utc_text(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    if math.isnan(seconds):
        return ""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_seconds(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 text; UTC where it names no zone. ValueError for another text."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One event; a field that does not apply to its kind is None, or "" where it is text."""

    id: str  # Never used again, and the same each time that the event is delivered: the run, then a number
    kind: EventKind  # What happened (docs/events.md)
    utc: str  # When, in UTC: ISO 8601 with milliseconds
    time_s: float  # When, in seconds on the stream's clock
    camera: str  # Name of the camera
    run: str  # Name of the run: the camera, and the UTC time of its start
    frame: int | None = None  # Index of the frame in which it was found
    place: str = ""  # Name of the zone or line
    track: int | None = None  # Track id of the object
    class_name: str = ""  # Class of the object
    confidence: float | None = None  # Score of the object's last matched detection, 0 to 1; of "track-ended", its mean
    direction: str = ""  # Of a crossing: "forward" or "backward"
    seconds: float | None = None  # Inside (leave, dwell), at rest (stopped), tracked (track-ended), away (stream-back)
    count: int | None = None  # Objects in the zone after enter, leave and occupancy; frames of "track-ended"
    speed_mps: float | None = None  # Speed over the ground in m/s
    speed_sigma_mps: float | None = None  # Its standard error in m/s
    speed_heading_deg: float | None = None  # Direction of travel, degrees from +x towards +y on the plane
    speed_reason: str = ""  # Why there is no speed: a name of `Reason`; "" also without a calibration
    task: str = ""  # Recognition task of a verdict
    label: str = ""  # Class that the verdict emits; of "verdict-abstained", the one emitted before
    label_confidence: float | None = None  # Its calibrated confidence, 0 to 1
    reason: str = ""  # Why a verdict abstains: a name of `Reason`; else what was noticed of the camera, image or stream
    box: tuple[float, float, float, float] | None = None  # x1, y1, x2, y2 of the object in frame pixels
    first_box: tuple[float, float, float, float] | None = None  # Of "track-ended": the box of its first frame
    clip: str = ""  # Video of the event, relative to the folder of the recordings (docs/recordings.md)
    snapshot: str = ""  # Image of the object's best moment so far, in the same folder

    def __repr__(self) -> str:
        return f"Event({', '.join(f'{key}={value!r}' for key, value in list(self.to_dict().items())[1:])})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values with the schema's name first, without the fields that do not apply."""
        values = ((one, getattr(self, one)) for one in EVENT_FIELDS)
        return {"schema": EVENT_SCHEMA} | {key: value for key, value in values if value not in (None, "")}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Event":
        """The event of `to_dict`; keys that a later version added are left out."""
        known = {key: value for key, value in values.items() if key in EVENT_FIELDS}
        boxes = {key: tuple(known[key]) for key in ("box", "first_box") if known.get(key)}
        return cls(**(known | boxes))


EVENT_FIELDS = tuple(one.name for one in fields(Event))


@dataclass(frozen=True, slots=True)
class Header:
    """A run: its camera, its start, and what it was measured with; the first line of its records."""

    camera: str = "camera"  # Name of the camera
    source: str = ""  # Stream or file, with passwords masked
    start: float = field(default_factory=clock.time)  # UTC seconds since 1970 at which the stream's clock was 0
    run: str = ""  # Name of the run, never used again; empty: the camera and the time of now
    versions: Mapping[str, str] = field(
        default_factory=lambda: {"edgevid": __version__, "python": platform.python_version()}
    )
    """Of edgevid, Python and what else takes part."""
    model: str = ""  # Name or file of the detector
    sha256: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the files that decide results: "model", "calibration", "policy", and tasks' models."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # Class names by task

    def __post_init__(self) -> None:
        for name in ("camera", "source", "run"):  # bytes of a path may be no UTF-8
            object.__setattr__(self, name, visible(getattr(self, name)))
        if not self.run:
            now = datetime.now(timezone.utc)
            object.__setattr__(self, "run", f"{self.camera}-{now:%Y%m%dT%H%M%S.%fZ}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values with the schema's name first."""
        values = asdict(self)
        return {"schema": HEADER_SCHEMA, "start_utc": utc_text(values.pop("start")), **values}
