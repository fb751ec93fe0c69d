"""A scene with ground truth: vehicles as 3-D boxes and people in front of a camera, and simulated detections.
Ground coordinates are meters: x to the right, y away from the camera, z up. Everything is a function of the
seed and of time, so any moment can be evaluated, in any order."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgevid.errors import InputError
from edgevid.types import KMH, Array, Detections

CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")  # Of the objects, by label
ACTIONS = ("stand", "walk", "run", "wave")  # What people do
SIZES = {"person": (0.5, 0.5, 1.75), "car": (4.5, 1.8, 1.5), "truck": (9.0, 2.5, 3.4), "bus": (12.0, 2.55, 3.1)}
"""Length, width, height in meters."""
LANES = (-5.25, -1.75, 1.75, 5.25)  # x of the lanes' centers in meters: two towards the camera, two away


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera above the origin that looks along +y and down."""

    width: int = 1920
    height: int = 1080
    focal: float = 1400.0  # Focal length in pixels
    height_m: float = 8.0  # Height over the ground in meters
    pitch: float = 18.0  # Degrees below the horizon
    k1: float = 0.0  # Radial distortion: r -> r (1 + k1 r^2) in units of the focal length

    def project(self, points: Array) -> Array:
        """Pixels (..., 2) of ground points (..., 3) in meters; NaN behind the camera."""
        x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
        s, c = math.sin(math.radians(self.pitch)), math.cos(math.radians(self.pitch))
        down = self.height_m - z
        depth = y * c + down * s
        depth = np.where(depth > 0.1, depth, np.nan)
        u, v = x / depth, (down * c - y * s) / depth
        stretch = 1 + self.k1 * (u * u + v * v)
        center = np.array([self.width / 2, self.height / 2])
        return np.asarray(np.stack([u * stretch, v * stretch], -1) * self.focal + center)


@dataclass(frozen=True, slots=True)
class Mover:
    """One object on a piecewise path: legs of constant acceleration and turn rate."""

    id: int
    kind: str
    start: tuple[float, float]  # x, y in meters at `begin`
    heading: float  # Radians from +x towards +y
    speed: float  # m/s at `begin`; negative drives backwards
    legs: tuple[tuple[float, float, float], ...] = ()
    """(seconds, acceleration m/s2, turn rate rad/s) one after another; afterwards straight ahead."""
    begin: float = 0.0
    end: float = math.inf
    waves: bool = False  # Whether a person who stands waves

    def action(self, speed: float) -> int:
        """Index into ACTIONS of what a person does at `speed` m/s; -1 of a vehicle."""
        pace = 0 if speed < 0.2 else 1 if speed < 2.2 else 2
        return -1 if self.kind != "person" else 3 if self.waves and pace == 0 else pace

    def state(self, time: float) -> tuple[float, float, float, float]:
        """x, y, heading and speed at `time`, by steps of 10 ms while turning, exactly while straight."""
        x, y = self.start
        heading, speed, left = self.heading, self.speed, time - self.begin
        for seconds, acceleration, turn in (*self.legs, (math.inf, 0.0, 0.0)):
            span = min(seconds, left)
            steps = max(1, math.ceil(span / 0.01)) if turn else 1
            dt = span / steps
            for _ in range(steps):
                way = speed * dt + 0.5 * acceleration * dt * dt
                middle = heading + 0.5 * turn * dt
                x, y = x + way * math.cos(middle), y + way * math.sin(middle)
                heading, speed = heading + turn * dt, speed + acceleration * dt
            left -= span
            if left <= 0:
                break
        return x, y, heading, speed


@dataclass(frozen=True, slots=True)
class Truth:
    """The ground truth of one moment, in rows."""

    time: float
    ids: Array  # (N,) of the objects in view
    labels: Array  # (N,) index into CLASSES
    positions: Array  # (N, 2) meters, center of the base
    headings: Array  # (N,) radians
    speeds: Array  # (N,) m/s, 0 or more
    actions: Array  # (N,) index into ACTIONS, -1 of vehicles
    corners: Array  # (N, 8, 3) meters: the four of the base, then the four of the top
    boxes: Array
    """(N, 4) pixels of the box around the projected corners, clipped to the image; what is drawn is a little
    smaller than the cuboid."""


