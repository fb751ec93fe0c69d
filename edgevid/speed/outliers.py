"""Calibrated points that the other points contradict."""

from __future__ import annotations

import math

import numpy as np

from edgevid.errors import InputError
from edgevid.speed import homography
from edgevid.speed.calibration import CLICK_PX, CameraCalibration, make_calibration
from edgevid.types import F64

OUTLIER_PX = 3 * CLICK_PX
"""The least reprojection error of an outlier, under the fit to the other points."""


def find_outliers(calibration: CameraCalibration) -> tuple[int, ...]:
    """Rows of the points that the others contradict, worst first.

    Greedy: the point without which the fit is best is removed while that more than halves the error, and
    while the fit to the others misses it by over OUTLIER_PX. Needs 6 points: of 5, any 4 fit exactly.
    """
    inliers, outliers = list(range(len(calibration.image))), []
    image, meters = calibration.undistort(calibration.image), calibration.meters
    while len(inliers) > 5:
        before = _rms(image, meters, inliers)
        best, row = min((_rms(image, meters, [i for i in inliers if i != row]), row) for row in inliers)
        others = [i for i in inliers if i != row]
        if not (best < 0.5 * before and _distance(image, meters, others, row) > OUTLIER_PX):
            break
        outliers.append(row)
        inliers = others
    return tuple(outliers)


def without(calibration: CameraCalibration, rows: tuple[int, ...]) -> CameraCalibration:
    """The calibration fitted again without the points of `rows`."""
    keep = np.setdiff1d(np.arange(len(calibration.image)), rows)
    return make_calibration(
        calibration.image[keep], calibration.meters[keep], calibration.size, region=calibration.region,
        k1=calibration.k1, focal=calibration.focal, name=calibration.name,
    )  # fmt: skip


def _fit(image: F64, meters: F64, rows: list[int]) -> F64 | None:
    try:
        return homography.inverse(homography.fit(image[rows], meters[rows]), meters[rows])
    except (InputError, np.linalg.LinAlgError):
        return None


def _rms(image: F64, meters: F64, rows: list[int]) -> float:
    """Root mean square error in pixels of the fit to `rows`, per degree of freedom."""
    h = _fit(image, meters, rows)
    if h is None:
        return math.inf
    squares = ((homography.apply(h, meters[rows]) - image[rows]) ** 2).sum()
    return math.sqrt(squares / max(1, 2 * len(rows) - 8)) if np.isfinite(squares) else math.inf


def _distance(image: F64, meters: F64, rows: list[int], row: int) -> float:
    """Reprojection error in pixels of one point under the fit to `rows`."""
    h = _fit(image, meters, rows)
    if h is None:
        return 0.0
    return float(np.nan_to_num(np.hypot(*(homography.apply(h, meters[[row]])[0] - image[row])), nan=math.inf))
