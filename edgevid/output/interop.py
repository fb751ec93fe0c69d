"""Conversion to and from supervision.Detections, as functions."""

from __future__ import annotations

from typing import Any

from edgevid.types import Detections, Result


def to_supervision(result: Result) -> Any:
    """`Result.to_supervision`: the tracks as supervision.Detections."""
    return result.to_supervision()


def from_supervision(detections: Any) -> Detections:
    """`Detections.from_supervision`: the Detections of a supervision.Detections."""
    return Detections.from_supervision(detections)
