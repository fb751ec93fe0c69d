"""Frames of noise: RGB, or YUV planes."""

from __future__ import annotations

import numpy as np

from edgevid.types import Frame


def rgb(width: int, height: int) -> Frame:
    return Frame(np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8), 0.0, 0)


def yuv(width: int, height: int, *, full_range: bool = False, matrix: str = "bt709") -> Frame:
    rng, half = np.random.default_rng(height), ((height + 1) // 2, (width + 1) // 2)
    y, u, v = (rng.integers(0, 256, shape, np.uint8) for shape in ((height, width), half, half))
    return Frame.from_yuv420(
        (y, u, v),
        0.0,
        0,
        to_rgb=lambda frame: y,
        full_range=full_range,
        matrix=matrix,  # type: ignore[arg-type]
    )
