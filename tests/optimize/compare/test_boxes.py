"""Boxes of two detectors, worked out by hand: matched, missed, extra, across the threshold."""

from __future__ import annotations

import numpy as np
import pytest
from compare_samples import CAR, PERSON, always, frames, recipe

from edgevid.optimize.compare.gate import compare_engines
from edgevid.optimize.compare.tasks import BoxTask
from edgevid.optimize.frames import NamedFrame


def test_a_missed_box_counts_in_both_directions() -> None:
    report = compare_engines(always(PERSON, CAR), always(PERSON), recipe(), frames())
    assert report.agreement == pytest.approx(2 / 3)  # one pair among two boxes and one
    details = report.task.details
    assert (details["recall of the reference's boxes"], details["precision of the candidate's boxes"]) == (0.5, 1.0)
    back = compare_engines(always(PERSON), always(PERSON, CAR), recipe(), frames())
    assert back.agreement == report.agreement
    assert back.task.details["precision of the candidate's boxes"] == 0.5


def test_a_box_that_only_crossed_the_threshold_is_not_just_missed() -> None:
    fainter, gone = (*CAR[:5], 0.45), (*CAR[:5], 0.2)
    crossing = compare_engines(always(PERSON, CAR), always(PERSON, fainter), recipe(), frames())
    missed = compare_engines(always(PERSON, CAR), always(PERSON, gone), recipe(), frames())
    key = "threshold crossings"
    assert (crossing.task.details[key], missed.task.details[key]) == (1, 0)
    assert crossing.agreement == missed.agreement == pytest.approx(2 / 3)


def test_a_box_of_another_class_is_a_class_change() -> None:
    changed = (*PERSON[:4], 0.0, 0.9)
    report = compare_engines(always(PERSON), always(changed), recipe(), frames())
    assert report.agreement == 0.0
    assert report.task.details["class changes"] == 1


def test_drift_of_scores_and_the_exact_overlap() -> None:
    moved = (18.0, 16.0, 20.0, 20.0, 0.7, 0.0)  # IoU 18 / 22
    report = compare_engines(always(PERSON), always(moved), recipe(), frames(2))
    details = report.task.details
    assert report.agreement == 1.0
    assert details["agreement at IoU 0.9"] == 0.0
    assert details["mean IoU of matches"] == pytest.approx(18 / 22)
    assert details["score drift, mean"] == pytest.approx(-0.2, abs=1e-6)
    assert details["score drift, largest"] == pytest.approx(0.2, abs=1e-6)


def test_rows_name_the_matched_boxes_of_both() -> None:
    """The candidate gives its boxes the other way round; the car's score fell from 0.8 to 0.6."""
    task = BoxTask(always(PERSON, CAR), always((*CAR[:5], 0.6), PERSON), recipe(), recipe())
    pair = task.compare(NamedFrame("one", frames()[0]))
    scores = [(pair.reference.scores[i], pair.candidate.scores[j]) for i, j in pair.rows]
    np.testing.assert_allclose(sorted(scores), [(0.8, 0.6), (0.9, 0.9)], atol=1e-6)
    assert (pair.agreeing, pair.total, pair.drift) == (4.0, 4.0, pytest.approx(0.2))
    assert pair.difference == "0 missed, 0 extra, 2 matched, score drift up to 0.20"
    np.testing.assert_allclose(sorted(task.metrics().scores.tolist()), sorted(scores), atol=1e-6)


def test_a_given_threshold_replaces_the_recipes() -> None:
    """The car's 0.8 is not above 0.85, so it counts for neither; without any box there is no agreement."""
    task = BoxTask(always(PERSON, CAR), always(PERSON, CAR), recipe(), recipe(), 0.85)
    task.compare(NamedFrame("one", frames()[0]))
    assert (task.metrics().count, task.metrics().agreement) == (2, 1.0)
    none = BoxTask(always(), always(), recipe(), recipe())
    none.compare(NamedFrame("one", frames()[0]))
    assert (none.metrics().total, none.metrics().agreement) == (0.0, 0.0)


def test_boxes_that_overlap_by_nine_tenths_are_counted_apart() -> None:
    """Moved by 1 of 20 pixels: IoU 19/21. Moved by 2: 18/22."""
    moved = always((17.0, 16.0, *PERSON[2:]), (50.0, 48.0, *CAR[2:]))
    details = compare_engines(always(PERSON, CAR), moved, recipe(), frames(3)).task.details
    assert (details["matched at IoU 0.5"], details["matched at IoU 0.9"]) == (6, 3)
    assert details["agreement at IoU 0.9"] == 0.5


def test_a_box_at_the_threshold_is_below_it() -> None:
    at = (*CAR[:5], 0.5)
    details = compare_engines(always(PERSON, CAR), always(PERSON, at), recipe(), frames()).task.details
    assert (details["boxes of the candidate"], details["threshold crossings"]) == (1, 1)
    details = compare_engines(always(PERSON, at), always(PERSON, CAR), recipe(), frames()).task.details
    assert (details["boxes of the reference"], details["threshold crossings"]) == (1, 1)
