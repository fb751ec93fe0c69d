"""HOTA, IDF1 and CLEAR MOT on tracks whose values are worked by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PLACE = Path(__file__).resolve().parents[2] / "benchmarks/track_metrics.py"
Frame = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def metrics() -> Any:
    """The benchmarks' module."""
    spec = importlib.util.spec_from_file_location("track_metrics", PLACE)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "track_metrics", module)
        spec.loader.exec_module(module)
    return module


BOX = np.array([[0.0, 0.0, 10.0, 10.0]])
EMPTY = np.zeros(0), np.zeros((0, 4))


def frames(ids: list[int | None], box: np.ndarray = BOX) -> list[Frame]:
    """One object a frame with these ids; None: nothing."""
    return [EMPTY if i is None else (np.array([i]), box) for i in ids]


def test_perfect_tracks_are_1(metrics: Any) -> None:
    found = metrics.count_tracks(frames([7] * 5), frames([3] * 5))
    assert (found.hota, found.idf1, found.mota, found.switches) == (1.0, 1.0, 1.0, 0.0)


def test_one_switch_halfway(metrics: Any) -> None:
    # All found: DetA 1. Each half agrees with the true track in 2 of 4 boxes: A = 2 / (4 + 2 - 2) = 0.5,
    # HOTA sqrt(0.5). One id at best holds 2 of 4 boxes: IDF1 2 / 4. One switch of four boxes: MOTA 3/4.
    found = metrics.count_tracks(frames([1] * 4), frames([5, 5, 6, 6]))
    assert found.hota == pytest.approx(np.sqrt(0.5))
    assert (found.idf1, found.mota, found.switches) == (0.5, 0.75, 1.0)


def test_misses_and_false_boxes(metrics: Any) -> None:
    # Two of four found, and one false box elsewhere: DetA 2 / (4 + 3 - 2) = 0.4; the track that matches has
    # A = 2 / (4 + 3 - 2) as well. IDF1 2 / 3.5, MOTA (2 - 1) / 4.
    found = [*frames([5, 5]), EMPTY, (np.array([5]), BOX + 50)]
    counted = metrics.count_tracks(frames([1] * 4), found)
    assert counted.hota == pytest.approx(0.4)
    assert counted.idf1 == pytest.approx(2 / 3.5)
    assert counted.mota == pytest.approx(0.25)


def test_localization_is_a_share_of_the_thresholds(metrics: Any) -> None:
    # An overlap of 2/3: found at 0.05 to 0.65, 13 of 19 thresholds.
    aside = BOX + np.array([2, 0, 2, 0])
    found = metrics.count_tracks(frames([1] * 3), frames([1] * 3, aside))
    assert metrics.overlaps(BOX, aside)[0, 0] == pytest.approx(2 / 3)
    assert found.hota == pytest.approx(13 / 19)


def test_a_switch_across_a_gap_is_counted_and_a_kept_id_is_not(metrics: Any) -> None:
    truth = frames([1] * 5)
    assert metrics.count_tracks(truth, frames([4, 4, None, 5, 5])).switches == 1
    assert metrics.count_tracks(truth, frames([4, 4, None, 4, 4])).switches == 0


def test_the_sum_of_two_sequences_is_that_of_both(metrics: Any) -> None:
    one, two = (metrics.count_tracks(frames([1] * 4), frames(ids)) for ids in ([5, 5, 6, 6], [5, None, None, None]))
    both = one + two
    assert isinstance(both, metrics.TrackCounts)
    assert (both.truth, both.found, both.switches) == (8, 5, 1)
    # TP 5 of 8 true and no false one: DetA 5/8; AssA (4 * 0.5 + 1 * 1/4) / 5.
    assert both.hota == pytest.approx(np.sqrt(5 / 8 * 2.25 / 5))


def test_nothing_at_all_is_0_and_no_error(metrics: Any) -> None:
    assert metrics.count_tracks([EMPTY], [EMPTY]).hota == 0
    assert metrics.count_tracks(frames([1]), [EMPTY]).mota == 0


def test_the_share_of_the_first_box(metrics: Any) -> None:
    assert metrics.overlaps(BOX, np.array([[0.0, 0.0, 100.0, 5.0]]), of_first=True).tolist() == [[0.5]]
