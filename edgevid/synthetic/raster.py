"""Convex polygons over an image, painted in their order at twice its resolution, all rows at once."""

from itertools import pairwise

import numpy as np

from edgevid.types import Array

CORNERS = 8  # Most corners of a polygon
LARGE = 1500  # Samples of a polygon from which a mask fills it faster than an index for each sample
TILE = 32  # Side of the squares, in pixels, that are blended together: small enough for the processor's cache
LANES, U8_BITS, ALPHA = np.uint32(0x00FF00FF), np.uint32(8), np.uint32(255)


class Layer:
    """What is painted over images of one size: four samples a pixel, each RGBA with premultiplied color."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._samples = np.zeros((2 * height, 2 * width), np.uint32)
        self._columns = np.arange(2 * width, dtype=np.int16)

    def paint(self, points: Array, colors: Array) -> None:
        """Paints (P, CORNERS, 2) float pixels, the last corner repeated, in (P,) samples of `rgba`.

        Later ones cover earlier ones. A polygon with NaN is left out.
        """
        fine = np.isfinite(points).all((1, 2))
        points, colors = (2 * np.clip(points[fine], -30000, 30000) - 0.5, colors[fine])  # samples are whole numbers
        first, last, left, right = self._spans(points)
        ends = np.concatenate([[0], np.cumsum(last - first)])
        length = np.concatenate([[0], np.cumsum(right - left)])
        large = np.diff(length[ends]) > LARGE
        runs = [0, *(np.flatnonzero(np.diff(large)) + 1).tolist(), len(large)]
        row = np.arange(ends[-1]) + np.repeat(first - ends[:-1], last - first)
        start = row * self._samples.shape[1] + left - length[:-1]
        shades = np.repeat(colors, last - first)
        flat = self._samples.reshape(-1)
        for a, b in pairwise(runs):
            spans = slice(ends[a], ends[b])
            if large[a : a + 1].any():
                for n in range(a, b):
                    part = slice(ends[n], ends[n + 1])
                    low, high = int(left[part].min()), int(right[part].max())
                    columns = self._columns[low:high]
                    inside = (columns >= left[part, None]) & (columns < right[part, None])
                    np.copyto(self._samples[first[n] : last[n], low:high], colors[n], where=inside)
            else:
                count = right[spans] - left[spans]
                at = np.repeat(start[spans], count) + np.arange(length[ends[a]], length[ends[b]])
                flat[at] = np.repeat(shades[spans], count)

    def _spans(self, points: Array) -> tuple[Array, Array, Array, Array]:
        """First row and end of each polygon; first sample and end of every row of each, in one line."""
        high, wide = self._samples.shape
        x, y = points[..., 0], points[..., 1]
        x2, y2 = np.roll(x, -1, 1), np.roll(y, -1, 1)
        top, bottom = np.ceil(np.sort([y, y2], 0).clip(0, high)).astype(np.int64)
        first, last = top.min(1), bottom.max(1)
        offset = np.cumsum(last - first) - last
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(y != y2, (x2 - x) / (y2 - y), 0.0)
        turns = (x * y2 - x2 * y).sum(1) > 0
        # Each row of a convex polygon crosses one of its edges on the left and one on the right.
        count = (bottom - top).ravel()
        edge = np.repeat(np.arange(count.size), count)
        step = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        where = (x + (top - y) * slope).ravel()[edge] + step * slope.ravel()[edge]
        right = ((y2 > y) == turns[:, None]).ravel()[edge].astype(np.int64)
        crossed = np.zeros((2, int((last - first).sum())))
        crossed[right, (offset[:, None] + top).ravel()[edge] + step] = where
        found = np.ceil(crossed.clip(0, wide)).astype(np.int16)
        return first, last, found[0], np.maximum(found[0], found[1])

    def blend(self, image: Array, under: Array, boxes: Array) -> None:
        """Writes what was painted inside (N, 4) boxes into `image` (H, W, 3) uint8, and forgets it there.

        `under` (H, W) is the image without it, as `rgba` samples.
        """
        tiles = np.zeros((-(-self.height // TILE), -(-self.width // TILE)), bool)
        limit = np.array([self.width, self.height] * 2)
        for x1, y1, x2, y2 in boxes.clip(0, limit).astype(int).tolist():
            tiles[y1 // TILE : -(-y2 // TILE), x1 // TILE : -(-x2 // TILE)] = True
        edges = np.diff(np.pad(tiles, ((0, 0), (1, 1))).astype(np.int8))
        ends = TILE * np.argwhere(edges == -1)[:, 1]
        for (y1, x1), x2 in zip((TILE * np.argwhere(edges == 1)).tolist(), ends.tolist(), strict=True):
            y2 = min(y1 + TILE, self.height)
            samples, plain = self._samples[2 * y1 : 2 * y2, 2 * x1 : 2 * x2], under[y1:y2, x1:x2]
            rows = _mean(samples[::2], samples[1::2])
            over = _mean(rows[:, ::2], rows[:, 1::2])
            rest = ALPHA - (over >> np.uint32(24))
            rest += rest >> np.uint32(7)  # of 256
            even = (((plain & LANES) * rest) >> U8_BITS) & LANES  # two channels at a time
            odd = (((plain >> U8_BITS) & LANES) * rest) & ~LANES
            mixed = (even | odd) + over  # no channel overflows: what covers is premultiplied
            image[y1:y2, x1:x2] = mixed.view(np.uint8).reshape(*mixed.shape, 4)[..., :3]
            samples[:] = 0


def _mean(a: Array, b: Array) -> Array:
    """The mean of each channel, rounded down."""
    return np.asarray((a & b) + (((a ^ b) >> np.uint32(1)) & np.uint32(0x7F7F7F7F)))


def rgba(colors: Array, alpha: float = 1.0) -> Array:
    """(P,) samples of (P, 3) RGB, 0 to 255, that cover `alpha` of what is under them."""
    premultiplied = np.clip(np.asarray(colors, float) * alpha, 0, 255).astype(np.uint32)
    top = np.uint32(round(255 * alpha)) << np.uint32(24)
    return np.asarray(premultiplied @ np.array([1, 1 << 8, 1 << 16], np.uint32) + top, np.uint32)
