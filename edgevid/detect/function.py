"""A function in the place of a detector."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgevid.types import Detections, Frame, as_detections


class FunctionDetector:
    """A function of one image as a detector: what another library's model or your own code finds.

    The function gets the image as OpenCV's (H, W, 3) uint8 BGR array, or the Frame where its parameter is
    annotated so, and returns Detections, supervision.Detections, an (N, 6) array of x1, y1, x2, y2, score
    and label, or Ultralytics' results.
    """

    def __init__(self, function: Callable[[Any], Any], names: Sequence[str] = ()) -> None:
        """`names` of the labels; those of the function's own `names`, where it has any (YOLO's), if empty."""
        self.function = function
        found = names or getattr(function, "names", ())
        self.names = tuple(found.values() if isinstance(found, Mapping) else found)
        self._takes_frame = _takes_frame(function)

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One table per frame; InputError names the function where it returns something else."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return [
            as_detections(self.function(frame if self._takes_frame else frame.bgr), f"detector {name}")
            for frame in frames
        ]


def _takes_frame(function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin
        return False
    return bool(parameters) and parameters[0].annotation in (Frame, "Frame", "edgevid.Frame")
