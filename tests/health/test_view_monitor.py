"""ViewMonitor: moved, shaking and lost cameras, and what is mistaken for none of them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from health_views import VIEW, moved, view_image

from edgevid.errors import InputError
from edgevid.health.view_monitor import State, ViewMonitor
from edgevid.types import Frame


def run_monitor(show: Callable[[float], np.ndarray], seconds: float, monitor: ViewMonitor, start: float = 0.0) -> None:
    """One frame per second."""
    for n in range(int(seconds)):
        monitor.update(Frame(show(start + n), start + n, n))


def test_a_moved_camera_is_suspected_within_checks_and_certain_after_seconds() -> None:
    monitor, states = ViewMonitor(), {}
    for n in range(60):
        monitor.update(Frame(VIEW if n < 30 else moved(4, 3), float(n), n))
        states[n] = monitor.state
    assert states[3] is State.LEARNING
    assert states[29] is State.ALIGNED
    suspected = next(n for n in range(60) if states[n] is State.SUSPECT)
    certain = next(n for n in range(60) if states[n] is State.MOVED)
    assert 30 <= suspected <= 30 + 5 + 2  # at most one interval, then checks a second apart
    assert certain <= suspected + 9
    assert monitor.motion is not None
    assert (monitor.motion.dx, monitor.motion.dy) == pytest.approx((4, 3), abs=0.2)
    assert "shifted by " in monitor.detail


def test_a_bump_that_passes_is_forgotten() -> None:
    monitor = ViewMonitor()
    run_monitor(lambda t: moved(9, 0) if 30 <= t < 36 else VIEW, 60, monitor)
    assert monitor.state is State.ALIGNED


@pytest.mark.parametrize("amplitude", [3, 10, 30])
def test_a_mast_in_the_wind_shakes_and_has_not_moved(amplitude: float) -> None:
    random = np.random.default_rng(4)
    monitor, states = ViewMonitor(), set()
    for n in range(60):
        sway = amplitude * np.sin(random.uniform(0, 2 * np.pi)) if n > 10 else 0.0
        monitor.update(Frame(moved(sway, 0.3 * sway), float(n), n))
        states.add(monitor.state)
    assert State.MOVED not in states
    if amplitude > 3:
        assert State.SHAKING in states


def test_another_view_is_lost_and_darkness_is_unknown() -> None:
    monitor = ViewMonitor(lost_s=20)
    run_monitor(lambda t: VIEW if t < 20 else np.zeros_like(VIEW), 80, monitor)
    assert monitor.state is State.UNKNOWN
    assert "dark" in monitor.detail
    run_monitor(lambda _: view_image(5), 40, monitor, start=80)
    assert monitor.state is State.LOST
    assert "no reference has matched" in monitor.detail


def test_a_slow_change_of_light_becomes_another_reference() -> None:
    """The sun goes round: more and more of the tiles found different, none of them moves."""
    monitor, other = ViewMonitor(), view_image(9)
    share = lambda t: min(1.0, max(0.0, (t - 40) / 350))  # noqa: E731
    columns = np.random.default_rng(2).permutation(40)

    def show(t: float) -> np.ndarray:
        image = VIEW.copy()
        for column in columns[: round(40 * share(t))]:
            image[:, 16 * column : 16 * column + 16] = other[:, 16 * column : 16 * column + 16]
        return image

    run_monitor(show, 450, monitor)
    assert monitor.state is State.ALIGNED
    assert len(monitor.references) > 1
    assert monitor.motion is not None
    assert monitor.motion.max_displacement() < 1.0


def test_the_same_view_in_another_resolution_is_the_same() -> None:
    monitor = ViewMonitor()
    run_monitor(lambda _: VIEW, 20, monitor)
    big = cv2.resize(VIEW, (1280, 720), interpolation=cv2.INTER_CUBIC)
    for n in range(20, 50):
        monitor.update(Frame(big, float(n), n))
    assert monitor.state is State.ALIGNED
    square = np.ascontiguousarray(VIEW[:, :400])
    for n in range(50, 70):
        monitor.update(Frame(square, float(n), n))
    assert monitor.state is State.LOST
    assert "400x360, learned on 1280x720" in monitor.detail


def test_a_tiny_image_is_unknown() -> None:
    monitor = ViewMonitor()
    run_monitor(lambda _: np.zeros((30, 40, 3), np.uint8), 20, monitor)
    assert monitor.state is State.UNKNOWN
    assert "40x30 pixels are too few" in monitor.detail


@pytest.mark.parametrize("options", [{"every_s": 0}, {"confirm_s": -1}, {"lost_s": 0}, {"limit_px": 0}])
def test_wrong_settings_are_rejected(options: dict) -> None:
    with pytest.raises(InputError, match="camera health: expected"):
        ViewMonitor(**options)
