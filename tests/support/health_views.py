"""A still camera's view, and the same view after the camera moved."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = (640, 360)


def view_image(seed: int = 0) -> np.ndarray:
    """A view with much structure: rectangles of random places, sizes and grays."""
    random = np.random.default_rng(seed)
    image = np.full((360, 640, 3), 120, np.uint8)
    for _ in range(220):
        x, y, w, h = random.integers(0, [640, 360, 60, 40])
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), random.integers(20, 235, 3).tolist(), -1)
    return image


VIEW = view_image()


def moved(dx: float, dy: float, turn: float = 0.0, zoom: float = 1.0, image: np.ndarray = VIEW) -> np.ndarray:
    """The image of a camera that has moved by so much."""
    matrix = cv2.getRotationMatrix2D((320, 180), -turn, zoom)
    matrix[:, 2] += [dx, dy]
    return cv2.warpAffine(image, matrix, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
