"""Features of time series: what tells one shape of a series from another, whatever its moment and length."""

import numpy as np

from edgevid.types import Array

POINTS = 64  # A longer series is averaged to this many values; duration is a feature of its own
SHAPE = (
    "peak", "peak_at", "p05", "p25", "p50", "p75", "p95", "low", "std", "plateau", "peak_over_plateau",
    "rise", "fall", "width", "peak_width", "dip_width", "slope", "end_minus_start", "mean_change",
    "largest_rise", "largest_drop", "stops", "peaks", "dips",
)  # fmt: skip
"""Columns of `shape_features`. Times are shares of the series' length."""
PATH = ("travel", "straightness", "turn", "heading_x", "heading_y")
"""Columns of `path_features`: way and distance between its ends over the mean height of the box, their ratio,
radians turned, and the direction from the first point to the last one."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STEP = 3  # Values over which the largest rise and drop are taken: noise of single values is averaged out


def shape_features(values: Array) -> Array:
    """(N, T) finite values, T at least 8 -> (N, 24) float32, the columns of `SHAPE`. A shift in time changes
    only `peak_at` and, at the edges, quantiles. Every column is in the values' unit, a share or a count."""
    x = np.asarray(values, np.float32)
    n, t = x.shape
    row, columns = np.arange(n), np.arange(t, dtype=np.float32)
    p05, p25, p50, p75, p95 = np.quantile(x, QUANTILES, axis=1)
    low, peak, at = x.min(1), x.max(1), x.argmax(1)
    mean = x.mean(1)
    high = x > (0.25 * p75)[:, None]
    high[:, [0, -1]] = False
    count = np.maximum(high.sum(1), 1)
    plateau = np.where(high, x, 0).sum(1) / count
    span = p95 - p05
    upper, lower = (x >= (p05 + share * span)[:, None] for share in (0.9, 0.1))
    rise = (upper.argmax(1) - lower.argmax(1)) / t
    fall = (upper[:, ::-1].argmax(1) - lower[:, ::-1].argmax(1)) / t
    centered = columns - columns.mean()
    slope = (x - mean[:, None]) @ centered / (centered @ centered) * t
    step = x[:, STEP:] - x[:, :-STEP]
    padded = np.pad(x, ((0, 0), (1, 1)), mode="edge")
    smooth = (padded[:, :-2] + x + padded[:, 2:]) / 3
    up, down = smooth > ((p50 + peak) / 2)[:, None], smooth < ((p50 + low) / 2)[:, None]
    found = {
        "peak": peak, "peak_at": at / t, "p05": p05, "p25": p25, "p50": p50, "p75": p75, "p95": p95,
        "low": low, "std": x.std(1), "plateau": plateau,
        "peak_over_plateau": peak / np.maximum(np.abs(plateau), 1e-6), "rise": rise, "fall": fall,
        "width": (x > ((low + peak) / 2)[:, None]).mean(1), "peak_width": up.mean(1),
        "dip_width": down.mean(1), "slope": slope, "end_minus_start": x[row, -1] - x[:, 0],
        "mean_change": np.abs(np.diff(x, axis=1)).mean(1), "largest_rise": step.max(1),
        "largest_drop": -step.min(1), "stops": _starts(x < (0.1 * p95)[:, None]),
        "peaks": _starts(up), "dips": _starts(down),
    }  # fmt: skip
    return np.stack([found[name] for name in SHAPE], 1).astype(np.float32)


def path_features(points: Array, heights: Array) -> Array:
    """(N, T, 2) ground points in pixels, (N,) mean heights of the boxes -> (N, 5), the columns of `PATH`."""
    few = points[:, np.linspace(0, points.shape[1] - 1, 9).round().astype(int)].astype(np.float32)
    steps = np.diff(few, axis=1) / np.maximum(heights, 1)[:, None, None]
    way, whole = np.linalg.norm(steps, axis=2), few[:, -1] - few[:, 0]
    between = np.linalg.norm(whole, axis=1) / np.maximum(heights, 1)
    turns = (np.diff(np.arctan2(steps[..., 1], steps[..., 0]), axis=1) + np.pi) % (2 * np.pi) - np.pi
    turns = np.where(np.minimum(way[:, 1:], way[:, :-1]) > 0.05, turns, 0)  # jitter of one that stands
    heading = whole / np.maximum(np.linalg.norm(whole, axis=1), 1e-6)[:, None]
    heading[between < 0.5] = 0
    travel = way.sum(1)
    straight = np.where(travel > 0.5, between / np.maximum(travel, 1e-6), 1)
    return np.column_stack([travel, straight, turns.sum(1), heading]).astype(np.float32)


def resampled(values: Array, points: int = POINTS) -> Array:
    """(T, ...) -> (points, ...): means of equal parts of a long series, interpolation in a short one."""
    length = len(values)
    if length == points:
        return values
    if length < points:
        at, known = np.linspace(0, length - 1, points), np.arange(length)
        return np.apply_along_axis(lambda column: np.interp(at, known, column), 0, values)
    starts = np.linspace(0, length, points, endpoint=False).astype(int)
    counts = np.diff(np.append(starts, length)).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(np.add.reduceat(values, starts, axis=0) / counts)


def _starts(mask: Array) -> Array:
    """How many stretches of True each row has."""
    found: Array = mask[:, 0].astype(int) + (mask[:, 1:] & ~mask[:, :-1]).sum(1)
    return found
