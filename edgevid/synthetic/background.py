"""The street without its traffic, painted once for each camera by casting the rays of its pixels."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from edgevid.synthetic.scene import Camera
from edgevid.synthetic.shapes import LOOKS, SHADOW, SUN, Layer, capsules, rgba
from edgevid.types import Array

HAZE = np.array([206, 216, 226])
FACADE, DEPTH = 14.5, 12.0  # x of the houses' fronts, and how deep the houses are, in meters
LAMPS, TREES = range(16, 150, 36), range(9, 160, 18)  # y of the lamps and trees on each side
ALL = np.s_[:, :]


class _Canvas:
    """The rays of a camera's pixels, and the colors found along them."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        x = (np.arange(camera.width, dtype=np.float32) + 0.5 - camera.width / 2) / camera.focal
        y = (np.arange(camera.height, dtype=np.float32) + 0.5 - camera.height / 2) / camera.focal
        u, v = np.meshgrid(x, y)
        if camera.k1:
            squared, shrink = u * u + v * v, np.ones_like(u)
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

    def window(self, low: Sequence[float], high: Sequence[float]) -> tuple[slice, slice]:
        """The part of the image around a cuboid in meters, what is behind the camera moved before it."""
        camera = self.camera
        points = np.stack(np.meshgrid(*zip(low, high, strict=True)), -1).reshape(-1, 3)
        ground = 0.15 - camera.height_m * math.tan(math.radians(min(camera.pitch, 0)))  # the nearest seen
        points[:, 1] = points[:, 1].clip(max(1.0, 1.2 * ground))
        pixels = np.nan_to_num(camera.project(points), nan=0.0)
        ends = np.array([pixels.min(0) - 2, pixels.max(0) + 3]).clip(0, (camera.width, camera.height))
        (x1, y1), (x2, y2) = ends.astype(int).tolist()
        return slice(y1, y2), slice(x1, x2)


def _covered(at: Array, stretches: Sequence[float], foot: Array) -> Array:
    """Share of a pixel of width `foot` around `at` that lies in stretches, as street.toml tells them."""
    if len(stretches) == 5:
        return _covered(at, stretches[:3], foot) * _covered(at, stretches[3:], foot)
    if len(stretches) == 2:
        low, high = (np.clip((at - edge) / foot + 0.5, 0, 1) for edge in stretches)
        return np.asarray(low - high)
    start, length, period = stretches
    ends = []
    for x in (at + foot / 2 - start, at - foot / 2 - start):
        whole = np.floor(x / period)
        ends.append(whole * length + np.minimum(x - whole * period, length))
    return np.asarray((ends[0] - ends[1]) / foot).clip(0, 1)


def _sky(canvas: _Canvas) -> None:
    up = -canvas.down / np.maximum(np.hypot(canvas.right, canvas.ahead), 1e-3)
    canvas.color[:] = HAZE
    canvas.mix(ALL, (92, 142, 206), np.clip(up / 0.42, 0, 1) ** 0.7)
    scale = 1.6 / np.maximum(up + 0.09, 0.02)  # a plane of clouds overhead
    x, y = canvas.right / np.maximum(canvas.ahead, 1e-3) * scale * 3 + 40, scale * 3 + 7
    cloud = sum(canvas.noise(x * k, y * k) / k for k in (1.0, 2.0, 4.0, 8.0))
    canvas.mix(ALL, (250, 251, 252), np.clip(0.5 * cloud + 0.1, 0, 0.85) * np.clip(up * 12, 0, 1))
    hills = 0.008 * canvas.noise(canvas.right * 9 + 60, 0 * up + 9)
    hills += 0.018 + 0.004 * canvas.noise(canvas.right * 50 + 90, 0 * up)
    canvas.mix(ALL, (142, 160, 162), np.clip((hills - up) * canvas.camera.focal, 0, 1))


