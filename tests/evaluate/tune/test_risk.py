"""Curves, areas and bounds: values by hand, properties, references, and the guarantee itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevid.errors import InputError
from edgevid.evaluate.tune import risk
from edgevid.types import Array

CONFIDENCE, WRONG = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 1, 0, 0])


def test_four_verdicts_by_hand() -> None:
    found = risk.curve(CONFIDENCE, WRONG)
    assert found.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert found.aurc_optimal == pytest.approx(1 / 16)
    assert found.e_aurc == pytest.approx(0.2083, abs=5e-5)
    assert found.augrc == pytest.approx(3 / 16)
    assert found.at(0.65) == (3, 1)
    assert found.at(0.0) == (4, 1)
    assert found.at(0.95) == (0, 0)
    assert found.residual_errors.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("wrong", "n", "bound"), [(0, 59, 0.0495), (2, 100, 0.0616), (5, 200, 0.0518), (10, 500, 0.0337)]
)
def test_published_bounds(wrong: int, n: int, bound: float) -> None:
    assert risk.upper_bound(wrong, n, 0.05) == pytest.approx(bound, abs=5e-5)


def test_bounds_at_their_ends() -> None:
    assert risk.upper_bound(7, 7, 0.05) == 1
    assert risk.upper_bound(0, 10, 0.05) == pytest.approx(1 - 0.05 ** (1 / 10))
    assert (risk.min_error_free(0.05, 0.05), risk.min_error_free(0.01, 0.05), risk.min_error_free(0.005, 0.05)) == (
        59,
        299,
        598,
    )


@given(st.integers(1, 300), st.data(), st.floats(0.001, 0.5))
@settings(max_examples=60, deadline=None)
def test_a_bound_is_the_risk_at_which_so_few_errors_have_probability_delta(
    n: int, data: st.DataObject, delta: float
) -> None:
    wrong = data.draw(st.integers(0, n - 1))
    p = risk.upper_bound(wrong, n, delta)
    tail = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(wrong + 1))
    assert tail == pytest.approx(delta, rel=1e-6)
    assert risk.certified(wrong, n, p + 1e-6, delta)
    assert not risk.certified(wrong, n, p - 1e-6, delta)


def test_the_incomplete_beta_function_against_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    for a, b, x in np.random.default_rng(0).uniform([0.5, 0.5, 0], [4000, 4000, 1], (300, 3)):
        assert risk.betainc(a, b, x) == pytest.approx(special.betainc(a, b, x), abs=1e-11)
        middle = a / (a + b)
        assert risk.betainc(a, b, middle) == pytest.approx(special.betainc(a, b, middle), abs=1e-11)
        assert risk.betaincinv(a, b, 0.95) == pytest.approx(special.betaincinv(a, b, 0.95), abs=1e-9)


samples = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40)


@given(samples, st.randoms())
@settings(max_examples=80, deadline=None)
def test_order_and_monotone_transforms_change_nothing(rows: list[tuple[int, bool]], random: object) -> None:
    confidence, wrong = (np.array(column) for column in zip(*rows, strict=True))
    found = risk.curve(confidence, wrong)
    mixed = np.random.default_rng(1).permutation(len(rows))
    other = risk.curve(np.exp(confidence[mixed] / 3.0), wrong[mixed])
    assert (found.aurc, found.augrc) == pytest.approx((other.aurc, other.augrc))
    assert found.emitted.tolist() == other.emitted.tolist()
    assert found.wrong.tolist() == other.wrong.tolist()
    assert (np.diff(found.coverage) > 0).all()
    assert (np.diff(found.residual_errors) >= 0).all()
    assert found.coverage[-1] == 1
    assert found.e_aurc >= -1e-12


@given(samples)
@settings(max_examples=40, deadline=None)
def test_ties_are_the_mean_over_their_orders(rows: list[tuple[int, bool]]) -> None:
    confidence, wrong = (np.array(column) for column in zip(*rows, strict=True))
    rng, areas = np.random.default_rng(0), []
    for _ in range(400):
        order = np.lexsort((rng.random(len(rows)), -confidence))
        areas.append((np.cumsum(wrong[order]) / np.arange(1, len(rows) + 1)).mean())
    spread = np.std(areas) / 20
    assert risk.curve(confidence, wrong).aurc == pytest.approx(np.mean(areas), abs=4.5 * spread + 1e-9)


def test_a_perfect_ranking_has_no_excess() -> None:
    wrong = np.array([0] * 7 + [1] * 3)
    assert risk.curve(np.linspace(1, 0, 10), wrong).e_aurc == pytest.approx(0)


def real_scores(n: int = 400) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    values = rng.dirichlet([0.5] * 5, n)
    labels = np.array([rng.choice(5, p=0.6 * v + 0.08) for v in values])
    return values, labels


def test_areas_against_scikit_learn() -> None:
    """Trapezoids over the same curve, the convention of torch-uncertainty, and this module's mean over k."""
    metrics = pytest.importorskip("sklearn.metrics")
    values, labels = real_scores()
    wrong = values.argmax(1) != labels
    found = risk.curve(values.max(1), wrong)
    n = found.n
    ends = (found.risk[0] + found.risk[-1]) / (2 * n)
    assert found.aurc == pytest.approx(metrics.auc(found.coverage, found.risk) + ends, abs=1e-6)
    joint = found.risk * found.coverage
    ends = (joint[0] + joint[-1]) / (2 * n)
    assert found.augrc == pytest.approx(metrics.auc(found.coverage, joint) + ends, abs=1e-6)


