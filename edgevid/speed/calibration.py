"""Camera calibrations: pixels paired with meters, read from calibration/camera/*.toml, fitted and checked.

docs/speed.md describes the file and how to make one.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from edgevid.errors import FileFormatError, InputError
from edgevid.files.toml import Section, read_toml
from edgevid.speed import homography as ground
from edgevid.types import Array

FARTHEST = 1e6
"""No pixel and no meter of a calibration is farther from the origin."""
CLICK_PX = 2.0
"""Standard error of a calibrated pixel, for the error of the scale."""
MARGINS = (0.1, 0.05, 0.02, 0.0)
"""The default region is the hull of the points, grown by the first of these shares of its size that
stays before the horizon."""
_ONE_THREAD = threading.Lock()
"""GEOS indexes a polygon at the first question, and frees memory in use where two threads ask it at once:
the frame loop's and a viewer's."""


@dataclass(frozen=True, slots=True)
class CameraCalibration:
    """A camera's view of the ground."""

    size: tuple[int, int]
    """(width, height) of the image that was calibrated."""
    image: Array
    """(N, 2) calibrated pixels."""
    meters: Array
    """(N, 2) the same points on the ground."""
    to_ground: Array
    """(3, 3) homography of undistorted pixels to meters."""
    region: shapely.Polygon
    """Where on the image the calibration holds, in pixels."""
    k1: float = 0.0
    focal: float = 1.0
    name: str = ""

    @property
    def to_image(self) -> Array:
        """(3, 3) homography of meters to undistorted pixels."""
        return ground.normalized(np.linalg.inv(self.to_ground), self.meters)

    def undistort(self, pixels: Array) -> Array:
        """(N, 2) pixels as a lens without distortion would have shown them."""
        return ground.undistort(pixels, self.k1, self.focal, (self.size[0] / 2, self.size[1] / 2))

    def place(self, pixels: Array) -> Array:
        """(N, 2) meters of pixels (N, 2); NaN beyond the horizon."""
        return ground.apply(self.to_ground, self.undistort(pixels))

    def holds(self, pixels: Array) -> Array:
        """(N,) whether each pixel lies in the calibrated region."""
        with _ONE_THREAD:
            return np.asarray(shapely.contains_xy(self.region, pixels[:, 0], pixels[:, 1]))

    def error_px(self) -> Array:
        """(N,) distance in pixels between each calibrated point and where the fit puts it."""
        return np.asarray(
            np.hypot(*(ground.apply(self.to_image, self.meters) - self.undistort(self.image)).T)
        )

    def error_m(self) -> Array:
        """(N,) the same in meters."""
        return np.asarray(np.hypot(*(self.place(self.image) - self.meters).T))

    def ground_sample_distance(self, pixels: Array) -> Array:
        """(N,) the larger singular value of the plane's derivative: meters for one pixel, at worst."""
        return np.asarray(np.linalg.svd(ground.jacobian(self.to_ground, self.undistort(pixels)))[1][:, 0])

    def scale_error(self, pixels: Array, *, samples: int = 48) -> Array:
        """(N,) relative standard error of lengths at each pixel, from CLICK_PX at every calibrated point.

        Lengths along the direction that the view foreshortens most: the least certain one, and on a
        road that is seen along its axis the one that speeds are made of.
        """
        random = np.random.default_rng(0)
        at = self.undistort(pixels)
        _, meters, steps = np.linalg.svd(ground.jacobian(self.to_ground, at))
        scales = []
        for _ in range(samples):
            moved = self.undistort(self.image + random.normal(0, CLICK_PX, self.image.shape))
            try:
                h = ground.fit(moved, self.meters)
            except InputError:
                continue
            length = np.linalg.norm(np.einsum("nij,nj->ni", ground.jacobian(h, at), steps[:, 0]), axis=1)
            scales.append(length / np.maximum(meters[:, 0], 1e-9))
        return np.asarray(np.std(scales, axis=0)) if scales else np.full(len(at), np.inf)

    def scaled_to(self, size: tuple[int, int]) -> CameraCalibration:
        """The calibration of the same view in another resolution; InputError where the aspect differs."""
        if size == self.size:
            return self
        sx, sy = size[0] / self.size[0], size[1] / self.size[1]
        if abs(sx / sy - 1) > 0.01:
            raise InputError(
                f"calibration {self.name}: it was made on {self.size[0]}x{self.size[1]}, the stream is "
                f"{size[0]}x{size[1]}: another aspect, so another view; calibration the camera again"
            )
        region = shapely.transform(self.region, lambda p: p * [sx, sy])
        return make_calibration(
            self.image * [sx, sy], self.meters, size, region=region, k1=self.k1, focal=self.focal * sx,
            name=self.name,
        )  # fmt: skip


