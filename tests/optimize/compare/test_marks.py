"""What is drawn over both models' images of one frame."""

from __future__ import annotations

import numpy as np
import pytest
from compare_samples import always, engine, frames, recipe

from edgevid.optimize.compare.gate import compare_engines
from edgevid.optimize.compare.report import Mark, marks
from edgevid.runtime import FakeEngine
from edgevid.types import Array

MISSED, MATCHED, EXTRA = (16, 16, 20, 20, 0.9, 0), (48, 48, 20, 20, 0, 0.9), (48, 16, 20, 20, 0.8, 0)
NAMES = ("person", "car")


def marks_of(a: FakeEngine, b: FakeEngine, task: str = "detect") -> tuple[list[Mark], list[Mark]]:
    how = recipe() if task == "detect" else recipe(task=task, decode=None, names=())
    return marks(compare_engines(a, b, how, frames(), min_agreement=0.0).worst[0], NAMES)


def test_the_marks_distinguish_missed_from_extra() -> None:
    left, right = marks_of(always(MISSED, MATCHED), always((*MATCHED[:5], 0.7), EXTRA))
    assert [(m.kind, m.label) for m in left] == [("matched", "0.90"), ("missed", "person 0.90"), ("absent", "")]
    assert [(m.kind, m.label) for m in right] == [("matched", "0.70"), ("absent", ""), ("extra", "person 0.80")]
    assert left[1].box == right[1].box == pytest.approx((6, 6, 26, 26))
    assert (left[1].tooltip, right[1].tooltip) == ("missed: person 0.90", "absent here: person 0.90")


@pytest.mark.parametrize(("score", "label"), [(0.85, ""), (0.75, "0.75")])
def test_a_score_is_written_where_it_drifted_by_a_tenth(score: float, label: str) -> None:
    _, right = marks_of(always(MATCHED), always((*MATCHED[:5], score)))
    assert (right[0].label, right[0].tooltip) == (label, f"car: 0.90 and {score:.2f}")


def test_joints_of_poses_are_small_squares() -> None:
    def made(values: Array) -> FakeEngine:
        return engine(lambda _: values, shape=(1, 1, 17, 3))

    pose = np.tile(np.array([0.5, 0.5, 0.9], np.float32), (1, 1, 17, 1))  # y, x, score
    moved = pose.copy()
    moved[0, 0, 3, :2] = 0.75
    moved[0, 0, 4, 2] = 0.2  # not detected: neither model's joint is matched, and only one is drawn
    left, right = marks_of(made(pose), made(moved), "pose")
    assert sum(m.kind == "matched" for m in left) == 15
    assert [m.tooltip for m in left if m.kind == "missed"] == ["joint 3: 0.90", "joint 4: 0.90"]
    assert [m.tooltip for m in right if m.kind == "extra"] == ["joint 3: 0.90"]
    side = 64 / 120
    assert right[3].box == pytest.approx((48 - side, 48 - side, 48 + side, 48 + side))


def test_classes_have_no_marks() -> None:
    how = recipe(task="classify", decode=None, names=("a", "b"))
    made = engine(lambda _: np.array([[1, 0]], np.float32), shape=(1, 2))
    assert marks(compare_engines(made, made, how, frames()).worst[0], ("a", "b")) == ([], [])
