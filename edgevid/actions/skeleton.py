"""Causal skeleton features for temporal heads, step by step.

The double features of Yang et al., "Make Skeleton-based Action Recognition Model Smaller, Faster and Better"
(2019): distances between all joints, independent of the camera position, and movements of the joints at two
speeds; here also the centered joints themselves. A step uses only earlier steps, so a live stream and a
recorded clip give the same values."""

from pathlib import Path
from typing import Literal

import numpy as np

from edgevid.errors import InputError
from edgevid.files.toml import read_toml
from edgevid.types import Array

JointSet = Literal["jhmdb15", "coco17"]
JOINT_SETS = {kind: tuple(names) for kind, names in read_toml(Path(__file__).with_suffix(".toml")).items()}
JHMDB15, COCO17 = JOINT_SETS["jhmdb15"], JOINT_SETS["coco17"]
SHOULDERS, BELLY = 0.13, 0.80
"""Position of the shoulders' midpoint and the belly between JHMDB's neck and hips (its medians)."""
LAGS = (1, 2)  # Steps over which movement is measured
MIN_SCORE = 0.2  # Mean keypoint score below which a step has no person


def mirror_order(joints: tuple[str, ...]) -> list[int]:
    """For each joint its counterpart in a mirrored image.

    >>> mirror_order(("neck", "left hip", "right hip"))
    [0, 2, 1]
    """
    swapped = [j.replace("left", "?").replace("right", "left").replace("?", "right") for j in joints]
    return [joints.index(j) for j in swapped]


def coco_to_jhmdb(joints: Array) -> Array:
    """(..., 15, C) JHMDB joints of (..., 17, C) COCO keypoints: neck and belly lie between four of them."""
    pick = {name: joints[..., COCO17.index(name), :] for name in JHMDB15 if name in COCO17}
    shoulders = (pick["left shoulder"] + pick["right shoulder"]) / 2
    hips = (pick["left hip"] + pick["right hip"]) / 2
    neck = (shoulders - hips * SHOULDERS) / (1 - SHOULDERS)
    pick |= {"neck": neck, "belly": neck + (hips - neck) * BELLY, "face": joints[..., 0, :]}
    return np.stack([pick[name] for name in JHMDB15], axis=-2)


def width_of(joint_count: int) -> int:
    """Length of a step's features: centered joints, distances, movements at each lag, growth."""
    return 2 * joint_count + joint_count * (joint_count - 1) // 2 + len(LAGS) * 2 * joint_count + 1


def encode(joints: Array, valid: Array) -> Array:
    """(..., T, D) float32 features of joints (..., T, J, 2) in pixels or any unit; invalid steps give zeros.

    A step is centered on its own joints and divided by its own size (their root mean square distance
    from the center), so position and distance of the object do not matter. Movement over
    `LAGS` steps is in those sizes; it is zero where the earlier step is missing."""
    if joints.ndim < 3 or joints.shape[-1] != 2 or joints.shape[:-2] != valid.shape:
        raise InputError(f"encode: expected (..., T, J, 2) and (..., T), got {joints.shape}, {valid.shape}")
    joints = np.where(valid[..., None, None], joints, 0).astype(np.float64)
    center = joints.mean(axis=-2, keepdims=True)
    size = np.sqrt(np.square(joints - center).sum(-1).mean(-1))
    usable = valid & (size > 1e-9) & np.isfinite(size)
    unit = np.where(usable, size, 1.0)[..., None, None]
    first, second = np.triu_indices(joints.shape[-2], 1)
    distances = np.sqrt(np.square(joints[..., first, :] - joints[..., second, :]).sum(-1))
    parts = [_flat((joints - center) / unit), distances / unit[..., 0]]
    parts += [_flat(_change(joints, usable, lag) / unit) for lag in LAGS]
    growth = _change(np.log(unit), usable, 1)[..., 0]
    features = np.concatenate([*parts, growth], axis=-1)
    return np.where(usable[..., None], features, 0).astype(np.float32)


def encode_rows(raw: Array, valid: Array) -> tuple[Array, Array]:
    """`encode` of stored rows (..., T, 2 J + 1), joints then the mean score, and the valid steps."""
    there = valid & (raw[..., -1] >= MIN_SCORE)
    joints = raw[..., :-1].reshape(*raw.shape[:-1], raw.shape[-1] // 2, 2)
    return encode(joints, there), there


def _flat(values: Array) -> Array:
    return np.asarray(values.reshape(*values.shape[:-2], -1))


def _change(values: Array, usable: Array, lag: int) -> Array:
    """Difference along time (third axis from the end) to `lag` steps before, zero where it is missing."""
    change = np.zeros_like(values)
    both = usable[..., lag:] & usable[..., :-lag] if usable.shape[-1] > lag else usable[..., :0]
    if both.shape[-1]:
        difference = values[..., lag:, :, :] - values[..., :-lag, :, :]
        change[..., lag:, :, :] = np.where(both[..., None, None], difference, 0)
    return change
