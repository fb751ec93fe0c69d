"""Abstention by hand: drift, policy files and settings on both sides of each limit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevid.abstain import file as drift
from edgevid.abstain.file import (
    DriftMonitor,
    PolicyFile,
    Shift,
    Tuned,
    kolmogorov_p,
    ks_distance,
    psi,
    read_policy,
    shift,
    sketch,
    write_policy,
)
from edgevid.abstain.policy import LIMITS, Policy, Settings, class_scores, class_thresholds
from edgevid.errors import FileFormatError, InputError
from edgevid.speed.abstain import SpeedPolicy
from edgevid.types import Reason, Scores, Tracks, Verdicts

# Drift


@pytest.mark.parametrize(
    ("p", "psi", "ks", "alarm"),
    [
        (0.0009, 0.21, 0.0, True), (0.0009, 0.0, 0.11, True), (0.0009, 0.2, 0.1, False),
        (0.001, 0.9, 0.9, False), (0.0, 0.0, 0.0, False),
    ],
)  # fmt: skip
def test_an_alarm_is_unlikely_and_large(p: float, psi: float, ks: float, alarm: bool) -> None:
    assert Shift(ks, p, psi).alarm is alarm


def test_the_distance_of_two_samples_counts_ties_on_both_sides() -> None:
    assert ks_distance(np.array([1.0, 1, 2, 2]), np.array([1.0, 2, 2, 2])) == 0.25
    assert ks_distance(np.array([1.0]), np.array([2.0])) == 1
    assert ks_distance(np.array([5.0, 6, 7]), np.array([1.0, 2])) == 1


def test_the_probability_of_a_distance() -> None:
    # Kolmogorov's series at x: 2 sum (-1)^(k - 1) exp(-2 k^2 x^2), with Stephens' x.
    for size, distance in ((100.0, 0.1), (40.0, 0.2), (9.0, 0.3)):
        x = (math.sqrt(size) + 0.12 + 0.11 / math.sqrt(size)) * distance
        series = 2 * (math.exp(-2 * x * x) - math.exp(-8 * x * x) + math.exp(-18 * x * x))
        assert kolmogorov_p(distance, size) == pytest.approx(series, rel=1e-6)
    assert kolmogorov_p(0.018, 100.0) == 1
    assert 0.99 < kolmogorov_p(0.04, 100.0) < 1


def test_the_effective_size_of_two_samples() -> None:
    a, b = np.linspace(0, 1, 40), np.linspace(0.3, 1.3, 60)
    found = shift(a, b)
    assert found.p == pytest.approx(kolmogorov_p(found.ks, 40 * 60 / 100))
    assert found.psi == pytest.approx(psi(a, b))


def test_the_stability_index_has_ten_bins_with_equal_shares() -> None:
    first = np.arange(100) / 100
    second = np.full(50, 0.05)  # all in the first of ten bins
    p = np.full(10, 10.5 / 105)
    q = np.array([50.5] + [0.5] * 9) / 55
    assert psi(first, second) == pytest.approx(((q - p) * np.log(q / p)).sum())
    edge = np.full(50, np.quantile(first, 0.1))  # on the edge: of the upper bin
    assert psi(first, edge) == pytest.approx(((q - p) * np.log(q / p)).sum())


def test_a_sketch_is_101_quantiles() -> None:
    found = sketch(np.linspace(0, 1, 1001))
    assert found == tuple(round(n / 100, 6) for n in range(101))
    assert sketch(np.array([1 / 3]), 3) == (0.333333,) * 3


def monitored(monitor: DriftMonitor, abstained: int, emitted: int) -> drift.DriftReport:
    rows = [(-1, 0.4, Reason.LOW_CONFIDENCE)] * abstained + [(0, 0.9, Reason.OK)] * emitted
    labels, confidence, reason = zip(*rows, strict=True)
    monitor.update(Verdicts.of(ids=np.arange(len(rows)), labels=labels, confidence=confidence, reason=reason))
    monitor.reset()
    return monitor.report()


@pytest.mark.parametrize(
    ("rate", "tracks", "abstained", "alarm"),
    [
        (0.2, 1000, 81, True), (0.2, 1000, 80, False), (0.2, 1000, 19, True), (0.2, 1000, 20, False),
        # 3.3 standard errors: sqrt(0.05 0.95 (1/200 + 1/1000)) = 0.0169 each, 0.0557 off: 21.1 of 200
        (0.05, 1000, 22, True), (0.05, 1000, 21, False),
        # and of a tuning set of 100: sqrt(0.05 0.95 (1/200 + 1/100)) = 0.0267, 0.0881 off: 27.6 of 200
        (0.05, 100, 28, True), (0.05, 100, 27, False),
        # where almost nothing abstained, the variance of one in ten thousand: 0.0011, 0.0026 off: 1 of 200
        (0.0, 1000, 1, True),
    ],
)  # fmt: skip
def test_the_abstain_rate_drifts_by_a_factor_of_two_and_beyond_chance(
    rate: float, tracks: int, abstained: int, alarm: bool
) -> None:
    report = monitored(DriftMonitor(Tuned((), rate, tracks)), abstained, 200 - abstained)
    assert report.alarm is alarm
    assert (report.tracks, report.abstain_rate, report.tuned_rate) == (200, abstained / 200, rate)
    assert ("Tune again" in report.description) is alarm
    assert report.shift is None


def test_drift_is_tested_from_min_tracks_on() -> None:
    few = monitored(DriftMonitor(Tuned((), 0.2, 1000)), 99, 0)
    assert (few.alarm, few.abstain_rate) == (False, 1.0)
    assert few.description == "99 tracks so far: drift is tested from 100 on"
    enough = monitored(DriftMonitor(Tuned((), 0.2, 1000)), 100, 0)
    assert enough.alarm
    assert "last 100 tracks: 100% abstained, 20% when tuned" in enough.description
    none = DriftMonitor(Tuned((), 0.2, 1000)).report()
    assert math.isnan(none.abstain_rate)
    assert DriftMonitor(Tuned((), 0.2), window=1, min_tracks=1)._window.maxlen == 1
    with pytest.raises(InputError, match="1 <= min_tracks"):
        DriftMonitor(Tuned((), 0.2), min_tracks=0)


def test_the_window_is_a_thousand_tracks() -> None:
    monitor = DriftMonitor(Tuned((), 0.2, 1000))
    assert monitored(monitor, 500, 600).tracks == 1000
    assert monitor.report().abstain_rate == 0.4


def test_without_a_tuned_rate_only_confidences_count() -> None:
    tuned = Tuned(tuple(np.linspace(0, 1, 11)), math.nan, 500)
    report = monitored(DriftMonitor(tuned), 150, 50)
    assert report.shift is not None
    assert report.alarm
    assert "when tuned" not in report.description
    # 150 at 0.4 and 50 at 0.9 against an even line of 500 points.
    even = (np.arange(500) + 0.5) / 500
    expected = shift(even, np.repeat([0.4, 0.9], [150, 50]))
    assert report.shift == expected
    sketched = DriftMonitor(Tuned(tuple(np.linspace(0, 1, 11)), 0.75))
    assert monitored(sketched, 150, 50).shift == shift((np.arange(11) + 0.5) / 11, np.repeat([0.4, 0.9], [150, 50]))


def test_a_track_counts_with_its_last_verdict_when_it_ends() -> None:
    monitor = DriftMonitor(Tuned((), 0.5, 1000), min_tracks=1)

    def frame(*rows: tuple[int, int, float, Reason]) -> None:
        ids, labels, confidence, reason = zip(*rows, strict=True) if rows else ((), (), (), ())
        monitor.update(Verdicts.of(ids=ids, labels=labels, confidence=confidence, reason=reason))

    frame((1, -1, 0.3, Reason.LOW_CONFIDENCE), (2, 0, 0.9, Reason.OK))
    frame((1, 0, 0.8, Reason.OK), (2, -1, 0.9, Reason.STALE))  # STALE is no decision: the one before stays
    assert monitor.report().tracks == 0
    frame((2, -1, 0.5, Reason.DISAGREEMENT))
    assert list(monitor._window) == [(pytest.approx(0.8), False)]
    frame()
    assert list(monitor._window)[1] == (0.5, True)
    frame((3, -1, 0.0, Reason.LOW_MARGIN), (4, -1, 0.0, Reason.TOO_SHORT))
    monitor.reset()
    frame()
    assert monitor.report().tracks == 3


# Policy files

TEXT = """
format = "edgevid-policy 1"
names = ["walk", "run"]
[decide]
threshold = 0.7
"""


def read(folder: Path, extra: str = "", top: str = "") -> PolicyFile:
    path = folder / "p.toml"
    path.write_text(top + TEXT + extra)
    return read_policy(path)


def test_a_short_file_has_defaults(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.settings == Settings(threshold=0.7)
    assert (found.task, found.model_sha256, found.speed, found.tuned.tracks, dict(found.made)) == (
        "", "", None, 0, {},
    )  # fmt: skip
    assert found.tuned.quantiles == ()
    assert math.isnan(found.tuned.abstain_rate)
    assert read(tmp_path, "min_observations = 1").settings.min_observations == 1
    assert read(tmp_path, "[speed]").speed == SpeedPolicy(pytest.approx(2 / 3.6), 0.05)


@pytest.mark.parametrize("quantiles", [[0, 0.5, 1], [0.2, 0.2, 0.2]])
def test_quantiles_rise_from_0_to_1(tmp_path: Path, quantiles: list[float]) -> None:
    assert read(tmp_path, f"[tuned]\nquantiles = {quantiles}").tuned.quantiles == tuple(quantiles)
    for bad in ([-0.01, *quantiles], [*quantiles, 1.01], quantiles[:2], [*quantiles, 0.1]):
        with pytest.raises(FileFormatError, match="quantiles"):
            read(tmp_path, f"[tuned]\nquantiles = {bad}")


def test_every_number_that_is_not_its_default_is_written(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "threshold": 0.6, "margin": 0.11, "min_seconds": 0.5, "min_agreement": 0.3, "stale_s": 4.0,
        "min_side_px": 12.0, "temperature": 1.7, "correlation": 0.2, "memory_s": 9.0, "odds": 7.0,
        "step": 0.5, "take": 0.6, "drop": 0.2, "ema_s": 2.0, "min_observations": 3, "aggregate": "sequential",
    }  # fmt: skip
    whole = PolicyFile(("a", "b"), Settings(**values), speed=SpeedPolicy(0.7, 0.2), made={"n": 2, "by": "x"})
    write_policy(tmp_path / "p.toml", whole)
    found = read_policy(tmp_path / "p.toml")
    assert found.settings == whole.settings
    assert found.speed == SpeedPolicy(pytest.approx(0.7), 0.2)
    assert dict(found.made) == {"n": 2, "by": "x"}
    assert "[tuned]" not in (tmp_path / "p.toml").read_text()
    write_policy(tmp_path / "q.toml", PolicyFile(("a", "b"), Settings()))
    text = (tmp_path / "q.toml").read_text()
    assert not [key for key in values if f"{key} =" in text and key not in
                ("threshold", "min_observations", "aggregate", "temperature", "correlation")]  # fmt: skip
    assert "[speed]" not in text


def test_a_file_is_bound_to_a_model_only_where_both_are_known(tmp_path: Path) -> None:
    bound = PolicyFile(("a",), Settings(), model_sha256="a" * 64)
    bound.must_fit(names=None, model_sha256=None)
    bound.must_fit(names=["a"], model_sha256="a" * 64)
    PolicyFile(("a",), Settings()).must_fit(names=None, model_sha256="b" * 64)
    with pytest.raises(FileFormatError, match="model_sha256"):
        bound.must_fit(names=None, model_sha256="b" * 64)
    with pytest.raises(FileFormatError, match="names"):
        bound.must_fit(names=["a", "b"], model_sha256=None)
    with pytest.raises(FileFormatError, match="64 lower-case"):
        read(tmp_path, top=f'model_sha256 = "{"A" * 64}"\n')


# Settings and scores


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_each_setting_has_its_limits(name: str) -> None:
    low, high = LIMITS[name]
    for value in (low, high):
        Settings(**{name: value})
    for value in (low - 1e-6, math.nan, *([high + 1e-6] if math.isfinite(high) else [])):
        with pytest.raises(InputError, match=f"policy {name}: expected"):
            Settings(**{name: value})


def test_the_limits_themselves() -> None:
    inf = math.inf
    assert {
        "threshold": (0, 2), "margin": (0, 1), "min_observations": (1, inf), "min_seconds": (0, inf),
        "min_agreement": (0, 1), "stale_s": (0, inf), "min_side_px": (0, inf), "temperature": (0.05, 20),
        "correlation": (0, 1), "memory_s": (1e-3, inf), "odds": (1, inf), "step": (1e-3, 1), "take": (0, 1),
        "drop": (0, 1), "ema_s": (1e-3, inf), "unlike": (0, 1), "parent_threshold": (0, 2),
    } == LIMITS  # fmt: skip


def test_thresholds_of_classes_go_from_0_to_never() -> None:
    settings = Settings(threshold=0.4, per_class={"run": 2.0, "walk": 0.0})
    assert class_thresholds(("walk", "run", "fall"), settings).tolist() == [0, 2, np.float32(0.4)]
    for bad in (-0.01, 2.01):
        with pytest.raises(InputError, match="per_class"):
            Settings(per_class={"run": bad})
    with pytest.raises(InputError, match="expected names of"):
        class_thresholds(("walk",), settings)
    with pytest.raises(InputError, match="expected one of"):
        Settings(aggregate="mean")


def tracks_of(*rows: tuple[int, int, float, int]) -> Tracks:
    ids, labels, scores, match = zip(*rows, strict=True)
    zero = np.zeros(len(rows))
    boxes = np.full((len(rows), 4), [0, 0, 40, 90])
    return Tracks.of(ids=ids, boxes=boxes, scores=scores, labels=labels, match=match, age=zero, unseen=zero)


def test_scores_of_a_detector_are_shared_among_the_other_classes() -> None:
    tracks = tracks_of((7, 1, 0.7, 0), (8, 0, 0.4, -1), (9, 2, 1.5, 1), (10, 0, -0.5, 2))
    found = class_scores(tracks, 4, 3.5)
    assert found.ids.tolist() == [7, 9, 10]
    np.testing.assert_allclose(found.values, [[0.1, 0.7, 0.1, 0.1], [0, 0, 1, 0], [0, 1 / 3, 1 / 3, 1 / 3]], atol=1e-6)
    assert found.times.tolist() == [3.5] * 3
    assert class_scores(tracks_of((1, 0, 0.3, 0)), 1, 0.0).values.tolist() == [[1.0]]
    class_scores(tracks_of((1, 2, 0.3, 0)), 3, 0.0)
    for label in (-1, 3):
        with pytest.raises(InputError, match="expected labels 0 to 2"):
            class_scores(tracks_of((1, label, 0.3, 0), (2, 1, 0.3, 0)), 3, 0.0)


def test_a_policy_gets_settings_or_rules_and_scores_of_its_classes() -> None:
    with pytest.raises(InputError, match="settings or single rules"):
        Policy(["a"], Settings(), threshold=0.5)
    with pytest.raises(InputError, match="Policy: "):
        Policy(["a"], treshold=0.5)
    policy = Policy(["a", "b"], task="action", odds=math.e**2, aggregate="sequential", step=1.0)
    tracks = tracks_of((1, 0, 0.9, 0))
    with pytest.raises(InputError, match=r"Policy action: expected scores of 2 classes, got 3"):
        policy.update(Scores.of(ids=[1], values=[[0.2, 0.3, 0.5]], times=[0]), tracks, 0.0)
    with pytest.raises(InputError, match=r"Policy action: .*softmax first"):
        policy.update(Scores.of(ids=[1], values=[[2.0, 3.0]], times=[0]), tracks, 0.0)
    # A log ratio of 2 decides: 0.88 / 0.12 is e^1.99, 0.885 / 0.115 is e^2.04.
    for best, label in ((0.88, -1), (0.885, 0)):
        policy.reset()
        scores = Scores.of(ids=[1], values=[[best, 1 - best]], times=[0])
        assert policy.update(scores, tracks, 0.0).labels.tolist() == [label]
    strided = Scores.of(ids=[1], values=np.asfortranarray([[0.9, 0.1]] * 2)[:1], times=[0])
    assert policy.update(strided, tracks, 1.0).labels.tolist() == [0]
