"""Motions fitted to the sightings of a track by reprojection error: constant, or of any acceleration."""

import math
from typing import NamedTuple

import numpy as np

from edgevid.speed import homography
from edgevid.speed.window import CORRELATION_S
from edgevid.types import F64

AGILE_MPS2 = 2.0  # Accelerations are drawn towards 0 as if of this standard deviation
KNOT_S, MOST_KNOTS = 0.6, 24  # Accelerations are constant for so long, or longer in long tracks
DEGREES = 10.0  # Degrees of freedom of Student's t, of the residuals: outliers count for less (Lange et al. 1989).
PRIOR_SIGHTINGS = 20
"""Sightings that the usual correlation, and half of the given noise, count for next to the residuals."""


class Motion(NamedTuple):
    """A fitted motion: position is `basis` @ `state`."""

    state: F64
    """(m, 2): position and velocity at 0, then an acceleration for each span between knots."""
    information: F64
    """(2m, 2m) of independent errors of the given size, without the prior."""
    error: F64
    """(n, 2) weighted residuals over their standard errors."""


def knots(times: F64) -> F64:
    """(K + 1,) moments between which accelerations are constant."""
    length = float(times[-1] - times[0])
    count = min(max(round(length / KNOT_S), 1), MOST_KNOTS, max(len(times) // 4, 1))
    return np.linspace(times[0], times[-1], count + 1)


def basis(times: F64, at: F64) -> tuple[F64, F64]:
    """(n, 2 + K) of positions, and of velocities, for knots `at` (K + 1,)."""
    begin, span = at[:-1], np.diff(at)
    inside = np.clip(times[:, None] - begin, 0, span)
    beyond = np.maximum(times[:, None] - at[1:], 0)
    one, zero = np.ones((len(times), 1)), np.zeros((len(times), 1))
    place = np.concatenate([one, times[:, None], 0.5 * inside**2 + span * beyond], 1)
    return place, np.concatenate([zero, one, inside], 1)


def prior(terms: int) -> F64:
    """(2 terms,) information that accelerations have before a sighting."""
    return np.repeat([0.0, AGILE_MPS2**-2], [4, 2 * terms - 4])


def fit(pixels: F64, noise: F64, to_image: F64, rows: F64, start: F64) -> Motion | None:
    """The motion of most likelihood by Gauss-Newton on the pixels; None where it leaves the image.

    `rows` (n, m) is the basis at the sightings, `start` (2, 2) a position and a velocity.
    """
    terms = rows.shape[1]
    state = np.concatenate([start, np.zeros((terms - 2, 2))])
    scale, variance = np.stack([noise / math.sqrt(2), noise], 1), 1.0
    for step in range(8):
        at = rows @ state
        j = homography.jacobian(to_image, at) / scale[:, :, None]
        error = (pixels - homography.apply(to_image, at)) / scale
        if not np.isfinite(error).all():
            return None
        squared = (error**2).sum(1)
        if step < 4:  # chi-square of 2 has the median 1.386
            variance = max(float(np.median(squared)) / 1.386, 0.02)
        weight = (DEGREES + 2) / (DEGREES + squared / variance)
        design = (rows[:, None, :, None] * j[:, :, None, :]).reshape(2 * len(rows), -1)
        weighted = (design * np.repeat(weight, 2)[:, None]).T
        information, drawn = weighted @ design, prior(terms) * variance
        change = np.linalg.solve(information + np.diag(drawn), weighted @ error.ravel() - drawn * state.ravel())
        state = state + change.reshape(terms, 2)
        if step > 3 and np.abs(change).max() < 1e-4:
            break
    return Motion(state, information, error * np.sqrt(np.minimum(weight, 1.5))[:, None])


def noise_of(error: F64, times: F64, terms: float) -> tuple[float, float]:
    """The variance of the errors relative to the given one, and by how much correlation widens what is slow.

    That is (1 + r) / (1 - r) for the correlation r from one sighting to the next. Both are drawn towards what
    is usual while sightings are few. A fit of `terms` takes part of a slow error for motion: residuals
    are smaller and correlate less than errors do, and both are corrected for it.
    """
    gaps = np.diff(times)
    gap = max(float(np.median(gaps)), 1e-6)
    close = gaps < 1.5 * gap
    n, mean = float(close.sum()), max(float((error**2).mean()), 1e-12)
    found = float((error[1:] * error[:-1])[close].sum()) / max(2 * n, 1.0) / mean
    found = min(found + terms * (1 + found) / len(error), 0.95)
    r = (n * found + PRIOR_SIGHTINGS * math.exp(-gap / CORRELATION_S)) / (n + PRIOR_SIGHTINGS)
    r = min(max(r, 0.0), 0.95)
    inflation = (1 + r) / (1 - r)
    degrees = max(len(error) - terms * min(inflation, 9.0), len(error) / 3)
    variance = (mean * len(error) + PRIOR_SIGHTINGS * 0.5) / (degrees + PRIOR_SIGHTINGS)
    return variance, inflation
