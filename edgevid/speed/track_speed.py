"""One speed for a whole track: the straight constant motion of least reprojection error."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgevid.speed import homography
from edgevid.speed.method import CORRELATION_S, MIN_SECONDS, MIN_SIGHTINGS
from edgevid.types import F64

PRIOR_SIGHTINGS = 20
"""Sightings that the usual correlation counts for next to that of the residuals."""
STATIONARY_M = 0.5
"""An object that went less far than this in all its time was stationary."""
MOVING_GATE = 5.99
"""Chi-square of 2, 95 %: a velocity below it is noise."""
CURVED_SIGHTINGS, CURVED_GATE = 10, 13.8
"""From this many sightings on, an acceleration is fitted too; it counts above chi-square of 2, 99.9 %."""
HUBER_SIGMAS = 3.0
"""Residuals beyond it count for less (Huber 1964)."""


class TrackSpeed(NamedTuple):
    """The speed of a track over all its sightings."""

    mps: float
    sigma: float
    """Standard error in m/s, from the boxes alone."""
    heading: float
    """Degrees on the plane; NaN at rest."""
    time: float
    """The middle of the sightings in seconds."""
    pixel: F64
    """(2,) undistorted contact pixel in the middle."""


def track_speed(sightings: F64, to_ground: F64, to_image: F64) -> TrackSpeed | None:
    """The speed of the straight motion that fits `sightings` best; None for too few of them.

    `sightings` (n, 4): time in s, undistorted contact pixel u, v, standard error of a box edge in pixels.
    `to_ground` and `to_image` (3, 3) are the plane's homographies. Least squares of the reprojection error
    over x0 + v t, plus a t^2 / 2 where the acceleration is significant: the speed is then that of the middle.
    """
    times = sightings[:, 0]
    if len(times) < MIN_SIGHTINGS or times[-1] - times[0] < MIN_SECONDS:
        return None
    pixels, noise = sightings[:, 1:3], sightings[:, 3]
    middle = float(times[0] + times[-1]) / 2
    t = times - middle
    fitted = _fit(t, pixels, noise, to_ground, to_image, terms=2)
    if fitted is None:
        return None
    curved = _fit(t, pixels, noise, to_ground, to_image, terms=3) if len(t) >= CURVED_SIGHTINGS else None
    if curved is not None and _chi_square(curved[0][4:], curved[1][4:, 4:]) > CURVED_GATE:
        fitted = curved
    v, cov = fitted[0][2:4], fitted[1][2:4, 2:4]
    speed, pixel = float(np.hypot(*v)), pixels[len(t) // 2]
    if speed * float(times[-1] - times[0]) < STATIONARY_M or _chi_square(v, cov) < MOVING_GATE:
        return TrackSpeed(0.0, math.sqrt(max(cov[0, 0], cov[1, 1])), math.nan, middle, pixel)
    u = v / speed
    heading = math.degrees(math.atan2(v[1], v[0]))
    return TrackSpeed(speed, math.sqrt(float(u @ cov @ u)), heading, middle, pixel)


def _chi_square(value: F64, cov: F64) -> float:
    return float(value @ np.linalg.solve(cov, value))


def _fit(
    t: F64, pixels: F64, noise: F64, to_ground: F64, to_image: F64, *, terms: int
) -> tuple[F64, F64] | None:
    """State (2 * terms,) and covariance by Gauss-Newton on the pixels, robust by Huber's weights."""
    basis = np.stack([np.ones_like(t), t, 0.5 * t * t][:terms], 1)
    places = homography.apply(to_ground, pixels)
    if not np.isfinite(places).all():
        return None
    state = np.linalg.lstsq(basis, places, rcond=None)[0]
    scale = np.stack([noise / math.sqrt(2), noise], 1)
    for _ in range(8):
        at = basis @ state
        j = homography.jacobian(to_image, at) / scale[:, :, None]
        error = (pixels - homography.apply(to_image, at)) / scale
        if not np.isfinite(error).all():
            return None
        weight = np.minimum(1.0, HUBER_SIGMAS / np.maximum(np.hypot(*error.T), 1e-9))
        design = (basis[:, None, :, None] * j[:, :, None, :]).reshape(2 * len(t), -1)
        weighted = (design * np.repeat(weight, 2)[:, None]).T
        information = weighted @ design
        change = np.linalg.solve(information, weighted @ error.ravel())
        state = state + change.reshape(terms, 2)
        if np.abs(change).max() < 1e-6:
            break
    return np.asarray(state.ravel()), np.linalg.inv(information) * _inflation(
        error * weight[:, None], np.diff(t)
    )


def _inflation(error: F64, gaps: F64) -> float:
    """The factor by which correlation in time widens the variance of a slow quantity: (1 + r) / (1 - r).

    r is the correlation from one sighting to the next: estimated from the residuals (n, 2), and drawn towards
    the prior while they are few, because a line takes part of a slow error for motion.
    """
    gap = max(float(np.median(gaps)), 1e-6)
    close = gaps < 1.5 * gap
    n = float(close.sum())
    pairs = float((error[1:] * error[:-1])[close].sum()) / max(2 * n, 1.0)
    found = pairs / max(float((error**2).mean()), 1e-12)
    r = (n * found + PRIOR_SIGHTINGS * math.exp(-gap / CORRELATION_S)) / (n + PRIOR_SIGHTINGS)
    r = min(max(r, 0.0), 0.95)
    return (1 + r) / (1 - r)
