"""What can be said of a calibration before it is trusted: its errors, its outliers, its scale, its camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely

from edgevid.errors import InputError
from edgevid.speed import homography as ground
from edgevid.speed.calibration import CLICK_PX, CameraCalibration, make_calibration
from edgevid.types import Array

OUTLIER_PX = 3 * CLICK_PX
"""A point is an outlier only where the others put it at least so far away."""
PLACES = {"near": 0.97, "middle": 0.5, "far": 0.03}
"""Shares of the region's height in the image, from its far edge."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale at one place of the region."""

    place: str
    pixel: tuple[float, float]
    meter: tuple[float, float]
    along: float
    """Meters a pixel in the direction that the view foreshortens most."""
    across: float
    """Meters a pixel in the other direction."""
    error: float
    """Relative standard error of lengths, and so of speeds, from clicking alone."""


@dataclass(frozen=True, slots=True)
class SeenCamera:
    """The camera that would see the calibrated points so (square pixels, the axis in the middle)."""

    focal_px: float
    height_m: float
    pitch_deg: float
    """Degrees below the horizon."""
    width_deg: float
    """Angle of view from the left edge to the right."""


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What `examine` found."""

    error_px: Array
    """(N,) pixels between each point and where the fit puts it."""
    error_m: Array
    """(N,) the same in meters."""
    outliers: tuple[int, ...]
    """Rows that the other points contradict."""
    scales: tuple[Scale, ...]
    """Near, middle, far."""
    camera: SeenCamera | None
    """None where the view has no perspective to tell it from."""
    warnings: tuple[str, ...]


def examine(calibration: CameraCalibration) -> CalibrationReport:
    """Everything that a person should know of a calibration before using it."""
    outliers, scales, camera = find_outliers(calibration), _scales(calibration), seen_camera(calibration)
    return CalibrationReport(
        error_px=calibration.error_px(),
        error_m=calibration.error_m(),
        outliers=outliers,
        scales=scales,
        camera=camera,
        warnings=tuple(_warnings(calibration, outliers, scales, camera)),
    )


def find_outliers(calibration: CameraCalibration) -> tuple[int, ...]:
    """Rows of the points that the others contradict, worst first.

    Greedy: the point whose absence leaves the best fit is taken out while that more than halves the
    error and the fit without it puts it over OUTLIER_PX away. Needs 6 points: of 5, any 4 fit exactly.
    """
    left, found = list(range(len(calibration.image))), []
    image = calibration.undistort(calibration.image)
    while len(left) > 5:
        before = _rms(image, calibration.meters, left)
        trials = [(_rms(image, calibration.meters, [i for i in left if i != row]), row) for row in left]
        best, row = min(trials)
        rest = [i for i in left if i != row]
        if not (best < 0.5 * before and _distance(image, calibration.meters, rest, row) > OUTLIER_PX):
            break
        found.append(row)
        left = rest
    return tuple(found)


def without(calibration: CameraCalibration, rows: tuple[int, ...]) -> CameraCalibration:
    """The calibration made again of the points that are not in `rows`."""
    keep = np.setdiff1d(np.arange(len(calibration.image)), rows)
    return make_calibration(
        calibration.image[keep], calibration.meters[keep], calibration.size, region=calibration.region, k1=calibration.k1,
        focal=calibration.focal, name=calibration.name,
    )  # fmt: skip


def _fit(image: Array, meters: Array, rows: list[int]) -> Array | None:
    try:
        h = ground.fit(image[rows], meters[rows])
        return ground.normalized(np.linalg.inv(h), meters[rows])
    except (InputError, np.linalg.LinAlgError):
        return None


def _rms(image: Array, meters: Array, rows: list[int]) -> float:
    """Root mean square error in pixels of the fit to `rows`, per degree of freedom."""
    h = _fit(image, meters, rows)
    if h is None:
        return math.inf
    squares = ((ground.apply(h, meters[rows]) - image[rows]) ** 2).sum()
    return math.sqrt(squares / max(1, 2 * len(rows) - 8)) if np.isfinite(squares) else math.inf


def _distance(image: Array, meters: Array, rows: list[int], row: int) -> float:
    """Pixels between a point and where the fit to `rows` puts it."""
    h = _fit(image, meters, rows)
    if h is None:
        return 0.0
    away = float(np.hypot(*(ground.apply(h, meters[[row]])[0] - image[row])))
    return away if math.isfinite(away) else math.inf


def _scales(calibration: CameraCalibration) -> tuple[Scale, ...]:
    """The scale near, in the middle and far, in the middle of the region's width there."""
    picture = shapely.box(0, 0, *calibration.size)
    area = calibration.region.intersection(picture)
    area = area if area.area > 0 else calibration.region
    x1, top, x2, bottom = area.bounds
    pixels = []
    for share in PLACES.values():
        row = top + share * (bottom - top)
        across = area.intersection(shapely.LineString([(x1 - 1, row), (x2 + 1, row)]))
        pixels.append((across.centroid.x, row) if not across.is_empty else (area.centroid.x, row))
    at = np.array(pixels)
    sizes = np.linalg.svd(ground.jacobian(calibration.to_ground, calibration.undistort(at)))[1]
    rows = zip(
        PLACES, at, calibration.place(at), sizes, calibration.scale_error(at, samples=200), strict=True
    )
    return tuple(
        Scale(
            name, (float(p[0]), float(p[1])), (float(m[0]), float(m[1])), float(s[0]), float(s[1]), float(e)
        )
        for name, p, m, s, e in rows
    )


