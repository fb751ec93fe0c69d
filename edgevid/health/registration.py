"""Where an image lies relative to a reference of the same camera: shift, rotation, scale, or "cannot tell".

Small tiles of the reference are searched in the image by the direction of their gradients, which light
changes little (orientation correlation: Fitch et al., BMVC 2002); a similarity that most of the tiles agree
on is the camera's motion (RANSAC), the rest is traffic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from edgevid.errors import InputError
from edgevid.types import Array, Frame

WIDTH = 512
"""Columns of the thumbnails; images are never enlarged."""
TILE, STEP, REACH = 48, 32, 20
"""Side and distance of the tiles and how far around they are searched, in thumbnail pixels."""
LEAST_TILES = 8
"""With fewer usable tiles nothing is said."""
MOST_TILES = 64
"""More are thinned out evenly: they would cost and tell nothing new."""
MATCH = 0.32
"""Least correlation of a tile that counts."""
NOISE = 4.0
"""Gradients, in gray levels a pixel, below which they count for less and less."""


@dataclass(frozen=True, slots=True)
class Motion:
    """The similarity from reference pixels to image pixels, about the middle of the image."""

    dx: float
    dy: float
    """Shift of the middle in pixels of the whole frame."""
    rotation_deg: float
    """Clockwise on the image."""
    scale: float
    size: tuple[int, int]
    """(width, height) of the frame."""

    def apply(self, pixels: Array) -> Array:
        """(N, 2) where pixels of the reference lie in the image."""
        middle = np.array(self.size) / 2
        a = math.radians(self.rotation_deg)
        turn = self.scale * np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
        return np.asarray((np.asarray(pixels, float) - middle) @ turn.T + middle + [self.dx, self.dy])

    def after(self, first: Motion) -> Motion:
        """This motion of an image that had itself moved by `first`."""
        middle = np.array([self.size], float) / 2
        dx, dy = (self.apply(first.apply(middle)) - middle)[0]
        return Motion(
            float(dx), float(dy), self.rotation_deg + first.rotation_deg, self.scale * first.scale, self.size
        )

    def most(self) -> float:
        """The largest displacement in pixels within the middle 80 % of the image."""
        w, h = self.size
        corners = np.array([[x * w, y * h] for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9)])
        return float(np.hypot(*(self.apply(corners) - corners).T).max())


@dataclass(frozen=True, slots=True)
class Look:
    """What one comparison found."""

    motion: Motion | None
    """None: cannot tell."""
    agreed: int
    """Tiles that agree on the motion."""
    usable: int
    """Tiles with enough structure in the reference."""
    structured: int
    """Tiles of the image with enough structure: few where it is dark, foggy or covered."""
    sigma_px: float
    """Standard error of the shift in pixels of the whole frame; NaN where there is none."""

    @property
    def quality(self) -> float:
        """Share of the usable tiles that agree."""
        return self.agreed / max(1, self.usable)


def thumbnail(frame: Frame) -> Array:
    """(h, w) uint8 gray image of at most WIDTH columns; needs no color conversion of YUV frames."""
    gray = frame.planes[0] if frame.planes is not None else cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, WIDTH / frame.width)
    size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    return np.asarray(cv2.resize(np.ascontiguousarray(gray), size, interpolation=cv2.INTER_AREA))


class Seen:
    """A thumbnail made ready for comparison, once for all references."""

    def __init__(self, gray: Array) -> None:
        """`gray` (h, w) uint8, at least a tile high and wide."""
        if gray.ndim != 2 or gray.dtype != np.uint8 or min(gray.shape) < TILE + 2:
            raise InputError(
                f"camera health: expected a gray image of at least {TILE + 2} pixels a side, "
                f"got {gray.dtype} {gray.shape}"
            )
        self.gray, self.field = gray, _field(gray)
        rows, columns = np.mgrid[0 : gray.shape[0] - TILE + 1 : STEP, 0 : gray.shape[1] - TILE + 1 : STEP]
        corners = np.stack([columns.ravel(), rows.ravel()], 1)
        self.corners = corners[_structured(self.field, corners)]
        """(N, 2) x, y of the tiles that have edges in more than one direction."""


class Reference:
    """One thumbnail, cut into tiles that can be found again."""

    def __init__(self, gray: Array, size: tuple[int, int]) -> None:
        """`gray` (h, w) uint8; `size` (width, height) of the frames it was made from."""
        seen = Seen(gray)
        self.gray, self.size, self._field = gray, size, seen.field
        self._corners = seen.corners[:: max(1, math.ceil(len(seen.corners) / MOST_TILES))]

    @property
    def tiles(self) -> int:
        """How many tiles have structure in both directions."""
        return len(self._corners)

    def look(self, seen: Seen) -> Look:
        """Where a thumbnail of the same camera lies relative to this one."""
        if seen.gray.shape != self.gray.shape:
            raise InputError(
                f"camera health: expected images of {self.gray.shape[::-1]}, got {seen.gray.shape[::-1]}"
            )
        near = self._vote(seen, (0, 0))
        if near.motion is not None or self.tiles < LEAST_TILES or len(seen.corners) < LEAST_TILES:
            return near
        far = self._vote(seen, self._whole(seen))  # a camera that moved far
        return far if far.agreed > near.agreed else near

    def _whole(self, seen: Seen) -> tuple[int, int]:
        """The shift of the whole image in thumbnail pixels, by phase correlation of the gradients."""
        window = cv2.createHanningWindow(self.gray.shape[::-1], cv2.CV_32F)
        pair = [np.hypot(f[..., 0], f[..., 1]) for f in (self._field, seen.field)]
        (dx, dy), _ = cv2.phaseCorrelate(pair[0] - pair[0].mean(), pair[1] - pair[1].mean(), window)
        return round(dx), round(dy)

    def _vote(self, seen: Seen, start: tuple[int, int]) -> Look:
        """The similarity that most tiles agree on, searching around `start`."""
        structured = len(seen.corners)
        silent = Look(None, 0, self.tiles, structured, math.nan)
        if min(self.tiles, structured) < LEAST_TILES:
            return silent
        found = [_find(self._field, seen.field, corner, start) for corner in self._corners.tolist()]
        pairs = [(corner, shift) for corner, shift in zip(self._corners, found, strict=True) if shift]
        if len(pairs) < LEAST_TILES:
            return silent
        source = np.array([corner for corner, _ in pairs], float) + TILE / 2
        target = source + np.array([shift for _, shift in pairs])
        matrix, kept = cv2.estimateAffinePartial2D(
            source, target, method=cv2.RANSAC, ransacReprojThreshold=0.6, maxIters=3000, confidence=0.999
        )
        if matrix is None or kept is None:
            return silent
        kept = kept.ravel().astype(bool)
        agreed = int(kept.sum())
        if agreed < max(LEAST_TILES, 0.3 * self.tiles):
            return Look(None, agreed, self.tiles, structured, math.nan)
        rest = source[kept] @ matrix[:, :2].T + matrix[:, 2] - target[kept]
        grow = self.size[0] / self.gray.shape[1]
        sigma = grow * math.sqrt(float((rest**2).sum()) / max(1, 2 * agreed - 4) / agreed)
        return Look(self._motion(matrix, grow), agreed, self.tiles, structured, sigma)

    def _motion(self, matrix: Array, grow: float) -> Motion:
        middle = np.array(self.gray.shape[::-1]) / 2
        dx, dy = (matrix[:, :2] @ middle + matrix[:, 2] - middle) * grow
        scale = math.hypot(matrix[0, 0], matrix[1, 0])
        turn = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
        return Motion(float(dx), float(dy), turn, scale, self.size)


def _field(gray: Array) -> Array:
    """(h, w, 2) float32 gradients, nearly of length 1 where strong, near 0 where there is only noise."""
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 0.8)
    dx, dy = (cv2.Sobel(smooth, cv2.CV_32F, *way, ksize=3, scale=0.125) for way in ((1, 0), (0, 1)))
    length = np.sqrt(dx * dx + dy * dy + NOISE * NOISE)
    return np.stack([dx / length, dy / length], -1)


def _structured(field: Array, corners: Array) -> Array:
    """(N,) whether the tile at each corner has edges in more than one direction."""
    good = np.zeros(len(corners), bool)
    for n, (x, y) in enumerate(corners.tolist()):
        tile = field[y : y + TILE, x : x + TILE].reshape(-1, 2)
        least = float(np.linalg.eigvalsh(tile.T @ tile)[0])
        good[n] = least > 0.006 * TILE * TILE
    return good


def _find(
    reference: Array, field: Array, corner: tuple[int, int], start: tuple[int, int]
) -> tuple[float, float] | None:
    """(dx, dy) of one tile in thumbnail pixels, None where it is not found again."""
    x, y = corner
    left, top = x + start[0] - REACH, y + start[1] - REACH
    right, bottom = left + TILE + 2 * REACH, top + TILE + 2 * REACH
    x1, y1 = max(0, left), max(0, top)
    x2, y2 = min(field.shape[1], right), min(field.shape[0], bottom)
    if x2 - x1 < TILE + 2 or y2 - y1 < TILE + 2:
        return None
    tile = np.ascontiguousarray(reference[y : y + TILE, x : x + TILE])
    area = np.ascontiguousarray(field[y1:y2, x1:x2])
    scores = cv2.matchTemplate(area, tile, cv2.TM_CCORR_NORMED)
    _, best, _, (px, py) = cv2.minMaxLoc(scores)
    if best < MATCH or not (0 < px < scores.shape[1] - 1 and 0 < py < scores.shape[0] - 1):
        return None
    sx = _peak(scores[py, px - 1], best, scores[py, px + 1])
    sy = _peak(scores[py - 1, px], best, scores[py + 1, px])
    return px + sx + x1 - x, py + sy + y1 - y


def _peak(before: float, best: float, after: float) -> float:
    """Where between -0.5 and 0.5 the parabola through three values has its top."""
    bend = before - 2 * best + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0
