"""What some models give of each object beyond its box: masks, key points, a rotated box; in frame pixels. A rotated box
is center x and y, width, height and the angle of its width from +x towards +y, in radians."""

import math

import numpy as np

from edgevid.detect.preprocess import LetterboxTransform
from edgevid.runtime.engine import InputSpec
from edgevid.types import F32, Array, Mask

_CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) / 2
_BLOCK = 256  # Boxes that are compared with all better ones at a time: bounds the memory


def keypoints(values: Array, transform: LetterboxTransform, size: int) -> F32:
    """(N, K, 3) x, y and confidence of key points (N, K * size) of the model's input; of `size` 2 confidence is 1."""
    points = np.ones((len(values), values.shape[1] // size, 3), np.float32)
    points[..., :size] = values.reshape(*points.shape[:2], size)
    scale = np.array([transform.scale_x, transform.scale_y], np.float32)
    points[..., :2] = (points[..., :2] - np.array([transform.left, transform.top], np.float32)) / scale
    return points


def masks(coefficients: F32, prototypes: F32, boxes: F32, transform: LetterboxTransform, spec: InputSpec) -> Array:
    """(N,) Mask of each box (N, 4) in frame pixels, from coefficients (N, M) of prototypes (M, h, w). The weighted sum
    of the prototypes, which cover the whole input, is interpolated at each pixel inside the box; the object is where it
    is positive (D. Bolya et al., "YOLACT", arXiv 1904.02689)."""
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
    return np.asarray(values[low] * (1 - weight[:, None]) + values[high] * weight[:, None])


def corners(rotated: F32) -> F32:
    """(N, 4, 2) corners of rotated boxes (N, 5), in order around each.

    >>> corners(np.float32([[10, 20, 4, 2, np.pi / 2]])).round(3).tolist()
    [[[11.0, 18.0], [11.0, 22.0], [9.0, 22.0], [9.0, 18.0]]]
    """
    cosine, sine = np.cos(rotated[:, 4]), np.sin(rotated[:, 4])
    offset = rotated[:, None, 2:4] * _CORNERS
    x = offset[..., 0] * cosine[:, None] - offset[..., 1] * sine[:, None]
    y = offset[..., 0] * sine[:, None] + offset[..., 1] * cosine[:, None]
    return np.asarray(np.stack([x, y], axis=-1) + rotated[:, None, :2], np.float32)


def enclosing(rotated: F32) -> F32:
    """(N, 4) x1, y1, x2, y2 of the upright boxes around rotated boxes (N, 5)."""
    points = corners(rotated)
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def prob_iou(a: F32, b: F32) -> F32:
    """(N, M) similarity, 0 to 1, of rotated boxes (N, 5) and (M, 5). 1 minus the Hellinger distance of their Gaussians,
    whose variances are side^2 / 12 along each side: J. M. Llerena et al., "Gaussian Bounding Boxes and Probabilistic
    Intersection-over-Union for Object Detection" (arXiv 2106.06072)."""
    eps = np.float32(1e-7)
    (xx1, yy1, xy1), (xx2, yy2, xy2) = _covariance(a), _covariance(b)
    dx, dy = a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1]
    xx, yy, xy = xx1[:, None] + xx2[None], yy1[:, None] + yy2[None], xy1[:, None] + xy2[None]
    both = xx * yy - xy * xy
    apart = (xx * dy * dy + yy * dx * dx - 2 * xy * dx * dy) / (both + eps) / 4
    own = np.maximum(xx1 * yy1 - xy1 * xy1, 0)[:, None] * np.maximum(xx2 * yy2 - xy2 * xy2, 0)[None]
    shape = np.log(both / (4 * np.sqrt(own) + eps) + eps) / 2
    distance = np.clip(apart + shape, eps, 100)
    return np.asarray(1 - np.sqrt(1 - np.exp(-distance) + eps), np.float32)


def _covariance(rotated: F32) -> tuple[Array, Array, Array]:
    """Variances along x and y, and their covariance, of each box."""
    along, across = rotated[:, 2] ** 2 / 12, rotated[:, 3] ** 2 / 12
    cosine, sine = np.cos(rotated[:, 4]), np.sin(rotated[:, 4])
    xx = along * cosine**2 + across * sine**2
    return xx, along * sine**2 + across * cosine**2, (along - across) * cosine * sine


def rotated_nms(boxes: F32, scores: F32, labels: Array, threshold: float, class_aware: bool,
                max_detections: int) -> Array:  # fmt: skip
    """Rows of rotated boxes (N, 5) that stay, best score first, at most `max_detections`.

    A box is suppressed where any better-scoring one, suppressed or not, has a `prob_iou` above `threshold` with it:
    Fast NMS (D. Bolya et al., "YOLACT", arXiv 1904.02689), which Ultralytics' models are tuned with. With
    `class_aware` only boxes of the same label compete."""
    order = np.argsort(-scores, kind="stable")
    ranked, kinds = boxes[order], labels[order]
    stays = np.ones(len(order), bool)
    for start in range(0, len(order), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(order)))
        covered = prob_iou(ranked[: rows[-1] + 1], ranked[rows]) > np.float32(threshold)
        covered &= np.arange(rows[-1] + 1)[:, None] < rows[None]
        if class_aware:
            covered &= kinds[: rows[-1] + 1, None] == kinds[None, rows]
        stays[rows] = ~covered.any(axis=0)
        if stays[: rows[-1] + 1].sum() >= max_detections:
            break
    return np.asarray(order[stays][:max_detections])
