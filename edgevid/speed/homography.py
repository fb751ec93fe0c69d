"""The ground plane: homographies between pixels and meters, their fit to points, and the camera behind."""

import math
from dataclasses import dataclass

import numpy as np

from edgevid.errors import InputError
from edgevid.types import F64

MAX_FOCAL_WIDTHS = 100.0  # A focal length of more image widths than this is no perspective that can be measured


def apply(h: F64, points: F64) -> F64:
    """(N, 2) points through a homography (3, 3); NaN beyond the horizon (see `normalized`).

    >>> apply(np.diag([2.0, 2.0, 1.0]), np.array([[1.0, 3.0]])).tolist()
    [[2.0, 6.0]]
    """
    lifted = np.concatenate([points, np.ones((len(points), 1))], 1) @ h.T
    return np.asarray(lifted[:, :2] / np.where(lifted[:, 2] > 1e-9, lifted[:, 2], np.nan)[:, None])


def jacobian(h: F64, points: F64) -> F64:
    """(N, 2, 2) derivative of `apply` at each point."""
    lifted = np.concatenate([points, np.ones((len(points), 1))], 1) @ h.T
    out = lifted[:, :2] / lifted[:, 2:]
    return np.asarray((h[None, :2, :2] - out[:, :, None] * h[None, 2:, :2]) / lifted[:, 2, None, None])


def normalized(h: F64, points: F64) -> F64:
    """The homography scaled so that the scale is 1 at the middle of `points`: positive before the horizon."""
    return np.asarray(h / (h[2] @ [*points.mean(0), 1.0]))


def inverse(h: F64, points: F64) -> F64:
    """(3, 3) inverse homography, normalized at `points` (N, 2) of its source; LinAlgError where singular."""
    return normalized(np.asarray(np.linalg.inv(h), np.float64), points)


def fit(image: F64, meters: F64) -> F64:
    """(3, 3) homography from pixels to meters of least reprojection error over N >= 4 pairs. Direct linear
    transform on normalized points, then Levenberg-Marquardt on the error in pixels (Hartley & Zisserman, 4.1
    and 4.5). Raises InputError for points that fix no homography."""
    if len(image) < 4 or image.shape != meters.shape:
        raise InputError(f"calibration: expected at least 4 pairs, got {len(image)} and {len(meters)} points")
    a, b = _normalizer(meters), _normalizer(image)
    source, target = apply(a, meters), apply(b, image)
    h = _linear(source, target)
    if len(image) > 4:
        h = _refined(h, source, target)
    to_image = normalized(np.linalg.inv(b) @ h @ a, meters)
    if not np.isfinite(to_image).all() or abs(np.linalg.det(to_image)) < 1e-12:
        raise InputError("calibration: the points fix no plane; they lie on one line, or two are the same")
    return inverse(to_image, image)


def _linear(source: F64, target: F64) -> F64:
    """Direct linear transform of normalized points."""
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows.append([-x, -y, -1, 0, 0, 0, u * x, u * y, u])
        rows.append([0, 0, 0, -x, -y, -1, v * x, v * y, v])
    _, values, vectors = np.linalg.svd(np.array(rows))
    if values[7] < 1e-9 * values[0]:
        raise InputError("calibration: the points fix no plane; three lie on one line, or two are the same")
    return normalized(vectors[8].reshape(3, 3), source)


def _refined(h: F64, source: F64, target: F64) -> F64:
    """`h` (3, 3) with the least reprojection error in `target`: Levenberg-Marquardt from `h`, normalized points."""
    lifted, zero = np.concatenate([source, np.ones((len(source), 1))], 1), np.zeros((len(source), 3))
    placed, damping = _divided(lifted @ h.T), 1e-3
    while damping < 1e9:
        error, (u, v) = placed - target, placed.T[..., None]
        rows = np.stack([np.hstack([lifted, zero, -u * source]), np.hstack([zero, lifted, -v * source])], 1)
        slopes = (rows / (lifted @ h[2])[:, None, None]).reshape(-1, 8)
        square = slopes.T @ slopes
        square += damping * np.diag(np.diag(square))
        trial = h - np.append(np.linalg.solve(square, slopes.T @ error.ravel()), 0).reshape(3, 3)
        moved = _divided(lifted @ trial.T)
        gain = float((error**2).sum() - ((moved - target) ** 2).sum())
        damping *= 0.1 if gain > 0 else 10
        if gain > 0:
            h, placed = trial, moved
            if gain < 1e-14 * len(source):
                break
    return h


