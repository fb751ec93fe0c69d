"""Measures of action recognition against worked examples and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.evaluate.actions.metrics import ClassReport, SegmentReport, interval, report_lines, segment_counts

# Truth, answer, accuracy, edit, F1@10, F1@25, F1@50: worked by hand from the MS-TCN definitions.
WORKED = [
    ("AAAABBBBCC", "AABABBBCCC", 80, 60, 75, 75, 75),
    ("AAABAAAAAA", "AAAAAAAAAA", 90, 100 / 3, 50, 50, 50),
    ("AAAABBBB", "AAAAABBB", 87.5, 100, 100, 100, 100),
    ("AAAAAAAA", "AABAABAA", 75, 20, 100 / 3, 100 / 3, 0),
    ("AAAA", "BBBB", 0, 0, 0, 0, 0),
]


@pytest.mark.parametrize("row", WORKED, ids=lambda r: f"{r[0]}-{r[1]}")
def test_the_worked_examples(row: tuple[str, str, float, float, float, float, float]) -> None:
    found = SegmentReport.of([row[0]], [row[1]])
    np.testing.assert_allclose(found[:5], row[2:], atol=1e-9)


def test_counts_of_the_first_two_examples() -> None:
    assert segment_counts(*WORKED[0][:2])[-3:] == [3, 2, 0]
    assert segment_counts(*WORKED[1][:2])[-3:] == [1, 0, 2]


def test_f1_is_pooled_over_videos_and_edit_is_averaged() -> None:
    found = SegmentReport.of([WORKED[0][0], WORKED[1][0]], [WORKED[0][1], WORKED[1][1]])
    assert found[:2] == pytest.approx((85, (60 + 100 / 3) / 2))
    assert found.f1_50 == pytest.approx(200 / 3)


def test_background_is_left_out_and_named() -> None:
    found = SegmentReport.of(["0AA0"], ["0A00"], background=("0",))
    assert (found.edit, found.f1_50) == (100, 100)


def test_nothing_against_nothing() -> None:
    assert SegmentReport.of([[]], [[]])[:5] == (0, 100, 0, 0, 0)


def test_a_shorter_prediction_is_rejected() -> None:
    with pytest.raises(InputError, match="each of 3 steps, got 2"):
        SegmentReport.of(["AAA"], ["AA"])


def test_the_worked_clip_example() -> None:
    report = ClassReport.of(np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0]), 3)
    assert report.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    np.testing.assert_allclose(report.precision, [0.5, 2 / 3, 1])
    np.testing.assert_allclose(report.recall, [0.5, 1, 0.5])
    np.testing.assert_allclose(report.f1, [0.5, 0.8, 2 / 3])
    np.testing.assert_allclose(report.macro(), [0.7222, 0.6667, 0.6556], atol=5e-5)
    assert report.accuracy == pytest.approx(4 / 6)
    assert report_lines(report)[-2][0] == "macro mean"


def test_agrees_with_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="the reference is scikit-learn")
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 6, 300), rng.integers(0, 5, 300)
    report = ClassReport.of(truth, predicted, 6)
    for average, mine in (("macro", report.macro()), ("weighted", report.weighted())):
        theirs = sklearn.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        np.testing.assert_allclose(mine, theirs[:3])
    np.testing.assert_array_equal(report.confusion, sklearn.confusion_matrix(truth, predicted, labels=range(6)))


def test_labels_of_another_head_are_rejected() -> None:
    with pytest.raises(InputError, match="other classes"):
        ClassReport.of(np.array([0, 1]), np.array([0, 7]), 2)
    with pytest.raises(InputError, match="as many predictions"):
        ClassReport.of(np.array([0, 1]), np.array([0]), 2)


def test_the_interval_by_hand() -> None:
    # 0.7, 0.8, 0.9: standard error 0.1 / sqrt 3, t(2) = 4.30265.
    found = interval([0.7, 0.8, 0.9])
    np.testing.assert_allclose(found, [0.8, 0.8 - 4.30265 * 0.1 / 3**0.5, 0.8 + 4.30265 * 0.1 / 3**0.5], rtol=1e-6)
    assert interval([0.5]) == (0.5, 0.5, 0.5)
