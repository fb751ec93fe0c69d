"""Frames without a time get one at the stated rate."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.types.frame import FrameClock


def test_a_frame_without_a_time_is_one_frame_after_the_last() -> None:
    clock = FrameClock("tracker", 4)
    assert [clock.next(None), clock.next(None), clock.next(2.0), clock.next(None)] == [0.0, 0.25, 2.0, 2.25]
    clock.reset()
    assert clock.next(None) == 0.0


def test_without_a_rate_the_error_names_both_ways() -> None:
    with pytest.raises(InputError, match=r"pass timestamp=\.\.\., or state the rate: frame_rate=30"):
        FrameClock("tracker", None).next(None)


@pytest.mark.parametrize("timestamp", [1.0, 0.5, float("nan"), float("inf")])
def test_a_time_goes_forward(timestamp: float) -> None:
    clock = FrameClock("tracker", None)
    clock.next(1.0)
    with pytest.raises(InputError, match=r"expected more than the last 1 s"):
        clock.next(timestamp)


@pytest.mark.parametrize("timestamp", [np.zeros((4, 4, 3)), "now"])
def test_a_frame_in_the_place_of_a_time_is_answered(timestamp: object) -> None:
    with pytest.raises(InputError, match=r"tracker time: expected seconds as a number, .*timestamp=frame\.time"):
        FrameClock("tracker", None).next(timestamp)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "30"])
def test_a_rate_is_positive(rate: object) -> None:
    with pytest.raises(InputError, match="frame_rate: expected frames per second"):
        FrameClock("tracker", rate)  # type: ignore[arg-type]