def test_thresholds_by_hand() -> None:
    """Ten verdicts at 1.0, 0.9 .. 0.1, wrong at 0.2, 0.3 and 0.6."""
    confidence = np.arange(10, 0, -1) / 10
    wrong = np.isin(np.arange(10, 0, -1), (2, 3, 6))
    found = risk.curve(confidence, wrong)
    assert risk.residual_errors(found, 1 / 3) == 0.4  # the six left hold one error: seven emitted, one wrong
    assert risk.residual_errors(found, 0.0) == 0.7
    assert risk.naive(found, 0.15) == 0.4  # 1 of 7
    assert risk.naive(found, 0.10) == 0.7  # 0 of 4; from 0.6 on never below 1 of 7
    assert risk.knee(found) == 0.7  # all errors removed for 0.6 abstained: 0.4; at 0.4 it is 2/3 - 0.3
    assert risk.conformal_risk(found, 0.2) == 0.4  # (1 + 1) / 11 <= 0.2 < (2 + 1) / 11
    assert risk.abstain_threshold(confidence, 0.3) == 0.4
    assert risk.chow(4) == 0.75
    assert risk.chow(0.5) == risk.chow(0) == 0


def test_the_fixed_sequence_by_hand() -> None:
    """At risk 0.5 and delta 0.05 it takes 5; the start is at 15 of 40, where 3 errors may stand, of 20 5."""
    confidence = np.arange(40, 0, -1) / 40
    wrong = np.zeros(40, bool)
    wrong[[12, 13, 14]] = True  # 3 of 15: P(at most 3) = 0.0176 passes
    wrong[15:] = True  # 4 of 16: 0.038 passes; 5 of 17: 0.072 does not
    found = risk.curve(confidence, wrong)
    assert risk.min_error_free(0.5, 0.05) == 5
    assert risk.fixed_sequence(found, 0.5, 0.05) == confidence[15]
    wrong[[10, 11]] = True  # 5 of 15: 0.15 fails at once
    assert risk.fixed_sequence(risk.curve(confidence, wrong), 0.5, 0.05) is None


def test_what_is_no_curve_is_rejected() -> None:
    for confidence, wrong in (([], []), ([0.5], [0, 1]), ([math.nan], [0])):
        with pytest.raises(InputError, match="risk curve"):
            risk.curve(np.array(confidence), np.array(wrong))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60, unique=True), st.floats(0, 1))
def test_the_abstention_rate_is_met_to_within_one(confidence: list[float], share: float) -> None:
    limit = risk.abstain_threshold(np.array(confidence), share)
    abstained = np.mean(np.array(confidence) < limit)
    assert share - 1 / len(confidence) - 1e-6 <= abstained <= share + 1e-6


def simulate(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Verdicts of a classifier that is wrong with probability 0.36 (1 - s)^2, s uniform: 12 % in all."""
    s = rng.random(n)
    return s, rng.random(n) < 0.36 * (1 - s) ** 2


def true_risk(threshold: float) -> float:
    """Mean of 0.36 (1 - s)^2 over s >= threshold."""
    return 0.12 * (1 - threshold) ** 2


@pytest.mark.parametrize("n", [600, 1500])
def test_a_thousand_tunings_hold_their_guarantee(n: int) -> None:
    rng, delta, broken = np.random.default_rng(n), 0.05, dict.fromkeys(("fixed", "naive"), 0)
    for _ in range(1000):
        found = risk.curve(*simulate(rng, n))
        made = {"fixed": risk.fixed_sequence(found, 0.05, delta), "naive": risk.naive(found, 0.05)}
        for name, threshold in made.items():
            broken[name] += threshold is not None and true_risk(threshold) > 0.05
    assert broken["fixed"] <= 1000 * delta + 3 * math.sqrt(1000 * delta * (1 - delta))
    assert broken["naive"] > 300  # the common rule


def test_the_sequence_in_steps_stops_where_each_test_in_turn_does() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        confidence = rng.random(3000).round(3)
        found = risk.curve(confidence, rng.random(3000) > confidence ** (0.02 + seed / 40))
        start = int(np.searchsorted(found.emitted, min(3 * risk.min_error_free(0.1, 0.05), found.n // 2)))
        best = None
        for row in range(start, len(found.thresholds)):
            if not risk.certified(int(found.wrong[row]), int(found.emitted[row]), 0.1, 0.05):
                break
            best = float(found.thresholds[row])
        assert risk.fixed_sequence(found, 0.1, 0.05) == best
