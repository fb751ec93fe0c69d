"""Camera calibration files: calibration/camera/*.toml, read and written. docs/speed.md lists the keys."""

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import shapely
from annotated_types import Ge, Le, Len

from edgevid.errors import FieldError, FileFormatError, InputError, masked
from edgevid.files import Checked, Positive, Row, atomic_path, checked, edit_toml, read_toml, sha256_of, toml_text
from edgevid.speed.calibration import MAX_COORDINATE, CameraCalibration, default_regions, make_calibration, rectangle
from edgevid.types import F64

Pixel = tuple[float, float]
Length = Annotated[float, Ge(0.001)]  # Meters


@dataclass(frozen=True)
class Lens:
    """Radial distortion."""

    k1: Annotated[float, Ge(-1), Le(1)] = 0.0  # r -> r (1 + k1 r^2), r in focal lengths from the middle of the image
    focal_px: Positive = 0.0  # Focal length in pixels that k1 refers to; 0: the longer side of the image


@dataclass(frozen=True)
class Region:
    """Where on the image the calibration is valid; without it, around the points."""

    pixels: Annotated[tuple[Pixel, ...], Len(3), Checked("at least 3 points [u, v]")]  # Corners in pixels


@dataclass(frozen=True)
class Rectangle:
    """A rectangle on the road: near left, near right, far right, far left."""

    pixels: Annotated[tuple[Pixel, Pixel, Pixel, Pixel], Checked("4 points [u, v]")]  # Its corners in pixels
    width_m: Length  # Across the road
    length_m: Length  # Along the road


@dataclass(frozen=True)
class PointPair:
    """A point of the image and of the ground."""

    pixel: Pixel  # (u, v) in the image
    meter: Pixel  # (x, y) on the ground


Side = Annotated[float, Ge(1), Le(MAX_COORDINATE)]


@dataclass(frozen=True)
class CalibrationTable:
    """A camera calibration: pixels paired with points on the ground, by [rectangle] or [[points]]."""

    image_size: Annotated[tuple[Side, Side], Checked("the image's [width, height] in pixels")]
    """(width, height) of the image that was calibrated."""
    provenance: str = ""  # For people: how it was made
    meters_error: Annotated[float, Ge(0), Le(0.5)] = 0.0
    """Relative standard error that all meters have in common: 0.01 for a tape or a map of 1 %."""
    lens: Lens = Lens()
    region: Region | None = None
    rectangle: Rectangle | None = None
    points: tuple[PointPair, ...] = ()  # At least 4

    def __post_init__(self) -> None:
        if not self.points and self.rectangle is None:
            expected = "tables [[points]] with pixel = [u, v] and meter = [x, y], or [rectangle]"
            raise FieldError("calibration", "points", expected)
        if self.points and self.rectangle is not None:
            raise FieldError("calibration", "points", "[rectangle] or [[points]], not both", len(self.points))

    def pairs(self) -> tuple[F64, F64]:
        """Pixels and meters (N, 2)."""
        if self.rectangle is not None:
            one = self.rectangle
            return np.array(one.pixels, float), rectangle(one.width_m, one.length_m)
        return tuple(np.array([getattr(p, key) for p in self.points]) for key in ("pixel", "meter"))  # type: ignore[return-value]

    def calibration(self, name: str = "") -> CameraCalibration:
        """The calibration; InputError where points or region fix none."""
        (width, height), region = map(int, self.image_size), self.region and shapely.Polygon(self.region.pixels)
        return make_calibration(
            *self.pairs(), (width, height), region=region, k1=self.lens.k1, focal=self.lens.focal_px or None,
            name=name, meters_error=self.meters_error,
        )  # fmt: skip


def read_calibration(path: str | Path) -> CameraCalibration:
    """The calibration of a TOML file (docs/speed.md). FileFormatError names each mistake by file, key, expected
    and got; InputError where there is no such file."""
    read = checked(CalibrationTable, read_toml(path), Path(path))
    try:
        return dataclasses.replace(read.calibration(Path(path).stem), sha256=sha256_of(Path(path)))
    except InputError as error:
        key, expected = "rectangle" if read.rectangle else "points", "points that fix a plane"
        if "region" in str(error):
            key, expected = "region.pixels", "an area of the image before the horizon"
        raise FileFormatError(path, key, expected=expected, got=str(error)) from None


def calibration_tables(calibration: CameraCalibration, provenance: str = "") -> dict[str, Sequence[Row]]:
    """The tables of the file: a rectangle where it is one, the region only where it was chosen."""
    pixels, meters = calibration.image.round(2), calibration.meters.round(3)
    lens = {"k1": calibration.k1, "focal_px": calibration.focal} if calibration.k1 else {}
    region, rectangle, points = {}, {}, []
    if not any(calibration.region.equals(area) for area in default_regions(calibration.image)):
        region = {"pixels": np.array(calibration.region.exterior.coords)[:-1].round(1)}
    if (size := rectangle_size(calibration)) is not None:
        rectangle = {"pixels": pixels, "width_m": round(size[0], 3), "length_m": round(size[1], 3)}
    else:
        points = [{"pixel": p, "meter": m} for p, m in zip(pixels, meters, strict=True)]
    top: Row = {"image_size": list(calibration.size), "provenance": provenance or None,
                "meters_error": calibration.meters_error or None}  # fmt: skip
    some: dict[str, Row] = {"lens": lens, "region": region, "rectangle": rectangle}
    return {"": [top], **{title: [row] * bool(row) for title, row in some.items()}, "[points]": points}


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
    """Writes the calibration in one step and reads it back; an existing file only with `replace`. Comments in
    an existing file stay, with what they stand next to."""
    path = Path(path)
    if path.suffix != ".toml":
        raise InputError(f"calibration: expected a file that ends in .toml, got {path.name!r}")
    if path.exists() and not replace:
        raise InputError(f"{path}: this calibration exists; choose another name, or replace it (--force)")
    tables = calibration_tables(calibration, provenance)
    text = toml_text(tables)
    with suppress(InputError):  # an existing file that is not TOML is replaced
        text = edit_toml(path, tables) if path.exists() else text
    with atomic_path(path) as new:
        new.write_text(text, encoding="utf-8", newline="")
        read_calibration(new)
    return path