def make_calibration(
    image: Array,
    meters: Array,
    size: tuple[int, int],
    *,
    region: shapely.Polygon | None = None,
    k1: float = 0.0,
    focal: float | None = None,
    name: str = "",
) -> CameraCalibration:
    """The calibration of N >= 4 pairs of pixels (N, 2) and meters (N, 2); InputError says what is wrong."""
    image, meters = np.array(image, float), np.array(meters, float)
    if image.ndim != 2 or image.shape[1:] != (2,) or image.shape != meters.shape or len(image) < 4:
        raise InputError(
            "calibration: expected at least 4 pixels and as many points in meters, "
            f"got {image.shape} and {meters.shape}"
        )
    if not ((np.abs(image) < FARTHEST).all() and (np.abs(meters) < FARTHEST).all()):
        raise InputError(f"calibration: expected numbers up to {FARTHEST:g}, got some that are not")
    if not (len(size) == 2 and min(size) > 0):
        raise InputError(f"calibration: expected the image's width and height in pixels, got {size}")
    focal = focal or float(max(size))
    _check_lens(image, size, k1, focal)
    straight = ground.undistort(image, k1, focal, (size[0] / 2, size[1] / 2))
    _check_spread(straight, meters)
    to_ground = ground.fit(straight, meters)
    given = [_checked_region(region)] if region is not None else default_regions(image)
    for area in given:
        calibration = CameraCalibration(size, image, meters, to_ground, area, k1, focal, name)
        if np.isfinite(calibration.place(np.array(area.exterior.coords))).all():
            return calibration
    raise InputError("calibration: the region reaches beyond the horizon; make it smaller")


def default_regions(image: Array) -> list[shapely.Polygon]:
    """The hull of the calibrated pixels (N, 2) with a margin, the widest first."""
    hull = shapely.MultiPoint(image).convex_hull
    return [hull.buffer(m * np.sqrt(hull.area)) for m in MARGINS]


def _checked_region(region: shapely.Polygon) -> shapely.Polygon:
    """The region where it is one; InputError where it crosses itself or has no area."""
    if not isinstance(region, shapely.Polygon) or not region.is_valid or not region.area > 0:
        raise InputError(
            "calibration: expected a region of at least 3 corners that does not cross itself and has an area"
        )
    return region


def _check_lens(image: Array, size: tuple[int, int], k1: float, focal: float) -> None:
    """Refuses a distortion that folds the image over itself before the calibrated points."""
    if not (np.isfinite(k1) and np.isfinite(focal) and focal > 0 and -1 <= k1 <= 1):
        raise InputError(
            f"calibration: expected k1 from -1 to 1 and a focal length above 0, got {k1}, {focal}"
        )
    if k1 >= 0:
        return
    seen = float(np.hypot(*((image - np.array(size) / 2) / focal).T).max())
    most = 2 / 3 / np.sqrt(-3 * k1)  # the largest value of r (1 + k1 r^2)
    if seen > most:
        raise InputError(
            f"calibration: with k1 = {k1:g} nothing can be seen {seen:.2f} focal lengths from the middle "
            f"(at most {most:.2f}); take k1 nearer to 0, or give the focal length in pixels"
        )


def _check_spread(image: Array, meters: Array) -> None:
    """Refuses points without area, points given twice, and four corners in crossed order."""
    _check_pairs(image, meters)
    for points, what in ((image, "pixels"), (meters, "meters")):
        hull = shapely.MultiPoint(points).convex_hull
        extent = float(np.ptp(points, axis=0).max())
        if hull.area < 1e-4 * max(extent, 1e-9) ** 2:
            raise InputError(f"calibration: the {what} lie on one line; choose points that span an area")
    if len(image) == 4:
        for points, what in ((image, "pixels"), (meters, "meters")):
            if not shapely.Polygon(points).is_valid:
                raise InputError(f"calibration: the four {what} cross over; give the corners in order around")
        for points, what in ((image, "pixels"), (meters, "meters")):
            if _thinnest(points) < 0.005 * float(np.ptp(points, axis=0).max()):
                raise InputError(
                    f"calibration: three of the four {what} lie on one line; no three corners may"
                )
        turns = [_turn(points) for points in (image, meters)]
        if turns[0] == turns[1] == 0:
            raise InputError(
                "calibration: the corners turn both ways; the four points must form a convex shape"
            )
        if (turns[0] == 0) != (turns[1] == 0):
            raise InputError(
                "calibration: the four points are convex on one side of the pairs and not on the other: "
                "no camera sees a plane so; a pixel was paired with the wrong meters"
            )


def _check_pairs(image: Array, meters: Array) -> None:
    """Refuses one place with two different partners."""
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


def _thinnest(points: Array) -> float:
    """The least distance of a corner from the line through two others, of four points."""
    heights = []
    for left in range(4):
        a, b, c = np.delete(points, left, axis=0)
        sides = [float(np.hypot(*(p - q))) for p, q in ((a, b), (b, c), (c, a))]
        twice = abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
        heights.append(twice / max(*sides, 1e-12))
    return float(min(heights))


def _turn(points: Array) -> int:
    """1 or -1 where a polygon is convex and turns one way, 0 where not."""
    edges = np.roll(points, -1, 0) - points
    following = np.roll(edges, -1, 0)
    signs = np.sign(edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0])
    return int(signs[0]) if (signs == signs[0]).all() else 0


