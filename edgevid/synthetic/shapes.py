"""The vehicles and people of the rendered street: polygons in meters, shaded by one sun, and how they are painted."""

import math
from functools import lru_cache
from pathlib import Path

import numpy as np

from edgevid.files.toml import read_toml
from edgevid.synthetic.scene import ACTIONS, CLASSES, SIZES, Camera, Truth
from edgevid.types import Array

CORNERS = 8  # Most corners of a polygon
TILE = 32  # Side of the squares, in pixels, that are blended together: small enough for the processor's cache
LANES, U8_BITS, ALPHA = np.uint32(0x00FF00FF), np.uint32(8), np.uint32(255)
LOOKS = read_toml(Path(__file__).with_name("street.toml"))  # Colors and shapes, as described in the file
SUN = np.array([-0.36, -0.44, 0.82])  # Towards the sun: behind the camera, to the left
SHADOW = -SUN[:2] / SUN[2]  # Meters that a shadow reaches over the ground for each meter of height
LIMBS = np.array(LOOKS["limbs"])
MIRROR = [2, 1, 0, *range(CORNERS - 1, 2, -1)]
"""Order of the corners of a face that is mirrored: the other way around, with the same first three."""


class Layer:
    """What is painted over images of one size: four samples a pixel, each RGBA with premultiplied color."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._samples = np.zeros((2 * height, 2 * width), np.uint32)
        self._painted = np.zeros((-(-height // TILE), -(-width // TILE) + 1), np.int64)
        """Of each tile in a row, how many spans begin there, less those that ended before."""

    def paint(self, points: Array, colors: Array) -> None:
        """Paints (P, CORNERS, 2) float pixels, the last corner repeated, in (P,) samples of `rgba`. Later ones
        cover earlier ones. A polygon with NaN is left out."""
        fine = np.isfinite(points).all((1, 2))
        points, colors = (2 * np.clip(points[fine], -30000, 30000) - 0.5, colors[fine])  # samples are whole numbers
        high, row, left, right = self._spans(points)
        np.add.at(self._painted, (row // (2 * TILE), left // (2 * TILE)), 1)
        np.add.at(self._painted, (row // (2 * TILE), -(-right // (2 * TILE))), -1)
        count = right - left
        start = row * self._samples.shape[1] + left - np.cumsum(count) + count
        at = np.repeat(start, count) + np.arange(count.sum())
        self._samples.reshape(-1)[at] = np.repeat(np.repeat(colors, high), count)

    def _spans(self, points: Array) -> tuple[Array, Array, Array, Array]:
        """How many rows each polygon has; of every row of each its number, first sample and end."""
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
        side = ((y2 > y) == turns[:, None]).ravel()[edge].astype(np.int64)
        crossed = np.zeros((2, int((last - first).sum())))
        crossed[side, (offset[:, None] + top).ravel()[edge] + step] = where
        left, right = np.ceil(crossed.clip(0, wide)).astype(np.int64)
        row = np.arange(len(left)) - np.repeat(offset, last - first)
        return last - first, row, left, np.maximum(left, right)

    def blend(self, image: Array, under: Array) -> None:
        """Writes what was painted into `image` (H, W, 3) uint8, and forgets it. `under` (H, W) is the image without it,
        as `rgba` samples."""
        ends = TILE * np.argwhere(np.diff(self._painted.cumsum(1) > 0, axis=1, prepend=False))
        self._painted[:] = 0
        for (y1, x1), (_, x2) in ends.reshape(-1, 2, 2).tolist():
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


@lru_cache(maxsize=64)
def vehicle(kind: str, variant: int, paint: int) -> tuple[Array, Array, Array, Array, Array]:
    """The faces of a kind of vehicle, as arrays with a row for each. (F, CORNERS, 3) meters forward, left and up from
    the center of the base; (F, 3) RGB; (F,) whether it is a lamp, which the sun does not shade; (F,) whether it is
    glass, that reflects the sky; (F,) number of the part: those nearer to the front have higher ones."""
    variants, colors = LOOKS["vehicles"][kind], LOOKS["colors"]
    faces: list[tuple[Array, str, int]] = []
    for part, names in enumerate(variants[variant % len(variants)]):
        for role, *corners in (face for name in names for face in LOOKS["faces"][name]):
            points = np.array(corners + corners[-1:] * (CORNERS - len(corners)))
            faces.append((points, role, part))
            if (points[:, 1] > 0).all():
                faces.append((points[MIRROR] * (1, -1, 1), role, part))
    meters, roles, parts = zip(*faces, strict=True)
    painted = np.array([colors.get(role, LOOKS["paints"][paint]) for role in roles], float)
    lamps, glass = np.isin(roles, ("lamp", "sign")), np.isin(roles, "glass")
    return np.array(meters) * SIZES[kind], painted, lamps, glass, np.array(parts)


def _placed(truth: Truth, rows: Array, points: Array) -> Array:
    """(N, K, 3) meters in the world of points in meters forward, left and up of the objects in `rows`."""
    c, s = np.cos(truth.headings[rows])[:, None], np.sin(truth.headings[rows])[:, None]
    x, y, z = np.moveaxis(points, 2, 0)
    across, along = truth.positions[rows].T[..., None]
    return np.stack([c * x - s * y + across, s * x + c * y + along, z], 2)


def vehicle_faces(camera: Camera, truth: Truth, rows: Array) -> tuple[Array, Array, Array]:
    """(P, CORNERS, 2) pixels, (P, 3) colors and (P,) row of the truth of the faces that the camera sees."""
    if not len(rows):
        return np.zeros((0, CORNERS, 2)), np.zeros((0, 3)), rows
    known, paints = zip(truth.labels[rows].tolist(), truth.ids[rows].tolist(), strict=True), len(LOOKS["paints"])
    shapes = [vehicle(CLASSES[label], n * 7 // 3 % 3, (n * 7 + 3) % paints) for label, n in known]
    owners = np.repeat(rows, [len(shape[0]) for shape in shapes])
    points, colors, lamp, glass, part = (np.concatenate(column) for column in zip(*shapes, strict=True))
    points = _placed(truth, owners, points)
    normal = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    seen = np.flatnonzero((((0, 0, camera.height_m) - points[:, 0]) * normal).sum(1) > 0)
    way = np.stack([np.cos(truth.headings), np.sin(truth.headings)], 1)
    comes = (truth.positions * way).sum(1)[owners] < 0  # towards the camera: the front covers the rest
    seen = seen[np.argsort(np.where(comes, part, -part)[seen], kind="stable")]
    light = np.where(lamp, 1, 0.5 + 0.5 * np.clip(normal @ SUN, 0, 1) + 0.06 * normal[:, 2])[:, None]
    sky = (glass * normal[:, 2].clip(0) ** 2)[:, None] * (70, 88, 104)
    return camera.project(points[seen]), (colors * light + sky)[seen], owners[seen]


def shadows(truth: Truth) -> Array:
    """(S, CORNERS, 3) meters of the shadows on the ground."""
    slim = np.where(truth.labels == CLASSES.index("person"), 0.7, 1.0)[:, None, None]
    center = truth.corners[:, :4, :2].mean(1, keepdims=True)
    base = center + slim * (truth.corners[:, :4, :2] - center)
    top = base * 0.9 + 0.1 * center + (0.92 * truth.corners[:, 4:, 2:]) * SHADOW
    before = np.roll(base, 1, 1), np.roll(top, 1, 1)
    walls = np.stack([base, *before, top], 2)  # over each edge of the base
    flat = np.concatenate([base[:, None], top[:, None], walls], 1).reshape(-1, 4, 2)
    points = np.zeros((len(flat), CORNERS, 3))
    points[..., :2] = flat[:, [0, 1, 2, 3, 3, 3, 3, 3]]
    return points


def _joints(truth: Truth, rows: Array, near: Array) -> Array:
    """(N, J, 3) joints of people, forward, left and up in meters; `near` is 1 where the left is near."""
    run, wave = ((truth.actions[rows] == ACTIONS.index(name))[:, None] for name in ("run", "wave"))
    pace, side = truth.speeds[rows][:, None], near[:, None] * (-1, 1)  # the far side, and the near one
    phase = truth.ids[rows][:, None] * 2.4 + truth.time * 2 * math.pi * pace / np.where(run, 2.2, 1.45)
    swing = np.where(run, 0.75, np.where(pace > 0.2, 0.2 + 0.17 * pace, 0.03))
    beat, up = phase + np.array([math.pi, 0]), wave & [False, True]
    thigh, arm = swing * np.sin(beat) + 0.25 * run, -0.9 * swing * np.sin(beat)
    bend = np.where(pace > 0.2, np.where(run, 1.3, 0.75) * np.cos(beat - 0.3).clip(0, 1) + 0.06, 0.02)
    lower = np.where(up, 2.9, arm + 1.2 * run + 0.3)
    angles = np.stack([thigh, thigh - bend, np.where(up, 2.2, arm), lower], 2).reshape(-1, 2, 2, 2)
    steps = np.zeros((len(rows), 2, 2, 4, 3))  # far or near, leg or arm, from joint to joint
    steps[..., 0, :] = [(0, 0.09, 0), (0.02, 0.19, 0.55)]
    steps[..., 0, 1] *= side[..., None]
    lengths = np.array([[0.43, 0.43], [0.29, 0.25]])
    steps[..., 1:3, 0], steps[..., 1:3, 2] = lengths * np.sin(angles), -lengths * np.cos(angles)
    steps[:, :, 1, 1, 1] = (0.04 + 0.1 * up) * side
    steps[:, :, 1, 2, 1] = 0.22 * np.sin(truth.time * 8.5) * up
    steps[..., 3, :] = [(0.15, 0, -0.02), (0, 0, 1e-3)]
    trunk = np.insert(np.array(LOOKS["trunk"]), 1, 0, axis=1)
    limbs = steps.cumsum(3).reshape(-1, 16, 3)
    joints = np.concatenate([limbs, np.broadcast_to(trunk, (len(rows), *trunk.shape))], 1)
    joints[..., 2] += 0.05 - joints[:, [2, 10], 2].min(1, keepdims=True)  # on the lower ankle
    return joints


def person_faces(camera: Camera, truth: Truth, rows: Array) -> tuple[Array, Array, Array]:
    """As `vehicle_faces`, of people: limbs that swing with the way walked."""
    (x, y), heading = truth.positions[rows].T, truth.headings[rows]
    across = (np.sin(heading) * x - np.cos(heading) * y) / np.maximum(np.hypot(x, y), 1e-6)
    joints = _joints(truth, rows, np.where(across > 0, 1, -1))
    pixels = camera.project(_placed(truth, rows, joints))
    radii = LIMBS[:, 2:4] * (camera.focal / y.clip(1))[:, None, None]
    radii[:, 10] *= (1 - 0.3 * np.abs(across))[:, None]  # seen from the side people are slimmer
    choice = truth.ids[rows][:, None] * (5, 7, 1, 5, 3)
    wear = [np.array(one, float)[choice[:, k] % len(one)] for k, one in enumerate(LOOKS["people"])]
    start, end, kind = LIMBS[:, [0, 1, 4]].T.astype(int)
    colors = np.stack(wear, 1)[:, kind] * LIMBS[:, 5:]
    ends = np.stack([pixels[:, start], pixels[:, end]], 2)
    outlines = capsules(None, ends.reshape(-1, 2, 2), radii.reshape(-1, 2))
    return outlines, colors.reshape(-1, 3), np.repeat(rows, len(LIMBS))


def capsules(camera: Camera | None, ends: Array, radii: Array) -> Array:
    """(N, CORNERS, 2) pixels of round-ended lines between `ends` (N, 2, 3) with `radii` (N, 2), in meters.
    Without a camera all are in pixels."""
    if camera is not None:
        beside, ends = camera.project(ends + np.array([1e-2, 0, 0])), camera.project(ends)
        radii = radii * np.linalg.norm(beside - ends, axis=2) * 100
    way = ends[:, 1] - ends[:, 0]
    length = np.hypot(*way.T)[:, None]
    way = np.where(length > 1e-6, way / np.maximum(length, 1e-6), (0.0, 1.0))
    ring = np.array([(1, -0.4), (0.45, -0.92), (-0.45, -0.92), (-1, -0.4)])
    across, along = (np.concatenate([ring, -ring])[:, k, None] for k in range(2))
    turned = across * np.stack([-way[:, 1], way[:, 0]], 1)[:, None] + along * way[:, None]
    return np.asarray(np.repeat(ends, 4, 1) + np.repeat(radii, 4, 1)[..., None] * turned)
