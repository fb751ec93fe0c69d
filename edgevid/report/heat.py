"""Heat maps: where objects were, and for how long, on the image and on the ground."""

import math
from typing import Any, NamedTuple

import numpy as np

from edgevid.output.ground_grid import round_cell
from edgevid.report.report import CELL, Report
from edgevid.speed.calibration import CameraCalibration
from edgevid.types import Array

CELLS = 64  # Along the image's width, and about that along the ground's longer side


class HeatMap(NamedTuple):
    """Seconds that objects spent in each cell, (rows, columns); of the image (pixels) or ground (meters)."""

    plane: str
    seconds: Array
    cell: float


def heat_maps(
    report: Report, camera: str, size: tuple[int, int] | None, calibration: CameraCalibration | None
) -> list[HeatMap]:
    """The heat map on the image and, with a calibration, on the ground.

    An object goes in a straight line, at constant speed, from one box of its events to the next: from its
    first box over those where it crossed a line or entered a zone to its last. `size` is that of the image.
    """
    query = "SELECT x, y, seconds FROM steps WHERE camera = ? UNION ALL SELECT 0, 0, 0"
    x, y, seconds = np.array(report.store.rows(query, camera), float).T
    parts = np.stack(np.meshgrid(*[(np.arange(4) + 0.5) / 4] * 2), -1).reshape(-1, 2)
    cells = np.stack([x, y], 1)[:, None] + parts  # a cell may cover more than one on the ground
    points = CELL * cells.reshape(-1, 2)
    weights = np.repeat(seconds / len(parts), len(parts))
    width, height = size or (calibration.size if calibration else np.ceil(points.max(0)).astype(int).tolist())
    found = [_binned("image", points, weights, np.zeros(2), np.array([width, height]), width / CELLS)]
    if calibration is not None:
        calibration = calibration.scaled_to((width, height))
        region = calibration.to_ground(np.array(calibration.region.exterior.coords))
        low, extent = region.min(0), np.ptp(region, 0)
        inside = calibration.contains(points)
        found.append(_binned("ground", calibration.to_ground(points[inside]), weights[inside], low, extent,
                             round_cell(float(extent.max()) / CELLS)))  # fmt: skip
    return found


def _binned(plane: str, points: Array, weights: Array, origin: Array, extent: Array, cell: float) -> HeatMap:
    shape = [max(1, math.ceil(v / cell)) for v in extent[::-1]]
    edges: Any = [np.arange(n + 1) * cell + start for n, start in zip(shape, origin[::-1], strict=True)]
    return HeatMap(plane, np.histogram2d(points[:, 1], points[:, 0], edges, weights=weights)[0], cell)
