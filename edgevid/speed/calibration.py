"""A camera calibration: pixels paired with points on the ground, and the homography fitted to them.
docs/speed.md describes the file and how to make one."""

import dataclasses
import threading
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import shapely

from edgevid.errors import InputError
from edgevid.speed import homography
from edgevid.speed.homography import GroundCamera
from edgevid.types import F64, Array, scale_between

CLICK_PX, CLICK_PRIOR = 2.0, 8
"""Standard error of a calibrated pixel, and the residuals that it counts for next to those of the points."""
MARGINS = (0.1, 0.05, 0.02, 0.0)
"""The default region is the convex hull of the points, grown by the first of these shares of its size that
stays before the horizon."""
CELLS = 16  # Of the grid of scale errors, along each side of the region
_ONE_THREAD = threading.Lock()
"""GEOS indexes a polygon at the first query, and frees memory in use where two threads query it at once:
the frame loop's and a viewer's."""
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
    """InputError for points without area and duplicate points; of four also unless they are in order around, no three
    on one line, and convex in pixels and in meters."""
    _check_duplicates(image, meters)
    convex = []
    for points, what in ((image, "pixels"), (meters, "meters")):
        extent = float(np.ptp(points, axis=0).max())
        if shapely.MultiPoint(points).convex_hull.area < 1e-4 * max(extent, 1e-9) ** 2:
            raise InputError(f"calibration: the {what} lie on one line; choose points that span an area")
        if len(points) > 4:
            continue
        shape = shapely.Polygon(points)
        if not shape.is_valid:
            raise InputError(f"calibration: the four {what} cross over; give the corners in order around")
        triangles = [shapely.Polygon(np.delete(points, left, axis=0)) for left in range(4)]
        if shapely.minimum_clearance(triangles).min() < 0.005 * extent:
            raise InputError(f"calibration: three of the four {what} lie on one line; no three corners may")
        convex.append(shape.equals(shape.convex_hull))
    if convex and not any(convex):
        raise InputError("calibration: the corners turn both ways; the four points must form a convex shape")
    if not all(convex):
        raise InputError(
            "calibration: the four points are convex on one side of the pairs and not on the other: "
            "no camera projects a plane like this; a pixel was paired with the wrong meters"
        )


def _check_duplicates(image: F64, meters: F64) -> None:
    """InputError for a pixel or a place that is given twice."""
    for a, b in combinations(range(len(image)), 2):
        pixel, meter = (bool((p[a] == p[b]).all()) for p in (image, meters))
        if pixel:
            same = "are the same" if meter else "are one pixel with two places in meters"
            raise InputError(f"calibration: points {a + 1} and {b + 1} {same}; take one of them out")
        if meter and len(image) == 4:
            raise InputError(
                f"calibration: points {a + 1} and {b + 1} are one place in meters with two pixels; correct one of them"
            )


