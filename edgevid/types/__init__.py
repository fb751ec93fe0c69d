"""The values that flow between the stages.

Struct of arrays: frozen, slotted dataclasses of NumPy columns. Every column always exists; row i
means the same thing in each; ``ids`` joins tables; ``table[mask]`` gives the same type; iterating
yields small named rows for people and for the overlay. Ranks, dtypes and equal lengths are checked
once, here, at the door.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from edgevid.errors import InputError
from edgevid.types.table import Array as Array
from edgevid.types.table import Table as Table
from edgevid.types.table import column


class Reason(IntEnum):
    """Why a verdict or a speed is said (OK) or kept silent (every other value)."""

    OK = 0
    TOO_SHORT = 1  #: not enough observations or time yet
    TOO_SMALL = 2  #: the object has too few pixels
    LOW_CONFIDENCE = 3  #: the best class is below its threshold
    LOW_MARGIN = 4  #: the best two classes are too close
    DISAGREEMENT = 5  #: observations of one track contradict each other
    STALE = 6  #: the last observation is too old
    OFF_PLANE = 7  #: outside the calibrated part of the ground
    TRUNCATED = 8  #: the box touches the image border, its contact point is not seen
    OCCLUDED = 9  #: a nearer object covers the contact point
    UNCERTAIN = 10  #: the standard error is above the limit
    CAMERA_MOVED = 11  #: the calibration no longer fits the image
    NOT_MEASURED = 12  #: no recognizer or calibration covers this object

    @property
    def words(self) -> str:
        """The reason in plain words, as the overlay shows it.

        >>> Reason.TOO_SMALL.words
        'too small'
        """
        return _WORDS[self]


_WORDS = {
    Reason.OK: "ok",
    Reason.TOO_SHORT: "too short",
    Reason.TOO_SMALL: "too small",
    Reason.LOW_CONFIDENCE: "low confidence",
    Reason.LOW_MARGIN: "too close to call",
    Reason.DISAGREEMENT: "contradictory",
    Reason.STALE: "not seen lately",
    Reason.OFF_PLANE: "off the calibration",
    Reason.TRUNCATED: "cut by the edge",
    Reason.OCCLUDED: "hidden",
    Reason.UNCERTAIN: "too uncertain",
    Reason.CAMERA_MOVED: "camera moved",
    Reason.NOT_MEASURED: "not measured",
}


@dataclass(frozen=True, slots=True, eq=False)
class Detections(Table):
    """What a detector saw in one frame."""

    boxes: Array = column(np.float32, 4, row="box")
    """(N, 4) x1, y1, x2, y2 in frame pixels."""
    scores: Array = column(np.float32, row="score")
    """(N,) confidence, 0 to 1."""
    labels: Array = column(np.int32, row="label")
    """(N,) class index into the recipe's names."""


@dataclass(frozen=True, slots=True, eq=False)
class Tracks(Table):
    """The objects followed at one moment."""

    ids: Array = column(np.int64, row="id")
    """(N,) positive, unique within the tracker instance, not used again until its `reset`."""
    boxes: Array = column(np.float32, 4, row="box")
    """(N, 4) x1, y1, x2, y2 in frame pixels: the filtered box, or the predicted one while coasting."""
    scores: Array = column(np.float32, row="score")
    """(N,) score of the last matched detection."""
    labels: Array = column(np.int32, row="label")
    """(N,) class index."""
    match: Array = column(np.int32, row="match")
    """(N,) row of the frame's Detections, -1 while coasting."""
    age: Array = column(np.float32, row="age")
    """(N,) seconds since the first detection."""
    unseen: Array = column(np.float32, row="unseen")
    """(N,) seconds since the last matched detection; 0 when matched now."""


