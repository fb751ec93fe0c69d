"""Making a camera calibration: pairs of pixels and meters from text, an image of the grid, a file."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely

from edgevid._opencv import cv2
from edgevid.errors import FileFormatError, InputError
from edgevid.output.ground_grid import draw_ground_grid
from edgevid.output.labels import FONT
from edgevid.output.overlay import Style
from edgevid.speed import CalibrationReport, CameraCalibration, rectangle
from edgevid.types import F64, U8

CORNERS = "near left, near right, far right, far left"
GOOD, BAD, DARK = (120, 230, 160), (255, 96, 84), (16, 18, 22)


def parse_points(text: str, what: str) -> F64:
    """(N, 2) of "x,y x,y ..."; InputError names the piece that is not a point.

    >>> parse_points("1,2 3,4.5", "--rectangle").tolist()
    [[1.0, 2.0], [3.0, 4.5]]
    """
    points = []
    for piece in text.replace(";", " ").split():
        try:
            x, y = (float(number) for number in piece.split(","))
        except ValueError:
            raise InputError(f'{what}: expected points "x,y x,y ...", got {piece!r} among them') from None
        if not (math.isfinite(x) and math.isfinite(y)):
            raise InputError(f"{what}: expected finite numbers, got {piece!r}")
        points.append((x, y))
    return np.array(points, float).reshape(-1, 2)


def parse_sources(corners: str, width_m: float | None, length_m: float | None, points: Sequence[str],
                  file: Path | None) -> list[tuple[F64, F64]]:  # fmt: skip
    """Pixels and meters of a rectangle, of "u,v=X,Y" texts and of a CSV file, where they are given."""
    if not corners and (width_m is not None or length_m is not None):
        raise InputError("calibration: expected --rectangle with --width-m and --length-m, got none")
    parts = [parse_rectangle(corners, width_m, length_m)] if corners else []
    parts += [parse_pairs(points)] if points else []
    return parts + ([read_pairs(file)] if file else [])


def parse_rectangle(text: str, width_m: float | None, length_m: float | None) -> tuple[F64, F64]:
    """Four pixels and their meters, from corners and two measures."""
    pixels = parse_points(text, "--rectangle")
    if len(pixels) != 4:
        raise InputError(f"--rectangle: expected 4 corners ({CORNERS}), got {len(pixels)}")
    if width_m is None or length_m is None:
        raise InputError("--rectangle: expected its --width-m and --length-m too")
    return pixels, rectangle(width_m, length_m)


def parse_pairs(texts: Sequence[str]) -> tuple[F64, F64]:
    """Pixels and meters (N, 2) of "u,v=X,Y" texts.

    >>> parse_pairs(["10,20=0,3.5"])[1].tolist()
    [[0.0, 3.5]]
    """
    rows = []
    for text in texts:
        sides = [parse_points(side, "--point") for side in text.split("=")]
        if [len(side) for side in sides] != [1, 1]:
            raise InputError(f'--point: expected "u,v=X,Y" (a pixel, then meters), got {text!r}')
        rows.append(np.concatenate(sides))
    table = np.array(rows, float).reshape(-1, 4)
    return table[:, :2], table[:, 2:]


def read_pairs(path: str | Path) -> tuple[F64, F64]:
    """Pixels and meters (N, 2) of a CSV file: u, v, X, Y per line; a header and # comments are skipped."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(path, "the file", expected="a readable CSV text", got=str(error)) from None
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.split("#")[0].strip()]
    rows: list[list[float]] = []
    for place, (number, line) in enumerate(lines):
        separator = next((mark for mark in (";", "\t") if mark in line), ",")  # spreadsheets write all three
        cells = next(csv.reader([line.split("#")[0]], delimiter=separator))
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            if place == 0:
                continue  # a header
            values = []
        if len(values) != 4 or not all(map(math.isfinite, values)):
            raise FileFormatError(path, f"line {number}", expected="four numbers u, v, X, Y", got=line.strip())
        rows.append(values)
    if not rows:
        raise FileFormatError(path, "the file", expected="lines of u, v, X, Y", got="none")
    table = np.array(rows)
    return table[:, :2], table[:, 2:]


def parse_region(text: str) -> shapely.Polygon | None:
    """A polygon of "x,y x,y x,y"; None for an empty text."""
    if not text.strip():
        return None
    corners = parse_points(text, "--region")
    if len(corners) < 3:
        raise InputError(f"--region: expected at least 3 corners, got {len(corners)}")
    return shapely.Polygon(corners)


def draw_calibration(image: U8, calibration: CameraCalibration, report: CalibrationReport) -> U8:
    """A copy of `image` (H, W, 3) uint8 RGB with the grid and the numbered points; outliers in red."""
    drawn = draw_ground_grid(image, calibration)
    style = Style.of(image.shape[1], image.shape[0])
    arm = 4 * style.line + 2
    for row, (u, v) in enumerate(np.round(calibration.image).astype(int).tolist()):
        paint = BAD if row in report.outliers else GOOD
        at = (u + arm + 2, v + arm + 2)
        for color, thick, stroke in ((DARK, style.line + 2, 3), (paint, style.line, 1)):
            cv2.drawMarker(drawn, (u, v), color, cv2.MARKER_CROSS, 2 * arm, thick, cv2.LINE_AA)
            cv2.putText(drawn, str(row + 1), at, FONT, style.text, color, stroke, cv2.LINE_AA)
    return drawn
