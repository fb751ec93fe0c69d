"""The ground grid: a calibration drawn over the image, for a person to judge whether it is right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edgevid.errors import InputError
from edgevid.output.overlay import FONT, Overlay, Style
from edgevid.speed.calibration import CameraCalibration
from edgevid.types import Array, Frame, Result

INK = (255, 236, 150)


class GridOverlay(Overlay):
    """The overlay with the calibration's grid under it; without a calibration, the plain overlay."""

    def __init__(self, calibration: CameraCalibration | None, *, unit: str = "km/h") -> None:
        super().__init__(unit=unit)
        self._calibration = calibration

    def draw(self, frame: Frame, result: Result, *, notes: Sequence[str] = ()) -> Array:
        """A copy of the frame with grid, boxes, ids, verdicts and speeds."""
        if self._calibration is None:
            return super().draw(frame, result, notes=notes)
        gridded = Frame(
            draw_ground_grid(frame.image, self._calibration, opacity=0.25), frame.time, frame.index
        )
        return super().draw(gridded, result, notes=notes)


def draw_ground_grid(
    image: Array,
    calibration: CameraCalibration,
    *,
    cell_m: float | None = None,
    cells_x: int | None = None,
    cells_y: int | None = None,
    opacity: float = 0.45,
) -> Array:
    """A copy of `image` (H, W, 3) uint8 RGB with a metric grid inside the calibration's region.

    Cells are square, `cell_m` meters wide, or so many along x or along y; by default about 8 along the
    longer side, in round meters. Lines are labeled with their meters.
    """
    over = image.copy()
    style = Style.of(image.shape[1], image.shape[0])
    labels: list[tuple[str, tuple[int, int]]] = []
    for line in grid_lines(calibration, cell_m=cell_m, cells_x=cells_x, cells_y=cells_y):
        cv2.polylines(over, [np.round(line.points).astype(np.int32)], False, INK, 1, cv2.LINE_AA)
        if line.label:
            labels.append((line.label, (round(line.at[0]) + 3, round(line.at[1]) - 3)))
    outline = np.round(np.array(calibration.region.exterior.coords)).astype(np.int32)
    cv2.polylines(over, [outline], True, INK, style.line, cv2.LINE_AA)
    drawn = cv2.addWeighted(over, opacity, image, 1 - opacity, 0)
    for words, place in labels:
        cv2.putText(drawn, words, place, FONT, 0.75 * style.text, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(drawn, words, place, FONT, 0.75 * style.text, INK, 1, cv2.LINE_AA)
    return np.asarray(drawn)


class GridLine(NamedTuple):
    """A part of a line of the grid that lies inside the calibration's region."""

    points: Array
    """(K, 2) pixels."""
    label: str
    """Its meters ("12 m"); empty for the further parts of a line."""
    at: tuple[float, float]
    """Where the label belongs, in pixels."""


def grid_lines(
    calibration: CameraCalibration,
    *,
    cell_m: float | None = None,
    cells_x: int | None = None,
    cells_y: int | None = None,
) -> list[GridLine]:
    """The lines of a metric grid on the ground, in pixels; what is asked for is as in `draw_ground_grid`."""
    corners = calibration.to_ground(np.array(calibration.region.exterior.coords))
    low, high = corners.min(0), corners.max(0)
    step = _step(high - low, cell_m, cells_x, cells_y)
    found = []
    for axis in (0, 1):
        first = math.ceil(low[axis] / step) * step
        for value in np.arange(first, high[axis] + 1e-9, step):
            path = _line(calibration, axis, float(value), low, high)
            inside = calibration.contains(path) & np.isfinite(path).all(1)
            seen = path[inside]
            if len(seen):
                spot = seen[np.argmax(seen[:, 1])] if axis == 0 else seen[0]
                at = (float(spot[0]), float(spot[1]))
                label = f"{value:g} m"
                for a, b in _runs(inside):
                    found.append(GridLine(path[a:b], label, at))
                    label = ""
    return found


def _step(extent: Array, cell_m: float | None, cells_x: int | None, cells_y: int | None) -> float:
    """Meters a cell."""
    given = [value for value in (cell_m, cells_x, cells_y) if value is not None]
    if len(given) > 1 or any(not value > 0 for value in given):
        raise InputError(f"grid: expected one of cell_m, cells_x, cells_y above 0, got {given}")
    if cell_m is not None:
        return float(cell_m)
    if cells_x is not None:
        return float(extent[0] / cells_x)
    if cells_y is not None:
        return float(extent[1] / cells_y)
    rough = float(extent.max()) / 8
    unit = 10.0 ** math.floor(math.log10(rough))
    return unit * min((1, 2, 5, 10), key=lambda k: abs(k * unit - rough))


def _line(calibration: CameraCalibration, axis: int, value: float, low: Array, high: Array) -> Array:
    """(K, 2) pixels along x = value (axis 0) or y = value (axis 1)."""
    along = np.linspace(low[1 - axis], high[1 - axis], 200)
    meters = np.stack([np.full(200, value), along] if axis == 0 else [along, np.full(200, value)], 1)
    return calibration.to_image(meters)


def _runs(inside: Array) -> list[tuple[int, int]]:
    """Start and end of each run of True that is at least 2 long."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= 2]