@dataclass(slots=True)
class Noise:
    """The errors of a simulated detector."""

    jitter_px: float = 0.0  # Standard deviation of each edge
    correlation_s: float = 0.0  # Correlation time of the jitter, 0: none between frames. Detectors have about 0.15
    miss_rate: float = 0.0  # Share of detections missed, half of them in bursts of 5 frames
    false_positives: float = 0.0  # Expected false boxes per frame


@dataclass(slots=True)
class Scene:
    """Movers in front of a camera."""

    movers: Sequence[Mover]
    camera: Camera = field(default_factory=Camera)
    noise: Noise = field(default_factory=Noise)
    seed: int = 0

    def at(self, time: float) -> Truth:
        """The ground truth of one moment: objects whose box is at least 4 pixels in both directions."""
        present = [m for m in self.movers if m.begin <= time < m.end]
        states = np.array([m.state(time) for m in present]).reshape(-1, 4)
        sizes = np.array([SIZES[m.kind] for m in present]).reshape(-1, 3)
        corners = box_corners(states[:, :2], states[:, 2], sizes)
        pixels = self.camera.project(corners)
        boxes = np.concatenate([pixels.min(1), pixels.max(1)], 1)
        clipped = np.clip(boxes, 0, [self.camera.width, self.camera.height] * 2)
        visible = np.isfinite(boxes).all(1) & ((clipped[:, 2:] - clipped[:, :2]) >= 4).all(1)
        speeds = np.abs(states[:, 3])
        columns = (
            np.array([m.id for m in present], np.int64), np.array([CLASSES.index(m.kind) for m in present], np.int32),
            states[:, :2], states[:, 2] + math.pi * (states[:, 3] < 0), speeds,
            np.array([m.action(v) for m, v in zip(present, speeds, strict=True)], int), corners, clipped,
        )  # fmt: skip
        return Truth(time, *(column[visible] for column in columns))

    def simulate(self, times: Sequence[float]) -> list[tuple[Truth, Detections, Array]]:
        """Truth, N detections and their (N,) true ids (-1: false positive) at each time."""
        random, noise = np.random.default_rng(self.seed), self.noise
        error, burst = dict[int, Array](), Counter[int]()
        simulated: list[tuple[Truth, Detections, Array]] = []
        before = -math.inf
        for time in times:
            truth = self.at(time)
            keep = math.exp(-(time - before) / noise.correlation_s) if noise.correlation_s > 0 else 0.0
            before = time
            boxes, labels, ids = [], [], []
            for n, i in enumerate(truth.ids.tolist()):
                fresh = random.normal(0, noise.jitter_px, 4)
                last = error.get(i)
                error[i] = fresh if last is None else keep * last + math.sqrt(1 - keep * keep) * fresh
                if burst[i] > 0:
                    burst[i] -= 1
                    continue
                chance = random.random()
                if chance < noise.miss_rate / 2 + noise.miss_rate / 10:
                    burst[i] = 4 * (chance >= noise.miss_rate / 2)
                    continue
                boxes.append(truth.boxes[n] + error[i])
                labels.append(int(truth.labels[n]))
                ids.append(i)
            for _ in range(random.poisson(noise.false_positives)):
                corner = random.uniform(0, [self.camera.width - 80, self.camera.height - 80])
                boxes.append([*corner, *(corner + random.uniform(20, 80, 2))])
                labels.append(int(random.integers(len(CLASSES))))
                ids.append(-1)
            found = Detections.of(boxes=boxes, scores=np.where(np.array(ids, int) < 0, 0.45, 0.9), labels=labels)
            simulated.append((truth, found, np.array(ids, np.int64)))
        return simulated