@dataclass(frozen=True, slots=True, eq=False)
class Clips(Table):
    """Pixel clips of the objects that are due for recognition."""

    ids: Array = column(np.int64, row="id")
    """(M,) track ids."""
    pixels: Array = column(np.uint8, None, None, None, 3, row="pixels")
    """(M, T, h, w, 3) RGB crops, oldest first; masked steps are black."""
    times: Array = column(np.float64, None, row="times")
    """(M, T) seconds of each crop, NaN where the step is padding."""
    boxes: Array = column(np.float32, None, 4, row="boxes")
    """(M, T, 4) x1, y1, x2, y2 in frame pixels of what each crop shows (it may pass the edge)."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores(Table):
    """Class probabilities a recognizer gave to objects."""

    ids: Array = column(np.int64, row="id")
    """(M,) track ids."""
    values: Array = column(np.float32, None, row="values")
    """(M, C) probabilities that sum to 1."""
    times: Array = column(np.float64, row="time")
    """(M,) seconds of the newest frame that was looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Speeds(Table):
    """Speeds over the ground, one row an object; silent rows carry NaN and a Reason."""

    ids: Array = column(np.int64, row="id")
    """(N,) track ids."""
    mps: Array = column(np.float64, row="mps")
    """(N,) m/s, NaN where silent."""
    sigma: Array = column(np.float64, row="sigma")
    """(N,) standard error in m/s, NaN where unknown."""
    heading: Array = column(np.float64, row="heading")
    """(N,) direction of travel on the plane, degrees from +x towards +y, NaN when at rest or silent."""
    time: Array = column(np.float64, row="time")
    """(N,) the moment in seconds that the value speaks of (smoothed values speak of the past)."""
    reason: Array = column(np.uint8, row="reason")
    """(N,) Reason."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts(Table):
    """What may be said of each object, or why nothing is."""

    ids: Array = column(np.int64, row="id")
    """(N,) track ids."""
    labels: Array = column(np.int32, row="label")
    """(N,) class index, -1 when abstaining."""
    confidence: Array = column(np.float32, row="confidence")
    """(N,) calibrated confidence of the best class, also when abstaining; 0 when nothing was seen."""
    reason: Array = column(np.uint8, row="reason")
    """(N,) Reason."""


class Frame:
    """One image of a stream: RGB pixels, the stream's own time, and its index.

    Decoders hand over YUV 4:2:0 planes; RGB is made when `image` is first asked for and then kept.
    """

    __slots__ = ("_image", "_to_rgb", "full_range", "height", "index", "matrix", "planes", "time", "width")

    def __init__(self, image: Array, time: float, index: int) -> None:
        """`image` (H, W, 3) uint8 RGB, `time` seconds on the stream's clock, `index` from 0."""
        if (
            not isinstance(image, np.ndarray)
            or image.dtype != np.uint8
            or image.ndim != 3
            or image.shape[2] != 3
        ):
            got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise InputError(f"Frame.image: expected uint8 RGB of shape (H, W, 3), got {got}")
        if image.shape[0] == 0 or image.shape[1] == 0:
            raise InputError(f"Frame.image: expected at least one pixel, got shape {image.shape}")
        self._image: Array | None = image
        self._to_rgb: Callable[[Frame], Array] | None = None
        self.planes: tuple[Array, Array, Array] | None = None
        self.height, self.width = int(image.shape[0]), int(image.shape[1])
        self.time, self.index = float(time), int(index)
        self.full_range, self.matrix = False, "bt601"

    @classmethod
    def from_yuv420(
        cls,
        planes: tuple[Array, Array, Array],
        time: float,
        index: int,
        *,
        to_rgb: Callable[[Frame], Array],
        full_range: bool = False,
        matrix: str = "bt601",
    ) -> Frame:
        """A frame of planes y (H, W), u and v ((H+1)//2, (W+1)//2), uint8; rows may be strided.

        `matrix` is "bt601" or "bt709"; `to_rgb` converts such a frame when somebody looks. The
        planes must stay valid as long as the frame lives.
        """
        y, u, v = planes
        half = ((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2)
        for name, plane, expected in (("y", y, y.shape), ("u", u, half), ("v", v, half)):
            if plane.dtype != np.uint8 or plane.ndim != 2 or plane.shape != expected:
                raise InputError(
                    f"Frame plane {name}: expected uint8 of shape {expected}, got {plane.dtype} {plane.shape}"
                )
        if matrix not in ("bt601", "bt709"):
            raise InputError(f"Frame matrix: expected 'bt601' or 'bt709', got {matrix!r}")
        frame = cls.__new__(cls)
        frame._image, frame._to_rgb, frame.planes = None, to_rgb, planes
        frame.height, frame.width = int(y.shape[0]), int(y.shape[1])
        frame.time, frame.index = float(time), int(index)
        frame.full_range, frame.matrix = full_range, matrix
        return frame

    @property
    def image(self) -> Array:
        """(H, W, 3) uint8 RGB; converted from the planes on first use, then kept."""
        if self._image is None:
            assert self._to_rgb is not None
            self._image = self._to_rgb(self)
        return self._image

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    def __repr__(self) -> str:
        return f"Frame({self.width}x{self.height}, time={self.time:.3f}, index={self.index})"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a model wants its image: the whole of preprocessing, as the recipe states it."""

    width: int
    """Columns of the model's input."""
    height: int
    """Rows of the model's input."""
    color: str = "RGB"
    """"RGB", "BGR" or "GRAY": order of the model's channels."""
    resize: str = "letterbox"
    """"letterbox" keeps the aspect and pads; "stretch" fills the input."""
    anchor: str = "center"
    """Where a letterboxed image sits: "center" or "top-left"."""
    pad: float = 114.0
    """Value of padding, 0 to 255, before normalization."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted from 0..255 values, in the model's channel order."""
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    """Divisor after the mean, in the model's channel order."""
    layout: str = "NCHW"
    """"NCHW" or "NHWC"."""
    dtype: str = "float32"
    """"float32", "uint8" or "int32": element type of the model's input."""

    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "color": ("RGB", "BGR", "GRAY"),
        "resize": ("letterbox", "stretch"),
        "anchor": ("center", "top-left"),
        "layout": ("NCHW", "NHWC"),
        "dtype": ("float32", "uint8", "int32"),
    }

    def __post_init__(self) -> None:
        for name, choices in self.CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"InputSpec.{name}: expected one of {choices}, got {getattr(self, name)!r}")
        if self.width < 1 or self.height < 1:
            raise InputError(f"InputSpec: expected a positive size, got {self.width}x{self.height}")
        if 0.0 in self.std:
            raise InputError(f"InputSpec.std: expected non-zero divisors, got {self.std}")


@dataclass(frozen=True, slots=True)
class Result:
    """All that was learned from one frame."""

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
    """By task; every task has one row a track."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Class names by task; "class" names the detector's labels."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds spent in each stage."""

    def display_speeds(self) -> dict[int, Any]:
        """What to show of each track by its id: its live row, or the smoothed one where that is UNCERTAIN.

        A smoothed value is surer and speaks of the past: its `time` says of when.
        """
        smoothed = {int(row.id): row for row in self.speeds.smoothed if row.reason == Reason.OK}
        rows = {int(row.id): row for row in self.speeds.live}
        return {i: smoothed.get(i, row) if row.reason == Reason.UNCERTAIN else row for i, row in rows.items()}
