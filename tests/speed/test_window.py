"""The window method by hand."""

from __future__ import annotations

import numpy as np
import pytest
from view_from_above import TENTH, feed

from edgevid.speed.window import WindowCore


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_a_window_on_a_straight_line_is_exact_at_any_times(drop: float) -> None:
    core, random = WindowCore(1.0, 1.0, TENTH), np.random.default_rng(3)
    times = np.cumsum(random.uniform(0.01, 0.06, 80))
    for t in times:
        seen = random.random() >= drop
        place = (2 + 3 * t, 40 - 12 * t)
        (_, live), (_, smoothed), _ = feed(core, t, {1: place if seen else None}, fps=1)
    assert live[0][1:3] == pytest.approx([3, -12])
    when = live[0][0]
    assert live[0][8:10] == pytest.approx([2 + 3 * when, 40 - 12 * when])
    assert len(smoothed) in (0, 1)


def test_a_window_under_steady_acceleration_is_right_at_its_middle() -> None:
    core = WindowCore(1.0, 1.0, TENTH)
    for n in range(61):
        (_, live), _, _ = feed(core, n, {1: (0.0, 0.5 * 2.5 * (n / 30) ** 2)})
    assert live[0][0] == pytest.approx(1.5)
    assert live[0][2] == pytest.approx(2.5 * 1.5, abs=1e-6)


def test_more_tracks_than_slots_and_more_frames_than_columns() -> None:
    core = WindowCore(1.0, 1.0, TENTH)
    for n in range(200):
        places = {i: (float(i), 0.01 * i * n) for i in range(1 + n // 20, 40 + n // 20)}
        (ids, live), _, ended = feed(core, n, places, fps=100)
        assert [i for i, _ in ended] == ([n // 20] if n and n % 20 == 0 else [])
    old = live[:, 7] > 100
    np.testing.assert_allclose(live[old, 2], ids[old] * 1.0, atol=1e-9)
