"""Small networks and samples for the tests of detector training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgevid.learn.detector.data import Sample


def squares(folder: Path, number: int = 6) -> Path:
    """Images of a red square (a car) on gray."""
    random = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for n in range(number):
        image = np.full((64, 96, 3), 120, np.uint8)
        x, y = random.integers(4, 60), random.integers(4, 30)
        image[y : y + 28, x : x + 28] = (30, 30, 220)
        cv2.imwrite(str(folder / "images" / f"clip{n % 2}_{n}.jpg"), image)
        (folder / "labels" / f"clip{n % 2}_{n}.txt").write_text(f"car {x} {y} {x + 28} {y + 28} 1.0\n")
    return folder


def blank_sample(clip: str, *, boxes: int) -> Sample:
    """An image with a sure car or without."""
    box = np.array([[20, 10, 60, 50]] * boxes, np.float32).reshape(-1, 4)
    image = np.zeros((64, 96, 3), np.uint8)
    return Sample(image, box, np.full(boxes, 2), np.ones(boxes, np.float32), clip)
