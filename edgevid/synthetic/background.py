"""The street without its traffic, painted once for each camera by casting the rays of its pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from edgevid.synthetic.raster import Layer, rgba
from edgevid.synthetic.scene import Camera
from edgevid.synthetic.shapes import SHADOW, SUN, capsules
from edgevid.types import Array

WATERMARK = "RENDERED - NOT A CAMERA"
LETTERS = {
    "R": "00 06 36 45 44 33 03 33 40", "E": "46 06 00 40 00 03 33", "N": "00 06 40 46",
    "D": "00 06 26 44 42 20 00", "O": "10 30 41 45 36 16 05 01 10", "T": "06 46 26 20", "A": "00 26 40 31 11",
    "C": "45 36 16 05 01 10 30 41", "M": "00 06 23 46 40", "-": "13 33", "5": "46 06 03 33 41 30 00",
}  # fmt: skip
"""Strokes from point to point of a grid of 4 x 6, x before y."""
HAZE = (206, 216, 226)
WALLS = ((198, 176, 148), (176, 112, 88), (214, 208, 196), (158, 150, 138), (192, 150, 116), (146, 158, 168))
AWNINGS = ((150, 50, 44), (46, 88, 76), (52, 70, 112), (186, 150, 70))
FACADE, DEPTH = 14.5, 12.0
"""x of the houses' fronts, and how deep the houses are, in meters."""
LAMPS, TREES = np.arange(16.0, 150.0, 36.0), np.arange(9.0, 160.0, 18.0)
"""y of the lamps and trees on each side."""
CROSSING, SIGN = (26.0, 29.5), (-8.0, 21.0)
"""y from and to of the zebra crossing; x and y of the sign."""


