"""A view from straight above for the methods that need no camera."""

from __future__ import annotations

from typing import Any

import numpy as np

TENTH = np.diag([0.1, 0.1, 1.0])
"""Homography of a view from straight above: 10 pixels per meter."""


def feed(
    core: Any, frame: int, places: dict[int, tuple[float, float] | None], fps: float = 30, px: float = 0.01
) -> Any:
    """One frame of objects at places in meters (None: tracked, not detected)."""
    ids = np.array(sorted(places), np.int64)
    seen = np.array([places[int(i)] is not None for i in ids])
    pixels = np.array([[10 * v for v in places[int(i)] or (0, 0)] for i in ids], float).reshape(-1, 2)
    return core.update(ids, pixels, np.full(len(ids), px), seen.astype(np.uint8), frame / fps)