def seen_camera(calibration: CameraCalibration) -> SeenCamera | None:
    """The camera behind a calibration, from what the columns of a homography must fulfil (Zhang 2000)."""
    width, height = calibration.size
    center = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    h = center @ calibration.to_image
    scale = max(width, height)
    h = np.diag([1 / scale, 1 / scale, 1]) @ h  # numbers near 1
    (a, b), (c, d), (e, f) = h[0, :2], h[1, :2], h[2, :2]
    expected = np.array([-e * f, f * f - e * e])
    given = np.array([a * b + c * d, a * a + c * c - b * b - d * d])
    weight = float(given @ given)
    squared = float(given @ expected) / weight if weight > 0 else 0.0  # 1 / focal^2 by least squares
    if not squared > 1e-4:  # a lens of over 100 image widths: no perspective
        return None
    focal = scale / math.sqrt(squared)
    rays = np.diag([1 / focal, 1 / focal, 1]) @ center @ calibration.to_image
    rays = rays / math.sqrt(float(np.linalg.norm(rays[:, 0]) * np.linalg.norm(rays[:, 1])))
    axes = np.stack([rays[:, 0], rays[:, 1], np.cross(rays[:, 0], rays[:, 1])], 1)
    turn, _, back = np.linalg.svd(axes)
    rotation = turn @ back
    place = -rotation.T @ rays[:, 2]
    pitch = math.degrees(math.asin(min(1.0, abs(float(rotation[2, 2])))))
    angle = math.degrees(2 * math.atan(width / 2 / focal))
    return SeenCamera(focal, abs(float(place[2])), pitch, angle)


def mirrored(calibration: CameraCalibration) -> bool:
    """Whether the ground's y axis lies to the right of its x axis seen from above: headings would be too."""
    middle = calibration.undistort(calibration.image.mean(0, keepdims=True))
    return bool(np.linalg.det(ground.jacobian(calibration.to_ground, middle))[0] > 0)


def _warnings(
    calibration: CameraCalibration,
    outliers: tuple[int, ...],
    scales: tuple[Scale, ...],
    camera: SeenCamera | None,
) -> list[str]:
    """Sentences: what is doubtful, and what to do."""
    said = []
    if outliers:
        names = ", ".join(str(row + 1) for row in outliers)
        said.append(f"the other points contradict point {names}: look at it again, or drop it")
    error = calibration.error_px()
    if len(error) == 5 and error.max() > CLICK_PX:
        said.append("one of the five points is wrong; a sixth would tell which")
    elif len(error) > 5 and not outliers and math.sqrt(float((error**2).mean())) > 3:
        said.append(
            "the points lie over 3 pixels from the fit: is the road flat here, is the lens wide (k1)?"
        )
    picture = shapely.box(0, 0, *calibration.size)
    if not all(picture.buffer(2).contains(shapely.Point(p)) for p in calibration.image):
        said.append("points lie outside the image: they cannot have been seen well")
    said += _patch_warnings(calibration, scales)
    said += _camera_warnings(calibration, camera)
    return said


def _patch_warnings(calibration: CameraCalibration, scales: tuple[Scale, ...]) -> list[str]:
    """Whether the points span the region that they are meant for."""
    said = []
    hull = shapely.MultiPoint(calibration.image).convex_hull
    area = calibration.region.intersection(shapely.box(0, 0, *calibration.size))
    share = hull.intersection(area).area / area.area if area.area > 0 else 1.0
    if share < 0.5:
        said.append(
            f"the points span {100 * share:.0f} % of the region and the rest is extrapolated: errors grow "
            "quickly outside; calibration a longer stretch, or make the region smaller"
        )
    low, high = np.ptp(calibration.image[:, 1]), np.ptp(calibration.image[:, 0])
    if min(low / calibration.size[1], high / calibration.size[0]) < 0.06:
        said.append(
            f"a small patch: the points span {high:.0f} x {low:.0f} pixels; a click of {CLICK_PX:g} pixels "
            "weighs much there, choose points farther apart"
        )
    worst = max(scales, key=lambda scale: scale.error)
    if worst.error > 0.03:
        said.append(
            f"speeds {worst.place} may be {100 * worst.error:.0f} % wrong from clicking alone (one standard "
            "error): more points or a longer stretch make it less"
        )
    coarse = [scale for scale in scales if scale.along > 0.5]
    if coarse:
        said.append(
            f"the horizon is near: one pixel is {coarse[-1].along:.1f} m at the region's {coarse[-1].place} "
            "part, where speeds will mostly be too uncertain to say; end the region earlier"
        )
    return said


def _camera_warnings(calibration: CameraCalibration, camera: SeenCamera | None) -> list[str]:
    """Whether a camera could see it so."""
    said = []
    if mirrored(calibration):
        said.append(
            "the corners go the other way around (the ground is mirrored): give near left, near right, far "
            "right, far left; width is from the first to the second"
        )
    if camera is None:
        said.append("the view has no perspective that tells the camera: check the meters in another way")
    elif not 12 <= camera.width_deg <= 130:
        said.append(
            f"only a lens that sees {camera.width_deg:.0f} degrees across would show it so: is the width or "
            "the length wrong, or is the image a cut-out?"
        )
    return said
