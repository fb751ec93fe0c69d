"""The evidence and the rules of the abstain policy on both twins: each on both sides of its limit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgevid.kernels import reference
from edgevid.types import Reason

MEAN, VOTE, SEQUENTIAL = 0, 1, 2


def core_of(twin: Any, classes: int = 3, threshold: float = 0.0, **settings: float) -> Any:
    return twin.PolicyCore(settings, np.full(classes, threshold, np.float32))


def update(
    core: Any, time: float, *rows: list[float], times: Any = None, side: float = 50, ids: Any = (1,)
) -> tuple[int, float, Reason]:
    """Label, confidence and reason of the first track after rows of track 1."""
    n = len(ids)
    boxes = np.array([[10, 20, 10 + side, 20 + 2 * side]] * n, np.float32)
    values = np.array(rows, np.float32).reshape(len(rows), -1 if rows else 3)
    moments = np.full(len(rows), time) if times is None else np.array(times, float)
    labels, confidence, reasons = core.update(np.array(ids), boxes, np.ones(len(rows), np.int64), values, moments, time)
    return int(labels[0]), float(confidence[0]), Reason(int(reasons[0]))


def softmax(x: Any) -> np.ndarray:
    e = np.exp(np.asarray(x) - np.max(x))
    return np.asarray(e / e.sum())


A, B = [0.7, 0.2, 0.1], [0.3, 0.5, 0.2]


def test_mean_log_probability_with_the_design_effect(twin: Any) -> None:
    # n observations with correlation rho count as n / (1 + (n - 1) rho) of them.
    core = core_of(twin, correlation=0.25)
    update(core, 0.0, A, A, B)
    logs = (2 * np.log(A) + np.log(B)) / (1 + 2 * 0.25)
    np.testing.assert_allclose(core.probabilities(np.array([1]))[0], softmax(logs), rtol=1e-5)


def test_observations_fade_with_their_age(twin: Any) -> None:
    core = core_of(twin, correlation=0.0, memory_s=2.0)
    update(core, 0.0, A)
    label, confidence, _ = update(core, 1.0, B)
    expected = softmax(math.exp(-0.5) * np.log(A) + np.log(B))
    assert (label, confidence) == (int(expected.argmax()), pytest.approx(expected.max(), rel=1e-5))
    # The weights fade too: half of exp(-0.5) + 1 for the correlation.
    core = core_of(twin, correlation=0.5, memory_s=2.0)
    update(core, 0.0, A)
    update(core, 1.0, B)
    factor = 1 / (1 + math.exp(-0.5) * 0.5)
    expected = softmax(factor * (math.exp(-0.5) * np.log(A) + np.log(B)))
    np.testing.assert_allclose(core.probabilities(np.array([1]))[0], expected, rtol=1e-5)


def test_votes_are_weighted_by_age(twin: Any) -> None:
    core = core_of(twin, aggregate=VOTE, memory_s=1.0)
    update(core, 0.0, A)
    label, confidence, _ = update(core, 1.0, B)
    assert (label, confidence) == (1, pytest.approx(1 / (1 + math.exp(-1)), rel=1e-6))


def test_temperature_flattens(twin: Any) -> None:
    core = core_of(twin, temperature=2.0)
    update(core, 0.0, A)
    np.testing.assert_allclose(core.probabilities(np.array([1]))[0], softmax(np.log(A) / 2), rtol=1e-5)


def test_a_probability_of_0_counts_as_a_trillionth(twin: Any) -> None:
    core = core_of(twin, classes=2, correlation=0.0)
    _, confidence, _ = update(core, 0.0, [1.0, 0.0], [0.0, 1.0])
    assert confidence == pytest.approx(0.5)
    update(core, 0.0, [1.0, 0.0])
    assert core.probabilities(np.array([1]))[0, 1] == pytest.approx(1e-12, rel=1e-3)
    update(core, 0.0, [1.0, 0.0], [1.0, 0.0])
    assert core.probabilities(np.array([1]))[0, 1] == 0  # below exp(-30)


def test_observations_out_of_order_do_not_turn_the_clock_back(twin: Any) -> None:
    core = core_of(twin, stale_s=1.0, min_seconds=0.5)
    update(core, 1.0, A, A, times=[1.0, 0.25])
    assert update(core, 2.0)[2] is Reason.TOO_SHORT  # from 1.0 to 1.0
    assert update(core, 2.0, A, times=[1.5])[2] is Reason.OK
    assert update(core, 2.5)[2] is Reason.OK
    assert update(core, 2.51)[2] is Reason.STALE
    core = core_of(twin, stale_s=1.0)
    update(core, 1.0, A, A, times=[1.0, 0.25])
    assert update(core, 1.75)[2] is Reason.OK  # the last observation is that of 1.0


@pytest.mark.parametrize(
    ("settings", "rows", "reason"),
    [
        ({"min_observations": 2}, [A], Reason.TOO_SHORT),
        ({"min_observations": 2}, [A, A], Reason.OK),
        ({"margin": 0.49}, [A], Reason.OK),
        ({"margin": 0.51}, [A], Reason.LOW_MARGIN),
        ({"min_agreement": 0.6}, [A, A, [0.4, 0.45, 0.15]], Reason.OK),
        ({"min_agreement": 0.7}, [A, A, [0.4, 0.45, 0.15]], Reason.DISAGREEMENT),
        ({"threshold": 0.69}, [A], Reason.OK),
        ({"threshold": 0.71}, [A], Reason.LOW_CONFIDENCE),
        ({"min_side_px": 50}, [A], Reason.OK),
        ({"min_side_px": 50.5}, [A], Reason.TOO_SMALL),
        ({}, [], Reason.NOT_MEASURED),
        # Three of four votes: exactly 0.75, and 0.5 before the second.
        ({"aggregate": VOTE, "margin": 0.5}, [A, A, A, B], Reason.OK),
        ({"aggregate": VOTE, "threshold": 0.75}, [A, A, A, B], Reason.OK),
        ({"aggregate": VOTE, "min_agreement": 0.75}, [A, A, A, B], Reason.OK),
        ({"aggregate": VOTE, "margin": 0.51}, [A, A, A, B], Reason.LOW_MARGIN),
        # Of several reasons the first: small, not measured, short, stale, disagreement, confidence, margin.
        ({"min_side_px": 99, "min_observations": 9}, [A], Reason.TOO_SMALL),
        ({"min_observations": 9}, [], Reason.NOT_MEASURED),
        ({"min_observations": 9, "threshold": 0.9}, [A], Reason.TOO_SHORT),
        ({"min_agreement": 0.7, "threshold": 0.9}, [A, A, [0.4, 0.45, 0.15]], Reason.DISAGREEMENT),
        ({"threshold": 0.9, "margin": 0.9}, [A], Reason.LOW_CONFIDENCE),
    ],
)
def test_each_rule_on_both_sides(twin: Any, settings: dict[str, float], rows: Any, reason: Reason) -> None:
    label, _, found = update(core_of(twin, **settings), 0.0, *rows)
    assert found is reason
    assert (label >= 0) is (reason is Reason.OK)


def test_the_sequential_test_adds_damped_evidence_until_the_gap(twin: Any) -> None:
    # Each observation adds 0.35 log(0.7 / 0.2) = 0.438 to the gap; decided at log 19 = 2.94.
    core = core_of(twin, aggregate=SEQUENTIAL)
    decisions = [update(core, n / 10, A)[2] for n in range(8)]
    assert decisions == [Reason.LOW_MARGIN] * 6 + [Reason.OK] * 2


def test_the_sequential_decision_falls_with_its_running_mean_and_is_taken_back_above_take(twin: Any) -> None:
    core = core_of(twin, aggregate=SEQUENTIAL, ema_s=0.5, drop=0.35, take=0.55, gap=1.0, step=0.5)
    oracle, sums, decided, once = np.zeros(3), np.zeros(3), -1, False
    random, reasons = np.random.default_rng(1), []
    for n in range(60):
        p = np.array(A if (n // 15) % 2 == 0 else [0.1, 0.25, 0.65]) + random.uniform(-0.04, 0.04, 3)
        p = np.float32(p / p.sum()).astype(float)
        rate = 1.0 if n == 0 else 1 - math.exp(-0.4)
        oracle = oracle + rate * (p - oracle)
        if decided >= 0 and oracle[decided] < 0.35:
            decided, sums = -1, 0.5 * np.log(oracle)
        elif decided < 0:
            sums = sums + 0.5 * np.log(p)
        if decided < 0:
            order = np.argsort(sums)
            if sums[order[2]] - sums[order[1]] >= 1.0 and (not once or oracle[order[2]] > 0.55):
                decided, once = int(order[2]), True
        label, _, reason = update(core, n / 5, list(p))
        assert label == decided
        assert reason is (Reason.OK if decided >= 0 else Reason.LOW_MARGIN)
        reasons.append(decided)
    assert len(set(reasons)) == 3  # both classes, and in between neither


def test_a_small_object_keeps_its_evidence_and_adds_none(twin: Any) -> None:
    core = core_of(twin, min_side_px=20, correlation=0.0)
    before = update(core, 0.0, A)
    assert update(core, 1.0, B, side=19)[2] is Reason.TOO_SMALL
    assert update(core, 2.0) == before


def test_tracks_that_are_gone_are_forgotten(twin: Any) -> None:
    core = core_of(twin)
    update(core, 0.0, A)
    update(core, 1.0, ids=(2,))
    assert update(core, 2.0)[2] is Reason.NOT_MEASURED
    update(core, 3.0, A)
    core.reset()
    assert np.isnan(core.probabilities(np.array([1]))).all()
    assert update(core, 4.0)[2] is Reason.NOT_MEASURED


def test_what_is_no_probability(twin: Any) -> None:
    core = core_of(twin)
    for good in ([0.7, 0.2, 0.109], [0.7, 0.2, 0.091], [1.00005, -0.00005, 0.0]):
        update(core, 0.0, good)
    for bad in ([0.7, 0.2, 0.111], [0.7, 0.2, 0.089], [1.0002, -0.0002, 0.0]):
        with pytest.raises(ValueError, match="sum to 1"):
            update(core, 0.0, bad)
    assert core.rejected == 0
    update(core, 0.0, [math.nan, 0.5, 0.5], [math.inf, 0, 0])
    assert core.rejected == 2
    core.reset()
    assert core.rejected == 0


def test_settings_and_shapes_are_checked(twin: Any) -> None:
    with pytest.raises(ValueError, match="policy setting: there is no warmth"):
        core_of(twin, warmth=1.0)
    core = core_of(twin)
    one, none = np.array([1]), np.zeros(0)
    box, row = np.zeros((1, 4), np.float32), np.full((1, 3), 1 / 3, np.float32)
    for ids, boxes, score_ids, values, times in (
        (one, box[:0], one[:0], row[:0], none),
        (one, box, one, row[:0], np.zeros(1)),
        (one, box, one, row, none),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="as many boxes as ids"):
            core.update(ids, boxes, score_ids, values, times, 0.0)
    with pytest.raises(ValueError, match="one value per class"):
        core.update(one, box, one, row[:, :2].copy(), np.zeros(1), 0.0)


@pytest.mark.parametrize("aggregate", [MEAN, VOTE, SEQUENTIAL])
def test_both_twins_agree(native: Any, aggregate: int) -> None:
    rules = {"aggregate": aggregate, "temperature": 1.3, "margin": 0.05, "memory_s": 3.0, "gap": 1.0}
    cores = [core_of(twin, 5, 0.3, **rules) for twin in (native, reference)]
    random = np.random.default_rng(aggregate)
    for frame in range(60):
        ids, boxes = np.arange(8) + frame // 20, np.full((8, 4), [0, 0, 30, 60], np.float32)
        values = random.dirichlet(np.full(5, 0.4), 6).astype(np.float32)
        rows = (ids, boxes, random.integers(0, 10, 6), values, np.full(6, frame / 10), frame / 10)
        mine, other = (core.update(*rows) for core in cores)
        np.testing.assert_array_equal(mine[0], other[0])
        np.testing.assert_array_equal(mine[2], other[2])
        np.testing.assert_allclose(mine[1], other[1], atol=1e-6)
