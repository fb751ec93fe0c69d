"""Calibration of probabilities: reliability, calibration error, and temperature scaling."""

import math
from dataclasses import dataclass

import numpy as np

from edgevid.abstain.policy import LIMITS
from edgevid.types import Array

BINS = 15


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence against accuracy in bins of equal width."""

    counts: Array
    """(B,) verdicts in each bin."""
    confidence: Array
    """(B,) their mean confidence, NaN where empty."""
    accuracy: Array
    """(B,) the share of correct ones, NaN where empty."""
    ece: float
    """Expected calibration error: mean |accuracy - confidence|, weighted by counts (Guo et al. 2017)."""


def reliability(confidence: Array, right: Array, bins: int = BINS) -> Reliability:
    """Bins (low, high] over 0 to 1; a confidence of 0 falls into the first."""
    place = np.clip(np.ceil(np.asarray(confidence, np.float64) * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, confidence, bins) / counts
        share = np.bincount(place, np.asarray(right, np.float64), bins) / counts
    ece = float(np.nansum(counts * np.abs(share - mean)) / len(place))
    return Reliability(counts, mean, share, ece)


def apply_temperature(values: Array, temperature: float) -> Array:
    """Rows of p^(1/T), normalized."""
    log = np.log(np.maximum(values, 1e-12)) / temperature
    log -= log.max(1, keepdims=True)
    made = np.exp(log)
    return np.asarray(made / made.sum(1, keepdims=True))


def nll(values: Array, labels: Array, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the true classes."""
    rows = apply_temperature(np.asarray(values, np.float64), temperature)
    return float(-np.log(np.maximum(rows[np.arange(len(labels)), labels], 1e-300)).mean())


def fit_temperature(values: Array, labels: Array) -> float:
    """The temperature with the least negative log-likelihood, by golden section on 1/T (it is convex there).

    Where all rows are correct, a lower temperature is always better, and the limit is returned.
    """
    low, high = 1 / LIMITS["temperature"][1], 1 / LIMITS["temperature"][0]
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-5 * high:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if nll(values, labels, 1 / a) <= nll(values, labels, 1 / b) else (a, high)
    return 2 / (low + high)
