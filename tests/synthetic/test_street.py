"""The traffic of a street: lanes, directions and speeds."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.synthetic.scene import LANES, drive, street


def test_a_street_of_no_duration_is_rejected() -> None:
    with pytest.raises(InputError, match="seconds"):
        street(seconds=0)
    assert street(seconds=0.5).movers


def test_a_vehicle_drives_its_lane_at_its_speed() -> None:
    towards = drive(1, 36, towards=True, lane=-1.75, near=14, far=62)
    assert towards.state(2.0) == pytest.approx((-1.75, 42.0, -math.pi / 2, 10.0))
    assert towards.end == pytest.approx(4.8)  # 48 m at 10 m/s
    away = drive(2, 36, towards=False, lane=1.75, begin=1.0, near=14, far=62)
    assert away.state(2.0) == pytest.approx((1.75, 24.0, math.pi / 2, 10.0))
    assert away.end == pytest.approx(5.8)


def test_a_parked_vehicle_and_one_with_legs_stay() -> None:
    assert drive(1, 0, towards=True, lane=0.0).end == math.inf
    assert drive(1, 50, towards=True, lane=0.0, legs=((1.0, -2.0, 0.0),)).end == math.inf


def test_no_vehicle_drives_through_another() -> None:
    movers = street(3, seconds=40).movers
    for lane in LANES:
        vehicles = [m for m in movers if m.kind != "person" and m.start[0] == lane]
        assert len(vehicles) > 5
        assert len({m.speed for m in vehicles}) == 1
        assert {m.heading for m in vehicles} == {-math.pi / 2 if lane < 0 else math.pi / 2}
        begins = [m.begin for m in vehicles]
        assert min(b - a for a, b in pairwise(begins)) >= 2.2
        assert all(38 <= 3.6 * m.speed <= 62 for m in vehicles)


def test_people_walk_on_both_pavements_and_ids_are_unique() -> None:
    movers = street(3, seconds=40).movers
    people = [m for m in movers if m.kind == "person"]
    assert sorted(np.sign(m.start[0]) for m in people) == [-1] * 5 + [1] * 5
    assert all(7.5 < abs(m.start[0]) < 11 and 1.0 <= m.speed <= 1.7 for m in people)
    assert [m.id for m in movers] == list(range(1, len(movers) + 1))
    assert [m.start for m in movers if m.speed == 0] == [(8.1, 30.0)]


def test_traffic_lasts_as_long_as_the_street() -> None:
    for seconds in (5.0, 40.0):
        begins = [m.begin for m in street(1, seconds=seconds).movers]
        assert max(begins) < seconds
        assert max(begins) > seconds - 6