def _divided(lifted: F64) -> F64:
    """(N, 2) of (N, 3) homogeneous points, on whichever side of the horizon."""
    return np.asarray(lifted[:, :2] / lifted[:, 2:])


def _normalizer(points: F64) -> F64:
    """(3, 3) translation of the center to 0 and scaling of the mean distance to sqrt 2."""
    center = points.mean(0)
    s = math.sqrt(2) / max(float(np.hypot(*(points - center).T).mean()), 1e-12)
    return np.array([[s, 0, -s * center[0]], [0, s, -s * center[1]], [0, 0, 1]])


def undistort(points: F64, k1: float, focal: float, center: tuple[float, float]) -> F64:
    """(N, 2) pixels with radial distortion r -> r (1 + k1 r^2) removed (r in focal lengths)."""
    if k1 == 0:
        return points
    distorted = (points - center) / focal
    straight = distorted.copy()
    for _ in range(20):
        straight = distorted / (1 + k1 * (straight**2).sum(1, keepdims=True))
    return np.asarray(straight * focal + center)


def distort(points: F64, k1: float, focal: float, center: tuple[float, float]) -> F64:
    """(N, 2) the inverse of `undistort`; NaN beyond the radius at which barrel distortion folds back."""
    if k1 == 0:
        return points
    straight = (points - center) / focal
    r2 = (straight**2).sum(1, keepdims=True)
    scale = np.where(3 * k1 * r2 > -1, 1 + k1 * r2, np.nan)
    return np.asarray(straight * scale * focal + center)


@dataclass(frozen=True, slots=True)
class GroundCamera:
    """A pinhole camera with square pixels and its principal point in the middle of the image."""

    matrix: F64  # (3, 4) points in space (x, y, z up, in meters) to undistorted pixels
    focal_px: float
    height_m: float  # Above the plane
    pitch_deg: float  # Degrees below the horizon
    width_deg: float  # Horizontal angle of view


def camera_from_homography(to_image: F64, size: tuple[int, int], visible: F64) -> GroundCamera | None:
    """The camera that projects the plane by `to_image` (3, 3), meters to undistorted pixels.

    The two columns of the homography are orthogonal and equally long once the focal length is right: least
    squares of both conditions (Zhang 2000). None where the view has no perspective to measure it from.
    `size` is the image's (width, height), `visible` (2,) a point on the plane in view: it tells up from down."""
    longest = max(size)
    shift = np.array([[1, 0, -size[0] / 2], [0, 1, -size[1] / 2], [0, 0, 1.0]])
    (a, b), (c, d), (e, f) = (np.diag([1 / longest, 1 / longest, 1]) @ shift @ to_image)[:, :2]
    slopes = np.array([-e * f, f * f - e * e])
    values = np.array([a * b + c * d, a * a + c * c - b * b - d * d])
    weight = float(values @ values)
    squared = float(values @ slopes) / weight if weight > 0 else 0.0  # (longest / focal)^2
    if not squared > MAX_FOCAL_WIDTHS**-2:
        return None
    focal = longest / math.sqrt(squared)
    intrinsic = np.linalg.inv(shift) @ np.diag([focal, focal, 1.0])
    rays = np.linalg.inv(intrinsic) @ to_image
    scale = math.sqrt(float(np.linalg.norm(rays[:, 0]) * np.linalg.norm(rays[:, 1])))
    up = np.cross(rays[:, 0], rays[:, 1]) / scale
    matrix = np.column_stack([to_image[:, :2], intrinsic @ up, to_image[:, 2]])
    foot, head = matrix @ [*visible, 0.0, 1.0], matrix @ [*visible, 1.0, 1.0]
    if head[1] / head[2] > foot[1] / foot[2]:
        matrix[:, 2] *= -1  # a plane whose axes turn the other way round
    left, _, right = np.linalg.svd(np.column_stack([rays[:, :2], up]) / scale)
    rotation = left @ right
    position = -rotation.T @ rays[:, 2] / scale
    pitch = math.degrees(math.asin(min(1.0, abs(float(rotation[2, 2])))))
    return GroundCamera(matrix, focal, abs(float(position[2])), pitch, math.degrees(2 * math.atan(size[0] / 2 / focal)))
