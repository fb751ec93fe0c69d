"""Zones and lines: what they may be, and shares of the frame."""

from __future__ import annotations

from typing import Any

import pytest

from edgevid.errors import InputError
from edgevid.zones import Line, Zone, ZoneMonitor, in_pixels

SQUARE = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]
HOLE = [(0.4, 0.4), (0.5, 0.4), (0.5, 0.5)]


def test_relative_shapes_are_multiplied_by_the_size_of_the_frame() -> None:
    zone = Zone("bay", SQUARE, relative=True, holes=[HOLE], dwell_s=3.0)
    (made,) = in_pixels([zone], (640, 480))
    assert (made.points[2], made.holes[0][0], made.relative, made.dwell_s) == ((480, 360), (256, 192), False, 3)
    line = Line("gate", (0, 0.5), (1, 0.5), relative=True, anchor="center")
    monitor = ZoneMonitor([zone], [line], size=(640, 480))
    assert monitor.lines == (Line("gate", (0, 240), (640, 240), anchor="center"),)
    assert monitor.zones == (made,)


def test_relative_shapes_need_the_size_of_the_frame() -> None:
    with pytest.raises(InputError, match=r"'bay' is in shares of the frame: give the frame's size"):
        ZoneMonitor([Zone("bay", SQUARE, relative=True)])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "points: expected frame pixels; relative = true for shares"),
        ({"relative": True, "points": [(0, 0), (2, 0), (2, 2)]}, "points: expected shares of the frame from 0 to 1"),
        ({"relative": True, "ground": True}, "either relative or ground"),
        ({"relative": True, "holes": [[(0.4, 0.4), (0.9, 0.9), (0.5, 0.4)]]}, "holes: expected polygons inside"),
        ({"relative": True, "holes": [[(0.4, 0.4)]]}, "holes: expected polygons inside"),
        ({"relative": True, "anchor": "bottom"}, "anchor: expected one of 'bottom_center', 'bottom_left'"),
    ],
)
def test_what_is_no_zone_is_one_sentence(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Zone(**{"name": "bay", "points": SQUARE, **keys})


def test_a_line_has_the_same_units() -> None:
    with pytest.raises(InputError, match="line 'gate' end: expected frame pixels; relative = true"):
        Line("gate", (0, 0.5), (1, 0.5))
    with pytest.raises(InputError, match="lost_after_s: expected seconds of at least 0, got -1"):
        ZoneMonitor(lost_after_s=-1)
