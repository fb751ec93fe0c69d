"""SpeedDriftDetector: changes of all speeds and of far against near, by hand and simulated."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.health.speed_drift import Baseline, Comparison, SpeedDriftDetector
from edgevid.types import Speeds, Tracks

MONDAY = datetime(2026, 3, 2, 8, 0)


def drive_by(
    monitor: SpeedDriftDetector, count: int, factor: float, start: datetime, seed: int, gap_s: float = 20
) -> int:
    """Vehicles of 50 km/h +- 12 %, `factor` faster; how many passed before an alarm, -1 without one."""
    random = np.random.default_rng(seed)
    for n in range(count):
        now = start + timedelta(seconds=gap_s * n)
        if monitor.add_speed(factor * 50 / 3.6 * np.exp(random.normal(0, 0.12)), 90.0, now):
            return n + 1
        if now.timestamp() >= monitor._commit_at:
            monitor.update(Tracks.empty(), Speeds.empty(), Speeds.empty(), now)
    return -1


@pytest.mark.parametrize(("factor", "direction"), [(1.10, "up"), (0.90, "down")])
def test_a_change_of_all_speeds_is_found_and_ordinary_days_are_not(factor: float, direction: str) -> None:
    monitor = SpeedDriftDetector()
    assert drive_by(monitor, 6000, 1.0, MONDAY, 1) == -1
    found = drive_by(monitor, 600, factor, MONDAY + timedelta(days=2), 2)
    assert 20 < found < 250
    assert monitor.speeds.up == monitor.speeds.down == 0.0  # starts again after an alarm


def test_each_hour_is_compared_with_itself() -> None:
    """Nights are 30 % faster than days: no alarm at either, an alarm for a night as slow as a day."""
    monitor = SpeedDriftDetector()
    for day in range(14):
        for hour in range(24):
            factor = 1.3 if hour < 6 else 1.0
            start = MONDAY.replace(hour=0) + timedelta(days=day, hours=hour)
            assert drive_by(monitor, 40, factor, start, 24 * day + hour, gap_s=90) == -1
    night = MONDAY.replace(hour=2) + timedelta(days=14)
    assert 0 < drive_by(monitor, 100, 1.0, night, 999, gap_s=30) < 60


def test_far_against_near_finds_a_tilt_within_dozens_of_vehicles() -> None:
    monitor, random = SpeedDriftDetector(), np.random.default_rng(3)
    monitor.update(Tracks.empty(), Speeds.empty(), Speeds.empty(), MONDAY)
    for _ in range(100):
        assert not monitor.add_ratio(14 * np.exp(random.normal(0, 0.03)), 14, 90)
    monitor.commit()
    for _ in range(3000):
        assert not monitor.add_ratio(14 * np.exp(random.normal(0, 0.03)), 14, 90)
    for count in range(200):  # noqa: B007
        if found := monitor.add_ratio(1.04 * 14 * np.exp(random.normal(0, 0.03)), 14, 90):
            break
    assert found[0].kind == "ratio"
    assert found[0].direction == "up"
    assert count < 60


def test_a_cusum_by_hand() -> None:
    """Change 10 %, spread 0.1: a vehicle one spread above the middle adds step (1 - slack - step / 2)."""
    cusum = Comparison(change=np.expm1(0.1), tolerance=0.0, min_spread=0.01, vehicles=1e6)
    baseline = Baseline(median=0.0, spread=0.1, vehicles=10**6)
    slack = 1.2533 / np.sqrt(10**6)
    assert cusum.weigh(0.1, baseline) is None
    assert cusum.up == pytest.approx(1.0 * (1 - slack - 0.5))
    assert cusum.down == 0.0
    for _ in range(40):
        fired = cusum.weigh(0.1, baseline)
        if fired:
            break
    assert fired == "up"
    assert cusum.up > np.log(2e6)


def test_nothing_is_learned_from_an_hour_with_evidence_of_a_change() -> None:
    table = Comparison(0.05, 0.03, min_spread=0.03)
    for value in np.linspace(2.0, 3.0, 40):
        table.keep("0 8 away", float(value))
    assert table.baseline([["0 8 away"]]) is None
    table.drop()
    assert table.slots == {}
    for value in np.linspace(2.0, 3.0, 41):
        table.keep("0 8 away", float(value))
    table.commit()
    baseline = table.baseline([["0 9 away"], ["0 8 away"]])
    assert baseline is not None
    assert (baseline.median, baseline.vehicles) == (2.5, 41)
    assert baseline.spread == pytest.approx(1.4826 * 0.25)


@pytest.mark.parametrize("options", [{"change": 0}, {"hour_s": 0}, {"tolerance": -0.1}])
def test_wrong_settings_are_rejected(options: dict) -> None:
    with pytest.raises(InputError, match="camera health: expected"):
        SpeedDriftDetector(**options)
