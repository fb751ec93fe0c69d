"""Camera health on a clock that is set while it runs."""

from __future__ import annotations

import time as clock
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from edgevid.health import CameraHealth, monitor
from edgevid.types import Frame, SpeedReport, Tracks

SUMMER = datetime(2026, 7, 6, 8, 0).timestamp()


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    shown = {"time": SUMMER, "monotonic": 50.0}
    for name in shown:
        monkeypatch.setattr(monitor.clock, name, lambda name=name: shown[name])
    return shown


def hours(clocks: dict[str, float], health: CameraHealth, seconds: float, **step: float) -> Any:
    """The hour that a frame after so many seconds is in."""
    for name in clocks:
        clocks[name] += seconds + step.get(name, 0.0)
    seen = list[datetime]()
    health.speed_drift.update = lambda *given: seen.append(given[-1]) or []  # type: ignore[method-assign]
    time = clocks["monotonic"] - 50.0
    health.update(Frame(np.zeros((32, 48, 3), np.uint8), time, 0), Tracks.empty(), SpeedReport())
    return seen[0].hour if seen else None


def test_the_hour_follows_the_clock(clocks: dict[str, float]) -> None:
    health = CameraHealth()
    assert hours(clocks, health, 0.0) == 8
    assert hours(clocks, health, 3600.0) == 9
    health.speed_drift.speeds.keep("0 9 away", 1.0)
    assert hours(clocks, health, 60.0, time=-7200.0) == 7  # it was two hours fast
    assert not health.speed_drift.speeds.pending  # of which hour they were is unknown
    health.speed_drift.speeds.keep("0 7 away", 1.0)
    assert hours(clocks, health, 60.0, time=0.5) == 7
    assert health.speed_drift.speeds.pending  # NTP's small corrections are none


def test_a_clock_that_is_not_set_teaches_no_hour(clocks: dict[str, float]) -> None:
    clocks["time"] = 100.0  # 1970
    health = CameraHealth()
    assert hours(clocks, health, 0.0) is None
    assert hours(clocks, health, 60.0, time=SUMMER - 160.0) == 8


def test_a_recordings_own_start_counts_whatever_the_clock_does(clocks: dict[str, float]) -> None:
    health = CameraHealth(start=datetime(2024, 3, 4, 17, 30))
    assert hours(clocks, health, 0.0) == 17
    assert hours(clocks, health, 1800.0, time=-90000.0) == 18
    assert clock.monotonic() > 0