@dataclass(frozen=True, slots=True)
class CameraCalibration:
    """The plane-to-image calibration of one camera view: `to_ground`, `to_image`, and where it is valid."""

    size: tuple[int, int]  # (width, height) of the image that was calibrated
    image: F64  # (N, 2) calibrated pixels
    meters: F64  # (N, 2) the same points on the ground
    homography: F64  # (3, 3) undistorted pixels to meters
    region: shapely.Polygon  # Where on the image the calibration is valid, in pixels
    k1: float = 0.0  # Radial distortion: r -> r (1 + k1 r^2), r in focal lengths from the middle of the image
    focal: float = 1.0  # Focal length in pixels that k1 refers to
    name: str = ""
    sha256: str = ""  # Of the file that it was read from
    meters_error: float = 0.0  # Relative standard error that all meters have in common: of the tape, or of the map

    @property
    def click_px(self) -> float:
        """Standard error of a calibrated pixel: the points' own residuals, next to the usual 2 pixels."""
        own, usual = float((self.error_px() ** 2).sum()), CLICK_PRIOR * CLICK_PX**2
        return float(np.sqrt((own + usual) / (2 * len(self.image) - 8 + CLICK_PRIOR)))

    @property
    def inverse_homography(self) -> F64:
        """(3, 3) meters to undistorted pixels."""
        return homography.inverse(self.homography, self.meters)

    @property
    def center(self) -> tuple[float, float]:
        """The middle of the image in pixels, taken for the principal point."""
        return self.size[0] / 2, self.size[1] / 2

    def undistort(self, pixels: F64) -> F64:
        """(N, 2) pixels as a lens without distortion would show them."""
        return homography.undistort(pixels, self.k1, self.focal, self.center)

    def to_ground(self, pixels: F64) -> F64:
        """(N, 2) meters of pixels (N, 2), lens distortion included; NaN beyond the horizon."""
        return homography.apply(self.homography, self.undistort(pixels))

    def to_image(self, meters: F64) -> F64:
        """(N, 2) pixels of points on the ground (N, 2), lens distortion included; NaN where not visible."""
        return homography.distort(homography.apply(self.inverse_homography, meters), self.k1, self.focal, self.center)

    def contains(self, pixels: F64) -> Array:
        """(N,) whether each pixel lies in the calibrated region."""
        with _ONE_THREAD:
            return np.asarray(shapely.contains_xy(self.region, pixels[:, 0], pixels[:, 1]))

    def error_px(self) -> F64:
        """(N,) reprojection error of each calibrated point in undistorted pixels."""
        projected = homography.apply(self.inverse_homography, self.meters)
        return np.asarray(np.hypot(*(projected - self.undistort(self.image)).T))

    def error_m(self) -> F64:
        """(N,) the same error on the ground in meters."""
        return np.asarray(np.hypot(*(self.to_ground(self.image) - self.meters).T))

    def ground_sample_distance(self, pixels: F64) -> F64:
        """(N,) meters per pixel in the direction of strongest foreshortening, at each pixel (N, 2)."""
        return self.ground_sample_distances(pixels)[:, 0]

    def ground_sample_distances(self, pixels: F64) -> F64:
        """(N, 2) meters per pixel along and across the strongest foreshortening: singular values."""
        return np.asarray(np.linalg.svd(homography.jacobian(self.homography, self.undistort(pixels)))[1])

    def camera(self) -> GroundCamera | None:
        """The camera that projects the ground like this; None where the view has no perspective."""
        return homography.camera_from_homography(self.inverse_homography, self.size, self.meters.mean(0))

    def scale_error(self, pixels: F64, *, samples: int = 48) -> F64:
        """(N,) relative standard error of lengths at each pixel, from CLICK_PX at every calibrated point.
        Lengths along the direction of strongest foreshortening: the least certain one, and on a road that is
        viewed along its axis the one that speeds depend on."""
        random = np.random.default_rng(0)
        at = self.undistort(pixels)
        _, meters, steps = np.linalg.svd(homography.jacobian(self.homography, at))
        scales = []
        for _ in range(samples):
            moved = self.undistort(self.image + random.normal(0, CLICK_PX, self.image.shape))
            try:
                h = homography.fit(moved, self.meters)
            except InputError:
                continue
            length = np.linalg.norm(np.einsum("nij,nj->ni", homography.jacobian(h, at), steps[:, 0]), axis=1)
            scales.append(length / np.maximum(meters[:, 0], 1e-9))
        return np.asarray(np.std(scales, axis=0)) if scales else np.full(len(at), np.inf)

    def scaled_to(self, size: tuple[int, int]) -> "CameraCalibration":
        """The calibration of the same view in another resolution; InputError for another aspect ratio."""
        if size == self.size:
            return self
        scale = scale_between(self.size, size)
        if scale is None:
            raise InputError(
                f"calibration {self.name}: expected the aspect ratio of {self.size[0]}x{self.size[1]}, got a "
                f"stream of {size[0]}x{size[1]}: another view; calibrate the camera again"
            )
        region = shapely.transform(self.region, lambda p: p * scale)
        made = make_calibration(
            self.image * scale, self.meters, size, region=region, k1=self.k1, focal=self.focal * scale[0],
            name=self.name, meters_error=self.meters_error,
        )  # fmt: skip
        return dataclasses.replace(made, sha256=self.sha256)


