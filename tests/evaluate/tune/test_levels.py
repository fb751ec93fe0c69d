"""Tuning of two levels, classes and their parents, and of the limit of typicality."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from score_tables import drawn, table

from edgevid.abstain.policy import Policy, Settings
from edgevid.errors import InputError
from edgevid.evaluate.tune.risk import certified, two_levels
from edgevid.evaluate.tune.scores import ScoreTable, make_table
from edgevid.evaluate.tune.search import Target, tune
from edgevid.types import Reason, Scores, Tracks

TREE = {"vehicle": ("car", "truck"), "two-wheeler": ("bicycle", "motorcycle")}
NAMES = np.array(["car", "truck", "bicycle", "motorcycle", "person"])


def vehicles(n: int, seed: int = 0) -> ScoreTable:
    """Honest probabilities: sure of the parent, often unsure which of its two classes."""
    rng = np.random.default_rng(seed)
    groups = rng.dirichlet([0.08] * 3, n)
    inside = rng.beta(0.8, 0.8, (n, 2))
    share = np.stack([inside[:, 0], 1 - inside[:, 0], inside[:, 1], 1 - inside[:, 1], np.ones(n)], 1)
    values = groups[:, [0, 0, 1, 1, 2]] * share
    labels = (values.cumsum(1)[:, :4] < rng.random((n, 1))).sum(1)
    return make_table({"values": values, "labels": labels, "names": NAMES})


def run(policy: Policy, scores: ScoreTable) -> np.ndarray:
    n, zero = len(scores.values), np.zeros(len(scores.values))
    tracks = Tracks.of(ids=scores.tracks, boxes=[[0, 0, 9, 9]] * n, scores=zero, labels=zero, match=zero, age=zero,
                       unseen=zero)  # fmt: skip
    given = Scores.of(ids=scores.tracks, values=scores.values, times=zero)
    return policy.update(given, tracks, 0.0).labels


def test_parents_answer_where_no_class_is_sure_within_the_same_risk() -> None:
    target, scores = Target("max-risk", 0.1), vehicles(2000)
    flat = tune(scores, target, fit=False)
    report = tune(scores, target, fit=False, settings=Settings(tree=TREE))
    more, wrong = report.parents
    assert report.coverage + more > flat.coverage + 0.1
    assert report.settings.threshold == report.settings.parent_threshold
    assert (report.coverage * report.measured_risk + more * wrong) / (report.coverage + more) < 0.1
    file = report.policy()
    assert file.made["parent_coverage"] == pytest.approx(more)
    assert file.tuned.abstain_rate == pytest.approx(1 - report.coverage - more)
    assert file.tuned.certified_risk == 0.1
    # What was tuned is what runs, on other tracks within the promised risk.
    others = vehicles(4000, seed=1)
    labels = run(Policy(others.names, report.settings), others)
    parent = np.array([5, 5, 6, 6, -1])[others.labels]
    leaf, coarse = (labels >= 0) & (labels < 5), labels >= 5
    wrong_leaf, wrong_coarse = labels != others.labels, labels != parent
    assert wrong_leaf[leaf].mean() < 0.1
    assert (wrong_leaf & leaf | wrong_coarse & coarse).sum() < 0.1 * (leaf | coarse).sum()
    assert coarse.mean() > 0.1
    assert (run(Policy(scores.names, report.settings), scores) >= 0).mean() == pytest.approx(report.coverage + more)


def test_classes_that_cannot_be_told_apart_reach_nothing() -> None:
    rng = np.random.default_rng(0)
    scores = vehicles(900)
    scores = scores.of_tracks(scores.tracks[scores.values[:, 4] < 0.5])
    coin = (rng.random(len(scores.labels)) < 0.5) * (scores.labels < 4)
    with pytest.raises(InputError, match="cannot be certified"):
        tune(
            replace(scores, labels=scores.labels ^ coin),
            Target("max-risk", 0.1),
            fit=False,
            settings=Settings(tree=TREE),
        )


def test_both_tests_must_pass_at_a_threshold_and_the_first_failure_ends() -> None:
    """100 sure and right; then 100 whose class is wrong and whose parent is right."""
    sure, right = np.full(100, 0.9), np.zeros(100, bool)
    low, high = np.linspace(0.3, 0.5, 100), np.linspace(0.7, 0.8, 100)
    leaf = np.concatenate((sure, low)), np.concatenate((right, ~right))
    parent = np.concatenate((sure, high)), np.zeros(200, bool)
    # At 0.05: parents are answered to the last one; then the first classes that are wrong, until 5 % is not certain.
    found = two_levels(leaf, parent, 0.05, 0.05)
    wrong, emitted = (low >= found).sum(), 100 + (low >= found).sum()
    assert certified(int(wrong), int(emitted), 0.05, 0.05)
    assert not certified(int(wrong) + 1, int(emitted) + 1, 0.05, 0.05)
    assert found <= 0.5
    # Parents that are wrong end it before.
    worse = np.concatenate((sure, high)), np.concatenate((right, ~right))
    stopped = two_levels(leaf, worse, 0.05, 0.05)
    assert stopped > 0.75
    assert two_levels((leaf[0][:30], leaf[1][:30]), (parent[0][:30], parent[1][:30]), 0.05, 0.05) is None


@pytest.mark.parametrize("target", [Target("knee"), Target("max-risk", 0.1, method="naive")])
def test_a_tree_needs_a_target_whose_labels_stay_fresh(target: Target) -> None:
    with pytest.raises(InputError, match="fixed-sequence"):
        tune(vehicles(300), target, settings=Settings(tree=TREE))


def test_the_limit_of_typicality_rejects_the_share_of_known_tracks_and_more_of_the_unknown() -> None:
    rng, columns = np.random.default_rng(0), drawn(999, frames=2)
    known = make_table(columns | {"typicality": rng.random(1998)})
    unknown = make_table(drawn(300, frames=2, seed=1) | {"typicality": 0.4 * rng.random(600)})
    report = tune(known, Target("knee"), unlike=0.1, unknown=unknown)
    mean = known.typicality.reshape(-1, 2).mean(1)
    assert report.settings.unlike == pytest.approx(np.sort(mean)[99])  # the 100th of 999
    chosen = next(one for one in report.rejected if one[0] == report.settings.unlike)
    assert chosen[1] == pytest.approx(99 / 999)
    assert chosen[2] > 0.3
    assert report.chosen_on.undecided > 40  # the threshold is chosen on what is left
    assert [row[1] for row in report.rejected] == sorted(row[1] for row in report.rejected)
    plain = tune(known, Target("knee"))
    assert plain.settings.unlike == Settings().unlike
    assert all(math.isnan(row[2]) for row in plain.rejected)


def test_old_observations_of_a_track_fade_from_its_typicality_too() -> None:
    columns = {
        "values": [[0.6, 0.4]] * 3,
        "tracks": [1, 1, 2],
        "times": [0.0, 2.0, 0.0],
        "typicality": [0.0, 1.0, np.nan],
    }
    made = make_table({key: np.array(value) for key, value in columns.items()})
    assert made.typicality_of_tracks(1.0) == pytest.approx([1 / (1 + math.exp(-2))])


def test_typicality_is_checked() -> None:
    with pytest.raises(InputError, match="column typicality"):
        tune(table(200), unlike=0.1)
    with pytest.raises(InputError, match="p-values from 0 to 1"):
        make_table(drawn(5) | {"typicality": np.full(5, 2.0)})


def test_reasons_of_unlike_tracks() -> None:
    policy = Policy(["walk", "run"], threshold=0.8, unlike=0.1, tree={"moving": ("walk", "run")})
    zero = np.zeros(3)
    tracks = Tracks.of(
        ids=[1, 2, 3], boxes=[[0, 0, 9, 9]] * 3, scores=zero, labels=zero, match=zero, age=zero, unseen=zero
    )
    values = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]
    found = policy.update(
        Scores.of(ids=[1, 2, 3], values=values, times=zero, typicality=[[0.05], [0.5], [0.3]]), tracks, 0
    )
    assert found.labels.tolist() == [-1, 0, 2]
    assert found.reason.tolist() == [Reason.UNLIKE_TRAINING, Reason.OK, Reason.OK]
    assert policy.typicality(found.ids) == pytest.approx([0.05, 0.5, 0.3])
    blank = Scores.of(ids=[3], values=[[0.9, 0.1]], times=[0.0], typicality=[[np.nan]])
    early = Policy(["walk", "run"], threshold=0.8).update(blank, tracks, 0)
    assert early.reason.tolist() == [Reason.NOT_MEASURED, Reason.NOT_MEASURED, Reason.TOO_SHORT]  # too early to tell
    later = Scores.of(ids=[1], values=[[0.9, 0.1]], times=[0.2], typicality=[[0.45]])
    assert policy.update(later, tracks, 0.2).labels.tolist() == [0, 0, 2]  # the mean of its observations counts
