"""The contact point of a box with the ground, when it cannot be used, and why a speed is not emitted.

A point z meters above the plane appears to move h / (h - z) too fast from a camera at height h, so the point
must lie on the ground: the bottom edge of the box, never its middle. The one speed of a track that ended has
its reason from `SpeedEstimator._track_speeds`, by the same limits; CAMERA_MOVED comes from camera health."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgevid.kernels import is_occluded
from edgevid.speed import homography
from edgevid.speed.calibration import CameraCalibration
from edgevid.types import F64, KMH, U8, Array, Reason

# Plain numbers: looking a member up in an enumeration costs a microsecond, and each frame does it often.
OK, OFF_PLANE, TRUNCATED, OCCLUDED = map(int, (Reason.OK, Reason.OFF_PLANE, Reason.TRUNCATED, Reason.OCCLUDED))
Contact = Literal["bottom", "footprint"]  # The middle of the box's bottom edge, or the center of the footprint
LENGTH_PER_WIDTH = 2.5  # Length of a vehicle's footprint in widths: 4.5 m x 1.8 m, and 9 m x 2.55 m is not far off
MAX_RESIDUAL_PX = 1.0  # A 3-D box whose projection misses an edge of the detected box by more is rejected


def contact_points(boxes: F64, *, rotated: bool = False) -> F64:
    """(N, 2) float64: the middle of each box's bottom edge, where the object stands on the ground. Of boxes
    that enclose rotated ones, of views from above, it is the center."""
    points = (boxes[:, :2] + boxes[:, 2:]) * 0.5
    if not rotated:
        points[:, 1] = boxes[:, 3]
    return points


def footprint_centers(
    boxes: F64, to_ground: F64, camera: F64, *, road_deg: float, ratio: float = LENGTH_PER_WIDTH
) -> F64:
    """(N, 2) pixels of the centers of the footprints of vehicles that drive along `road_deg` on the plane.

    For roads that run obliquely through the image: the bottom edge of the box touches one corner of the
    vehicle there, and the middle of the edge is not on the vehicle's axis. Newton's method fits the upright
    box in space, `ratio` times as long as wide and turned along the road, whose image has the four edges of
    the detected box; where there is none, the result is the middle of the bottom edge. `boxes` are (N, 4)
    undistorted pixels, `to_ground` (3, 3) and `camera` (3, 4) the calibration's (`CameraCalibration.camera`)."""
    contacts = contact_points(boxes)
    if not len(boxes):
        return contacts
    turn = np.radians(road_deg)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    floor = np.stack([a * ratio * along + b * across for a, b in _CORNERS]) / 2
    unknown = np.column_stack([homography.apply(to_ground, contacts), np.full((len(boxes), 2), (1.8, 1.5))])
    good = np.isfinite(unknown).all(1)
    unknown[~good] = (0.0, 0.0, 1.8, 1.5)
    for _ in range(8):
        found, slope = _edges(unknown, floor, camera)
        unknown = unknown + _solve(slope, boxes - found)
        unknown[:, 2:] = np.clip(unknown[:, 2:], 0.2, 6.0)
    found, _ = _edges(unknown, floor, camera)
    good &= (np.abs(found - boxes) < MAX_RESIDUAL_PX).all(1)
    center = homography.apply(camera[:, [0, 1, 3]], np.where(good[:, None], unknown[:, :2], 0.0))
    return np.where(good[:, None], center, contacts)


_CORNERS = ((1, 1), (1, -1), (-1, -1), (-1, 1))


