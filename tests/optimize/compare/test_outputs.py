"""Differences of raw outputs, worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from compare_samples import PERSON, always, frames, recipe
from fake_engine import FakeEngine

from edgevid.optimize.agreement import OutputTally, RecordingEngine, cosine
from edgevid.optimize.compare.gate import compare_engines
from edgevid.runtime import TensorSpec


def test_figures_of_the_raw_outputs() -> None:
    moved = (18.0, 16.0, 20.0, 20.0, 0.9, 0.0)
    report = compare_engines(always(PERSON), always(moved), recipe(), frames(2))
    (output,) = report.outputs
    assert output.max_abs == pytest.approx(2.0)
    assert output.mean_abs == pytest.approx(2.0 / 48)
    a, b = np.array(PERSON), np.array(moved)
    assert output.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert output.scale == pytest.approx(np.sqrt((a @ a) / 48))


def test_the_recording_engine_answers_like_the_engine_and_states_when() -> None:
    spec = TensorSpec("x", (1,), np.dtype(np.float32))
    inner = FakeEngine((spec,), (spec,), lambda given: {"x": given["x"] * 2})
    engine = RecordingEngine(inner)
    assert engine.run({"x": np.ones(1, np.float32)})["x"].tolist() == [2.0]
    assert 0 < engine.called <= engine.returned


def tally(*shape: int) -> OutputTally:
    return OutputTally((TensorSpec("y", shape, np.dtype(np.float32)),))


def test_means_are_over_all_frames_and_the_least_cosine_is_kept() -> None:
    """Frame 1: (3, 4) against (3, 4). Frame 2: (3, 4) against (4, -3), at a right angle."""
    found = tally(1, 2)
    for b in ((3.0, 4.0), (4.0, -3.0)):
        found.add({"y": np.array([[3.0, 4.0]])}, {"y": np.array([b])})
    (row,) = found.metrics()
    assert (row.max_abs, row.mean_abs) == (7.0, (0 + 0 + 1 + 7) / 4)
    assert row.scale == pytest.approx(np.sqrt((9 + 16 + 9 + 16) / 4))
    assert (row.cosine, row.min_cosine) == pytest.approx((0.5, 0.0))


def test_values_that_are_not_finite_are_counted_and_left_out() -> None:
    found = tally(1, 3)
    found.add({"y": np.array([[1.0, np.nan, 2.0]])}, {"y": np.array([[np.inf, 5.0, 2.5]])})
    (row,) = found.metrics()
    assert row.non_finite == 1  # the NaN of the reference is no fault of the candidate
    assert (row.max_abs, row.mean_abs) == (0.5, 0.5)


def test_other_batches_are_compared_by_their_first_image_and_other_shapes_not_at_all() -> None:
    found = tally(1, 2)
    found.add({"y": np.array([[1.0, 2.0]])}, {"y": np.array([[1.0, 2.0], [9.0, 9.0]])})
    assert (found.metrics()[0].max_abs, found.uncompared) == (0.0, 0)
    found.add({"y": np.zeros((1, 2))}, {"y": np.zeros((1, 3))})
    assert found.uncompared == 1
    assert tally(1, 2).metrics() == ()


def test_cosine_by_hand() -> None:
    zero, one = np.zeros(2), np.array([3.0, 4.0])
    assert cosine(one, np.array([4.0, 3.0])) == pytest.approx(24 / 25)
    assert (cosine(zero, zero), cosine(zero, one)) == (1.0, 0.0)
    assert cosine(one, np.array([np.inf, 1.0])) == 0.0
    assert cosine(one, 3 * one) == 1.0


def test_json_has_six_significant_digits() -> None:
    found = tally(1, 1)
    found.add({"y": np.array([[1.0]])}, {"y": np.array([[1.123456789]])})
    values = json.loads(json.dumps(found.metrics()[0].as_dict()))
    assert (values["name"], values["max_abs"], values["non_finite"]) == ("y", 0.123457, 0)


def test_an_output_without_any_finite_value_is_not_alike() -> None:
    found = tally(1, 2)
    found.add({"y": np.array([[3.0, 4.0]])}, {"y": np.array([[np.nan, np.inf]])})
    (row,) = found.metrics()
    assert (row.non_finite, row.cosine) == (2, 0.0)
