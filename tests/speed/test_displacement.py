"""The displacement method by hand: from straight above, 10 pixels a meter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.kernels import PlaneColumn
from edgevid.speed.displacement import Displacement, DisplacementCore

TO_GROUND = np.diag([0.1, 0.1, 1.0])


def rows(core: DisplacementCore, path: dict[int, tuple[float, float]], last: int) -> list[dict[Any, float]]:
    """The live rows of track 1 at 10 frames a second; frames that `path` leaves out have no sighting."""
    found, ids = [], np.array([1])
    for n in range(last + 1):
        place = path.get(n)
        pixels = np.array([place if place else (0.0, 0.0)]) * 10
        good = np.array([place is not None]).view(np.uint8)
        (_, values), fresh, _ = core.update(ids, pixels, np.ones(1), good, n / 10)
        found.append(dict(zip(PlaneColumn, values[0], strict=True)) | {"fresh": len(fresh[0])})
    return found


def test_two_displacements_of_five_frames() -> None:
    # Along +y: 1 m in the first half second, 2 m in the second; the mean of 2 and 4 m/s, in the middle.
    path = {n: (3.0, 0.2 * n if n <= 5 else 1 + 0.4 * (n - 5)) for n in range(11)}
    found = rows(DisplacementCore(Displacement(frames=5, average=2), 1.0, TO_GROUND), path, 10)
    assert [row["fresh"] for row in found] == [0] * 5 + [1] + [0] * 4 + [1]
    one, two = found[5], found[10]
    assert one[PlaneColumn.VARIANCE] == pytest.approx(2 * 0.01 / 0.25 + 0.5 / 12)
    assert [one[c] for c in (PlaneColumn.TIME, PlaneColumn.VX, PlaneColumn.VY)] == pytest.approx([0.25, 0, 2])
    assert [two[c] for c in (PlaneColumn.TIME, PlaneColumn.VX, PlaneColumn.VY)] == pytest.approx([0.5, 0, 3])
    # Two ends of 0.1 m over 1 s, and process noise of q L / 12.
    assert two[PlaneColumn.VARIANCE] == pytest.approx(2 * 0.01 + 1 / 12)
    assert [two[PlaneColumn.X], two[PlaneColumn.Y]] == pytest.approx([3.0, 1.5])


def test_across_the_image_an_edge_counts_for_less() -> None:
    path = {n: (0.2 * n, 3.0) for n in range(6)}
    row = rows(DisplacementCore(Displacement(frames=5), 2.0, TO_GROUND), path, 5)[5]
    assert row[PlaneColumn.VARIANCE] == pytest.approx(2 * 0.005 / 0.25 + 2 * 0.5 / 12)


def test_lengths_or_vectors() -> None:
    # To and fro by 0.5 m: the lengths have a mean of 1 m/s, the vectors of 0.
    path = {n: (0.5 if n == 5 else 0.0, 0.0) for n in range(11)}
    lengths = rows(DisplacementCore(Displacement(frames=5), 1.0, TO_GROUND), path, 10)[10]
    vectors = rows(DisplacementCore(Displacement(frames=5, vector=True), 1.0, TO_GROUND), path, 10)[10]
    assert math.hypot(lengths[PlaneColumn.VX], lengths[PlaneColumn.VY]) == pytest.approx(1)
    assert math.hypot(vectors[PlaneColumn.VX], vectors[PlaneColumn.VY]) == pytest.approx(0)
    assert lengths[PlaneColumn.STATIONARY_S] == vectors[PlaneColumn.STATIONARY_S]  # it is the vector that moves


@pytest.mark.parametrize(("average_s", "speed"), [(0.0, 4.0), (0.5, 3.5), (1.0, 3.0)])
def test_an_average_in_seconds_takes_those_that_ended_within(average_s: float, speed: float) -> None:
    # 2, 3 and 4 m/s in three half seconds, which ended 1.0, 0.5 and 0 s ago.
    at, path = 0.0, {0: (0.0, 0.0)}
    for n in range(1, 16):
        at += (2 + (n - 1) // 5) / 10
        path[n] = (0.0, at)
    core = DisplacementCore(Displacement(frames=5, average_s=average_s), 1.0, TO_GROUND)
    assert rows(core, path, 15)[15][PlaneColumn.VY] == pytest.approx(speed)


def test_three_displacements_of_a_third_of_a_second_by_default() -> None:
    # Counted at the first frame from 1/3 s, 2/3 s, ... on: ... 2.0, 2.4, 2.7 and 3.0 s.
    path = {n: (0.0, 0.05 * n * n) for n in range(31)}
    row = rows(DisplacementCore(Displacement(), 1.0, TO_GROUND), path, 30)[30]
    assert row[PlaneColumn.TIME] == pytest.approx(2.5)
    ends = [0.05 * n * n for n in (20, 24, 27, 30)]
    speeds = [(b - a) / s for a, b, s in zip(ends, ends[1:], (0.4, 0.3, 0.3), strict=False)]
    assert row[PlaneColumn.VY] == pytest.approx(sum(speeds) / 3)


def test_the_next_sighting_takes_the_place_of_a_missed_one() -> None:
    path = {n: (0.0, 0.3 * n) for n in range(11) if n not in (5, 6)}
    found = rows(DisplacementCore(Displacement(frames=5, average=1), 1.0, TO_GROUND), path, 10)
    assert [n for n, row in enumerate(found) if row["fresh"]] == [7, 10]
    assert found[7][PlaneColumn.VY] == pytest.approx(3)
    assert found[7][PlaneColumn.TIME] == pytest.approx(0.35)
    assert found[10][PlaneColumn.TIME] == pytest.approx(0.85)


def test_a_track_that_is_gone_begins_again() -> None:
    core = DisplacementCore(Displacement(frames=5), 1.0, TO_GROUND)
    rows(core, {n: (0.0, 0.3 * n) for n in range(6)}, 5)
    none = np.zeros(0, np.int64)
    _, _, ended = core.update(none, np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.uint8), 0.6)
    assert [(i, len(table)) for i, table in ended] == [(1, 6)]
    (_, values), fresh, _ = core.update(np.array([1]), np.zeros((1, 2)), np.ones(1), np.ones(1, np.uint8), 0.7)
    assert values[0, PlaneColumn.VARIANCE] == -1
    assert len(fresh[0]) == 0
    core.reset()
    _, _, ended = core.update(none, np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.uint8), 0.8)
    assert ended == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"frames": 1}, {"frames": 0}), ({"seconds": 1e-3}, {"seconds": 0.0}),
        ({"average": 1}, {"average": 0}), ({"average_s": 0.0}, {"average_s": -0.1}),
    ],
)  # fmt: skip
def test_settings_have_limits(good: dict[str, Any], bad: dict[str, Any]) -> None:
    Displacement(**good)
    with pytest.raises(InputError, match="Displacement: expected"):
        Displacement(**bad)
