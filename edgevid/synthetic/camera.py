"""The camera of a synthetic scene."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgevid.types import Array


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera above the origin that looks along +y and down."""

    width: int = 1920
    height: int = 1080
    focal: float = 1400.0
    """Focal length in pixels."""
    height_m: float = 8.0
    """Height over the ground in meters."""
    pitch: float = 18.0
    """Degrees below the horizon."""
    k1: float = 0.0
    """Radial distortion: r -> r (1 + k1 r^2) in units of the focal length."""

    def project(self, points: Array) -> Array:
        """Pixels (..., 2) of ground points (..., 3) in meters; NaN behind the camera."""
        x, y, z = (np.asarray(points, float)[..., n] for n in range(3))
        s, c = math.sin(math.radians(self.pitch)), math.cos(math.radians(self.pitch))
        down = self.height_m - z
        depth = y * c + down * s
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.where(depth > 0.1, x / depth, np.nan)
            v = np.where(depth > 0.1, (down * c - y * s) / depth, np.nan)
        stretch = 1 + self.k1 * (u * u + v * v)
        center = np.array([self.width / 2, self.height / 2])
        return np.asarray(np.stack([u * stretch, v * stretch], -1) * self.focal + center)

    def ground_homography(self) -> Array:
        """(3, 3) from pixels to meters on the ground; exact when k1 is 0."""
        s, c = math.sin(math.radians(self.pitch)), math.cos(math.radians(self.pitch))
        # pixel ~ K [x, h c - y s, y c + h s] for a ground point (x, y, 0)
        to_image = np.array([[1.0, 0, 0], [0, -s, self.height_m * c], [0, c, self.height_m * s]])
        intrinsic = np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1]])
        return np.asarray(np.linalg.inv(intrinsic @ to_image))
