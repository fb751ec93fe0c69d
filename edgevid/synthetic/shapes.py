"""What vehicles and people of the rendered street look like: polygons in meters, shaded by one sun."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgevid.files.toml import read_toml
from edgevid.synthetic.raster import CORNERS
from edgevid.synthetic.scene import ACTIONS, CLASSES, SIZES, Camera, Truth
from edgevid.types import Array

SUN = np.array([-0.36, -0.44, 0.82])
"""Towards the sun: behind the camera, to the left."""
SHADOW = -SUN[:2] / SUN[2]
"""Meters that a shadow reaches over the ground for each meter of height."""
PAINTS = ((206, 208, 210), (150, 30, 32), (34, 38, 46), (38, 74, 132), (126, 130, 134), (228, 228, 222),
          (70, 84, 78), (176, 150, 104), (92, 28, 40), (88, 98, 112))  # fmt: skip
COATS = (
    (48, 78, 138),
    (172, 48, 42),
    (222, 216, 202),
    (44, 46, 52),
    (56, 112, 78),
    (206, 156, 56),
    (116, 84, 140),
)
TROUSERS = ((38, 42, 54), (62, 72, 96), (84, 76, 66), (30, 30, 32))
ROLES = {"glass": (34, 42, 52), "black": (26, 27, 29), "tire": (20, 20, 22), "rim": (152, 155, 160),
         "lamp": (250, 248, 232), "tail": (188, 22, 20), "plate": (232, 232, 222), "sign": (250, 176, 40),
         "box": (214, 214, 208), "gray": (120, 122, 126)}  # fmt: skip
"""Colors of parts; what has none is of the vehicle's paint."""
LIT = ("lamp", "sign")
Point = tuple[float, float, float]


class Shape(NamedTuple):
    """Faces of one kind of vehicle; x forward, y to the left, z up, from the center of the base."""

    points: Array
    """(F, CORNERS, 3) meters."""
    normals: Array
    """(F, 3)."""
    colors: Array
    """(F, 3) RGB, 0 to 255."""
    matte: Array
    """(F,) 1 where the sun shades, 0 where it does not: lamps."""
    glass: Array
    """(F,) 1 where the sky is reflected."""
    part: Array
    """(F,) number of the part; the parts nearer to the front have higher ones."""


class _Builder:
    """Collects faces; lengths, widths and heights are shares of the vehicle's."""

    def __init__(self) -> None:
        self.faces: list[tuple[list[Point], str, int, Point]] = []
        self.part = 0

    def face(self, points: Sequence[Point], role: str, center: Point = (0, 0, 0.45)) -> None:
        self.faces.append(([*points], role, self.part, center))

    def next(self) -> None:
        """Begins the next part, nearer to the front."""
        self.part += 1

    def prism(self, profile: Sequence[Point], roles: Sequence[str] = (), side: str = "") -> None:
        """A part by its outline from the side: (x, z, half the width there); a role for each next strip."""
        x, z = (sum(p[k] for p in profile) / len(profile) for k in (0, 1))
        for n, (a, b) in enumerate(zip(profile, [*profile[1:], profile[0]], strict=True)):
            strip = [(a[0], a[2], a[1]), (a[0], -a[2], a[1]), (b[0], -b[2], b[1]), (b[0], b[2], b[1])]
            self.face(strip, roles[n] if n < len(roles) else "", (x, 0, z))
        for sign in (1, -1):
            self.face([(p[0], sign * p[2], p[1]) for p in profile], side, (x, 0, z))

    def sides(self, x1: float, x2: float, z1: float, z2: float, role: str, lean: float = 0.0,
              cut: tuple[float, float] = (0.0, 0.0), out: float = 0.505) -> None:  # fmt: skip
        """A four-sided plate on both sides; `cut` moves its upper corners, `lean` them inwards."""
        for sign in (1, -1):
            low, high = sign * out, sign * (out - lean)
            plate = [(x1, low, z1), (x2, low, z1), (x2 + cut[1], high, z2), (x1 + cut[0], high, z2)]
            self.face(plate, role, (x1, 0, z1))

    def ends(self, x: float, y1: float, y2: float, z1: float, z2: float, role: str, tilt: float = 0) -> None:
        """Plates at a front or rear end, left and right (once where they span the middle)."""
        for sign in (1, -1) if y1 > 0 else (1,):
            plate = [
                (x, sign * y1, z1),
                (x, sign * y2, z1),
                (x + tilt, sign * y2, z2),
                (x + tilt, sign * y1, z2),
            ]
            self.face(plate, role, (x - math.copysign(0.2, x), 0, (z1 + z2) / 2))

    def wheels(self, places: Sequence[float], aspect: float, radius: float) -> None:
        """Wheels on both sides; `aspect` is height over length of the vehicle."""
        ring = [(math.cos(a), math.sin(a)) for a in np.arange(8) * math.pi / 4 + 0.39]
        for x in places:
            for size, role, out in ((1.22, "black", 0.503), (1.0, "tire", 0.505), (0.6, "rim", 0.507)):
                for sign in (1, -1):
                    circle = [
                        (x + c * size * radius * aspect, sign * out, radius * (1 + size * s)) for c, s in ring
                    ]
                    self.face([(cx, y, max(0.0, z)) for cx, y, z in circle], role, (x, 0, 0.2))

    def shape(self, size: tuple[float, float, float], paint: Sequence[int]) -> Shape:
        points = np.array([[*p, *[p[-1]] * (CORNERS - len(p))] for p, _, _, _ in self.faces]) * size
        centers = np.array([center for *_, center in self.faces]) * size
        normals = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
        away = ((points.mean(1) - centers) * normals).sum(1)
        normals *= (np.sign(away) / np.maximum(np.linalg.norm(normals, axis=1), 1e-9))[:, None]
        roles = [role for _, role, _, _ in self.faces]
        return Shape(
            points, normals, np.array([ROLES.get(role, paint) for role in roles], float),
            np.array([role not in LIT for role in roles], float),
            np.array([role == "glass" for role in roles], float),
            np.array([part for _, _, part, _ in self.faces]),
        )  # fmt: skip


