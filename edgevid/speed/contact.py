"""Where an object stands on the ground, read from its box: the contact point, and when it cannot be used.

A point z meters above the plane seems to move h / (h - z) too fast from a camera at height h, so the point
must lie on the ground: the bottom edge of the box, never its middle.
"""

from __future__ import annotations

import numpy as np

from edgevid.speed import homography as ground
from edgevid.types import Array

CONTACTS = ("bottom", "base")
"""Kinds of contact point: the middle of the bottom edge, or the center of the footprint."""
FOOTPRINT = 2.5
"""Length of a vehicle's footprint in widths: 4.5 m x 1.8 m, and 9 m x 2.55 m is not far off."""


def contact_points(boxes: Array) -> Array:
    """(N, 2) float64: the middle of each box's bottom edge, where the object stands on the ground."""
    out = np.empty((len(boxes), 2))
    out[:, 0] = boxes[:, 0]
    out[:, 0] += boxes[:, 2]
    out[:, 0] *= 0.5
    out[:, 1] = boxes[:, 3]
    return out


def camera_matrix(to_image: Array, size: tuple[int, int], at: Array) -> Array | None:
    """(3, 4) pixels of points in space (meters, z up) from the plane's homography; None where it fixes none.

    For square pixels and a principal point in the middle of the image, the two columns of the homography
    are orthogonal and equally long once the focal length is right (Zhang 2000); the one of both conditions
    that is better determined is used. `at` (2,) is a point on the plane that the camera sees.
    """
    shift = np.array([[1, 0, -size[0] / 2], [0, 1, -size[1] / 2], [0, 0, 1.0]])
    a, b, _ = (shift @ to_image).T
    product, difference = a[2] * b[2], a[2] ** 2 - b[2] ** 2
    if max(abs(product), abs(difference)) < 1e-12:
        return None
    if abs(difference) > abs(product):
        squared = (b[:2] @ b[:2] - a[:2] @ a[:2]) / difference
    else:
        squared = -(a[:2] @ b[:2]) / product
    if not 0.2 * max(size) < np.sqrt(max(squared, 0.0)) < 20 * max(size):
        return None
    focal = np.array([np.sqrt(squared), np.sqrt(squared), 1.0])
    up = np.cross(a / focal, b / focal)
    up *= np.linalg.norm(a / focal) / np.linalg.norm(up)
    column = np.linalg.inv(shift) @ (focal * up)
    made = np.column_stack([to_image[:, :2], column, to_image[:, 2]])
    foot, head = made @ [*at, 0.0, 1.0], made @ [*at, 1.0, 1.0]
    if head[1] / head[2] > foot[1] / foot[2]:
        made[:, 2] *= -1  # a plane whose axes turn the other way round
    return np.asarray(made)


def base_points(
    boxes: Array, to_ground: Array, camera: Array, *, road_deg: float, ratio: float = FOOTPRINT
) -> Array:
    """(N, 2) pixels of the centers of the footprints of vehicles that drive along `road_deg` on the plane.

    For roads that run obliquely through the image: there the bottom edge belongs to one corner of the
    vehicle, which corner the middle of the edge is not. What is sought is the upright box in space, `ratio`
    times as long as wide and turned along the road, whose image has the four edges of the given box; where
    there is none, the middle of the bottom edge is given. `boxes` are undistorted pixels, `camera` is (3, 4).
    """
    contacts = contact_points(boxes)
    if not len(boxes):
        return contacts
    turn = np.radians(road_deg)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    floor = np.stack([a * ratio * along + b * across for a, b in _CORNERS]) / 2
    unknown = np.column_stack([ground.apply(to_ground, contacts), np.full((len(boxes), 2), (1.8, 1.5))])
    good = np.isfinite(unknown).all(1)
    unknown[~good] = (0.0, 0.0, 1.8, 1.5)
    for _ in range(8):
        found, slope = _edges(unknown, floor, camera)
        unknown = unknown + _solve(slope, boxes - found)
        unknown[:, 2:] = np.clip(unknown[:, 2:], 0.2, 6.0)
    found, _ = _edges(unknown, floor, camera)
    good &= (np.abs(found - boxes) < 1.0).all(1)
    center = ground.apply(camera[:, [0, 1, 3]], np.where(good[:, None], unknown[:, :2], 0.0))
    return np.where(good[:, None], center, contacts)


_CORNERS = ((1, 1), (1, -1), (-1, -1), (-1, 1))


def _edges(unknown: Array, floor: Array, camera: Array) -> tuple[Array, Array]:
    """Left, top, right, bottom (N, 4) of boxes in space, and the derivative (N, 4, 4) by x, y, width, height.

    `floor` (4, 2): the corners of a footprint of width 1.
    """
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


def _solve(slope: Array, error: Array) -> Array:
    """(N, 4) Newton steps of bounded length; none where the derivative is singular or not finite."""
    good = np.asarray(np.isfinite(slope).all((1, 2)) & np.isfinite(error).all(1))
    safe = np.where(good[:, None, None], slope, np.eye(4))
    good &= np.abs(np.linalg.det(safe)) > 1e-6
    safe = np.where(good[:, None, None], slope, np.eye(4))
    step = np.linalg.solve(safe, np.where(good[:, None], error, 0.0)[:, :, None])[:, :, 0]
    return np.asarray(np.clip(step, -3.0, 3.0))


def covered(boxes: Array, share: float = 0.2) -> Array:
    """(N,) whether a nearer box (its bottom is lower in the image) covers over `share` of the bottom edge."""
    left, top, right, bottom = boxes.T
    over = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    hidden = over > (share * np.maximum(right - left, 1e-6))[:, None]
    hidden &= bottom > bottom[:, None] + 2
    hidden &= top < bottom[:, None]
    return np.asarray(hidden.any(1))


def cut(boxes: Array, size: tuple[int, int], noise: Array) -> Array:
    """(N,) whether the left, right or bottom edge may be the image's own border instead of the object's.

    `noise` (N,) is the standard error of an edge in pixels: a box that is cut by the border still jitters,
    so that its edge is found up to three of them inside.
    """
    margin = np.maximum(2.0, 3.0 * noise)
    near = np.minimum(boxes[:, 0], size[0] - boxes[:, 2])
    return np.asarray(np.minimum(near, size[1] - boxes[:, 3]) <= margin)
