"""The calibration's relative error of lengths, looked up on a grid that is computed once."""

from __future__ import annotations

import numpy as np

from edgevid.speed.calibration import CLICK_PX, CameraCalibration
from edgevid.types import F64

CELLS = 16
"""Of the grid, along each side of the region."""


class ScaleErrorGrid:
    """Relative standard errors of lengths, and so of speeds, anywhere in the region."""

    def __init__(self, calibration: CameraCalibration, click_px: float) -> None:
        x1, y1, x2, y2 = calibration.region.bounds
        self._low, self._to_image = np.array([x1, y1]), calibration.inverse_homography
        self._step = np.maximum(np.array([x2 - x1, y2 - y1]) / (CELLS - 1), 1e-6)
        x, y = np.meshgrid(np.linspace(x1, x2, CELLS), np.linspace(y1, y2, CELLS))
        errors = calibration.scale_error(np.stack([x.ravel(), y.ravel()], 1))
        errors = np.nan_to_num(errors, nan=1.0, posinf=1.0) * (click_px / CLICK_PX)
        self._grid = errors.reshape(CELLS, -1)

    def at_meters(self, x: F64, y: F64) -> F64:
        """(N,) at meters x, y (N,)."""
        h = self._to_image
        w = h[2, 0] * x + h[2, 1] * y + h[2, 2]
        w = np.where(np.abs(w) > 1e-9, w, 1e-9)
        return self.at_pixels(
            (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / w, (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / w
        )

    def at_pixels(self, u: F64, v: F64) -> F64:
        """(N,) at pixels u, v (N,)."""
        last = CELLS - 1.0
        column = np.minimum(np.maximum((u - self._low[0]) / self._step[0], 0.0), last)
        row = np.minimum(np.maximum((v - self._low[1]) / self._step[1], 0.0), last)
        return np.asarray(self._grid[(row + 0.5).astype(np.intp), (column + 0.5).astype(np.intp)])
