"""Overlapping windows over a long sequence: where they lie, and the mean of what they say."""

from __future__ import annotations

import numpy as np

from edgevid.errors import InputError
from edgevid.types import Array


def window_starts(length: int, window: int, stride: int) -> Array:
    """First steps of windows that cover every one of `length` steps; the last one ends at the end.

    A sequence shorter than the window gets one window, to be padded on the left.

    >>> window_starts(80, 32, 16).tolist()
    [0, 16, 32, 48]
    >>> window_starts(20, 32, 16).tolist()
    [0]
    """
    if window < 1 or not 1 <= stride <= window:
        raise InputError(f"windows: expected 1 <= stride <= window, got stride {stride} and window {window}")
    starts = list(range(0, max(length - window, 0) + 1, stride))
    if starts[-1] + window < length:
        starts.append(length - window)
    return np.array(starts, np.int64)


def average_windows(scores: Array, starts: Array, length: int) -> tuple[Array, Array]:
    """(L, C) mean scores of every step and how many windows covered it (L,).

    `scores` (W, T, C) answers each step of each window.
    """
    if scores.ndim != 3 or len(scores) != len(starts):
        raise InputError(
            f"average_windows: expected scores (W, T, C) of {len(starts)} windows, got {scores.shape}"
        )
    total = np.zeros((length, scores.shape[2]))
    count = np.zeros(length, np.int64)
    for start, window in zip(starts.tolist(), scores, strict=True):
        stop = min(start + len(window), length)
        total[start:stop] += window[: stop - start]
        count[start:stop] += 1
    return total / np.maximum(count, 1)[:, None], count


def overlap_weights(ends_s: Array, span_s: float) -> Array:
    """(..., K) how much of the newest window each earlier one covers, 1 for itself, 0 for no overlap.

    `ends_s` (..., K) are the windows' last moments, the newest last, NaN where there is none.

    >>> overlap_weights(np.array([0.0, 2.0, 4.0]), 4.0).tolist()
    [0.0, 0.5, 1.0]
    """
    apart = ends_s[..., -1:] - ends_s
    return np.where(np.isnan(apart), 0.0, np.clip(1.0 - apart / span_s, 0.0, 1.0))
