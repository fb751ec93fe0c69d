"""The report on a calibration: reprojection errors, outliers, scale, camera and warnings."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely

from edgevid.errors import InputError
from edgevid.speed import homography
from edgevid.speed.calibration import CLICK_PX, CameraCalibration, make_calibration
from edgevid.speed.homography import GroundCamera
from edgevid.types import F64

PLACES = {"near": 0.97, "middle": 0.5, "far": 0.03}  # Shares of the region's height in the image, from its far edge
OUTLIER_PX = 3 * CLICK_PX  # The least reprojection error of an outlier, under the fit to the other points


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale at one place of the region."""

    place: str
    pixel: tuple[float, float]
    meter: tuple[float, float]
    along: float  # Meters per pixel in the direction of strongest foreshortening
    across: float  # Meters per pixel in the other direction
    error: float  # Relative standard error of lengths, and so of speeds, from clicking alone


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What `examine` found."""

    error_px: F64  # (N,) reprojection error of each point in pixels
    error_m: F64  # (N,) the same error on the ground in meters
    outliers: tuple[int, ...]  # Rows that the other points contradict
    scales: tuple[Scale, ...]  # Near, middle, far
    camera: GroundCamera | None  # None where the view has no perspective to measure it from
    warnings: tuple[str, ...]


def examine(calibration: CameraCalibration) -> CalibrationReport:
    """Errors, outliers, scale, camera and warnings of a calibration."""
    outliers, scales, camera = find_outliers(calibration), _scales(calibration), calibration.camera()
    warnings = (
        *_point_warnings(calibration, outliers), *_scale_warnings(scales), *_camera_warnings(calibration, camera),
    )  # fmt: skip
    return CalibrationReport(calibration.error_px(), calibration.error_m(), outliers, scales, camera, warnings)


def _scales(calibration: CameraCalibration) -> tuple[Scale, ...]:
    """The scale near, in the middle and far, in the middle of the region's width there."""
    area = calibration.region.intersection(shapely.box(0, 0, *calibration.size))
    area = area if area.area > 0 else calibration.region
    x1, top, x2, bottom = area.bounds
    centers = []
    for share in PLACES.values():
        row = top + share * (bottom - top)
        across = area.intersection(shapely.LineString([(x1 - 1, row), (x2 + 1, row)]))
        centers.append((across.centroid.x, row) if not across.is_empty else (area.centroid.x, row))
    pixels = np.array(centers)
    meters, distances = calibration.to_ground(pixels), calibration.ground_sample_distances(pixels)
    errors = calibration.scale_error(pixels, samples=200)
    rows = zip(PLACES, *map(np.ndarray.tolist, (pixels, meters, distances, errors)), strict=True)
    return tuple(Scale(place, (u, v), (x, y), a, b, error) for place, (u, v), (x, y), (a, b), error in rows)


def is_mirrored(calibration: CameraCalibration) -> bool:
    """Whether the ground's y axis lies to the right of its x axis from above: headings are mirrored too."""
    middle = calibration.undistort(calibration.image.mean(0, keepdims=True))
    return bool(np.linalg.det(homography.jacobian(calibration.homography, middle))[0] > 0)


def _point_warnings(calibration: CameraCalibration, outliers: tuple[int, ...]) -> Iterator[str]:
    """Whether the points agree, and span the region that they are meant for."""
    if outliers:
        numbers = ", ".join(str(row + 1) for row in outliers)
        yield f"the other points contradict point {numbers}: check it, or remove it"
    error = calibration.error_px()
    if len(error) == 5 and error.max() > CLICK_PX:
        yield "one of the five points is wrong; a sixth point shows which"
    elif len(error) > 5 and not outliers and math.sqrt(float((error**2).mean())) > 3:
        yield "the reprojection error is over 3 pixels: is the road flat here, is the lens wide (k1)?"
    frame = shapely.box(-2, -2, calibration.size[0] + 2, calibration.size[1] + 2)
    if not shapely.contains_xy(frame, calibration.image).all():
        yield "points lie outside the image: check their pixels"
    hull = shapely.MultiPoint(calibration.image).convex_hull
    area = calibration.region.intersection(shapely.box(0, 0, *calibration.size))
    share = hull.intersection(area).area / area.area if area.area > 0 else 1.0
    if share < 0.5:
        yield (
            f"the points span {100 * share:.0f} % of the region and the rest is extrapolated: errors grow "
            "quickly outside; calibrate a longer stretch, or make the region smaller"
        )
    width, height = np.ptp(calibration.image, axis=0)
    if min(width / calibration.size[0], height / calibration.size[1]) < 0.06:
        yield (
            f"a small patch: the points span {width:.0f} x {height:.0f} pixels, where a click error of "
            f"{CLICK_PX:g} pixels is large; choose points farther apart"
        )


