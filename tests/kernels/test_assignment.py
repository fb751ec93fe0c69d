"""Maximum-weight matching of both twins, against trying every matching and against lapjv."""

from __future__ import annotations

import itertools
from typing import Any

import lap
import numpy as np
import pytest


def weight_of(weights: np.ndarray, pairs: list[tuple[int, int]]) -> float:
    return float(sum(weights[r, c] for r, c in pairs))


def best_by_trying(weights: np.ndarray) -> float:
    """The largest sum over all matchings, by trying each."""
    rows, cols = weights.shape
    ways = itertools.permutations([*range(cols), *[-1] * rows], rows)
    return max(sum(max(weights[r, c], 0.0) for r, c in enumerate(way) if c >= 0) for way in set(ways))


def test_weights_that_are_not_finite_never_match(twin: Any) -> None:
    bad = np.array([[np.inf, 0.5, np.nan], [0.5, 0.2, -np.inf], [np.inf, np.nan, np.nan]])
    assert [(int(r), int(c)) for r, c in twin.max_weight_matching(bad)] == [(0, 1), (1, 0)]
    huge = np.full((3, 3), np.finfo(float).max)  # sums of them are not finite any more
    assert len(twin.max_weight_matching(huge)) <= 3


@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
def test_assignment_is_the_best_of_all_that_are_possible(twin: Any, unit: float) -> None:
    random = np.random.default_rng(7)
    for _ in range(100):
        rows, cols = random.integers(1, 4, 2)
        weights = unit * random.uniform(-0.4, 1, (rows, cols))
        pairs = [(int(r), int(c)) for r, c in twin.max_weight_matching(weights)]
        assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
        assert all(weights[r, c] > 0 for r, c in pairs)
        assert weight_of(weights, pairs) == pytest.approx(best_by_trying(weights))


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (80, 80)])
@pytest.mark.parametrize("share", [0.03, 0.2, 1.0])
def test_assignment_equals_lapjv_on_larger_problems(twin: Any, size: tuple[int, int], share: float) -> None:
    random = np.random.default_rng(3)
    weights = random.random(size) * (random.random(size) < share)
    _, columns, _ = lap.lapjv(np.where(weights > 0, 1 - weights, 9.0), extend_cost=True, cost_limit=1.0)
    expected = sum(weights[r, c] for r, c in enumerate(columns) if c >= 0)
    assert weight_of(weights, twin.max_weight_matching(weights)) == pytest.approx(expected)


def test_nothing_to_assign(twin: Any) -> None:
    assert list(twin.max_weight_matching(np.zeros((3, 0)))) == []
    assert list(twin.max_weight_matching(np.full((2, 2), -1.0))) == []
