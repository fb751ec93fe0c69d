"""A detector of one object, and frames of any sizes, for tests of the frame loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevid.types import Detections, Frame


class SquareDetector:
    """Detects one object in the middle of every frame."""

    names = ("thing",)

    def detect(self, frames: Any) -> list[Detections]:
        made = []
        for frame in frames:
            w, h = frame.size
            box = np.array([[0.4 * w, 0.4 * h, 0.6 * w, 0.6 * h]], np.float32)
            made.append(Detections(box, np.array([0.9], np.float32), np.array([0], np.int32)))
        return made


def frames_of(*sizes: tuple[int, int], each: int = 10) -> list[Frame]:
    """`each` frames of each (width, height), a tenth of a second apart."""
    frames = [np.full((h, w, 3), 90, np.uint8) for w, h in sizes for _ in range(each)]
    return [Frame(image, n / 10, n) for n, image in enumerate(frames)]
