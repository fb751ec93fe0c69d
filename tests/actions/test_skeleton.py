"""Skeleton features by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.actions.features import COCO17, JHMDB15, LAGS, encode, from_coco, width_of
from edgevid.actions.layout import JointLayout, find_layout
from edgevid.errors import InputError

PAIR = JointLayout(("head", "foot"), ("head", "head"))


def random_rows(layout: JointLayout = JHMDB15, steps: int = 7) -> np.ndarray:
    return layout.rows(np.random.default_rng(0).normal(size=(steps, len(layout.joints), layout.dims)))


def moved(rows: np.ndarray, layout: JointLayout, turn: np.ndarray | float, shift: object) -> np.ndarray:
    points, confidence = layout.split(rows)
    return layout.rows(np.dot(points, turn) + shift, confidence)


def test_skeleton_features_are_invariant_to_position_and_size() -> None:
    rows, valid = random_rows(), np.ones(7, bool)
    there, _ = encode(rows, valid, JHMDB15)
    other, _ = encode(moved(rows, JHMDB15, 3.0, [400, 200]), valid, JHMDB15)
    np.testing.assert_allclose(other, there, atol=1e-4)
    assert there.shape == (7, width_of(JHMDB15))


def test_skeleton_features_in_3d_do_not_depend_on_the_direction_of_view() -> None:
    layout = find_layout("kinect-20", dims=3)
    rows, valid = random_rows(layout), np.ones(7, bool)
    c, s = np.cos(2.0), np.sin(2.0)
    there, _ = encode(rows, valid, layout)
    about_y, _ = encode(moved(rows, layout, np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]), [1, 2, 3]), valid, layout)
    np.testing.assert_allclose(about_y, there, atol=1e-4)
    tilted, _ = encode(moved(rows, layout, np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), 0), valid, layout)
    assert np.abs(tilted - there).max() > 0.1  # lying is not standing


def test_skeleton_features_are_causal() -> None:
    rows, valid = random_rows(), np.ones(7, bool)
    np.testing.assert_array_equal(encode(rows[:5], valid[:5], JHMDB15)[0], encode(rows, valid, JHMDB15)[0][:5])


def test_skeleton_features_by_hand() -> None:
    points = np.array([[[0, 0], [2, 0]], [[0, 0], [2, 2]]], float)  # two joints, two steps
    found, _ = encode(PAIR.rows(points), np.ones(2, bool), PAIR)
    r = np.sqrt(0.5)
    # Place, bone, movement over 1 and 4 steps, confidence. Step 0: center (1, 0), size 1.
    np.testing.assert_allclose(found[0], [-1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 1], atol=1e-6)
    # Step 1: center (1, 1), size sqrt 2, the bone is diagonal, the second joint moved by 2.
    np.testing.assert_allclose(
        found[1], [-r, -r, 0, 0, 0, 0, 0, 0, 1, r, r, r, r, 0, 2 * r, 0, 0, 1], atol=1e-6
    )  # fmt: skip


def test_steps_and_joints_that_are_missing_give_zeros() -> None:
    rows = random_rows()
    rows[4, 2 * 15 + 3] = 0.05  # one joint that the pose is not sure of
    found, there = encode(rows, np.arange(7) != 1, JHMDB15)
    assert there.tolist() == [True, False, True, True, True, True, True]
    assert not found[1].any()
    joints = found.reshape(7, 15, -1)
    movement = slice(4, 4 + 2 * len(LAGS))
    assert not joints[2, :, movement].any()  # its earlier steps are missing
    assert joints[3, :, movement].any()
    assert not joints[4, 3].any()
    assert joints[4, 7, 2:4].tolist() == [0, 0]  # the bone to that joint
    assert not joints[5, 3, 4:6].any()
    with pytest.raises(InputError, match="45 values, got 44"):
        encode(rows[:, 1:], np.ones(7, bool), JHMDB15)


def test_joints_of_coco_key_points() -> None:
    points = np.zeros((17, 2))
    points[COCO17.joints.index("left shoulder")] = (2, 0)
    points[COCO17.joints.index("left hip")] = (2, 10)
    points[COCO17.joints.index("right hip")] = (0, 10)
    made = from_coco(points, JHMDB15)
    # Neck n and hips at 10: n + 0.13 (10 - n) = 0 at the shoulders; the belly at n + 0.8 (10 - n).
    n = -1.3 / 0.87
    np.testing.assert_allclose(made[JHMDB15.joints.index("neck")], [1, n])
    np.testing.assert_allclose(made[JHMDB15.joints.index("belly")], [1, n + 0.8 * (10 - n)])
    with pytest.raises(InputError, match="has not hip center, spine"):
        from_coco(points, find_layout("kinect-20"))
