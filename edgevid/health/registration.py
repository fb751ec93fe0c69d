"""Image registration: where an image lies relative to a reference of the same camera, or "unknown".

Small tiles of the reference are searched in the image by the direction of their gradients, which light
changes little (orientation correlation: Fitch et al., BMVC 2002); the similarity that most tiles agree on
is the camera's motion (RANSAC), the other tiles are traffic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgevid._opencv import cv2
from edgevid.errors import InputError
from edgevid.types import F32, F64, U8, Frame

WIDTH = 512  # Columns of the thumbnails; images are never enlarged
TILE, STEP, SEARCH_RADIUS = 48, 32, 20  # Side and spacing of tiles, how far they are searched, in thumbnail pixels
MIN_TILES = 8  # With fewer usable tiles the motion is unknown
MAX_TILES = 64  # More are thinned out evenly: they cost time and add nothing
MIN_CORRELATION = 0.32  # Normalized correlation below which a tile is not found
MIN_INLIER_RATIO = 0.3  # Share of the tiles that must agree on a motion
NOISE_LEVEL = 4.0  # Gradients, in gray levels per pixel, below which they count for less and less
MIN_STRUCTURE = 0.006  # Least smaller eigenvalue of a tile's structure tensor, per pixel


@dataclass(frozen=True, slots=True)
class Motion:
    """The similarity from reference pixels to image pixels, about the middle of the image."""

    dx: float
    dy: float  # Shift of the middle in pixels of the whole frame
    rotation_deg: float  # Clockwise on the image
    scale: float
    size: tuple[int, int]  # (width, height) of the frame

    @classmethod
    def none(cls, size: tuple[int, int]) -> Motion:
        """The identity."""
        return cls(0.0, 0.0, 0.0, 1.0, size)

    def apply(self, pixels: F64) -> F64:
        """(N, 2) where pixels of the reference lie in the image."""
        middle = np.array(self.size) / 2
        a = math.radians(self.rotation_deg)
        turn = self.scale * np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
        return np.asarray((np.asarray(pixels, float) - middle) @ turn.T + middle + [self.dx, self.dy])

    def after(self, first: Motion) -> Motion:
        """The composition: `first`, then this motion."""
        middle = np.array([self.size], float) / 2
        dx, dy = (self.apply(first.apply(middle)) - middle)[0]
        return Motion(float(dx), float(dy), self.rotation_deg + first.rotation_deg, self.scale * first.scale, self.size)

    def max_displacement(self) -> float:
        """The largest displacement in pixels within the middle 80 % of the image."""
        w, h = self.size
        corners = np.array([[x * w, y * h] for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9)])
        return float(np.hypot(*(self.apply(corners) - corners).T).max())

    def describe(self) -> str:
        """Shift, rotation and scale as text.

        >>> Motion(3.04, -4.0, 0.0, 1.0, (640, 360)).describe()
        'shifted by 5.0 px (3.0 right, 4.0 up)'
        """
        across = f"{abs(self.dx):.1f} {'right' if self.dx >= 0 else 'left'}"
        along = f"{abs(self.dy):.1f} {'down' if self.dy >= 0 else 'up'}"
        parts = [f"shifted by {np.hypot(self.dx, self.dy):.1f} px ({across}, {along})"]
        if abs(self.rotation_deg) >= 0.05:
            parts.append(f"rotated by {self.rotation_deg:+.2f} degrees")
        if abs(self.scale - 1) >= 0.001:
            parts.append(f"zoomed by {100 * (self.scale - 1):+.1f} %")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Registration:
    """The result of one comparison."""

    motion: Motion | None  # None: unknown
    inliers: int  # Tiles that agree on the motion
    reference_tiles: int  # Tiles of the reference with enough structure
    image_tiles: int  # Tiles of the image with enough structure: few where it is dark, foggy or covered

    @property
    def inlier_ratio(self) -> float:
        """Share of the reference's tiles that agree."""
        return self.inliers / max(1, self.reference_tiles)


def thumbnail(frame: Frame) -> U8:
    """(h, w) uint8 gray image of at most WIDTH columns; needs no color conversion of YUV frames."""
    gray = frame.planes[0] if frame.planes is not None else cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, WIDTH / frame.width)
    size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    return np.asarray(cv2.resize(np.ascontiguousarray(gray), size, interpolation=cv2.INTER_AREA))


class GradientImage:
    """A thumbnail prepared for registration, once for all references."""

    def __init__(self, gray: U8) -> None:
        """`gray` (h, w) uint8, at least a tile high and wide."""
        if gray.ndim != 2 or gray.dtype != np.uint8 or min(gray.shape) < TILE + 2:
            raise InputError(f"camera health: expected a gray image of at least {TILE + 2} "
                             f"pixels on each side, got {gray.dtype} {gray.shape}")  # fmt: skip
        smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 0.8)
        dx, dy = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, scale=0.125) for order in ((1, 0), (0, 1)))
        length = np.sqrt(dx * dx + dy * dy + NOISE_LEVEL * NOISE_LEVEL)
        self.gray, self.gradients = (gray, np.stack([dx / length, dy / length], -1).astype(np.float32, copy=False))
        """(h, w, 2) float32 gradients: nearly of length 1 where strong, near 0 where there is only noise."""
        rows, columns = np.mgrid[0 : gray.shape[0] - TILE + 1 : STEP, 0 : gray.shape[1] - TILE + 1 : STEP]
        corners = np.stack([columns.ravel(), rows.ravel()], 1)
        good = np.zeros(len(corners), bool)
        for n, (x, y) in enumerate(corners.tolist()):
            tile = self.gradients[y : y + TILE, x : x + TILE].reshape(-1, 2)
            good[n] = float(np.linalg.eigvalsh(tile.T @ tile)[0]) > MIN_STRUCTURE * TILE * TILE
        self.corners = corners[good]  # (N, 2) x, y of the tiles that have edges in more than one direction


