"""Reason: why a verdict or a speed was emitted or abstained from."""

from __future__ import annotations

from enum import IntEnum


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
    NOT_MEASURED = 12  #: no recognizer or calibration covers this object

    @property
    def description(self) -> str:
        """The reason as text for overlays and reports.

        >>> Reason.TOO_SMALL.description
        'too small'
        """
        return self.name.lower().replace("_", " ")
