"""Calibration error and temperature, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.evaluate.tune.risk import apply_temperature, fit_temperature, nll, reliability
from edgevid.types import Array


def real_scores(n: int = 400) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    values = rng.dirichlet([0.5] * 5, n)
    labels = np.array([rng.choice(5, p=0.6 * v + 0.08) for v in values])
    return values, labels


def test_calibration_error_against_scikit_learn() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    values, labels = real_scores()
    confidence, right = values.max(1), values.argmax(1) == labels
    found = reliability(confidence, right, bins=10)
    truth, mean = calibration.calibration_curve(right, confidence, n_bins=10, strategy="uniform")
    there = found.counts > 0
    np.testing.assert_allclose(found.accuracy[there], truth, atol=1e-6)
    np.testing.assert_allclose(found.confidence[there], mean, atol=1e-6)
    weighted = (np.abs(truth - mean) * found.counts[there]).sum() / len(labels)
    assert found.ece == pytest.approx(weighted, abs=1e-6)


def test_calibration_error_by_hand() -> None:
    """Two bins of 0.5: 0.4 with half right, and 0.9 with all right: (2 * 0.1 + 2 * 0.1) / 4."""
    found = reliability(np.array([0.4, 0.4, 0.9, 0.9]), np.array([1, 0, 1, 1]), bins=2)
    assert found.ece == pytest.approx(0.1)
    assert found.counts.tolist() == [2, 2]
    assert reliability(np.array([0.0, 1.0]), np.array([0, 1]), bins=2).ece == 0


def test_temperature_recovers_the_one_that_was_applied() -> None:
    rng = np.random.default_rng(0)
    honest = rng.dirichlet([0.7] * 4, 20_000)
    labels = (honest.cumsum(1) < rng.random((20_000, 1))).sum(1)
    sharpened = apply_temperature(honest, 0.5)
    fitted = fit_temperature(sharpened, labels)
    assert fitted == pytest.approx(2, rel=0.05)
    assert nll(sharpened, labels, fitted) <= nll(sharpened, labels)
    made = apply_temperature(sharpened, fitted)
    assert (made.argmax(1) == sharpened.argmax(1)).all()
    before = reliability(sharpened.max(1), sharpened.argmax(1) == labels).ece
    assert reliability(made.max(1), made.argmax(1) == labels).ece < before / 4
