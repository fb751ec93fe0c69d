"""The policy: its verdicts, every reason for abstaining, and the agreement of its two kernels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgevid import kernels
from edgevid.abstain import policy as abstain
from edgevid.abstain.policy import NEVER, Policy, Settings
from edgevid.errors import InputError
from edgevid.kernels import reference
from edgevid.pipeline import Pipeline, RecognitionTask
from edgevid.types import Clips, Detections, Frame, Reason, Scores, Tracks, Verdicts

NAMES = ("walk", "run", "fall")


@pytest.fixture(params=["chosen", "numpy"], autouse=True)
def core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr(kernels, "PolicyCore", reference.PolicyCore)


def tracks_of(*ids: int, side: float = 40, match: int = 0) -> Tracks:
    n = len(ids)
    return Tracks.of(
        ids=ids, boxes=[[0, 0, side, 2 * side]] * n, scores=[0.9] * n, labels=[1] * n, match=[match] * n,
        age=[1] * n, unseen=[0] * n,
    )  # fmt: skip


def scores_of(*values: list[float], ids: tuple[int, ...] = (), time: float = 0) -> Scores:
    return Scores.of(ids=ids or range(1, len(values) + 1), values=list(values), times=[time] * len(values))


def show(policy: Policy, *values: list[float], dt: float = 1.0) -> tuple[int, float, Reason]:
    """What the policy says of track 1 after these observations, `dt` seconds apart."""
    verdicts = Verdicts.empty()
    for step, p in enumerate(values):
        verdicts = policy.update(scores_of(p, time=step * dt), tracks_of(1), step * dt)
    return int(verdicts.labels[0]), float(verdicts.confidence[0]), Reason(int(verdicts.reason[0]))


def test_a_confident_score_is_emitted_and_a_uniform_one_is_not() -> None:
    policy = Policy(NAMES, threshold=0.6)
    verdicts = policy.update(scores_of([0.8, 0.1, 0.1], [0.36, 0.33, 0.31]), tracks_of(1, 2), 0.0)
    assert verdicts.labels.tolist() == [0, -1]
    assert verdicts.confidence.tolist() == pytest.approx([0.8, 0.36])
    assert verdicts.reason.tolist() == [Reason.OK, Reason.LOW_CONFIDENCE]


def test_an_object_without_observations_is_not_measured() -> None:
    verdicts = Policy(NAMES).update(Scores.empty(), tracks_of(4, 9), 0.0)
    assert verdicts.ids.tolist() == [4, 9]
    assert verdicts.reason.tolist() == [Reason.NOT_MEASURED] * 2
    assert verdicts.confidence.tolist() == [0, 0]
    assert len(Policy(NAMES).update(Scores.empty(), Tracks.empty(), 0.0)) == 0


def test_each_rule_gives_its_reason() -> None:
    assert show(Policy(NAMES, threshold=0, margin=0.2), [0.5, 0.4, 0.1])[2] == Reason.LOW_MARGIN
    assert show(Policy(NAMES, threshold=0, margin=0.1), [0.5, 0.39, 0.11])[2] == Reason.OK
    assert show(Policy(NAMES, min_observations=3), [1, 0, 0], [1, 0, 0])[2] == Reason.TOO_SHORT
    assert show(Policy(NAMES, min_seconds=2), [1, 0, 0], [1, 0, 0])[2] == Reason.TOO_SHORT
    assert show(Policy(NAMES, min_seconds=2), [1, 0, 0], [1, 0, 0], [1, 0, 0])[2] == Reason.OK
    torn = ([0.98, 0.01, 0.01], [0.4, 0.6, 0], [0.4, 0.6, 0])  # one of three votes for the best class
    assert show(Policy(NAMES, min_agreement=0.5), *torn)[2] == Reason.DISAGREEMENT
    assert show(Policy(NAMES, min_agreement=0.3), *torn)[:1] == (0,)


def test_a_small_object_is_neither_decided_nor_observed() -> None:
    policy = Policy(NAMES, min_side_px=20)
    assert policy.update(scores_of([1, 0, 0]), tracks_of(1, side=10), 0.0).reason[0] == Reason.TOO_SMALL
    assert policy.update(Scores.empty(), tracks_of(1, side=40), 1.0).reason[0] == Reason.NOT_MEASURED


def test_a_verdict_grows_stale() -> None:
    policy = Policy(NAMES, stale_s=2)
    assert policy.update(scores_of([1, 0, 0]), tracks_of(1), 0.0).reason[0] == Reason.OK
    assert policy.update(Scores.empty(), tracks_of(1), 2.0).reason[0] == Reason.OK
    assert policy.update(Scores.empty(), tracks_of(1), 2.1).reason[0] == Reason.STALE


def test_thresholds_of_single_classes() -> None:
    policy = Policy(NAMES, threshold=0.5, per_class={"fall": 0.9, "run": NEVER})
    verdicts = policy.update(scores_of([0.6, 0.2, 0.2], [0, 1, 0], [0.1, 0.1, 0.8]), tracks_of(1, 2, 3), 0.0)
    assert verdicts.labels.tolist() == [0, -1, -1]


def test_mean_log_probability_by_hand() -> None:
    """Two observations with correlation 1: the geometric mean; with 0: the product."""
    rows = [0.5, 0.4, 0.1], [0.8, 0.1, 0.1]
    product = np.array([0.4, 0.04, 0.01])
    mean = np.sqrt(product)
    assert show(Policy(NAMES, correlation=1), *rows)[1] == pytest.approx(mean[0] / mean.sum(), abs=1e-6)
    assert show(Policy(NAMES, correlation=0), *rows)[1] == pytest.approx(0.4 / 0.45, abs=1e-6)


def test_temperature_by_hand() -> None:
    roots = np.sqrt([0.64, 0.25, 0.11])
    label, confidence, _ = show(Policy(NAMES, threshold=0, temperature=2), [0.64, 0.25, 0.11])
    assert label == 0
    assert confidence == pytest.approx(roots[0] / roots.sum(), abs=1e-6)


def test_votes() -> None:
    rows = [0.9, 0.1, 0], [0.4, 0.6, 0], [0.4, 0.6, 0]
    assert show(Policy(NAMES, aggregate="vote"), *rows)[:2] == (1, pytest.approx(2 / 3))


def test_memory_fades() -> None:
    """After 3 s with memory 1 s the old observation weighs e^-3."""
    policy = Policy(NAMES, aggregate="vote", memory_s=1)
    assert show(policy, [1, 0, 0], [0, 1, 0], dt=3)[:2] == (1, pytest.approx(1 / (1 + math.exp(-3))))


def test_the_sequential_test_at_its_limits() -> None:
    weak = [0.4, 0.35, 0.25]
    assert show(Policy(NAMES, threshold=0, aggregate="sequential", odds=1), weak)[0] == 0
    never = Policy(NAMES, threshold=0, aggregate="sequential", odds=math.inf)
    assert show(never, *[[1.0, 0.0, 0.0]] * 50)[2] == Reason.LOW_MARGIN


def test_the_sequential_test_decides_when_the_evidence_passes_the_odds() -> None:
    """step 0.5 * ln(0.8 / 0.1) = 1.04 an observation: ln 19 = 2.94 is passed by the third."""
    policy = Policy(NAMES, threshold=0, aggregate="sequential", step=0.5)
    clear = [0.8, 0.1, 0.1]
    assert show(policy, clear, clear)[2] == Reason.LOW_MARGIN
    policy.reset()
    assert show(policy, clear, clear, clear)[0] == 0


def test_a_decided_verdict_does_not_flicker_but_follows_a_change() -> None:
    policy = Policy(NAMES, threshold=0, aggregate="sequential", ema_s=2)
    emitted = []
    rows = [[0.8, 0.1, 0.1]] * 10 + [[0.2, 0.7, 0.1], [0.8, 0.1, 0.1]] * 5 + [[0.05, 0.9, 0.05]] * 20
    for step, p in enumerate(rows):
        emitted.append(int(policy.update(scores_of(p, time=step), tracks_of(1), step).labels[0]))
    changes = [b for a, b in zip(emitted, emitted[1:]) if a != b]  # noqa: B905, RUF007
    assert emitted[9:20] == [0] * 11
    assert changes == [0, -1, 1]


def test_tracks_that_are_gone_are_forgotten_and_instances_share_nothing() -> None:
    one, two = Policy(NAMES), Policy(NAMES)
    one.update(scores_of([1, 0, 0]), tracks_of(1), 0.0)
    assert two.update(Scores.empty(), tracks_of(1), 0.0).reason[0] == Reason.NOT_MEASURED
    one.update(Scores.empty(), tracks_of(2), 1.0)
    assert one.update(Scores.empty(), tracks_of(1), 2.0).reason[0] == Reason.NOT_MEASURED
    one.update(scores_of([1, 0, 0]), tracks_of(1), 3.0)
    one.reset()
    assert one.update(Scores.empty(), tracks_of(1), 4.0).reason[0] == Reason.NOT_MEASURED


def test_scores_of_unknown_tracks_are_passed_over() -> None:
    verdicts = Policy(NAMES).update(scores_of([1, 0, 0], ids=(77,)), tracks_of(1), 0.0)
    assert verdicts.reason.tolist() == [Reason.NOT_MEASURED]


def test_nan_rows_are_counted_and_leave_no_trace() -> None:
    policy = Policy(NAMES)
    verdicts = policy.update(scores_of([math.nan, 0.5, 0.5], [0.9, 0.1, 0]), tracks_of(1, 2), 0.0)
    assert verdicts.reason.tolist() == [Reason.NOT_MEASURED, Reason.OK]
    assert policy.rejected == 1


def test_what_is_no_probability_is_rejected() -> None:
    with pytest.raises(InputError, match=r"sum to 1.*softmax"):
        Policy(NAMES).update(scores_of([3.1, -1.0, 0.4]), tracks_of(1), 0.0)
    with pytest.raises(InputError, match="3 classes, got 2"):
        Policy(NAMES).update(scores_of([0.5, 0.5]), tracks_of(1), 0.0)


def test_probabilities_stay_available() -> None:
    policy = Policy(NAMES, threshold=0.99)
    assert show(policy, [0.7, 0.2, 0.1])[0] == -1
    found = policy.probabilities(np.array([1, 5]))
    assert found[0].tolist() == pytest.approx([0.7, 0.2, 0.1])
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"aggregate": "mean"}, "aggregate"),
        ({"threshold": -0.1}, "threshold"),
        ({"threshold": math.nan}, "threshold"),
        ({"temperature": 0}, "temperature"),
        ({"per_class": {"walk": 3}}, "per_class"),
        ({"per_class": {"swim": 0.5}}, "swim"),
        ({"treshold": 0.5}, "treshold"),
    ],
)
def test_rules_that_cannot_be(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Policy(NAMES, **rules)
    with pytest.raises(InputError, match="both"):
        Policy(NAMES, Settings(), margin=0.1)


def test_class_scores_of_detector_scores() -> None:
    seen, coasting = tracks_of(1), tracks_of(1, match=-1)
    assert abstain.class_scores(seen, 3, 2.0).values.tolist() == [pytest.approx([0.05, 0.9, 0.05])]
    assert len(abstain.class_scores(coasting, 3, 2.0)) == 0
    person = dataclasses.replace(seen, labels=np.zeros(1, np.int32))
    assert abstain.class_scores(person, 1, 0.0).values.tolist() == [[1.0]]
    with pytest.raises(InputError, match="labels 0 to 0"):
        abstain.class_scores(seen, 1, 0.0)


class Canned:
    """Every stage of a pipeline with prepared answers."""

    names = NAMES

    def detect(self, frames: list[Frame]) -> list[Detections]:
        return [Detections.of(boxes=[[0, 0, 40, 80]], scores=[0.9], labels=[0])]

    def recognize(self, clips: Clips) -> Scores:
        return scores_of([0.7, 0.2, 0.1])

    def reset(self) -> None: ...


class CannedTracker(Canned):
    def update(self, detections: Detections, time: float) -> Tracks:
        return tracks_of(1)


class CannedClips(Canned):
    def update(self, frame: Frame, tracks: Tracks) -> Clips:
        return Clips.empty()

    def update_confidence(self, scores: Scores) -> None: ...


@pytest.mark.parametrize(("threshold", "label"), [(0.6, 0), (0.8, -1)])
def test_the_policy_changes_what_a_pipeline_emits(threshold: float, label: int) -> None:
    part = RecognitionTask(CannedClips(), Canned(), Policy(NAMES, threshold=threshold))
    pipeline = Pipeline(Canned(), CannedTracker(), recognitions={"action": part})
    result = pipeline.process(Frame(np.zeros((90, 90, 3), np.uint8), 0.0, 0))
    assert result.verdicts["action"].labels.tolist() == [label]
    assert result.scores["action"].values[0].tolist() == pytest.approx([0.7, 0.2, 0.1])


@pytest.mark.parametrize("aggregate", [0, 1, 2])
@pytest.mark.parametrize("classes", [2, 14])
def test_the_kernels_agree(aggregate: int, classes: int) -> None:
    rng = np.random.default_rng(classes)
    rules = {"aggregate": aggregate, "temperature": 1.4, "margin": 0.05, "min_agreement": 0.3, "memory_s": 3}
    rules |= {"stale_s": 0.2, "min_seconds": 0.1, "min_side_px": 5, "min_observations": 2}
    thresholds = np.full(classes, 0.3, np.float32)
    one = kernels._chosen.PolicyCore(rules, thresholds)
    two = reference.PolicyCore(rules, thresholds)
    seen: set[int] = set()
    for frame in range(80):
        ids = np.sort(rng.choice(25, 20, replace=False)) if frame % 10 == 0 else ids  # noqa: F821
        boxes = np.zeros((20, 4), np.float32)
        boxes[:, 2:] = rng.uniform(4, 40, (20, 2))
        values = rng.dirichlet(np.full(classes, 0.3), 12).astype(np.float32)
        values[0] = np.nan if frame == 7 else values[0]
        time = 0.05 * frame
        given = ids, boxes, rng.choice(30, 12), values, np.full(12, time), time
        left, right = one.update(*given), two.update(*given)
        assert left[0].tolist() == right[0].tolist()
        assert left[2].tolist() == right[2].tolist()
        np.testing.assert_allclose(left[1], right[1], atol=1e-6)
        np.testing.assert_allclose(one.probabilities(ids), two.probabilities(ids), atol=1e-6)
        seen.update(left[2].tolist())
    assert one.rejected == two.rejected == 1
    assert len(seen) >= 5  # the agreement is about most rules, not about one


@pytest.mark.parametrize("make", [reference.PolicyCore, kernels._chosen.PolicyCore])
def test_the_kernels_check_their_input(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="there is no warmth"):
        make({"warmth": 1.0}, np.zeros(2, np.float32))
    core = make({}, np.zeros(2, np.float32))
    ids, boxes, none = np.array([1]), np.zeros((1, 4), np.float32), np.zeros(0)
    with pytest.raises(ValueError, match="as many boxes as ids"):
        core.update(ids, boxes[:0], ids[:0], np.zeros((0, 2), np.float32), none, 0.0)
    with pytest.raises(ValueError, match="one value per class"):
        core.update(ids, boxes, ids, np.zeros((1, 3), np.float32), np.zeros(1), 0.0)
