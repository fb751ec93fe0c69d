"""The tables of a frame: detections, tracks, clips, class scores, verdicts and speeds; Reason."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from edgevid.errors import InputError, require, shown
from edgevid.types.frame import full_masks
from edgevid.types.table import F32, F64, I32, I64, U8, Array, Table, column

KMH = 3.6  # km/h of 1 m/s


class Reason(IntEnum):
    """Why a row was emitted (OK) or abstained from (every other value)."""

    OK = 0
    TOO_SHORT = 1  #: not enough observations or time yet
    TOO_SMALL = 2  #: the object has too few pixels
    LOW_CONFIDENCE = 3  #: the best class is below its threshold
    LOW_MARGIN = 4  #: the best two classes are too close
    DISAGREEMENT = 5  #: observations of one track contradict each other
    STALE = 6  #: the last observation is too old
    OFF_PLANE = 7  #: outside the calibrated part of the ground
    TRUNCATED = 8  #: the box touches the image border, so its contact point is not visible
    OCCLUDED = 9  #: a nearer object covers the contact point
    UNCERTAIN = 10  #: the standard error is above the limit
    CAMERA_MOVED = 11  #: the calibration no longer fits the image
    NOT_MEASURED = 12  #: no recognizer or calibration covers this object, or nothing was found inside it
    DAMAGED = 13  #: the image is noise or blocks, or frames have been damaged for too long to predict from before
    UNLIKE_TRAINING = 14  #: the clip is unlike those that the recognizer was trained on
    DARK = 15  #: the image is too dark
    BLURRED = 16  #: the image is out of focus, or shows nothing
    OVEREXPOSED = 17  #: much of the image is white

    @property
    def description(self) -> str:
        """The reason as text for overlays and reports.

        >>> Reason.TOO_SMALL.description, Reason.OFF_PLANE.description
        ('too small', 'outside the calibration')
        """
        return _DESCRIPTIONS.get(self, self.name.lower().replace("_", " "))


_DESCRIPTIONS = {Reason.TOO_SHORT: "track too short", Reason.DISAGREEMENT: "observations disagree",
                 Reason.STALE: "no recent observation", Reason.OFF_PLANE: "outside the calibration"}  # fmt: skip
"""Descriptions that are clearer than the name in lower case."""


class _Boxed(Table):
    """The columns of boxes under supervision's names: views, not copies."""

    __slots__ = ()
    ALIASES = {"xyxy": "boxes", "confidence": "scores", "class_id": "labels", "tracker_id": "ids"}  # noqa: RUF012
    boxes: F32
    scores: F32
    labels: I32
    keypoints: F32

    @property
    def xyxy(self) -> F32:
        """(N, 4) `boxes`."""
        return self.boxes

    @property
    def confidence(self) -> F32:
        """(N,) `scores`."""
        return self.scores

    @property
    def class_id(self) -> I32:
        """(N,) `labels`."""
        return self.labels

    def to_supervision(self, names: Sequence[str] = (), size: tuple[int, int] | None = None) -> Any:
        """The rows as supervision.Detections; `names` of the labels give `data["class_name"]`. `size`, the
        frame's (width, height), gives `mask`; key points are `data["keypoints"]` (N, K, 3). MissingExtraError
        without supervision."""
        sv = require("supervision", extra="supervision", purpose="Conversion to supervision.Detections")
        ids = getattr(self, "ids", None)
        labels = self.labels.tolist()
        data = {"class_name": np.array([names[i] for i in labels], str)} if names else {}
        if self.keypoints.shape[1]:
            data["keypoints"] = self.keypoints.copy()
        return sv.Detections(xyxy=np.array(self.boxes), confidence=self.scores.copy(), class_id=self.labels.astype(int),
                             data=data, mask=full_masks(getattr(self, "masks", ()), size) if size else None,
                             tracker_id=None if ids is None else ids.astype(int))  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Detections(_Boxed):
    """What a detector found in one frame."""

    boxes: F32 = column(np.float32, 4, row="box")  # (N, 4) x1, y1, x2, y2 in frame pixels
    scores: F32 = column(np.float32, row="score")  # (N,) confidence, 0 to 1
    labels: I32 = column(np.int32, row="label")  # (N,) class index into the recipe's names
    masks: Array = column(object, row="mask", optional=True)  # (N,) a Mask of each object; None where there is none
    keypoints: F32 = column(np.float32, None, 3, row="keypoints", optional=True)
    """(N, K, 3) x and y in frame pixels and confidence, 0 to 1; K is 0 where the model gives none."""
    rotated: F32 = column(np.float32, None, row="rotated", optional=True)
    """(N, 5) rotated box: center x and y, width and height in frame pixels, and the angle of its width from
    +x towards +y in radians; `boxes` encloses it. (N, 0) where the model gives none."""

    @property
    def tracker_id(self) -> None:
        """None: detections have no ids; `Tracker.update` gives them."""

    @classmethod
    def from_supervision(cls, detections: Any) -> Detections:
        """The Detections of a supervision.Detections, or of any object with xyxy, confidence and class_id.
        Without a confidence each score is 1, without a class each label is 0. InputError without xyxy."""
        boxes = getattr(detections, "xyxy", None)
        if boxes is None:
            got = type(detections).__name__
            raise InputError(f"from_supervision: expected supervision.Detections with xyxy, got {got}")
        scores, labels = (getattr(detections, name, None) for name in ("confidence", "class_id"))
        scores = np.ones(len(boxes)) if scores is None else scores
        return cls.of(boxes=boxes, scores=scores, labels=np.zeros(len(boxes)) if labels is None else labels)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tracks(_Boxed):
    """The tracked objects at one moment."""

    ids: I64 = column(np.int64, row="id")  # (N,) positive, unique within the tracker, not used again until its `reset`
    boxes: F32 = column(np.float32, 4, row="box")
    """(N, 4) x1, y1, x2, y2 in frame pixels: the filtered box, or the predicted one while coasting."""
    scores: F32 = column(np.float32, row="score")  # (N,) score of the last matched detection
    labels: I32 = column(np.int32, row="label")  # (N,) class index
    match: I32 = column(np.int32, row="match")  # (N,) row of the frame's Detections, -1 while coasting
    age: F32 = column(np.float32, row="age")  # (N,) seconds since the first detection
    unseen: F32 = column(np.float32, row="unseen")  # (N,) seconds since the last matched detection; 0 when matched now
    keypoints: F32 = column(np.float32, None, 3, row="keypoints", optional=True)
    """(N, K, 3) key points of the matched detection, NaN while coasting; K is 0 where there are none."""
    rotated: F32 = column(np.float32, None, row="rotated", optional=True)
    """(N, 5) rotated box of the matched detection, as in Detections, NaN while coasting; (N, 0): none."""

    @property
    def tracker_id(self) -> I64:
        """(N,) `ids`."""
        return self.ids

    @classmethod
    def from_supervision(cls, detections: Any) -> Tracks:
        """The rows of a supervision.Detections that have a tracker_id, each detected now; ages are 0.
        InputError without tracker_id; rows with a negative one are no tracks and are left out."""
        ids = getattr(detections, "tracker_id", None)
        found = Detections.from_supervision(detections)
        if ids is None and len(found):
            what = "from_supervision: expected supervision.Detections with a tracker_id, got none"
            raise InputError(f"{what}; give them to a tracker first: detections = tracker.update(detections)")
        ids = np.asarray([] if ids is None else ids, np.int64)
        zero, rows = np.zeros(len(ids), np.float32), np.arange(len(ids), dtype=np.int32)
        return cls(ids, found.boxes, found.scores, found.labels, rows, zero, zero)[ids >= 0]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Clips(Table):
    """Pixel clips of the objects that are due for recognition."""

    ids: I64 = column(np.int64, row="id")  # (M,) track ids
    pixels: U8 = column(np.uint8, None, None, None, 3, row="pixels")
    """(M, T, h, w, 3) RGB crops, oldest first; masked steps are black."""
    times: F64 = column(np.float64, None, row="times")  # (M, T) seconds of each crop, NaN where the step is padding
    boxes: F32 = column(np.float32, None, 4, row="boxes")
    """(M, T, 4) x1, y1, x2, y2 in frame pixels of each crop's content (it may pass the image border)."""
    keypoints: F32 = column(np.float32, None, None, 3, row="keypoints", optional=True)
    """(M, T, K, 3) the detector's key points as in Tracks, NaN where a step has none; (M, 0, 0, 3): none."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Scores(Table):
    """Class probabilities of objects, from a recognizer."""

    ids: I64 = column(np.int64, row="id")  # (M,) track ids
    values: F32 = column(np.float32, None, row="values")  # (M, C) probabilities that sum to 1
    times: F64 = column(np.float64, row="time")  # (M,) seconds of the newest frame of the clip
    typicality: F32 = column(np.float32, None, row="typicality", optional=True)
    """(M, 1) conformal p-value that the clip is like the training's (0: unlike); (M, 0) where unknown."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Verdicts(Table):
    """The class emitted for each object, or the reason for abstaining."""

    ids: I64 = column(np.int64, row="id")  # (N,) track ids
    labels: I32 = column(np.int32, row="label")  # (N,) class index, -1 when abstaining
    confidence: F32 = column(np.float32, row="confidence")
    """(N,) calibrated confidence of the best class, also when abstaining; 0 without any observation."""
    reason: U8 = column(np.uint8, row="reason", enum=Reason)  # (N,) Reason

    def withheld(self, reason: Reason) -> Verdicts:
        """The same verdicts; those that were emitted are abstained from for `reason`."""
        labels, ok = np.full(len(self), -1, np.int32), self.reason == Reason.OK
        reasons = np.where(ok, np.uint8(reason), self.reason)
        return Verdicts(self.ids, labels, self.confidence, reasons)

    @classmethod
    def abstained(cls, ids: I64, reason: Reason) -> Verdicts:
        """The verdicts of the tracks `ids` (N,), all abstained from for one reason."""
        n = len(ids)
        return cls.of(ids=ids, labels=np.full(n, -1), confidence=np.zeros(n), reason=np.full(n, reason))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Speeds(Table):
    """Speeds over the ground, one row per object; abstained rows carry NaN and a Reason."""

    ids: I64 = column(np.int64, row="id")  # (N,) track ids
    mps: F64 = column(np.float64, row="mps")  # (N,) m/s, NaN when abstaining
    sigma: F64 = column(np.float64, row="sigma")  # (N,) standard error in m/s, NaN where unknown
    heading: F64 = column(np.float64, row="heading")
    """(N,) direction of travel on the plane, degrees from +x towards +y, NaN at rest or when abstaining."""
    time: F64 = column(np.float64, row="time")  # (N,) seconds that the value holds for: of smoothed ones in the past
    reason: U8 = column(np.uint8, row="reason", enum=Reason)  # (N,) Reason
    path: F64 = column(np.float64, None, row="path", optional=True)
    """(N, 3) of track speeds: the peak in m/s, seconds stopped and degrees turned; (N, 0) of others."""

    @classmethod
    def abstained(cls, ids: I64, time: float, reason: Reason) -> Speeds:
        """The speeds at `time` of the tracks `ids` (N,), all abstained from for one reason."""
        n, nan = len(ids), np.full(len(ids), np.nan)
        columns = {"mps": nan, "sigma": nan, "heading": nan, "time": np.full(n, time)}
        return cls.of(ids=ids, reason=np.full(n, reason), **columns)


