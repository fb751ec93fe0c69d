"""Augmentations that preserve the action: of joints in space and as a pose model would find them, of plain features."""

from typing import NamedTuple

import numpy as np

from edgevid.actions.layout import JointLayout
from edgevid.types import Array

Rng = np.random.Generator
FLIP = 0.5  # Share of sequences flipped horizontally
ROTATION = 0.15  # Standard deviation of a rotation in the image, or of a tilt in 3-D, radians
SCALE = 0.1  # Standard deviation of the logarithm of scales along the axes
NOISE = 0.02  # Of joints as a share of the body's size, of each feature as a share of its spread over the sequence
ESTIMATED = 0.5  # Share of sequences as a pose model would find them


class PoseNoise(NamedTuple):
    """What a pose model does to joints, as `benchmarks/pose_noise.py` measures it. Lengths are shares of the body's
    size: the root mean square distance of its joints from their center."""

    spread: float  # Standard deviation of a found joint from its place, along each axis
    hold: float  # Correlation of that distance with the one of the step before
    outliers: float  # Share of joints that are found elsewhere
    dropped: float  # Share of joints that are not found
    swapped: float  # Share of pairs of left and right that are exchanged
    stays: float  # Chance that a joint which is not found, elsewhere or exchanged still is in the next step


MOVENET = PoseNoise(0.025, 0.46, 0.006, 0.003, 0.001, 0.37)
"""Between two looks at the same people; what both get wrong in the same way is not in it."""


def augment(raw: Array, layout: JointLayout | None, rng: Rng) -> Array:
    """Augmented rows (T, R) of a sequence of features, or of joints where there is a `layout`."""
    if layout is None:
        spread = raw.std(axis=0, keepdims=True) + 1e-6
        return np.asarray((raw + rng.normal(0, NOISE, raw.shape) * spread).astype(np.float32))
    points, confidence = layout.split(raw.astype(np.float64))
    if rng.random() < FLIP:
        points, confidence = points[:, layout.mirror] * (-1, 1, 1)[: layout.dims], confidence[:, layout.mirror]
    center = points.mean((0, 1))
    turn = np.eye(layout.dims)
    for first, second in ((0, 1), (1, 2))[: layout.dims - 1]:  # about y features turn by themselves
        angle = rng.normal(0, ROTATION)
        c, s, one = np.cos(angle), np.sin(angle), np.eye(layout.dims)
        one[[first, first, second, second], [first, second, first, second]] = c, s, -s, c
        turn = turn @ one
    points = (points - center) @ turn * np.exp(rng.normal(0, SCALE, layout.dims)) + center
    points = points + rng.normal(0, NOISE, points.shape) * _size(points)
    rows = layout.rows(points, confidence)
    return as_estimated(rows, layout, rng) if rng.random() < ESTIMATED else rows


def as_estimated(rows: Array, layout: JointLayout, rng: Rng, noise: PoseNoise = MOVENET) -> Array:
    """Rows (T, R) of true joints as a pose model would find them, with noise, outliers, drop-outs and swaps."""
    points, confidence = (part.astype(np.float64) for part in layout.split(rows))
    count, size = points.shape[:2], _size(points)
    swapped = _spells(rng, count, noise.swapped, noise.stays)
    swapped |= swapped[:, layout.mirror]
    points = np.where(swapped[..., None], points[:, layout.mirror], points)
    away, fresh = np.zeros(points.shape), rng.normal(0, noise.spread, points.shape)
    away[0] = fresh[0]
    for t in range(1, len(away)):
        away[t] = noise.hold * away[t - 1] + np.sqrt(1 - noise.hold**2) * fresh[t]
    far = _spells(rng, count, noise.outliers, noise.stays)
    away += np.where(far[..., None], rng.normal(0, 1, points.shape[1:]), 0)
    confidence[_spells(rng, count, noise.dropped, noise.stays)] = 0
    return layout.rows(points + size * away, confidence)


def _size(points: Array) -> float:
    """Root mean square distance of joints (T, J, D) from their center in each step."""
    return float(np.sqrt(np.square(points - points.mean(1, keepdims=True)).sum(-1).mean()) + 1e-9)


def _spells(rng: Rng, shape: tuple[int, ...], share: float, stays: float) -> Array:
    """(T, J) what is true for a `share` of the steps of each joint, and still is in the next one with a chance."""
    begins, chance = share * (1 - stays) / max(1 - share, 1e-9), rng.random(shape)
    state = np.zeros(shape, bool)
    for t in range(shape[0]):
        state[t] = chance[t] < (np.where(state[t - 1], stays, begins) if t else share)
    return state
