"""The ground grid: a survey drawn over the picture, for a person to judge whether it is right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edgevid.errors import InputError
from edgevid.output.overlay import FONT, Overlay, Style
from edgevid.speed import homography as ground
from edgevid.speed.calibration import Survey
from edgevid.types import Array, Frame, Result

INK = (255, 236, 150)


class GridOverlay(Overlay):
    """The overlay with the survey's grid under it; without a survey, the plain overlay."""

    def __init__(self, survey: Survey | None, *, unit: str = "km/h") -> None:
        super().__init__(unit=unit)
        self._survey = survey

    def draw(self, frame: Frame, result: Result, *, notes: Sequence[str] = ()) -> Array:
        """A copy of the frame with grid, boxes, ids, verdicts and speeds."""
        if self._survey is None:
            return super().draw(frame, result, notes=notes)
        gridded = Frame(draw_ground_grid(frame.image, self._survey, opacity=0.25), frame.time, frame.index)
        return super().draw(gridded, result, notes=notes)


def draw_ground_grid(
    image: Array,
    survey: Survey,
    *,
    cell_m: float | None = None,
    cells_x: int | None = None,
    cells_y: int | None = None,
    opacity: float = 0.45,
) -> Array:
    """A copy of `image` (H, W, 3) uint8 RGB with a metric grid inside the survey's region.

    Cells are square, `cell_m` metres wide, or so many along x or along y; by default about 8 along the
    longer side, in round metres. Lines are labelled with their metres.
    """
    over = image.copy()
    style = Style.of(image.shape[1], image.shape[0])
    labels: list[tuple[str, tuple[int, int]]] = []
    for line in grid_lines(survey, cell_m=cell_m, cells_x=cells_x, cells_y=cells_y):
        cv2.polylines(over, [np.round(line.points).astype(np.int32)], False, INK, 1, cv2.LINE_AA)
        if line.label:
            labels.append((line.label, (round(line.at[0]) + 3, round(line.at[1]) - 3)))
    outline = np.round(np.array(survey.region.exterior.coords)).astype(np.int32)
    cv2.polylines(over, [outline], True, INK, style.line, cv2.LINE_AA)
    drawn = cv2.addWeighted(over, opacity, image, 1 - opacity, 0)
    for words, place in labels:
        cv2.putText(drawn, words, place, FONT, 0.75 * style.text, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(drawn, words, place, FONT, 0.75 * style.text, INK, 1, cv2.LINE_AA)
    return np.asarray(drawn)


class GridLine(NamedTuple):
    """A part of a line of the grid that lies inside the survey's region."""

    points: Array
    """(K, 2) pixels."""
    label: str
    """Its metres ("12 m"); empty for the further parts of a line."""
    at: tuple[float, float]
    """Where the label belongs, in pixels."""


def grid_lines(
    survey: Survey,
    *,
    cell_m: float | None = None,
    cells_x: int | None = None,
    cells_y: int | None = None,
) -> list[GridLine]:
    """The lines of a metric grid on the ground, in pixels; what is asked for is as in `draw_ground_grid`."""
    corners = survey.place(np.array(survey.region.exterior.coords))
    low, high = corners.min(0), corners.max(0)
    step = _step(high - low, cell_m, cells_x, cells_y)
    found = []
    for axis in (0, 1):
        first = math.ceil(low[axis] / step) * step
        for value in np.arange(first, high[axis] + 1e-9, step):
            path = _line(survey, axis, float(value), low, high)
            inside = survey.holds(path) & np.isfinite(path).all(1)
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
    """Metres a cell."""
    given = [value for value in (cell_m, cells_x, cells_y) if value is not None]
    if len(given) > 1 or any(not value > 0 for value in given):
        raise InputError(f"grid: wanted one of cell_m, cells_x, cells_y above 0, given {given}")
    if cell_m is not None:
        return float(cell_m)
    if cells_x is not None:
        return float(extent[0] / cells_x)
    if cells_y is not None:
        return float(extent[1] / cells_y)
    rough = float(extent.max()) / 8
    unit = 10.0 ** math.floor(math.log10(rough))
    return unit * min((1, 2, 5, 10), key=lambda k: abs(k * unit - rough))


def _line(survey: Survey, axis: int, value: float, low: Array, high: Array) -> Array:
    """(K, 2) pixels along x = value (axis 0) or y = value (axis 1), lens distortion put back."""
    along = np.linspace(low[1 - axis], high[1 - axis], 200)
    metres = np.stack([np.full(200, value), along] if axis == 0 else [along, np.full(200, value)], 1)
    straight = ground.apply(survey.to_image, metres)
    if survey.k1 == 0:
        return straight
    centre = np.array(survey.size) / 2
    r2 = (((straight - centre) / survey.focal) ** 2).sum(1, keepdims=True)
    return np.asarray((straight - centre) * (1 + survey.k1 * r2) + centre)


def _runs(inside: Array) -> list[tuple[int, int]]:
    """Start and end of each run of True that is at least 2 long."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= 2]