def box_corners(positions: Array, headings: Array, sizes: Array) -> Array:
    """(N, 8, 3) corners of upright boxes from base centers (N, 2), headings (N,) and sizes (N, 3)."""
    signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) / 2
    along = np.stack([np.cos(headings), np.sin(headings)], -1)
    across = np.stack([-along[:, 1], along[:, 0]], -1)
    base = positions[:, None] + signs[:, :1] * (sizes[:, None, :1] * along[:, None])
    base = base + signs[:, 1:] * (sizes[:, None, 1:2] * across[:, None])
    z = np.repeat(sizes[:, None, 2:] * np.array([[0], [1]]), 4, 1)
    return np.concatenate([np.concatenate([base, base], 1), z], -1)


def drive(number: int, kmh: float, *, towards: bool, lane: float, legs: Sequence[tuple[float, float, float]] = (),
          kind: str = "car", begin: float = 0.0, near: float = 14.0, far: float = 62.0) -> Mover:  # fmt: skip
    """A vehicle that drives along the road from its far (or near) end."""
    start, heading = ((lane, far), -math.pi / 2) if towards else ((lane, near), math.pi / 2)
    speed = kmh / KMH
    stay = math.inf if legs or speed == 0 else (far - near) / speed
    return Mover(number, kind, start, heading, speed, tuple(legs), begin, begin + stay)


def street(seed: int = 1, *, seconds: float = 30.0, camera: Camera | None = None, noise: Noise | None = None) -> Scene:
    """A two-way street with cars, a bus, trucks, and people on both sidewalks."""
    if not seconds > 0:
        raise InputError(f"street: expected more than 0 seconds, got {seconds}")
    random = np.random.default_rng(seed)
    movers: list[Mover] = []
    for lane in LANES:
        time = float(random.uniform(-4, 2))
        kmh = float(random.uniform(38, 62))  # of the whole lane, so that no vehicle drives through another
        while time < seconds:
            kind, number = str(random.choice(["car", "car", "car", "truck", "bus"])), len(movers) + 1
            movers.append(drive(number, kmh, towards=lane < 0, lane=lane, kind=kind, begin=time, near=8, far=90))
            time += float(random.uniform(2.2, 5.0))
    for side in (-9.0, 9.6):
        for _ in range(5):
            away = bool(random.random() < 0.5)
            begin = float(random.uniform(-15, seconds * 0.8))
            place = (side + float(random.uniform(-0.8, 0.8)), 12.0 if away else 45.0)
            heading = math.pi / 2 if away else -math.pi / 2
            pace, number = float(random.uniform(1.0, 1.7)), len(movers) + 1
            movers.append(Mover(number, "person", place, heading, pace, (), begin, begin + 33 / pace))
    movers.append(Mover(len(movers) + 1, "car", (8.1, 30.0), math.pi / 2, 0.0))  # parked at the curb
    return Scene(movers, camera or Camera(), noise or Noise(), seed)


DEMO_SEED = 8  # Of the street that `edgevid-demo` shows


def demo_street(seconds: float = 20.0) -> Scene:
    """The street of `edgevid-demo`: a street with people who also stand, wave and run."""
    scene = street(DEMO_SEED, seconds=seconds, camera=Camera(1280, 720, 930.0, 6.5, 14.0))
    people = [(9.0, 15.5, -2.6, 0.0, 0.0), (-8.9, 19.0, 0.0, 0.0, 0.0), (-8.5, 11.0, math.pi / 2, 3.1, 1.0),
              (9.9, 40.0, -math.pi / 2, 3.0, 6.0)]  # fmt: skip
    movers = list(scene.movers)
    for n, (x, y, heading, pace, begin) in enumerate(people):
        end = begin + 30 / pace if pace else math.inf
        movers.append(Mover(len(movers) + 1, "person", (x, y), heading, pace, (), begin, end, waves=n == 0))
    return Scene(movers, scene.camera, scene.noise, scene.seed)
