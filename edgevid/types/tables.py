"""The tables of a frame: detections, tracks, clips, class scores and verdicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgevid.types.reason import Reason
from edgevid.types.table import F32, F64, I32, I64, U8, Table, column


@dataclass(frozen=True, slots=True, eq=False)
class Detections(Table):
    """What a detector found in one frame."""

    boxes: F32 = column(np.float32, 4, row="box")
    """(N, 4) x1, y1, x2, y2 in frame pixels."""
    scores: F32 = column(np.float32, row="score")
    """(N,) confidence, 0 to 1."""
    labels: I32 = column(np.int32, row="label")
    """(N,) class index into the recipe's names."""


@dataclass(frozen=True, slots=True, eq=False)
class Tracks(Table):
    """The tracked objects at one moment."""

    ids: I64 = column(np.int64, row="id")
    """(N,) positive, unique within the tracker instance, not used again until its `reset`."""
    boxes: F32 = column(np.float32, 4, row="box")
    """(N, 4) x1, y1, x2, y2 in frame pixels: the filtered box, or the predicted one while coasting."""
    scores: F32 = column(np.float32, row="score")
    """(N,) score of the last matched detection."""
    labels: I32 = column(np.int32, row="label")
    """(N,) class index."""
    match: I32 = column(np.int32, row="match")
    """(N,) row of the frame's Detections, -1 while coasting."""
    age: F32 = column(np.float32, row="age")
    """(N,) seconds since the first detection."""
    unseen: F32 = column(np.float32, row="unseen")
    """(N,) seconds since the last matched detection; 0 when matched now."""


@dataclass(frozen=True, slots=True, eq=False)
class Clips(Table):
    """Pixel clips of the objects that are due for recognition."""

    ids: I64 = column(np.int64, row="id")
    """(M,) track ids."""
    pixels: U8 = column(np.uint8, None, None, None, 3, row="pixels")
    """(M, T, h, w, 3) RGB crops, oldest first; masked steps are black."""
    times: F64 = column(np.float64, None, row="times")
    """(M, T) seconds of each crop, NaN where the step is padding."""
    boxes: F32 = column(np.float32, None, 4, row="boxes")
    """(M, T, 4) x1, y1, x2, y2 in frame pixels of each crop's content (it may pass the image border)."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores(Table):
    """Class probabilities of objects, from a recognizer."""

    ids: I64 = column(np.int64, row="id")
    """(M,) track ids."""
    values: F32 = column(np.float32, None, row="values")
    """(M, C) probabilities that sum to 1."""
    times: F64 = column(np.float64, row="time")
    """(M,) seconds of the newest frame of the clip."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts(Table):
    """The class emitted for each object, or the reason for abstaining."""

    ids: I64 = column(np.int64, row="id")
    """(N,) track ids."""
    labels: I32 = column(np.int32, row="label")
    """(N,) class index, -1 when abstaining."""
    confidence: F32 = column(np.float32, row="confidence")
    """(N,) calibrated confidence of the best class, also when abstaining; 0 without any observation."""
    reason: U8 = column(np.uint8, row="reason", enum=Reason)
    """(N,) Reason."""
