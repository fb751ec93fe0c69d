"""Conversion to and from supervision.Detections, for programs that draw, slice or count with supervision."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevid.errors import InputError, require
from edgevid.types import Detections, Result


def to_supervision(result: Result) -> Any:
    """The tracks as supervision.Detections, with tracker ids and class names."""
    sv = require("supervision", extra="supervision", purpose="Conversion to supervision.Detections")
    tracks = result.tracks
    return sv.Detections(
        xyxy=tracks.boxes.copy(),
        confidence=tracks.scores.copy(),
        class_id=tracks.labels.astype(int),
        tracker_id=tracks.ids.astype(int),
        data={"class_name": np.array([result.class_name(label) for label in tracks.labels.tolist()])},
    )


def from_supervision(detections: Any) -> Detections:
    """The Detections of a supervision.Detections, or of any object with xyxy, confidence and class_id.

    Without a confidence each score is 1, without a class each label is 0. InputError where xyxy is missing.
    """
    boxes = getattr(detections, "xyxy", None)
    if boxes is None:
        raise InputError(
            f"from_supervision: expected supervision.Detections with xyxy, got {type(detections).__name__}"
        )
    scores, labels = getattr(detections, "confidence", None), getattr(detections, "class_id", None)
    return Detections.of(
        boxes=boxes,
        scores=np.ones(len(boxes)) if scores is None else scores,
        labels=np.zeros(len(boxes)) if labels is None else labels,
    )