def _ground(canvas: _Canvas) -> None:
    focal, down, sky = canvas.camera.focal, np.maximum(canvas.down, 1e-3), canvas.color.copy()
    reach = np.minimum(canvas.camera.height_m / down, 4e3).astype(np.float32)
    x, y = canvas.right * reach, canvas.ahead * reach
    wide, deep = np.maximum(reach / focal, 1e-4), np.maximum(reach / down / focal, 1e-4)
    fine = np.clip(0.12 / deep, 0, 1)  # detail that is smaller than a pixel is left out
    grass = canvas.noise(x * 3, y * 3) * fine * 5 + canvas.noise(x * 0.3 + 9, y * 0.3) * 5
    canvas.color[:] = np.array([98, 120, 70]) + grass[..., None] * np.array([1, 1, 0.6])
    slabs = 6 * canvas.noise(np.floor(x / 0.9) * 1.3, np.floor(y / 0.9) * 1.7) * fine
    canvas.mix(ALL, np.array([160, 156, 148]) + slabs[..., None], _covered(x, (-11.5, 11.5), wide))
    joints = np.maximum(_covered(x, (0, 0.03, 0.9), wide), _covered(y, (0, 0.03, 0.9), deep))
    canvas.mix(ALL, (112, 108, 102), 0.6 * joints * _covered(np.abs(x), (7.5, 11.4), wide))
    worn = 3.5 * canvas.noise(x * 0.5, y * 0.12) + 4 * canvas.noise(x * 7, y * 7) * fine
    for wheel in (0.95, 2.55, 4.45, 6.05):  # tracks of wheels on both halves of the road
        worn -= 7 * np.exp(-(((np.abs(x) - wheel) / 0.33) ** 2))
    canvas.mix(ALL, np.array([88, 90, 93]) + worn[..., None], _covered(x, (-7.4, 9.3), wide))
    for edge in (-7.5, 9.3):
        canvas.mix(ALL, (190, 187, 178), _covered(x, (edge, edge + 0.16), wide))
    marks = LOOKS["markings"]
    paint = sum(part * _covered(x, across, wide) * _covered(y, along, deep) for part, across, along in marks)
    faded = np.clip(0.86 + 0.1 * canvas.noise(x * 4, y * 4) * fine, 0, 1)
    canvas.mix(ALL, (226, 226, 218), np.clip(paint, 0, 1) * faded)
    shade = np.clip(0.55 + canvas.noise(0 * x, y * 0.06), 0.4, 1)
    shade *= 0.2 * _covered(x, (-FACADE, -FACADE + 11 * SHADOW[0]), 1.0 + wide)
    canvas.mix(ALL, (26, 32, 44), shade)
    canvas.mix(ALL, HAZE, np.clip(1 - np.exp(-y / 420), 0, 1))
    canvas.color[:] = np.where(((canvas.down > 1e-3) & (y > 0))[..., None], canvas.color, sky)


def _houses(canvas: _Canvas) -> None:
    random = np.random.default_rng(11)
    rows = []
    for side in (-1, 1):
        y = 2.0
        while y < 260:
            end = y + float(random.uniform(11, 22))
            high = float(random.choice([9.6, 12.7, 12.7, 15.8]))
            rows.append((y, end, side, high, int(random.integers(60))))
            y = end + (float(random.uniform(3, 9)) if random.random() < 0.3 else 0.0)
    for y, end, side, high, look in sorted(rows, reverse=True):  # far ones first
        _house(canvas, (y, end), side, high, look)


def _house(canvas: _Canvas, along: tuple[float, float], side: int, high: float, look: int) -> None:
    camera = canvas.camera
    near, far = sorted((side * FACADE, side * (FACADE + DEPTH)))
    part = canvas.window((near, along[0], 0), (far, along[1], high))
    rays = [canvas.right[part], canvas.ahead[part], -canvas.down[part]]
    if not rays[0].size:
        return
    ends = ((near, far), along, (-0.3, high))
    planes = ((2, high), (1, along[0]), (0, side * FACADE))  # roof, gable, front
    for axis, offset in planes[camera.height_m <= high :]:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            reach = (offset - (axis == 2) * camera.height_m) / rays[axis]
            x, y, z = rays[0] * reach, rays[1] * reach, camera.height_m + rays[2] * reach
            foot = np.abs(reach) / camera.focal
            slant = np.maximum(foot * (np.abs(rays[1] / rays[0]) if axis == 0 else 1), 1e-3)
            at, limits = (y, along) if axis == 0 else (x, ends[0])
            share = _covered(at, limits, slant)
            share *= _covered(z, ends[2], foot) if axis < 2 else _covered(y, along, foot)
            share = np.where((reach > 0) & np.isfinite(reach) & np.isfinite(share), share, 0)
            if not share.any():
                continue
            if axis == 2:
                canvas.mix(part, (128, 126, 124), share)
                continue
            light = 0.5 + 0.5 * max(0.0, float(-side * SUN[0] if axis == 0 else -SUN[1]))
            wall = _facade(canvas, (at - limits[0], limits[1] - limits[0]), z, high, slant, foot, look)
            color = wall * light * np.where(z < 0.15, 0.7, 1.0)[..., None]
            haze = np.clip(1 - np.exp(-np.abs(y) / 420), 0, 1)[..., None]
            canvas.mix(part, color * (1 - haze) + HAZE * haze, share)