class _Canvas:
    """The rays of a camera's pixels, and the colors found along them."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        x = (np.arange(camera.width, dtype=np.float32) + 0.5 - camera.width / 2) / camera.focal
        y = (np.arange(camera.height, dtype=np.float32) + 0.5 - camera.height / 2) / camera.focal
        u, v = np.meshgrid(x, y)
        if camera.k1:
            squared = u * u + v * v
            shrink = np.ones_like(u)
            for _ in range(8):
                shrink = 1 / (1 + camera.k1 * squared * shrink**2)
            u, v = u * shrink, v * shrink
        s, c = math.sin(math.radians(camera.pitch)), math.cos(math.radians(camera.pitch))
        self.right, self.ahead, self.down = u, c - v * s, s + v * c  # of a ray of depth 1
        self.color = np.zeros((camera.height, camera.width, 3), np.float32)
        cells: Array = np.random.default_rng(7).normal(size=(256, 256)).astype(np.float32)
        for _ in range(2):
            cells = (cells + np.roll(cells, 1, 0) + np.roll(cells, 1, 1) + np.roll(cells, (1, 1), (0, 1))) / 2
        self._cells = cells / cells.std()

    def noise(self, x: Array, y: Array) -> Array:
        """Smooth noise of about -2 to 2 that varies over one unit of x and y."""
        return np.asarray(self._cells[(2 * y).astype(np.int64) & 255, (2 * x).astype(np.int64) & 255])

    def mix(self, where: tuple[slice, slice], color: Sequence[float] | Array, share: Array) -> None:
        """Covers `share` of the pixels of a part with a color."""
        part = self.color[where]
        part += share[..., None] * (np.asarray(color, np.float32) - part)

    def window(self, corners: Array) -> tuple[slice, slice]:
        """The part of the image around points (N, 3) in meters, those behind the camera moved before it."""
        points = corners.copy()
        points[:, 1] = points[:, 1].clip(max(1.0, 1.2 * _nearest(self.camera)))
        pixels = np.nan_to_num(self.camera.project(points), nan=0.0)
        limit = (self.camera.width, self.camera.height)
        (x1, y1), (x2, y2) = (
            np.clip(pixels.min(0) - 2, 0, limit).astype(int),
            np.clip(pixels.max(0) + 3, 0, limit).astype(int),
        )
        return slice(y1, y2), slice(x1, x2)


def _nearest(camera: Camera) -> float:
    """Distance in meters of the nearest ground in front of the camera."""
    return 0.15 - camera.height_m * math.tan(math.radians(camera.pitch)) if camera.pitch < 0 else 0.5


def _strip(at: Array, low: float, high: float, foot: Array) -> Array:
    """Share of a pixel of width `foot` around `at` that lies between `low` and `high`."""
    edges = (np.clip((at - edge) / foot + 0.5, 0, 1) for edge in (low, high))
    return np.asarray(next(edges) - next(edges))


def _dashes(at: Array, start: float, length: float, period: float, foot: Array) -> Array:
    """The same for stretches of `length`, the first at `start`, one each `period`."""

    def covered(x: Array) -> Array:
        whole = np.floor((x - start) / period)
        return np.asarray(whole * length + np.minimum(x - start - whole * period, length))

    return np.asarray((covered(at + foot / 2) - covered(at - foot / 2)) / foot).clip(0, 1)


def _sky(canvas: _Canvas) -> None:
    up = -canvas.down / np.maximum(np.hypot(canvas.right, canvas.ahead), 1e-3)
    share = np.clip(up / 0.42, 0, 1)[..., None] ** 0.7
    canvas.color[:] = np.array(HAZE) * (1 - share) + np.array([92, 142, 206]) * share
    scale = 1.6 / np.maximum(up + 0.09, 0.02)  # a plane of clouds overhead
    x, y = canvas.right / np.maximum(canvas.ahead, 1e-3) * scale * 3 + 40, scale * 3 + 7
    cloud = sum(canvas.noise(x * k, y * k) / k for k in (1.0, 2.0, 4.0, 8.0))
    canvas.mix(np.s_[:, :], (250, 251, 252), np.clip(0.5 * cloud + 0.1, 0, 0.85) * np.clip(up * 12, 0, 1))
    hills = (
        0.018
        + 0.008 * canvas.noise(canvas.right * 9 + 60, 0 * up + 9)
        + 0.004 * canvas.noise(canvas.right * 50 + 90, 0 * up)
    )
    canvas.mix(np.s_[:, :], (142, 160, 162), np.clip((hills - up) * canvas.camera.focal, 0, 1))


def _ground(canvas: _Canvas) -> None:
    camera, all_ = canvas.camera, np.s_[:, :]
    below = canvas.down > 1e-3
    reach = np.where(below, camera.height_m / np.maximum(canvas.down, 1e-3), 400.0).astype(np.float32)
    x, y = canvas.right * reach, canvas.ahead * reach
    wide = np.maximum(reach / camera.focal, 1e-4)
    deep = np.maximum(camera.height_m / np.maximum(canvas.down, 1e-3) ** 2 / camera.focal, 1e-4)
    fine = np.clip(0.12 / deep, 0, 1)  # detail that is smaller than a pixel is left out
    sky = canvas.color.copy()
    grass = canvas.noise(x * 3, y * 3) * fine * 5 + canvas.noise(x * 0.3 + 9, y * 0.3) * 5
    canvas.color[:] = np.array([98, 120, 70]) + grass[..., None] * np.array([1, 1, 0.6])
    slabs = 6 * canvas.noise(np.floor(x / 0.9) * 1.3, np.floor(y / 0.9) * 1.7) * fine
    paving = np.array([160, 156, 148]) + slabs[..., None]
    canvas.mix(all_, paving, _strip(x, -11.5, 11.5, wide))
    joints = np.maximum(_dashes(x, 0, 0.03, 0.9, wide), _dashes(y, 0, 0.03, 0.9, deep))
    canvas.mix(all_, (112, 108, 102), 0.6 * joints * _strip(np.abs(x), 7.5, 11.4, wide))
    worn = 3.5 * canvas.noise(x * 0.5, y * 0.12) + 4 * canvas.noise(x * 7, y * 7) * fine
    for lane in (-5.25, -1.75, 1.75, 5.25):
        worn -= 7 * sum(np.exp(-(((x - lane - side) / 0.33) ** 2)) for side in (-0.8, 0.8))
    canvas.mix(all_, np.array([88, 90, 93]) + worn[..., None], _strip(x, -7.4, 9.3, wide))
    for edge in (-7.5, 9.3):
        canvas.mix(all_, (190, 187, 178), _strip(x, edge, edge + 0.16, wide))
    faded = np.clip(0.86 + 0.1 * canvas.noise(x * 4, y * 4) * fine, 0, 1)
    lines = sum(_strip(x, at - 0.07, at + 0.07, wide) for at in (-7.1, -0.12, 0.12, 7.1))
    dashed = sum(_strip(x, at - 0.07, at + 0.07, wide) for at in (-3.5, 3.5)) * _dashes(y, 4, 3, 9, deep)
    zebra = _dashes(x, -6.9, 0.5, 1.0, wide) * _strip(y, *CROSSING, deep) * _strip(x, -6.95, 6.95, wide)
    stops = _strip(y, CROSSING[1] + 1.2, CROSSING[1] + 1.55, deep) * _strip(x, -7, -0.2, wide)
    stops += _strip(y, CROSSING[0] - 1.55, CROSSING[0] - 1.2, deep) * _strip(x, 0.2, 7, wide)
    bare = 1 - _strip(y, CROSSING[0] - 1.2, CROSSING[1] + 1.2, deep)
    bays = _dashes(y, 3, 0.12, 6, deep) * _strip(x, 7.2, 9.2, wide)
    paint = np.clip((lines + dashed) * bare + 0.75 * zebra + stops + bays, 0, 1)
    canvas.mix(all_, (226, 226, 218), paint * faded)
    shade = _strip(x, -FACADE, -FACADE + 11 * SHADOW[0], 1.0 + wide) * np.clip(
        0.55 + canvas.noise(0 * x, y * 0.06), 0.4, 1
    )
    canvas.mix(all_, np.array([26, 32, 44]), 0.2 * shade)
    far = 1 - np.exp(-y / 420)
    canvas.mix(all_, HAZE, np.clip(far, 0, 1))
    canvas.color[:] = np.where((below & (y > 0))[..., None], canvas.color, sky)


def _houses(canvas: _Canvas) -> None:
    random = np.random.default_rng(11)
    rows = []
    for side in (-1, 1):
        y = 2.0
        while y < 260:
            length = float(random.uniform(11, 22))
            rows.append(
                (y, length, side, float(random.choice([9.6, 12.7, 12.7, 15.8])), int(random.integers(60)))
            )
            y += length + (float(random.uniform(3, 9)) if random.random() < 0.3 else 0.0)
    for y, length, side, high, look in sorted(rows, reverse=True):  # far ones first
        _house(canvas, (y, y + length), side, high, look)


def _house(canvas: _Canvas, along: tuple[float, float], side: int, high: float, look: int) -> None:
    camera, wall = canvas.camera, np.array(WALLS[look % len(WALLS)], float)
    near, far = sorted((side * FACADE, side * (FACADE + DEPTH)))
    box = np.array([[x, y, z] for x in (near, far) for y in along for z in (0, high)])
    part = canvas.window(box)
    if part[0].stop <= part[0].start or part[1].stop <= part[1].start:
        return
    right, ahead, down = (v[part] for v in (canvas.right, canvas.ahead, canvas.down))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if camera.height_m > high:  # its flat roof
            reach = (camera.height_m - high) / down
            inside = (reach > 0) & (right * reach > near) & (right * reach < far)
            inside &= (ahead * reach > along[0]) & (ahead * reach < along[1])
            canvas.mix(part, (128, 126, 124), inside.astype(np.float32))
        for plane in ("gable", "front"):
            reach = along[0] / ahead if plane == "gable" else side * FACADE / right
            z = camera.height_m - down * reach
            place = right * reach if plane == "gable" else ahead * reach
            low, top = (near, far) if plane == "gable" else along
            foot = np.abs(reach) / camera.focal
            slant = foot if plane == "gable" else np.abs(ahead / right) * foot
            share = _strip(place, low, top, np.maximum(slant, 1e-3)) * np.clip((high - z) / foot + 0.5, 0, 1)
            share = np.where((reach > 0) & np.isfinite(reach) & (z > -0.3), share, 0)
            if not share.any():
                continue
            light = 0.5 + 0.5 * max(0.0, float(SUN @ ((0, -1, 0) if plane == "gable" else (-side, 0, 0))))
            color = _facade(
                canvas, wall, (place - low, top - low), z, high, np.maximum(slant, 1e-3), foot, look, plane
            )
            color = color * light * np.where(z < 0.15 + 0 * z, 0.7, 1.0)[..., None]
            haze = np.clip(1 - np.exp(-np.abs(ahead * reach) / 420), 0, 1)[..., None]
            canvas.mix(part, color * (1 - haze) + np.array(HAZE) * haze, np.nan_to_num(share))


def _facade(
    canvas: _Canvas, wall: Array, place: tuple[Array, float], z: Array, high: float, slant: Array,
    foot: Array, look: int, plane: str,
) -> Array:  # fmt: skip
    """Colors of a wall at `place` (with its length) and height `z`: windows, shops below, a cornice."""
    at, length = place
    color = wall + 4 * canvas.noise(at * 0.7 + look, z * 0.7 + 50)[..., None] + 0 * z[..., None]

    def over(paint: Sequence[float] | Array, share: Array) -> None:
        nonlocal color
        color = color + share[..., None] * (np.asarray(paint, float) - color)

    bays = max(2, round(length / 2.9))
    period, floors = length / bays, _strip(z, 3.6, high - 0.9, foot)
    pane = _dashes(at, 0.3 * period, 0.42 * period, period, slant)
    frame = _dashes(at, 0.26 * period, 0.5 * period, period, slant)
    rows, sills = _dashes(z, 4.5, 1.6, 3.1, foot), _dashes(z, 4.35, 1.9, 3.1, foot)
    blank = 1.0 if plane == "front" else 0.35
    over(wall * 1.16, blank * frame * sills * floors)
    lit = canvas.noise(np.floor(at / period) * 1.7 + look, np.floor(z / 3.1) * 2.3 + 3)
    over(
        np.array([58, 72, 88]) + 16 * lit[..., None] + 14 * (z[..., None] % 3.1 - 2),
        blank * pane * rows * floors,
    )
    if plane == "front":
        shop = _dashes(at, 0.08 * period, 0.84 * period, period, slant)
        over((74, 68, 62), _strip(z, 0.0, 3.3, foot))
        over((44, 54, 64), shop * _strip(z, 0.5, 2.5, foot))
        over(
            AWNINGS[look % len(AWNINGS)],
            _dashes(at, 0.04 * period, 0.92 * period, period, slant) * _strip(z, 2.5, 3.1, foot),
        )
    color = 0.9 * wall + 0.42 * (color - 0.9 * wall)  # seen through the air, and quiet behind what moves
    over(wall * 1.1, _strip(z, 3.35, 3.6, foot) + _strip(z, high - 0.55, high - 0.2, foot))
    over(wall * 0.62, _strip(z, high - 0.2, high + 1, foot))
    return np.asarray(color)


def _furniture(camera: Camera) -> tuple[Array, Array]:
    """Polygons and samples of trees, lamps and a sign, the far ones first, over the shadows of the trees."""
    random = np.random.default_rng(5)
    made: list[tuple[float, Array, Array]] = []

    def add(ends: Array, radii: Array | float, colors: Array, y: float, alpha: float = 1.0) -> None:
        radii = np.broadcast_to(np.asarray(radii, float), (len(ends), 2))
        made.append((y, capsules(camera, ends, radii), rgba(np.broadcast_to(colors, (len(ends), 3)), alpha)))

    for x, y in [(side * 13.7, float(y)) for y in TREES for side in (-1, 1)]:
        size = float(random.uniform(0.85, 1.2))
        way = random.normal(size=(150, 3))
        way *= random.uniform(0.35, 1, (150, 1)) ** 0.5 / np.linalg.norm(way, axis=1, keepdims=True)
        way = way[np.argsort(way @ np.array([0.2, -0.5, 0.8]))]  # the lit leaves last
        leaves = np.array([x, y, 4.3 * size]) + way * np.array([1.55, 1.55, 1.9]) * size
        glow = (0.62 + 0.42 * (way @ SUN) + random.normal(0, 0.07, 150)).clip(0.3, 1.25)
        shadow = np.concatenate([leaves[:, :2] + SHADOW * leaves[:, 2:], np.zeros((150, 1))], 1)
        add(np.repeat(shadow[:, None], 2, 1), 0.38 * size, np.zeros(3), 1e4, 0.22)
        add(np.array([[[x, y, 0], [x, y, 3.4 * size]]]), 0.13, np.array([84, 68, 54]), y)
        add(np.repeat(leaves[:, None], 2, 1), 0.36 * size, np.array([96, 128, 60]) * glow[:, None], y)
    for side, y in [(side, float(y)) for y in LAMPS for side in (-1, 1)]:
        joints = np.array([(11.7, 0), (11.7, 6), (11.6, 6.3), (10.2, 6.5), (9.6, 6.48)])
        joints = np.stack([side * joints[:, 0], np.full(5, y), joints[:, 1]], 1)
        radii, steel = np.array([[0.08, 0.06], [0.06, 0.05], [0.05, 0.04], [0.1, 0.1]]), [(72, 76, 80)] * 3
        add(np.stack([joints[:-1], joints[1:]], 1), radii, np.array([*steel, (228, 228, 220)]), y)
    x, y = SIGN
    add(np.array([[[x, y, 0], [x, y, 2.2]]]), 0.04, np.array([130, 132, 134]), y)
    for radius, color in ((0.42, (196, 30, 34)), (0.32, (244, 244, 240))):
        add(np.full((1, 2, 3), (x, y, 2.35)), radius, np.array(color), y)
    digits = _strokes("5O", lambda a, b: (x - 0.2 + 0.04 * a, y, 2.23 + 0.04 * b), 6)
    add(digits, 0.022, np.full(3, 20), y)
    made.sort(key=lambda one: -one[0])
    return np.concatenate([one[1] for one in made]), np.concatenate([one[2] for one in made])


def _strokes(text: str, place: Callable[[float, float], Sequence[float]], width: float) -> Array:
    """(N, 2, D) ends of the strokes of a text, each point of their grid at `place`."""
    found = []
    for n, letter in enumerate(text):
        points = [place(width * n + int(p[0]), int(p[1])) for p in LETTERS.get(letter, "").split()]
        found += list(pairwise(points))
    return np.array(found, float)


def _mark(camera: Camera) -> tuple[Array, Array]:
    """Polygons and samples of the words in the upper left corner."""
    size = min(2.2, camera.width / 420)
    ends = _strokes(WATERMARK, lambda a, b: (12 + size * a, 10 + size * (6 - b)), 5.6)
    return capsules(None, ends, np.full((len(ends), 2), 0.42 * size)), rgba(np.full((len(ends), 3), 255))


@lru_cache(maxsize=4)
def background(camera: Camera) -> tuple[Array, Array, tuple[Array, Array]]:
    """The empty street as (H, W, 3) uint8 RGB and as (H, W) samples, and polygons and samples of the mark."""
    canvas = _Canvas(camera)
    for paint in (_sky, _ground, _houses):
        paint(canvas)
    image = np.clip(canvas.color, 0, 255).astype(np.uint8)
    layer = Layer(camera.width, camera.height)
    layer.paint(*_furniture(camera))
    layer.blend(image, _samples(image), np.array([[0, 0, camera.width, camera.height]], float))
    soft = image.astype(np.float32)
    for axis in (0, 1):  # as a lens
        edge = np.pad(soft, [(1, 1) if k == axis else (0, 0) for k in range(3)], mode="edge")
        before, after = (np.take(edge, np.arange(soft.shape[axis]) + k, axis) for k in (0, 2))
        soft = 0.7 * soft + 0.15 * (before + after)
    grain = np.random.default_rng(0).normal(0, 1.6, image.shape[:2])[..., None]
    image = np.clip(soft + grain, 0, 255).astype(np.uint8)
    image.setflags(write=False)
    return image, _samples(image), _mark(camera)


def _samples(image: Array) -> Array:
    return rgba(image.reshape(-1, 3)).reshape(image.shape[:2])
