"""Skeleton features by hand."""

from __future__ import annotations

import numpy as np

from edgevid.actions.features import COCO17, JHMDB15, coco_to_jhmdb, encode, mirror_order, width_of


def test_skeleton_features_are_invariant_to_position_and_size() -> None:
    rng = np.random.default_rng(0)
    joints, valid = rng.normal(size=(6, 15, 2)), np.ones(6, bool)
    there = encode(joints, valid)
    np.testing.assert_allclose(encode(joints * 3 + [400, 200], valid), there, atol=1e-5)
    assert there.shape == (6, width_of(15))


def test_skeleton_features_are_causal() -> None:
    rng = np.random.default_rng(0)
    joints, valid = rng.normal(size=(6, 15, 2)), np.ones(6, bool)
    np.testing.assert_array_equal(encode(joints[:4], valid[:4]), encode(joints, valid)[:4])


def test_skeleton_features_by_hand() -> None:
    joints = np.array([[[0, 0], [2, 0]], [[0, 0], [2, 2]]], float)  # two joints, two steps
    found = encode(joints, np.ones(2, bool))
    # Step 0: center (1, 0), size 1, distance 2. Step 1: center (1, 1), size sqrt 2, distance 2 sqrt 2.
    r = np.sqrt(2)
    np.testing.assert_allclose(found[0], [-1, 0, 1, 0, 2, *[0] * 9], atol=1e-6)
    np.testing.assert_allclose(
        found[1], [-1 / r, -1 / r, 1 / r, 1 / r, 2, 0, 0, 0, 2 / r, 0, 0, 0, 0, np.log(r)], atol=1e-6
    )


def test_skeleton_steps_that_are_missing_give_zeros() -> None:
    joints = np.random.default_rng(0).normal(size=(4, 15, 2))
    found = encode(joints, np.array([True, False, True, True]))
    assert not found[1].any()
    movement = slice(30 + 105, 30 + 105 + 30)
    assert not found[2, movement].any()  # its earlier step is missing
    assert found[3, movement].any()


def test_joint_sets() -> None:
    assert [JHMDB15[i] for i in mirror_order(JHMDB15)][3:5] == ["left shoulder", "right shoulder"]
    points = np.zeros((17, 2))
    points[COCO17.index("left shoulder")] = (2, 0)
    points[COCO17.index("left hip")] = (2, 10)
    points[COCO17.index("right hip")] = (0, 10)
    made = coco_to_jhmdb(points)
    # Neck n and hips at 10: n + 0.13 (10 - n) = 0 at the shoulders; the belly at n + 0.8 (10 - n).
    n = -1.3 / 0.87
    np.testing.assert_allclose(made[JHMDB15.index("neck")], [1, n])
    np.testing.assert_allclose(made[JHMDB15.index("belly")], [1, n + 0.8 * (10 - n)])