def _facade(canvas: _Canvas, place: tuple[Array, float], z: Array, high: float, slant: Array, foot: Array,
            look: int) -> Array:  # fmt: skip
    """Colors of a wall at `place` (with its length) and height `z`: windows, shops below, a cornice."""
    at, length = place
    wall, awning = (np.array(one[look % len(one)], float) for one in (LOOKS["walls"], LOOKS["awnings"]))
    color = np.asarray(wall + 4 * canvas.noise(at * 0.7 + look, z * 0.7 + 50)[..., None])

    def over(paint: Sequence[float] | Array, share: Array) -> None:
        nonlocal color
        color = color + share[..., None] * (np.asarray(paint, float) - color)

    front = length != DEPTH  # a gable is as wide as the house is deep
    period = length / max(2, round(length / 2.9))
    bays, across = at / period, slant / period
    floors = (1.0 if front else 0.35) * _covered(z, (3.5, high - 0.9), foot)
    over(wall * 1.16, floors * _covered(bays, (0.26, 0.5, 1), across) * _covered(z, (4.35, 1.9, 3.1), foot))
    lit = 16 * canvas.noise(np.floor(bays) * 1.7 + look, np.floor(z / 3.1) * 2.3 + 3) + 14 * (z % 3.1 - 2)
    pane = _covered(bays, (0.3, 0.42, 1), across) * _covered(z, (4.5, 1.6, 3.1), foot)
    over(np.array([58, 72, 88]) + lit[..., None], floors * pane)
    for paint, along, up in LOOKS["shop"] if front else ():
        share = _covered(bays, along, across) * _covered(z, up, foot)
        over(awning if paint == "awning" else paint, share)
    color = 0.9 * wall + 0.42 * (color - 0.9 * wall)  # seen through the air, and quiet behind what moves
    over(wall * 1.1, _covered(z, (3.35, 3.5), foot) + _covered(z, (high - 0.55, high - 0.2), foot))
    over(wall * 0.62, _covered(z, (high - 0.2, high + 1), foot))
    return color


def _furniture(camera: Camera) -> tuple[Array, Array]:
    """Polygons and samples of trees, lamps and a sign, the far ones first, over the shadows of the trees."""
    random = np.random.default_rng(5)
    made: list[tuple[float, Array, Array]] = []

    def add(y: float, lines: Array, alpha: float = 1.0) -> None:
        """Thick lines (N, 11) as in street.toml."""
        made.append((y, capsules(camera, lines[:, :6].reshape(-1, 2, 3), lines[:, 6:8]), rgba(lines[:, 8:], alpha)))

    for x, y in [(side * 13.7, y) for y in TREES for side in (-1, 1)]:
        size = float(random.uniform(0.85, 1.2))
        way = random.normal(size=(150, 3))
        way *= random.uniform(0.35, 1, (150, 1)) ** 0.5 / np.linalg.norm(way, axis=1, keepdims=True)
        way = way[np.argsort(way @ (0.2, -0.5, 0.8))]  # the lit leaves last
        leaves = np.array([x, y, 4.3 * size]) + way * (1.55, 1.55, 1.9) * size
        glow = (0.62 + 0.42 * (way @ SUN) + random.normal(0, 0.07, 150)).clip(0.3, 1.25)
        ground = np.column_stack([leaves[:, :2] + SHADOW * leaves[:, 2:], np.zeros(150)])
        wide = np.full((150, 2), 0.36 * size)
        add(1e4, np.hstack([ground, ground, wide + 0.02 * size, np.zeros((150, 3))]), 0.22)
        add(y, np.array([[x, y, 0, x, y, 3.4 * size, 0.13, 0.13, 84, 68, 54]]))
        add(y, np.hstack([leaves, leaves, wide, np.array([96, 128, 60]) * glow[:, None]]))
    for side, y in [(side, y) for y in LAMPS for side in (-1, 1)]:
        add(y, LOOKS["lamp"] * np.array([side, 1, 1] * 2 + [1] * 5) + np.array([0, y, 0] * 2 + [0] * 5))
    add(LOOKS["sign"][0][1], np.array(LOOKS["sign"], float))
    made.sort(key=lambda one: -one[0])
    return np.concatenate([one[1] for one in made]), np.concatenate([one[2] for one in made])


@lru_cache(maxsize=4)
def background(camera: Camera) -> tuple[Array, Array, tuple[Array, Array]]:
    """The empty street as (H, W, 3) uint8 RGB and as (H, W) samples, and polygons and samples of the mark: the words in
    the upper left corner."""
    canvas = _Canvas(camera)
    for paint in (_sky, _ground, _houses):
        paint(canvas)
    image = np.clip(canvas.color, 0, 255).astype(np.uint8)
    layer = Layer(camera.width, camera.height)
    layer.paint(*_furniture(camera))
    layer.blend(image, _samples(image))
    edge = np.pad(image.astype(np.float32), ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = 0.7 * edge[1:-1] + 0.15 * (edge[:-2] + edge[2:])  # softened, as by a lens
    soft = 0.7 * rows[:, 1:-1] + 0.15 * (rows[:, :-2] + rows[:, 2:])
    grain = np.random.default_rng(0).normal(0, 1.6, image.shape[:2])[..., None]
    image = np.clip(soft + grain, 0, 255).astype(np.uint8)
    image.setflags(write=False)
    size = min(2.2, camera.width / 420)
    ends = np.array(LOOKS["mark"]).reshape(-1, 2, 2) * size + (12, 10)
    mark = capsules(None, ends, np.full((len(ends), 2), 0.42 * size)), rgba(np.full((len(ends), 3), 255))
    return image, _samples(image), mark


def _samples(image: Array) -> Array:
    return rgba(image.reshape(-1, 3)).reshape(image.shape[:2])