def rectangle(width_m: float, height_m: float) -> Array:
    """(4, 2) meters of the corners of a rectangle on the road: (0, 0), (w, 0), (w, h), (0, h)."""
    if not (width_m > 0 and height_m > 0):
        raise InputError(
            f"calibration: expected a rectangle of positive size, got {width_m} m x {height_m} m"
        )
    return np.array([[0, 0], [width_m, 0], [width_m, height_m], [0, height_m]], float)


def read_calibration(path: str | Path) -> CameraCalibration:
    """The calibration of a TOML file (docs/speed.md); FileFormatError names file, key, expected and got.

    InputError where there is no such file, or where the points give no plane.
    """
    path = Path(path)
    top = read_toml(path)
    width, height = top.numbers("image_size", count=2)
    if not (1 <= width < FARTHEST and 1 <= height < FARTHEST):
        top.fail("image_size", "the image's [width, height] in pixels", [width, height])
    lens, area = top.table("lens", optional=True), top.table("region", optional=True)
    key = "rectangle" if "rectangle" in top else "points"
    pairs = _rectangle(top.table("rectangle")) if key == "rectangle" else _pairs(top)
    k1, focal = lens.number("k1", 0.0, low=-1, high=1), lens.number("focal_px", 0.0, low=0)
    corners = _points(area, "pixels") if area.keys() else None
    provenance = top.text("provenance", "")
    for table in (lens, area, top):
        table.done()
    del provenance  # for people; the calibration does not depend on it
    region = shapely.Polygon(corners) if corners is not None and len(corners) >= 3 else None
    if corners is not None and (region is None or not region.is_valid or region.area == 0):
        area.fail("pixels", "at least 3 corners of a polygon that does not cross itself", corners.tolist())
    try:
        return make_calibration(
            *pairs, (int(width), int(height)), region=region, k1=k1, focal=focal or None, name=path.stem
        )
    except InputError as error:
        raise FileFormatError(path, key, expected="points that fix a plane", got=str(error)) from None


def _rectangle(table: Section) -> tuple[Array, Array]:
    pixels = _points(table, "pixels", count=4)
    width, length = table.number("width_m"), table.number("length_m")
    table.done()
    if not (width > 0 and length > 0):
        table.fail("width_m", "a rectangle of positive width_m and length_m", [width, length])
    return pixels, rectangle(width, length)


def _pairs(top: Section) -> tuple[Array, Array]:
    given = top.raw("points")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        top.fail("points", "tables [[points]] with pixel = [u, v] and meter = [x, y], or [rectangle]", given)
    rows: list[tuple[Any, Any]] = []
    for number, values in enumerate(given, 1):
        one = Section(top.path, f"points {number}", values)
        rows.append((one.numbers("pixel", count=2), one.numbers("meter", count=2)))
        one.done()
    return np.array([r[0] for r in rows], float), np.array([r[1] for r in rows], float)


def _points(table: Section, key: str, count: int = 0) -> Array:
    given = table.raw(key)
    expected = f"{count or 'at least 3'} points [u, v]"
    good = isinstance(given, list) and all(
        isinstance(p, list) and len(p) == 2 and all(type(v) in (int, float) for v in p) for p in given
    )
    if not good or (count and len(given) != count) or len(given) < 3:
        table.fail(key, expected, given)
    return np.array(given, float)


def calibration_text(calibration: CameraCalibration, provenance: str = "") -> str:
    """The calibration as a TOML file: a rectangle where it is one, the region only where it was chosen."""
    lines = [f"image_size = [{calibration.size[0]}, {calibration.size[1]}]"]
    lines += [f"provenance = {json.dumps(provenance, ensure_ascii=False)}"] if provenance else []
    if calibration.k1:
        lines += ["", "[lens]", f"k1 = {calibration.k1:g}", f"focal_px = {calibration.focal:g}"]
    if not any(calibration.region.equals(area) for area in default_regions(calibration.image)):
        corners = [[round(float(v), 1) for v in p] for p in calibration.region.exterior.coords[:-1]]
        lines += ["", "[region]", f"pixels = {corners}"]
    size = calibration.meters[2] if len(calibration.meters) == 4 else np.zeros(2)
    if (size > 0).all() and np.array_equal(calibration.meters, rectangle(*size)):
        pixels = [[round(float(v), 2) for v in p] for p in calibration.image]
        lines += ["", "[rectangle]", f"pixels = {pixels}"]
        lines += [f"width_m = {_number(size[0])}", f"length_m = {_number(size[1])}"]
        return "\n".join(lines) + "\n"
    for (u, v), (x, y) in zip(calibration.image, calibration.meters, strict=True):
        meter = f"[{_number(x)}, {_number(y)}]"
        lines += ["", "[[points]]", f"pixel = [{u:.2f}, {v:.2f}]", f"meter = {meter}"]
    return "\n".join(lines) + "\n"


def _number(meters: float) -> str:
    """Millimeters are enough."""
    return f"{round(float(meters), 3):g}" if abs(meters) < 1000 else f"{meters:.3f}"