class ScaleErrorGrid:
    """Relative standard errors of lengths, and so of speeds, in the region: all speeds share them."""

    def __init__(self, calibration: CameraCalibration, click_px: float | None, contact_m: float = 0.0) -> None:
        """`click_px` None: the points' own, 0: an exact calibration. `contact_m` is the standard error of the
        height of contact points above the ground, which a camera at h meters sees h / (h - z) too fast."""
        x1, y1, x2, y2 = calibration.region.bounds
        low, step = np.array([x1, y1]), np.maximum(np.array([x2 - x1, y2 - y1]) / (CELLS - 1), 1e-6)
        self._of_pixels = np.column_stack([np.diag(1 / step), 0.5 - low / step])  # Column and row, half a cell further
        # (3, 3) from meters to column and row of `errors` (CELLS, CELLS), as `kernels.speed_rows` takes them.
        self.cells = np.vstack([self._of_pixels, [0, 0, 1]]) @ calibration.inverse_homography
        x, y = np.meshgrid(np.linspace(x1, x2, CELLS), np.linspace(y1, y2, CELLS))
        errors = calibration.scale_error(np.stack([x.ravel(), y.ravel()], 1))
        click_px = calibration.click_px if click_px is None else click_px
        errors = np.nan_to_num(errors, nan=1.0, posinf=1.0) * (click_px / CLICK_PX)
        camera = calibration.camera()
        height = contact_m / max(camera.height_m, 0.5) if camera is not None else 0.0
        self.errors = np.hypot(errors, np.hypot(height, calibration.meters_error)).reshape(CELLS, -1)

    def at_pixels(self, pixels: F64) -> F64:
        """(N,) at pixels u, v (2, N)."""
        cells = self._of_pixels[:, :2] @ pixels + self._of_pixels[:, 2:]
        column, row = np.minimum(np.maximum(cells, 0.0), CELLS - 0.5).astype(np.intp)
        return np.asarray(self.errors[row, column])


def make_calibration(
    image: F64, meters: F64, size: tuple[int, int], *, region: shapely.Polygon | None = None, k1: float = 0.0,
    focal: float | None = None, name: str = "", meters_error: float = 0.0,
) -> CameraCalibration:  # fmt: skip
    """The calibration of N >= 4 pairs of pixels (N, 2) and meters (N, 2); InputError says what is wrong.

    `size` is the image's (width, height); `region` a polygon in pixels (None: the convex hull of the points
    with a margin); `k1` the radial distortion at `focal` pixels (None: the longer side of the image).
    `meters_error` is the relative standard error that all meters have in common."""
    image, meters = np.array(image, float), np.array(meters, float)
    check_pairs(image, meters, size)
    focal = focal or float(max(size))
    check_lens(image, size, k1, focal)
    straight = homography.undistort(image, k1, focal, (size[0] / 2, size[1] / 2))
    check_spread(straight, meters)
    fitted = homography.fit(straight, meters)
    for area in default_regions(image) if region is None else [check_region(region)]:
        calibration = CameraCalibration(size, image, meters, fitted, area, k1, focal, name, meters_error=meters_error)
        if np.isfinite(calibration.to_ground(np.array(area.exterior.coords))).all():
            return calibration
    raise InputError("calibration: the region reaches beyond the horizon; make it smaller")


def default_regions(image: F64) -> list[shapely.Polygon]:
    """The convex hull of the calibrated pixels (N, 2) with a margin, the widest first."""
    hull = shapely.MultiPoint(image).convex_hull
    return [hull.buffer(m * np.sqrt(hull.area)) for m in MARGINS]


def rectangle(width_m: float, length_m: float) -> F64:
    """(4, 2) meters of the corners of a rectangle on the road: (0, 0), (w, 0), (w, l), (0, l)."""
    if not (width_m > 0 and length_m > 0):
        raise InputError(f"calibration: expected a rectangle of positive size, got {width_m} m x {length_m} m")
    return np.array([[0, 0], [width_m, 0], [width_m, length_m], [0, length_m]], float)