def _scale_warnings(scales: tuple[Scale, ...]) -> Iterator[str]:
    worst = max(scales, key=lambda scale: scale.error)
    if worst.error > 0.03:
        yield (
            f"speeds {worst.place} may be {100 * worst.error:.0f} % wrong from clicking alone (one standard "
            "error): more points or a longer stretch reduce it"
        )
    if coarse := [scale for scale in scales if scale.along > 0.5]:
        yield (
            f"the horizon is near: one pixel is {coarse[-1].along:.1f} m at the region's {coarse[-1].place} "
            "part, where most speeds will be too uncertain to report; end the region earlier"
        )


def _camera_warnings(calibration: CameraCalibration, camera: GroundCamera | None) -> Iterator[str]:
    """Whether a real camera could have this view."""
    if is_mirrored(calibration):
        yield (
            "the corners go the other way around (the ground is mirrored): give near left, near right, far "
            "right, far left; width is from the first to the second"
        )
    if camera is None:
        yield "the view has no perspective to measure the camera from: check the meters in another way"
    elif not 12 <= camera.width_deg <= 130:
        yield (
            f"only a lens with a {camera.width_deg:.0f} degree angle of view shows this: is the width or the "
            "length wrong, or is the image cropped?"
        )


def find_outliers(calibration: CameraCalibration) -> tuple[int, ...]:
    """Rows of the points that the others contradict, worst first. Greedy: the point without which the fit is
    best is removed while that more than halves the error, and while the fit to the others misses it by over
    OUTLIER_PX. Needs 6 points: of 5, any 4 fit exactly."""
    inliers, outliers = list(range(len(calibration.image))), []
    image, meters = calibration.undistort(calibration.image), calibration.meters
    while len(inliers) > 5:
        before = _rms(image, meters, inliers)
        best, row = min((_rms(image, meters, [i for i in inliers if i != row]), row) for row in inliers)
        others = [i for i in inliers if i != row]
        if not (best < 0.5 * before and _errors(image, meters, others, [row])[0] > OUTLIER_PX):
            break
        outliers.append(row)
        inliers = others
    return tuple(outliers)


def without(calibration: CameraCalibration, rows: tuple[int, ...]) -> CameraCalibration:
    """The calibration fitted again without the points of `rows`."""
    keep = np.setdiff1d(np.arange(len(calibration.image)), rows)
    return make_calibration(
        calibration.image[keep], calibration.meters[keep], calibration.size, region=calibration.region,
        k1=calibration.k1, focal=calibration.focal, name=calibration.name, meters_error=calibration.meters_error,
    )  # fmt: skip


def _errors(image: F64, meters: F64, fitted: list[int], rows: list[int]) -> F64:
    """Reprojection errors in pixels of `rows` under the fit to `fitted`; infinite where there is none."""
    try:
        h = homography.inverse(homography.fit(image[fitted], meters[fitted]), meters[fitted])
    except (InputError, np.linalg.LinAlgError):
        return np.full(len(rows), np.inf)
    away = np.hypot(*(homography.apply(h, meters[rows]) - image[rows]).T)
    return np.asarray(np.nan_to_num(away, nan=np.inf))


def _rms(image: F64, meters: F64, rows: list[int]) -> float:
    """Root mean square error in pixels of the fit to `rows`, per degree of freedom."""
    return math.sqrt((_errors(image, meters, rows, rows) ** 2).sum() / max(1, 2 * len(rows) - 8))