def as_detections(found: Any, owner: str) -> Detections:
    """What a detector of another library gives, as Detections. Takes Detections (itself),
    supervision.Detections, Ultralytics' Results, an (N, 4 to 6) array or list of x1, y1, x2, y2, score and
    label, and a list of one of these. InputError names `owner` for anything else."""
    if isinstance(found, (list, tuple)):
        if all(isinstance(row, (list, tuple)) or getattr(row, "ndim", 0) == 1 for row in found):
            with suppress(TypeError, ValueError):  # rows that differ, or hold other things than numbers
                found = np.array(found, float).reshape(len(found), -1 if found else 6)
        elif len(found) == 1:
            found = found[0]
    if isinstance(found, Detections):
        return found
    if getattr(found, "xyxy", None) is not None:
        return Detections.from_supervision(found)
    boxes = getattr(found, "boxes", None)
    found = getattr(boxes, "data", found) if hasattr(boxes, "conf") else found
    array = found.cpu().numpy() if hasattr(found, "cpu") else found
    if isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.kind in "fiu":
        n, columns = array.shape
        if columns in (4, 5, 6):
            scores = array[:, 4] if columns > 4 else np.ones(n)
            if n and (scores.min() < 0 or scores.max() > 1):
                what = f"{owner}: expected rows of x1, y1, x2, y2, score, label with scores from 0 to 1"
                raise InputError(f"{what}, got scores from {scores.min():g} to {scores.max():g}")
            return Detections.of(boxes=array[:, :4], scores=scores, labels=array[:, 5] if columns > 5 else np.zeros(n))
    got = f"an array {array.shape}" if isinstance(array, np.ndarray) else shown(array)
    what = f"{owner}: expected Detections, such as Detections.of(boxes=..., scores=..., labels=...)"
    raise InputError(f"{what}, supervision.Detections or an (N, 6) array of x1, y1, x2, y2, score, label, got {got}")
