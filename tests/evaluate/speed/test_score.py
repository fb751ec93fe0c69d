"""Scores of speeds, worked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from speed_tables import RESULTS, TRUTH, write

from edgevid.evaluate.speed.files import read_results, read_truth
from edgevid.evaluate.speed.score import evaluate


def test_scores_by_hand(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.csv", TRUTH))
    found = evaluate(truth, read_results(write(tmp_path / "r.csv", RESULTS)))
    one = found.tracks["live"]["1"]
    # 11, 9 and 10 m/s against 10: +3.6, -3.6 and 0 km/h.
    assert (one.values, one.bias, one.median) == (3, pytest.approx(0), pytest.approx(3.6))
    assert one.mean == pytest.approx(2.4)
    assert one.within_68 == pytest.approx(2 / 3)  # 1 <= 1, 1 > 0.4, 0 <= 1
    assert one.within_95 == pytest.approx(2 / 3)  # 1 > 1.96 * 0.4
    assert one.variation == pytest.approx(math.sqrt((7.2**2 + 3.6**2) / 2))
    assert (one.abstained, one.first_s) == (0.25, 1.0)
    two = found.tracks["live"]["2"]
    assert two.mean == pytest.approx(0)  # at 4 s of 0 to 72 km/h in 10 s: 28.8 km/h, 8 m/s
    assert two.reasons == {"STALE": 0.5}
    everything = found.overall["live"]
    assert everything.values == 4
    assert everything.mean == pytest.approx(1.8)
    assert everything.reasons == {"STALE": pytest.approx(1 / 6), "TOO_SHORT": pytest.approx(1 / 6)}
    assert found.overall["track speed"].bias == pytest.approx(1.8)
    assert found.unmatched == ["9"]
    assert found.missed == []


def test_a_track_speed_is_compared_with_the_mean_true_speed(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.csv", "id,time_s,mps\na,0,0\na,1,10\na,3,10\n"))
    rows = read_results(write(tmp_path / "r.csv", "id,kind,time_s,mps\na,track speed,,9\n"))
    score = evaluate(truth, rows).overall["track speed"]
    assert score.bias == pytest.approx(3.6 * (9 - 25 / 3))
    assert math.isnan(score.within_95)  # no standard error was stated


def test_values_outside_of_the_truths_time_are_not_scored(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.csv", "id,time_s,mps\n1,1,5\n1,2,5\n"))
    rows = read_results(write(tmp_path / "r.csv", "id,time_s,mps\n1,0.5,9\n1,1.5,6\n1,2.5,9\n"))
    score = evaluate(truth, rows).overall["live"]
    assert (score.values, score.without_truth, score.bias) == (1, 2, pytest.approx(3.6))
