"""What some models give of each object beyond its box: masks and key points, in frame pixels."""

from __future__ import annotations

import math

import numpy as np

from edgevid.detect.preprocess import LetterboxTransform
from edgevid.runtime.letterbox import InputSpec
from edgevid.types import F32, Array, Mask


def keypoints(values: Array, transform: LetterboxTransform, size: int) -> F32:
    """(N, K, 3) x, y and confidence of key points (N, K * size) of the model's input.

    Confidence is 1 where `size` is 2.
    """
    points = np.ones((len(values), values.shape[1] // size, 3), np.float32)
    points[..., :size] = values.reshape(*points.shape[:2], size)
    points[..., 0] = (points[..., 0] - transform.left) / transform.scale_x
    points[..., 1] = (points[..., 1] - transform.top) / transform.scale_y
    return points


def masks(
    coefficients: F32, prototypes: F32, boxes: F32, transform: LetterboxTransform, spec: InputSpec
) -> Array:
    """(N,) Mask of each box (N, 4) in frame pixels, from coefficients (N, M) of prototypes (M, h, w).

    The weighted sum of the prototypes, which cover the whole input, is interpolated at each pixel inside the
    box; the object is where it is positive (D. Bolya et al., "YOLACT", arXiv 1904.02689).
    """
    count, high, wide = prototypes.shape
    sums = (coefficients @ prototypes.reshape(count, -1)).reshape(-1, high, wide)
    x = (transform.scale_x * wide / spec.width, transform.left * wide / spec.width)
    y = (transform.scale_y * high / spec.height, transform.top * high / spec.height)
    made = np.empty(len(boxes), object)
    for row, box in enumerate(boxes.tolist()):
        left, top, right, bottom = (math.ceil(edge) for edge in box)
        columns, rows = _taps(left, right, *x, wide), _taps(top, bottom, *y, high)
        pixels = _between(_between(sums[row], rows).T, columns).T > 0
        made[row] = Mask(left, top, np.ascontiguousarray(pixels).view(np.uint8))
    return made


def _taps(start: int, stop: int, scale: float, shift: float, cells: int) -> tuple[Array, Array, F32]:
    """The cells before and after the centers of pixels from `start` to `stop`, and the second's weight."""
    at = np.clip((np.arange(start, stop) + 0.5) * scale + shift - 0.5, 0, cells - 1)
    low = np.minimum(at.astype(np.intp), max(cells - 2, 0))
    return low, np.minimum(low + 1, cells - 1), (at - low).astype(np.float32)


def _between(values: F32, taps: tuple[Array, Array, F32]) -> F32:
    low, high, weight = taps
    found: F32 = values[low] * (1 - weight[:, None]) + values[high] * weight[:, None]
    return found
