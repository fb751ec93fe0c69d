"""Convex polygons over an image, painted in their order at twice its resolution, all rows at once."""

from __future__ import annotations

import numpy as np

from edgevid.types import Array

CORNERS = 8
"""Most corners of a polygon."""
LARGE = 1500
"""Samples of a polygon from which a mask fills it faster than an index for each sample."""
TILE = 32
"""Side of the squares, in pixels, that are blended together: small enough for the processor's cache."""
LANES, U8_BITS = np.uint32(0x00FF00FF), np.uint32(8)


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
        points, colors = (
            2 * np.clip(points[fine], -30000, 30000) - 0.5,
            colors[fine],
        )  # samples are whole numbers
        first, last, left, right = self._spans(points)
        end = np.cumsum(last - first)
        total = np.concatenate([[0], np.cumsum(right - left)])
        size = total[end] - total[end - (last - first)]
        large = size > LARGE
        some = int(large.argmax()) if large.any() else len(size)  # from here on one by one, in their order
        count = int(end[some - 1]) if some else 0
        length = (right - left)[:count]
        polygon = np.repeat(np.arange(some), (last - first)[:some])
        row = np.arange(count) + (first - end + last - first)[:some][polygon]
        start = row * self._samples.shape[1] + left[:count] - total[:count]
        at = np.repeat(start.astype(np.int32), length)
        at += np.arange(len(at), dtype=np.int32)
        self._samples.reshape(-1)[at] = np.repeat(colors[polygon], length)
        for n in range(some, len(size)):
            if size[n]:
                part = slice(int(end[n] - last[n] + first[n]), int(end[n]))
                a, b = left[part], right[part]
                low, high = int(a.min()), int(b.max())
                columns = self._columns[low:high]
                inside = (columns >= a[:, None]) & (columns < b[:, None])
                np.copyto(self._samples[first[n] : last[n], low:high], colors[n], where=inside)

    def _spans(self, points: Array) -> tuple[Array, Array, Array, Array]:
        """First row and end of each polygon; first sample and end of every row of each, in one line."""
        high, wide = self._samples.shape
        x, y = points[..., 0], points[..., 1]
        x2, y2 = np.roll(x, -1, 1), np.roll(y, -1, 1)
        top, bottom = (
            np.ceil(v.clip(0, high)).astype(np.int64) for v in (np.minimum(y, y2), np.maximum(y, y2))
        )
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
            lanes = samples & LANES, (samples >> U8_BITS) & LANES  # two channels in each sum
            rows = (lane[::2] + lane[1::2] for lane in lanes)
            even, odd = (row[:, ::2] + row[:, 1::2] for row in rows)
            rest = np.uint32(1020) - (odd >> np.uint32(16))
            rest = (rest + (rest >> np.uint32(7))) >> np.uint32(2)  # of 256
            even = ((even >> np.uint32(2)) & LANES) + ((((plain & LANES) * rest) >> U8_BITS) & LANES)
            odd = ((odd >> np.uint32(2)) & LANES) + (
                ((((plain >> U8_BITS) & LANES) * rest) >> U8_BITS) & LANES
            )
            mixed = even + (odd << U8_BITS)
            image[y1:y2, x1:x2] = mixed.view(np.uint8).reshape(*mixed.shape, 4)[..., :3]
            samples[:] = 0


def rgba(colors: Array, alpha: float = 1.0) -> Array:
    """(P,) samples of (P, 3) RGB, 0 to 255, that cover `alpha` of what is under them."""
    premultiplied = np.clip(np.asarray(colors, float) * alpha, 0, 255).astype(np.uint32)
    top = np.uint32(round(255 * alpha)) << np.uint32(24)
    return np.asarray(premultiplied @ np.array([1, 1 << 8, 1 << 16], np.uint32) + top, np.uint32)
