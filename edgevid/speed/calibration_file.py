"""Camera calibration files: calibration/camera/*.toml, read and written. docs/speed.md lists the keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely

from edgevid.errors import FileFormatError, InputError, masked
from edgevid.files.atomic import atomic_path
from edgevid.files.toml import Section, read_toml, toml_table
from edgevid.speed.calibration import CameraCalibration, default_regions, make_calibration, rectangle
from edgevid.speed.calibration_checks import MAX_COORDINATE
from edgevid.types import F64


def read_calibration(path: str | Path) -> CameraCalibration:
    """The calibration of a TOML file (docs/speed.md).

    FileFormatError names file, key, expected and got; InputError where there is no such file.
    """
    top = read_toml(path)
    path = top.path
    width, height = top.numbers("image_size", count=2)
    if not (1 <= width < MAX_COORDINATE and 1 <= height < MAX_COORDINATE):
        top.fail("image_size", "the image's [width, height] in pixels", [width, height])
    lens, area = top.table("lens", optional=True), top.table("region", optional=True)
    key = "rectangle" if "rectangle" in top else "points"
    pairs = _rectangle_pairs(top.table("rectangle")) if key == "rectangle" else _pairs(top)
    k1, focal = lens.number("k1", 0.0, low=-1, high=1), lens.number("focal_px", 0.0, low=0)
    corners = _points(area, "pixels") if area.keys() else None
    top.text("provenance", "")  # for people; the calibration does not depend on it
    for table in (lens, area, top):
        table.done()
    region = shapely.Polygon(corners) if corners is not None and len(corners) >= 3 else None
    if corners is not None and (region is None or not region.is_valid or region.area == 0):
        area.fail("pixels", "at least 3 corners of a polygon that does not cross itself", corners.tolist())
    try:
        return make_calibration(
            *pairs, (int(width), int(height)), region=region, k1=k1, focal=focal or None, name=path.stem
        )
    except InputError as error:
        raise FileFormatError(path, key, expected="points that fix a plane", got=str(error)) from None


def _rectangle_pairs(table: Section) -> tuple[F64, F64]:
    pixels = _points(table, "pixels", count=4)
    width, length = table.number("width_m"), table.number("length_m")
    table.done()
    if not (width > 0 and length > 0):
        table.fail("width_m", "a rectangle of positive width_m and length_m", [width, length])
    return pixels, rectangle(width, length)


def _pairs(top: Section) -> tuple[F64, F64]:
    expected = "tables [[points]] with pixel = [u, v] and meter = [x, y], or [rectangle]"
    rows = []
    for one in top.tables("points", expected=expected):
        rows.append(one.numbers("pixel", count=2) + one.numbers("meter", count=2))
        one.done()
    table = np.array(rows, float).reshape(-1, 4)
    return table[:, :2], table[:, 2:]


def _points(table: Section, key: str, count: int = 0) -> F64:
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
    lines = toml_table("", {"image_size": list(calibration.size), "provenance": provenance or None})
    if calibration.k1:
        lines += toml_table("lens", {"k1": calibration.k1, "focal_px": calibration.focal})
    if not has_default_region(calibration):
        lines += toml_table("region", {"pixels": np.array(calibration.region.exterior.coords)[:-1].round(1)})
    pixels, meters = calibration.image.round(2), calibration.meters.round(3)
    size = rectangle_size(calibration)
    if size is not None:
        sides = {"width_m": round(size[0], 3), "length_m": round(size[1], 3)}
        lines += toml_table("rectangle", {"pixels": pixels, **sides})
    else:
        for pixel, meter in zip(pixels, meters, strict=True):
            lines += toml_table("[points]", {"pixel": pixel, "meter": meter})
    return "\n".join(lines) + "\n"


def has_default_region(calibration: CameraCalibration) -> bool:
    """Whether the region is one that follows from the points, not one that a user chose."""
    return any(calibration.region.equals(area) for area in default_regions(calibration.image))


def rectangle_size(calibration: CameraCalibration) -> tuple[float, float] | None:
    """Width and length in meters where the calibrated points are the corners of a `rectangle`."""
    if len(calibration.meters) != 4:
        return None
    width, length = map(float, calibration.meters[2])
    fits = width > 0 and length > 0 and np.array_equal(calibration.meters, rectangle(width, length))
    return (width, length) if fits else None


def provenance_text(source: str, time: float, calibration: CameraCalibration) -> str:
    """The default provenance: source, time in seconds, points and reprojection error."""
    name, count = masked(source) if "://" in source else Path(source).name, len(calibration.image)
    error = f", mean error {calibration.error_px().mean():.2f} px" if count > 4 else ""
    return f"edgevid calibrate on {name} at {time:.2f} s; {count} points{error}"


def write_calibration(
    path: str | Path, calibration: CameraCalibration, provenance: str = "", *, replace: bool = False
) -> Path:
    """Writes the calibration in one step and reads it back; an existing file only with `replace`."""
    path = Path(path)
    if path.suffix != ".toml":
        raise InputError(f"calibration: expected a file that ends in .toml, got {path.name!r}")
    if path.exists() and not replace:
        raise InputError(f"{path}: this calibration exists; choose another name, or replace it (--force)")
    try:
        with atomic_path(path) as new:
            new.write_text(calibration_text(calibration, provenance), encoding="utf-8")
            read_calibration(new)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    return path
