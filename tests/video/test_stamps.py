"""Times of frames whose stamps are sound, missing, repeated, out of order, or jump."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevid.video.stamps import FAR_S, StampRepair

STEP = 0.25
"""Seconds between frames: exact in binary, so that the times are exact, too."""


def times(
    stamps: list[float | None], decoding: list[float | None] | None = None, **options: bool
) -> tuple[list[float], dict[str, int]]:
    """The times in steps, and what was wrong with the stamps, given in steps."""

    def seconds(values: list[float | None]) -> list[float | None]:
        return [None if v is None else v * STEP for v in values]

    repair = StampRepair(STEP, **options)
    pairs = zip(seconds(stamps), seconds(decoding or [None] * len(stamps)), strict=True)
    found = [time / STEP for _, time in repair.times(enumerate(pairs))]
    return found, dict(repair.faults)


@pytest.mark.parametrize(
    "stamps",
    [
        [0, 1, 2, 3],
        [0, 1, 1.5, 4, 4.25, 9, 9.5],  # uneven
        [0, 1, 2, 2000, 2001],  # a pause of minutes
        [0, 1000, 2000, 3000],  # one frame every few minutes
        [0, 0.001, 0.002, 0.003],
    ],
)
def test_sound_stamps_are_left_as_they_are(stamps: list[float | None]) -> None:
    assert times(stamps) == (stamps, {})
    shifted = [None if s is None else s - 700 for s in stamps]
    assert times(shifted)[1] == {}
    assert times(shifted)[0] == pytest.approx(stamps)


@pytest.mark.parametrize(
    ("stamps", "expected", "fault", "count"),
    [
        ([None] * 4, [0, 1, 2, 3], "missing", 4),
        ([0, 1, None, None, 4, 5], [0, 1, 2, 3, 4, 5], "missing", 2),
        ([0, 1, 2, None, None], [0, 1, 2, 3, 4], "missing", 2),
        ([None, 7, 8, 9], [0, 1, 2, 3], "missing", 1),
        ([0, 1, 1, 3, 4], [0, 1, 2, 3, 4], "repeated", 1),
        ([0, 0, 2, 2, 4, 4], [0, 1, 2, 3, 4, 5], "repeated", 3),
        ([0, 3, 1, 5, 6], [0, 3, 4, 5, 6], "out of order", 1),
        ([50, 51, 52, 0, 1, 2], [0, 1, 2, 3, 4, 5], "jumped", 1),  # joined
        ([0, 1, 2, 1e9, 1e9 + 1, 1e9 + 2], [0, 1, 2, 3, 4, 5], "jumped", 1),
        ([0, 1, 2, 1000, 4, 5], [0, 1, 2, 3, 4, 5], "jumped", 1),  # one wild stamp
    ],
)
def test_bad_stamps_are_replaced_and_counted(
    stamps: list[float | None], expected: list[float], fault: str, count: int
) -> None:
    assert times(stamps) == (pytest.approx(expected), {fault: count})


def test_a_pause_is_a_jump_where_the_format_may_jump() -> None:
    assert times([0, 1, 2, 1000, 1001], may_jump=True) == ([0, 1, 2, 3, 4], {"jumped": 1})
    assert times([0, 1, 2, 10, 11], may_jump=True) == ([0, 1, 2, 10, 11], {})


def test_decoding_stamps_count_where_those_of_presentation_are_wrong_more_often() -> None:
    stamps, decoding = [1, 3, 4, 2, 6, 7, 5, 8], [2, 3, 4, 5, 6, 7, 8, None]
    steps = [b - a for a, b in pairwise(times(stamps, decoding)[0])]
    assert steps[1:] == [1] * 6  # evenly, from the first wrong one on
    found, faults = times(stamps, decoding, decoding_only=True)
    assert (found, faults) == ([0, 1, 2, 3, 4, 5, 6, 7], {"out of order": 2})


def test_times_after_a_seek_are_those_since_the_first_frame() -> None:
    repair = StampRepair(STEP, origin=(3.0, 2.0))
    found = [time for _, time in repair.times([("a", (8.0, 7.0)), ("b", (8.25, 7.25))])]
    assert found == [5.0, 5.25]


@given(st.lists(st.none() | st.floats(-1e6, 1e6) | st.integers(-5, 40), max_size=60), st.booleans())
def test_any_stamps_give_each_frame_one_rising_time(stamps: list[float | None], jump: bool) -> None:
    found, _ = times(stamps, may_jump=jump)
    assert len(found) == len(stamps)
    assert all(a < b for a, b in pairwise(found))


@given(st.lists(st.integers(1, 10**6), max_size=60))
def test_any_rising_stamps_are_kept(steps: list[int]) -> None:
    stamps: list[float | None] = [0.0]
    for step in steps:
        stamps.append((stamps[-1] or 0.0) + step / 64)
    expected = [s for s in stamps if s is not None]
    assert max(steps, default=0) / 64 * STEP < FAR_S
    assert times(stamps) == (expected, {})
