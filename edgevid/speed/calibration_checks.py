"""Checks of a calibration: each mistake of the points, the lens and the region in one sentence."""

import numpy as np
import shapely

from edgevid.errors import InputError
from edgevid.types import F64

MAX_COORDINATE = 1e6  # No pixel and no meter of a calibration is farther from the origin


def check_pairs(image: F64, meters: F64, size: tuple[int, int]) -> None:
    """InputError unless there are 4 or more pairs (N, 2) of finite numbers and a positive image size."""
    if image.ndim != 2 or image.shape[1:] != (2,) or image.shape != meters.shape or len(image) < 4:
        raise InputError(
            "calibration: expected at least 4 pixels and as many points in meters, "
            f"got {image.shape} and {meters.shape}"
        )
    if not ((np.abs(image) < MAX_COORDINATE).all() and (np.abs(meters) < MAX_COORDINATE).all()):
        raise InputError(f"calibration: expected numbers up to {MAX_COORDINATE:g}, got some that are not")
    if not (len(size) == 2 and min(size) > 0):
        raise InputError(f"calibration: expected the image's width and height in pixels, got {size}")


def check_region(region: shapely.Polygon) -> shapely.Polygon:
    """The region; InputError where it crosses itself or has no area."""
    if not isinstance(region, shapely.Polygon) or not region.is_valid or not region.area > 0:
        raise InputError(
            "calibration: expected a region of at least 3 corners that does not cross itself and has an area"
        )
    return region


def check_lens(image: F64, size: tuple[int, int], k1: float, focal: float) -> None:
    """InputError for a distortion that folds the image over itself before the calibrated points."""
    if not (np.isfinite(k1) and np.isfinite(focal) and focal > 0 and -1 <= k1 <= 1):
        raise InputError(f"calibration: expected k1 from -1 to 1 and a focal length above 0, got {k1}, {focal}")
    if k1 >= 0:
        return
    radius = float(np.hypot(*((image - np.array(size) / 2) / focal).T).max())
    limit = 2 / 3 / np.sqrt(-3 * k1)  # the largest value of r (1 + k1 r^2)
    if radius > limit:
        raise InputError(
            f"calibration: with k1 = {k1:g} a lens shows nothing {radius:.2f} focal lengths from the middle "
            f"(at most {limit:.2f}); take k1 nearer to 0, or give the focal length in pixels"
        )


def check_spread(image: F64, meters: F64) -> None:
    """InputError for points without area, duplicate points, and four corners in crossed order."""
    _check_duplicates(image, meters)
    for points, what in ((image, "pixels"), (meters, "meters")):
        hull = shapely.MultiPoint(points).convex_hull
        extent = float(np.ptp(points, axis=0).max())
        if hull.area < 1e-4 * max(extent, 1e-9) ** 2:
            raise InputError(f"calibration: the {what} lie on one line; choose points that span an area")
    if len(image) == 4:
        _check_corners(image, meters)


def _check_corners(image: F64, meters: F64) -> None:
    """Four points: in order around, no three on one line, convex in pixels and in meters."""
    for points, what in ((image, "pixels"), (meters, "meters")):
        if not shapely.Polygon(points).is_valid:
            raise InputError(f"calibration: the four {what} cross over; give the corners in order around")
    for points, what in ((image, "pixels"), (meters, "meters")):
        if _least_height(points) < 0.005 * float(np.ptp(points, axis=0).max()):
            raise InputError(f"calibration: three of the four {what} lie on one line; no three corners may")
    convex = [_is_convex(points) for points in (image, meters)]
    if not any(convex):
        raise InputError("calibration: the corners turn both ways; the four points must form a convex shape")
    if not all(convex):
        raise InputError(
            "calibration: the four points are convex on one side of the pairs and not on the other: "
            "no camera projects a plane like this; a pixel was paired with the wrong meters"
        )


def _check_duplicates(image: F64, meters: F64) -> None:
    """InputError for a pixel or a place that is given twice."""
    for a in range(len(image)):
        for b in range(a + 1, len(image)):
            pixel, meter = (bool((p[a] == p[b]).all()) for p in (image, meters))
            if pixel:
                same = "are the same" if meter else "are one pixel with two places in meters"
                raise InputError(f"calibration: points {a + 1} and {b + 1} {same}; take one of them out")
            if meter and len(image) == 4:
                raise InputError(
                    f"calibration: points {a + 1} and {b + 1} are one place in meters with two pixels; "
                    "correct one of them"
                )


def _least_height(points: F64) -> float:
    """The least distance of a corner from the line through two others, of four points."""
    heights = []
    for left in range(4):
        a, b, c = np.delete(points, left, axis=0)
        sides = [float(np.hypot(*(p - q))) for p, q in ((a, b), (b, c), (c, a))]
        twice = abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
        heights.append(twice / max(*sides, 1e-12))
    return float(min(heights))


def _is_convex(points: F64) -> bool:
    """Whether every corner of a polygon turns the same way."""
    edges = np.roll(points, -1, 0) - points
    following = np.roll(edges, -1, 0)
    signs = np.sign(edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0])
    return bool(signs[0] != 0 and (signs == signs[0]).all())