@lru_cache(maxsize=64)
def vehicle(kind: str, variant: int, paint: int) -> Shape:
    """The faces of a vehicle; `variant` is 0 to 2."""
    tables = _tables()[kind]
    build = _Builder()
    for name, *values in tables[variant % len(tables)]["faces"]:
        getattr(build, name)(*values)
    return build.shape(SIZES[kind], PAINTS[paint])


@lru_cache(maxsize=1)
def _tables() -> dict[str, Any]:
    return read_toml(Path(__file__).with_name("vehicles.toml"))


def vehicle_faces(camera: Camera, truth: Truth, rows: Array) -> tuple[Array, Array, Array]:
    """(P, CORNERS, 2) pixels, (P, 3) colors and (P,) row of the truth of the faces that the camera sees."""
    points, colors, owners = [], [], []
    eye = np.array([0.0, 0.0, camera.height_m])
    for row in rows.tolist():
        number, kind = int(truth.ids[row]), CLASSES[truth.labels[row]]
        shape = vehicle(kind, number * 7 // 3 % 3, (number * 7 + 3) % len(PAINTS))
        c, s = math.cos(truth.headings[row]), math.sin(truth.headings[row])
        turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        place = np.array([*truth.positions[row], 0.0])
        world, normal = shape.points @ turn + place, shape.normals @ turn
        seen = ((eye - world[:, 0]) * normal).sum(1) > 0
        ahead = place[:2] @ (c, s) < 0  # it comes towards the camera: its front parts cover the others
        order = np.argsort(shape.part if ahead else -shape.part * (shape.part > 0), kind="stable")
        order = order[seen[order]]
        light = 0.5 + 0.5 * np.clip(normal @ SUN, 0, 1) + 0.06 * normal[:, 2]
        shade = shape.colors * (1 + (light - 1) * shape.matte)[:, None]
        shade += (shape.glass * normal[:, 2].clip(0) ** 2)[:, None] * np.array([70, 88, 104])
        points.append(world[order])
        colors.append(shade[order])
        owners.append(np.full(len(order), row))
    if not points:
        return np.zeros((0, CORNERS, 2)), np.zeros((0, 3)), np.zeros(0, int)
    return camera.project(np.concatenate(points)), np.concatenate(colors), np.concatenate(owners)


def shadows(truth: Truth) -> tuple[Array, Array]:
    """(S, CORNERS, 3) meters of the shadows on the ground, and their rows of the truth."""
    person = truth.labels == CLASSES.index("person")
    slim = np.where(person, 0.7, 1.0)[:, None, None]
    base = truth.corners[:, :4, :2]
    center = base.mean(1, keepdims=True)
    base = center + slim * (base - center)
    top = base * 0.9 + 0.1 * center + (0.92 * truth.corners[:, 4:, 2:]) * SHADOW
    pairs = [base, top] + [
        np.stack([base[:, n], base[:, n - 1], top[:, n - 1], top[:, n]], 1) for n in range(4)
    ]
    flat = np.stack(pairs, 1).reshape(-1, 4, 2)
    points = np.zeros((len(flat), CORNERS, 3))
    points[..., :2] = flat[:, [0, 1, 2, 3, 3, 3, 3, 3]]
    return points, np.repeat(np.arange(len(truth.ids)), 6)


COAT, PANTS, SKIN, HAIR, SHOE = range(5)
JOINTS = ("hip", "knee", "ankle", "toe", "shoulder", "elbow", "wrist", "tip")
"""Of one side: the far one's first, then the near one's, then those of BODY."""
BODY = {
    "pelvis": (0, 0.03),
    "neck": (0.03, 0.5),
    "chin": (0.05, 0.66),
    "crown": (0.05, 0.73),
    "hair": (0.01, 0.75),
}
"""Forward and up from the hips, in meters."""
SIDE = (
    ("hip", "knee", 0.085, 0.065, PANTS),
    ("knee", "ankle", 0.065, 0.05, PANTS),
    ("ankle", "toe", 0.05, 0.04, SHOE),
)
ARM = (
    ("shoulder", "elbow", 0.055, 0.05, COAT),
    ("elbow", "wrist", 0.05, 0.04, COAT),
    ("wrist", "tip", 0.045, 0.04, SKIN),
)
TRUNK = (("neck", "chin", 0.05, 0.05, SKIN), ("pelvis", "neck", 0.155, 0.195, COAT),
         ("chin", "crown", 0.085, 0.1, SKIN), ("hair", "hair", 0.1, 0.1, HAIR))  # fmt: skip
PARTS: tuple[tuple[str, str, float, float, int], ...] = (*SIDE, *ARM, *SIDE, *TRUNK, *ARM)
"""From joint to joint, the radii there and the color; later ones cover earlier ones."""
OF_NEAR = np.array([False] * 6 + [True] * 10)
COLORS = (COATS, TROUSERS, ((214, 172, 146), (172, 126, 98), (112, 78, 60)),
          ((46, 34, 28), (24, 22, 22), (118, 84, 50)), ((34, 34, 36), (80, 62, 50)))  # fmt: skip


def _place(name: str, near: bool) -> int:
    """Column of a joint."""
    return len(JOINTS) * 2 + [*BODY].index(name) if name in BODY else JOINTS.index(name) + len(JOINTS) * near


FROM = np.array([_place(part[0], near) for part, near in zip(PARTS, OF_NEAR, strict=True)])
TO = np.array([_place(part[1], near) for part, near in zip(PARTS, OF_NEAR, strict=True)])


def _joints(truth: Truth, rows: Array, near: Array) -> Array:
    """(N, J, 3) joints of people, forward, left and up in meters; `near` is 1 where the left is near."""
    run, wave = (truth.actions[rows] == ACTIONS.index(name) for name in ("run", "wave"))
    pace = truth.speeds[rows]
    moving, zero = pace > 0.2, np.zeros(len(rows))
    phase = truth.ids[rows] * 2.4 + truth.time * 2 * math.pi * pace / np.where(run, 2.2, 1.45)
    swing = np.where(run, 0.75, np.where(moving, 0.2 + 0.17 * pace, 0.03))
    found = []
    for side, turn in ((-near, math.pi), (near, 0.0)):
        beat, up = phase + turn, wave & (turn == 0)
        thigh, arm = swing * np.sin(beat) + 0.25 * run, -0.9 * swing * np.sin(beat)
        bend = np.where(moving, np.where(run, 1.3, 0.75) * np.cos(beat - 0.3).clip(0, 1) + 0.06, 0.02)
        leg, shoulder = (
            np.stack([zero, 0.09 * side, zero], 1),
            np.stack([zero + 0.02, 0.19 * side, zero + 0.55], 1),
        )
        chain = [leg]
        for angle, length in ((thigh, 0.43), (thigh - bend, 0.43)):
            chain.append(chain[-1] + length * np.stack([np.sin(angle), zero, -np.cos(angle)], 1))
        chain += [chain[-1] + (0.15, 0, -0.02), shoulder]
        out = 0.1 * side * up + 0.04 * side
        for angle, length in (
            (np.where(up, 2.2, arm), 0.29),
            (np.where(up, 2.9, arm + 1.2 * run + 0.3), 0.25),
        ):
            chain.append(chain[-1] + np.stack([length * np.sin(angle), out, -length * np.cos(angle)], 1))
            out = np.where(up, 0.22 * np.sin(truth.time * 8.5), 0.0)
        found += [*chain, chain[-1] + (0, 0, 1e-3)]
    found += [np.stack([zero + x, zero, zero + z], 1) for x, z in BODY.values()]
    joints = np.stack(found, 1)
    joints[..., 2] += 0.05 - joints[:, [_place("ankle", False), _place("ankle", True)], 2].min(
        1, keepdims=True
    )
    return joints


def person_faces(camera: Camera, truth: Truth, rows: Array) -> tuple[Array, Array, Array]:
    """As `vehicle_faces`, of people: limbs that swing with the way walked."""
    places, ids = truth.positions[rows], truth.ids[rows]
    c, s = np.cos(truth.headings[rows])[:, None], np.sin(truth.headings[rows])[:, None]
    across = (s[:, 0] * places[:, 0] - c[:, 0] * places[:, 1]) / np.maximum(np.hypot(*places.T), 1e-6)
    x, y, z = np.moveaxis(_joints(truth, rows, np.where(across > 0, 1.0, -1.0)), 2, 0)
    world = np.stack([c * x - s * y + places[:, :1], s * x + c * y + places[:, 1:], z], 2)
    pixels = camera.project(world)
    radii = np.array([part[2:4] for part in PARTS]) * (camera.focal / places[:, 1:].clip(1))[..., None]
    radii[:, 10] *= (1 - 0.3 * np.abs(across))[:, None]  # seen from the side people are slimmer
    choice = ids[:, None] * np.array([5, 7, 1, 5, 3])
    colors = np.stack(
        [np.array(COLORS[k], float)[choice[:, k] % len(COLORS[k])] for _, _, _, _, k in PARTS], 1
    )
    colors *= np.where(OF_NEAR, 1.0, 0.8)[:, None]
    shape = (-1, 2)
    outline = _capsule(pixels[:, FROM].reshape(shape), pixels[:, TO].reshape(shape), *radii.reshape(shape).T)
    return outline, colors.reshape(-1, 3), np.repeat(rows, len(PARTS))


def capsules(camera: Camera | None, ends: Array, radii: Array) -> Array:
    """(N, CORNERS, 2) pixels of thick lines between `ends` (N, 2, 3) with `radii` (N, 2), both in meters.

    Without a camera all are in pixels.
    """
    if camera is not None:
        depth = camera.project(ends), camera.project(ends + np.array([1e-2, 0, 0]))
        ends, radii = depth[0], radii * np.linalg.norm(depth[1] - depth[0], axis=2) * 100
    return _capsule(ends[:, 0], ends[:, 1], radii[:, 0], radii[:, 1])


def _capsule(a: Array, b: Array, one: Array, two: Array) -> Array:
    """(N, CORNERS, 2): the outline of a thick line whose ends are round, from `a` to `b` (N, 2) pixels."""
    way = b - a
    length = np.hypot(*way.T)[:, None]
    way = np.where(length > 1e-6, way / np.maximum(length, 1e-6), np.array([0.0, 1.0]))
    across = np.stack([-way[:, 1], way[:, 0]], 1)
    ring = np.array([(1, -0.4), (0.45, -0.92), (-0.45, -0.92), (-1, -0.4)])
    ends = np.concatenate([ring, -ring])[None]
    radii, middle = np.repeat(np.stack([one, two], 1), 4, 1), np.repeat(np.stack([a, b], 1), 4, 1)
    found: Array = middle + radii[..., None] * (
        ends[..., :1] * across[:, None] + ends[..., 1:] * way[:, None]
    )
    return found
