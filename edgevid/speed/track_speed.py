"""One speed for a whole track speed: the straight constant motion that fits every seen pixel best."""

from __future__ import annotations

import math

import numpy as np

from edgevid.speed import homography as ground
from edgevid.types import Array

CORRELATION_S = 0.15
"""Usual correlation time of box errors in seconds: what detectors do."""
PRIOR = 20
"""Sightings that the usual correlation counts for beside the one that is found in the residuals."""

STOOD_M = 0.5
"""An object that went less far than this in all its time stood still."""


def track_speed(
    sightings: Array, to_ground: Array, to_image: Array
) -> tuple[float, float, float, float, Array] | None:
    """Speed and its standard error in m/s, heading in degrees, middle time in s, and middle pixel (2,).

    `sightings` (n, 4) are time in s, contact pixel u, v, and the standard error of a box edge in pixels.
    Least squares of the reprojection error in pixels over x0 + v t (+ a t^2 / 2 where the acceleration is
    significant: |a| > 2 sigma, and then the speed is the mean). None for fewer than 5 sightings or 0.3 s.
    """
    times = sightings[:, 0]
    if len(times) < 5 or times[-1] - times[0] < 0.3:
        return None
    pixels, noise = sightings[:, 1:3], sightings[:, 3]
    middle = (times[0] + times[-1]) / 2
    t = times - middle
    straight = _fit(t, pixels, noise, to_ground, to_image, terms=2)
    curved = _fit(t, pixels, noise, to_ground, to_image, terms=3) if len(t) >= 10 else None
    if straight is None:
        return None
    state, cov = straight
    if curved is not None:
        a, spread = curved[0][4:], curved[1][4:, 4:]
        if float(a @ np.linalg.solve(spread, a)) > 13.8:  # chi-square of 2, 99.9 %: it did change its speed
            state, cov = curved
    v = state[2:4]
    speed = float(np.hypot(*v))
    moved = speed * float(times[-1] - times[0])
    if moved < STOOD_M or float(v @ np.linalg.solve(cov[2:4, 2:4], v)) < 5.99:  # no motion beyond the noise
        return 0.0, float(math.sqrt(max(cov[2, 2], cov[3, 3]))), math.nan, float(middle), pixels[len(t) // 2]
    u = v / speed
    sigma = float(np.sqrt(u @ cov[2:4, 2:4] @ u))
    return speed, sigma, float(np.degrees(np.arctan2(v[1], v[0]))), float(middle), pixels[len(t) // 2]


def _fit(
    t: Array, pixels: Array, noise: Array, to_ground: Array, to_image: Array, *, terms: int
) -> tuple[Array, Array] | None:
    """State (2 * terms,) and covariance by Gauss-Newton on the pixels, robust by Huber's weights."""
    basis = np.stack([np.ones_like(t), t, 0.5 * t * t][:terms], 1)
    places = ground.apply(to_ground, pixels)
    if not np.isfinite(places).all():
        return None
    state = np.linalg.lstsq(basis, places, rcond=None)[0]
    scale = np.stack([noise / math.sqrt(2), noise], 1)
    for _ in range(8):
        at = basis @ state
        j = ground.jacobian(to_image, at) / scale[:, :, None]
        error = (pixels - ground.apply(to_image, at)) / scale
        if not np.isfinite(error).all():
            return None
        weight = np.minimum(1.0, 3.0 / np.maximum(np.hypot(*error.T), 1e-9))
        design = (basis[:, None, :, None] * j[:, :, None, :]).reshape(2 * len(t), -1)
        weighted = (design * np.repeat(weight, 2)[:, None]).T
        information = weighted @ design
        change = np.linalg.solve(information, weighted @ error.ravel())
        state = state + change.reshape(terms, 2)
        if np.abs(change).max() < 1e-6:
            break
    return state.ravel(), np.linalg.inv(information) * _inflation(error * weight[:, None], np.diff(t))


def _inflation(error: Array, gaps: Array) -> float:
    """How much correlation in time widens the variance of a slow quantity: (1 + r) / (1 - r).

    r is the correlation from one sighting to the next: read from the residuals (n, 2), and drawn towards
    the usual one while they are few, because a line takes part of a slow error for motion.
    """
    gap = max(float(np.median(gaps)), 1e-6)
    close = gaps < 1.5 * gap
    n = float(close.sum())
    pairs = float((error[1:] * error[:-1])[close].sum()) / max(2 * n, 1.0)
    found = pairs / max(float((error**2).mean()), 1e-12)
    r = (n * found + PRIOR * math.exp(-gap / CORRELATION_S)) / (n + PRIOR)
    r = min(max(r, 0.0), 0.95)
    return (1 + r) / (1 - r)
