"""The camera behind a calibration: focal length, pose and projection matrix from a plane's homography."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgevid.types import F64

MAX_FOCAL_WIDTHS = 100.0
"""A focal length of more image widths than this is no perspective that can be measured."""


@dataclass(frozen=True, slots=True)
class GroundCamera:
    """A pinhole camera with square pixels and its principal point in the middle of the image."""

    matrix: F64
    """(3, 4) points in space (x, y, z up, in meters) to undistorted pixels."""
    focal_px: float
    height_m: float
    """Above the plane."""
    pitch_deg: float
    """Degrees below the horizon."""
    width_deg: float
    """Horizontal angle of view."""


def camera_from_homography(to_image: F64, size: tuple[int, int], visible: F64) -> GroundCamera | None:
    """The camera that projects the plane by `to_image` (3, 3), meters to undistorted pixels.

    The two columns of the homography are orthogonal and equally long once the focal length is right: least
    squares of both conditions (Zhang 2000). None where the view has no perspective to measure it from.
    `size` is the image's (width, height), `visible` (2,) a point on the plane in view: it tells up from down.
    """
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
    return GroundCamera(
        matrix, focal, abs(float(position[2])), pitch, math.degrees(2 * math.atan(size[0] / 2 / focal))
    )
