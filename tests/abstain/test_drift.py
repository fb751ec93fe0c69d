"""Shift between samples, and the monitor of a running policy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgevid.abstain.file import DriftMonitor, Tuned, kolmogorov_p, ks_distance, psi, shift, sketch
from edgevid.errors import InputError
from edgevid.types import Array, Reason, Verdicts


def test_distances_by_hand() -> None:
    assert ks_distance(np.array([1, 2, 3, 4.0]), np.array([3, 4, 5, 6.0])) == 0.5
    first, second = np.repeat([0.1, 0.9], [50, 50]), np.repeat([0.1, 0.9], [20, 80])
    p, q = (50.5 / 101, 50.5 / 101), (20.5 / 101, 80.5 / 101)
    by_hand = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert psi(first, second, bins=2) == pytest.approx(by_hand)
    assert psi(first, first) == 0


def test_probabilities_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for move in (0.0, 0.05, 0.1):
        a, b = rng.random(400), rng.random(500) + move
        found = shift(a, b)
        expected = stats.ks_2samp(a, b, method="asymp")
        assert found.ks == pytest.approx(expected.statistic)
        assert found.p == pytest.approx(expected.pvalue, rel=0.15, abs=1e-6)
    assert kolmogorov_p(0.0, 100) == 1
    with pytest.raises(InputError, match="empty"):
        shift(np.zeros(0), np.ones(3))


def run(monitor: DriftMonitor, confidences: Array, limit: float, first: int = 1) -> None:
    """Each track lives for one frame."""
    for number, confidence in enumerate(confidences, first):
        emitted = confidence >= limit
        monitor.update(
            Verdicts.of(
                ids=[number], labels=[0 if emitted else -1], confidence=[confidence],
                reason=[Reason.OK if emitted else Reason.LOW_CONFIDENCE],
            )
        )  # fmt: skip
    monitor.update(Verdicts.empty())


def tuned() -> Tuned:
    sample = np.random.default_rng(0).beta(5, 2, 2000)
    return Tuned(sketch(sample), float((sample < 0.5).mean()), 2000)


def test_the_same_world_raises_no_alarm() -> None:
    alarms = 0
    for seed in range(20):
        monitor = DriftMonitor(tuned(), window=500)
        run(monitor, np.random.default_rng(seed + 1).beta(5, 2, 500), 0.5)
        alarms += monitor.report().alarm
    assert alarms == 0


def test_another_world_raises_the_alarm() -> None:
    monitor = DriftMonitor(tuned(), window=500)
    run(monitor, np.random.default_rng(1).beta(3, 3, 300), 0.5)
    report = monitor.report()
    assert report.alarm
    assert report.shift is not None
    assert report.shift.alarm
    assert report.abstain_rate > 2 * report.tuned_rate
    assert "Tune again" in report.description
    run(monitor, np.random.default_rng(2).beta(5, 2, 500), 0.5, first=1000)  # the window moves on
    assert not monitor.report().alarm


def test_the_rate_alone_raises_the_alarm() -> None:
    monitor = DriftMonitor(Tuned((), 0.1, 1000))
    run(monitor, np.repeat([0.4, 0.9], [60, 140]), 0.5)
    assert monitor.report().alarm
    assert "abstain rate has drifted" in monitor.report().description


def test_only_decided_tracks_count_and_once() -> None:
    monitor = DriftMonitor(tuned(), min_tracks=2)
    for _ in range(5):
        monitor.update(
            Verdicts.of(
                ids=[1, 2, 3], labels=[-1] * 3, confidence=[0.3, 0, 0.9],
                reason=[Reason.LOW_CONFIDENCE, Reason.NOT_MEASURED, Reason.TOO_SMALL],
            )
        )  # fmt: skip
    monitor.reset()
    report = monitor.report()
    assert (report.tracks, report.abstain_rate, report.alarm) == (1, 1.0, False)
    assert "from 2 on" in report.description


def test_what_cannot_be_watched() -> None:
    with pytest.raises(InputError, match="tuned"):
        DriftMonitor(Tuned())
    with pytest.raises(InputError, match="min_tracks"):
        DriftMonitor(tuned(), window=5, min_tracks=6)