def _edges(unknown: F64, floor: F64, camera: F64) -> tuple[F64, F64]:
    """Left, top, right, bottom (N, 4) of boxes in space, and the derivative (N, 4, 4) by x, y, width, height.
    `floor` (4, 2): the corners of a footprint of width 1."""
    n = len(unknown)
    x, y, width, height = unknown.T
    points = np.ones((n, 8, 4))
    points[:, :, 0] = x[:, None] + width[:, None] * np.tile(floor[:, 0], 2)
    points[:, :, 1] = y[:, None] + width[:, None] * np.tile(floor[:, 1], 2)
    points[:, :4, 2], points[:, 4:, 2] = 0.0, height[:, None]
    lifted = points @ camera.T
    depth = np.where(np.abs(lifted[:, :, 2]) > 1e-9, lifted[:, :, 2], 1e-9)
    pixels = lifted[:, :, :2] / depth[:, :, None]
    rows = np.arange(n)
    found, slope = np.zeros((n, 4)), np.zeros((n, 4, 4))
    for k, pick in enumerate((np.argmin, np.argmin, np.argmax, np.argmax)):
        axis = k % 2
        corner = pick(pixels[:, :, axis], axis=1)
        value = pixels[rows, corner, axis]
        found[:, k] = value
        j = (camera[axis, :3] - value[:, None] * camera[2, :3]) / depth[rows, corner][:, None]
        slope[:, k, :2] = j[:, :2]
        slope[:, k, 2] = (j[:, :2] * floor[corner % 4]).sum(1)
        slope[:, k, 3] = np.where(corner >= 4, j[:, 2], 0.0)
    return found, slope


def _solve(slope: F64, error: F64) -> F64:
    """(N, 4) Newton steps of bounded length; none where the derivative is singular or not finite."""
    good = np.asarray(np.isfinite(slope).all((1, 2)) & np.isfinite(error).all(1))
    safe = np.where(good[:, None, None], slope, np.eye(4))
    good &= np.abs(np.linalg.det(safe)) > 1e-6
    safe = np.where(good[:, None, None], slope, np.eye(4))
    step = np.linalg.solve(safe, np.where(good[:, None], error, 0.0)[:, :, None])[:, :, 0]
    return np.asarray(np.clip(step, -3.0, 3.0))


def is_truncated(boxes: F64, size: tuple[int, int], noise: F64) -> Array:
    """(N,) whether the left, right or bottom edge may be the image's own border instead of the object's.
    `noise` (N,) is the standard error of an edge in pixels: a truncated box still jitters, so that its edge is
    found up to three standard errors inside."""
    margin = np.maximum(2.0, 3.0 * noise)
    near = np.minimum(boxes[:, 0], size[0] - boxes[:, 2])
    return np.asarray(np.minimum(near, size[1] - boxes[:, 3]) <= margin)


@dataclass(frozen=True, slots=True)
class SpeedPolicy:
    """Limits of the standard error above which a speed is UNCERTAIN."""

    max_sigma_mps: float = 2 / KMH  # A standard error up to this is accepted at any speed, m/s
    max_share: float = 0.05  # And up to this share of the speed

    def limit(self, mps: float | F64) -> F64:
        """(N,) the largest standard errors with which speeds (N,) are emitted, both in m/s."""
        return np.maximum(self.max_sigma_mps, self.max_share * mps)


def contact_reasons(calibration: CameraCalibration, boxes: F64, contacts: F64, noise: F64) -> U8:
    """(N,) Reason for which the contact point of a box (N, 4) cannot be used, OK where it can."""
    reason = np.where(calibration.contains(contacts), OK, OFF_PLANE).astype(np.uint8)
    reason[is_occluded(boxes)] = OCCLUDED
    reason[is_truncated(boxes, calibration.size, noise)] = TRUNCATED
    return reason


@dataclass(frozen=True, slots=True)
class SpeedRules:
    """The rules by which live and smoothed speeds are emitted."""

    policy: SpeedPolicy
    first_after_s: float  # A track younger than this is TOO_SHORT
    stale_s: float  # A track without a measurement for longer is STALE
    lookahead_s: float  # Sightings that a smoothed value needs after its moment

    def columns(self) -> F64:
        """(5,) as `kernels.speed_rows` takes them."""
        return np.array([*dataclasses.astuple(self.policy), self.first_after_s, self.stale_s, self.lookahead_s])