class Reference:
    """A thumbnail, cut into tiles that can be found again."""

    def __init__(self, gray: U8, size: tuple[int, int]) -> None:
        """`gray` (h, w) uint8; `size` (width, height) of the frames it was made from."""
        image = GradientImage(gray)
        self.gray, self.size, self._gradients = gray, size, image.gradients
        self._corners = image.corners[:: max(1, math.ceil(len(image.corners) / MAX_TILES))]
        self.tiles = len(self._corners)  # How many have structure in both directions

    def register(self, image: GradientImage) -> Registration:
        """Where a thumbnail of the same camera lies relative to this one."""
        if image.gray.shape != self.gray.shape:
            raise InputError(f"camera health: expected {self.gray.shape[::-1]}, got {image.gray.shape[::-1]}")
        if (near := self._fit(image, (0, 0))).motion is not None or min(self.tiles, len(image.corners)) < MIN_TILES:
            return near
        # A camera that moved far: by phase correlation of the gradients of the whole image.
        window = cv2.createHanningWindow(self.gray.shape[::-1], cv2.CV_32F)
        pair = [np.hypot(f[..., 0], f[..., 1]) for f in (self._gradients, image.gradients)]
        (dx, dy), _ = cv2.phaseCorrelate(pair[0] - pair[0].mean(), pair[1] - pair[1].mean(), window)
        far = self._fit(image, (round(dx), round(dy)))
        return far if far.inliers > near.inliers else near

    def _fit(self, image: GradientImage, start: tuple[int, int]) -> Registration:
        """The similarity that most tiles agree on, searching around `start`."""
        unknown = Registration(None, 0, self.tiles, len(image.corners))
        if min(self.tiles, len(image.corners)) < MIN_TILES:
            return unknown
        shifts = [_find(self._gradients, image.gradients, c, start) for c in self._corners.tolist()]
        pairs = [(corner, shift) for corner, shift in zip(self._corners, shifts, strict=True) if shift]
        if len(pairs) < MIN_TILES:
            return unknown
        source = np.array([corner for corner, _ in pairs], float) + TILE / 2
        target = source + np.array([shift for _, shift in pairs])
        matrix, mask = cv2.estimateAffinePartial2D(source, target, method=cv2.RANSAC, ransacReprojThreshold=0.6,
                                                   maxIters=3000, confidence=0.999)  # fmt: skip
        if matrix is None or mask is None:
            return unknown
        inliers = int(mask.sum())
        matrix, middle = np.asarray(matrix, float), np.array(self.gray.shape[::-1]) / 2
        dx, dy = (matrix[:, :2] @ middle + matrix[:, 2] - middle) * self.size[0] / self.gray.shape[1]
        scale = math.hypot(matrix[0, 0], matrix[1, 0])
        rotation = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
        motion = Motion(float(dx), float(dy), rotation, scale, self.size)
        sure = inliers >= max(MIN_TILES, MIN_INLIER_RATIO * self.tiles)
        return Registration(motion if sure else None, inliers, self.tiles, len(image.corners))


def _find(reference: F32, image: F32, corner: tuple[int, int], start: tuple[int, int]) -> tuple[float, float] | None:
    """(dx, dy) of one tile in thumbnail pixels, None where it is not found."""
    x, y = corner
    left, top = x + start[0] - SEARCH_RADIUS, y + start[1] - SEARCH_RADIUS
    right, bottom = left + TILE + 2 * SEARCH_RADIUS, top + TILE + 2 * SEARCH_RADIUS
    x1, y1 = max(0, left), max(0, top)
    x2, y2 = min(image.shape[1], right), min(image.shape[0], bottom)
    if x2 - x1 < TILE + 2 or y2 - y1 < TILE + 2:
        return None
    tile = np.ascontiguousarray(reference[y : y + TILE, x : x + TILE])
    area = np.ascontiguousarray(image[y1:y2, x1:x2])
    scores = cv2.matchTemplate(area, tile, cv2.TM_CCORR_NORMED)
    _, best, _, (px, py) = cv2.minMaxLoc(scores)
    if best < MIN_CORRELATION or not (0 < px < scores.shape[1] - 1 and 0 < py < scores.shape[0] - 1):
        return None
    sx = _peak(scores[py, px - 1], best, scores[py, px + 1])
    sy = _peak(scores[py - 1, px], best, scores[py + 1, px])
    return px + sx + x1 - x, py + sy + y1 - y


def _peak(before: float, best: float, after: float) -> float:
    """Where between -0.5 and 0.5 the parabola through three values has its maximum."""
    bend = before - 2 * best + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0
