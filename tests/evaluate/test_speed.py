"""Scores of speeds, worked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from speed_tables import RESULTS, TRUTH, write

from edgevid.evaluate.evaluation import Evaluation
from edgevid.evaluate.speed import evaluate, read_results, read_truth


def scored(folder: Path, truth: str = TRUTH, results: str = RESULTS) -> Evaluation:
    return evaluate(read_truth(write(folder / "t.csv", truth)), read_results(write(folder / "r.csv", results)))


def column(found: Evaluation, kind: str) -> dict[str, str]:
    heads, rows, _ = found.tables["Errors"]
    return {row[0]: row[heads.index(kind)] for row in rows}


def test_scores_by_hand(tmp_path: Path) -> None:
    found = scored(tmp_path)
    assert list(found.groups) == ["1", "2"]
    one, two = (found.measure(np.array(counts)) for counts in ([1, 0], [0, 1]))
    # 11, 9 and 10 m/s against 10: +3.6, -3.6 and 0 km/h.
    assert one["live bias"] == pytest.approx(0)
    assert one["live mean"] == pytest.approx(2.4)
    assert one["live within 95 %"] == pytest.approx(2 / 3)  # 1 > 1.96 * 0.4
    assert one["live abstained"] == 0.25
    assert two["live mean"] == pytest.approx(0)  # at 4 s of 0 to 72 km/h in 10 s: 28.8 km/h, 8 m/s
    whole = {name: figure.value for name, figure in found.figures().items()}
    assert whole["live mean"] == pytest.approx(1.8)
    assert whole["track speed bias"] == pytest.approx(1.8)
    live = column(found, "live")
    assert (live["values"], live["within 68 %"], live["median"]) == (4, "75.0 %", "1.80 km/h")
    assert live["variation"] == f"{math.sqrt((7.2**2 + 3.6**2) / 2):.2f} km/h"
    assert live["first after"] == "0.50 s"  # of 1.0 and 0.0 s
    assert column(found, "track speed")["variation"] == "-"
    assert "live: abstained because of STALE 16.7%, TOO_SHORT 16.7%" in found.notes
    assert "1 ids have no truth: 9" in found.notes


def test_a_track_speed_is_compared_with_the_mean_true_speed(tmp_path: Path) -> None:
    truth, rows = "id,time_s,mps\na,0,0\na,1,10\na,3,10\n", "id,kind,time_s,mps\na,track speed,,9\n"
    score = scored(tmp_path, truth, rows).measure(np.array([1]))
    assert score["track speed bias"] == pytest.approx(3.6 * (9 - 25 / 3))
    assert math.isnan(score["track speed within 95 %"])  # no standard error was stated


def test_values_outside_of_the_truths_time_are_not_scored(tmp_path: Path) -> None:
    found = scored(tmp_path, "id,time_s,mps\n1,1,5\n1,2,5\n", "id,time_s,mps\n1,0.5,9\n1,1.5,6\n1,2.5,9\n")
    assert found.measure(np.array([1]))["live bias"] == pytest.approx(3.6)
    assert "live: 2 values at times without a truth, not scored" in found.notes
