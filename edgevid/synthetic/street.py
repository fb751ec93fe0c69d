"""A two-way street: vehicles in their lanes, people on the sidewalks."""

import math
from collections.abc import Sequence

import numpy as np

from edgevid.errors import InputError
from edgevid.synthetic.scene import Camera, Mover, Noise, Scene
from edgevid.types import KMH

LANES = (-5.25, -1.75, 1.75, 5.25)  # x of the lanes' centers in meters: two towards the camera, two away


def drive(
    number: int, kmh: float, *, towards: bool, lane: float, legs: Sequence[tuple[float, float, float]] = (),
    kind: str = "car", begin: float = 0.0, near: float = 14.0, far: float = 62.0,
) -> Mover:  # fmt: skip
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


def demo_street(seconds: float = 20.0) -> Scene:
    """The street of `edgevid-demo`: a street with people who also stand, wave and run."""
    scene = street(8, seconds=seconds, camera=Camera(1280, 720, 930.0, 6.5, 14.0))
    people = [(9.0, 15.5, -2.6, 0.0, 0.0), (-8.9, 19.0, 0.0, 0.0, 0.0), (-8.5, 11.0, math.pi / 2, 3.1, 1.0),
              (9.9, 40.0, -math.pi / 2, 3.0, 6.0)]  # fmt: skip
    movers = list(scene.movers)
    for x, y, heading, pace, begin in people:
        end = begin + 30 / pace if pace else math.inf
        first = len(movers) == len(scene.movers)  # waves
        movers.append(Mover(len(movers) + 1, "person", (x, y), heading, pace, (), begin, end, waves=first))
    return Scene(movers, scene.camera, scene.noise, scene.seed)
