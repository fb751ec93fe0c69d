"""Boxes of the tracker: how they move, and how well two of them agree."""

from __future__ import annotations

import numpy as np

from edgevid.types import F32, F64

REFERENCE_RATE = 30.0  # The noise shares are stated for one frame at this rate
MEASURE_NOISE = 0.05  # Of an observation, as a share of the size
VELOCITY_SHARE = 0.125  # The velocity's noise next to the position's, in one frame at the reference rate (ByteTrack's)


class Motion:
    """Four independent filters (center x, center y, width, height), each a position and a velocity."""

    def __init__(self, box: F32, position_noise: float) -> None:
        self.x, self.v = measured(box), np.zeros(4)
        size = np.tile(self.x[2:], 2)
        self.pxx = 4 * (position_noise * size) ** 2
        self.pxv = np.zeros(4)
        self.pvv = 100 * (VELOCITY_SHARE * position_noise * size * REFERENCE_RATE) ** 2

    def copy(self) -> Motion:
        """An independent copy."""
        made = Motion.__new__(Motion)
        for name, value in vars(self).items():
            setattr(made, name, value.copy())
        return made

    def predict(self, dt: float, observed: bool, position_noise: float) -> None:
        """Predicts `dt` seconds ahead; a coasting box neither grows nor shrinks."""
        if not observed:
            self.v[2:] = 0
        size = np.tile(np.maximum(self.x[2:], 1), 2)
        frames = dt * REFERENCE_RATE
        self.x = self.x + self.v * dt
        self.pxx = self.pxx + dt * (2 * self.pxv + dt * self.pvv) + (position_noise * size) ** 2 * frames
        self.pxv = self.pxv + dt * self.pvv
        self.pvv = self.pvv + (VELOCITY_SHARE * position_noise * size * REFERENCE_RATE) ** 2 * frames
        self.x[2:] = np.maximum(self.x[2:], 1)

    def update(self, box: F32) -> None:
        """Corrects with an observed box (4,)."""
        size = np.tile(np.maximum(self.x[2:], 1), 2)
        total = self.pxx + (MEASURE_NOISE * size) ** 2
        k, m, e = self.pxx / total, self.pxv / total, measured(box) - self.x
        self.x, self.v = self.x + k * e, self.v + m * e
        self.pvv = self.pvv - m * self.pxv
        self.pxv = self.pxv - k * self.pxv
        self.pxx = self.pxx - k * self.pxx
        self.x[2:] = np.maximum(self.x[2:], 1)

    def box(self) -> F32:
        """x1, y1, x2, y2 as float32."""
        half = self.x[2:] / 2
        return np.concatenate([self.x[:2] - half, self.x[:2] + half]).astype(np.float32)


def measured(box: F32) -> F64:
    """Center and size of a box."""
    b = box.astype(np.float64)
    return np.array([(b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]])


def overlap(a: F32, b: F32, gx: float = 0.0, gy: float = 0.0) -> float:
    """Intersection over union of both boxes grown by gx and gy to every side."""
    p, q = a.astype(np.float64), b.astype(np.float64)
    w, h = min(p[2], q[2]) - max(p[0], q[0]) + 2 * gx, min(p[3], q[3]) - max(p[1], q[1]) + 2 * gy
    if w <= 0 or h <= 0:
        return 0.0
    areas = [(c[2] - c[0] + 2 * gx) * (c[3] - c[1] + 2 * gy) for c in (p, q)]
    return float(w * h / (areas[0] + areas[1] - w * h))


def height_overlap(a: F32, b: F32, gy: float = 0.0) -> float:
    """The same of the vertical extents (Hybrid-SORT, Yang 2024, arXiv 2308.00783)."""
    p, q = a.astype(np.float64), b.astype(np.float64)
    h = min(p[3], q[3]) - max(p[1], q[1]) + 2 * gy
    return float(h / (max(p[3], q[3]) - min(p[1], q[1]) + 2 * gy)) if h > 0 else 0.0


def alike(a: float, b: float) -> bool:
    """Whether two sizes may be those of one object."""
    return min(a, b) >= 0.78 * max(a, b)


def median(values: list[float]) -> float:
    """The one in the middle, the upper of two."""
    return sorted(values)[len(values) // 2]
