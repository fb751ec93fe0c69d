"""A two-way street: vehicles in their lanes, people on the sidewalks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgevid.errors import InputError
from edgevid.synthetic.scene import Camera, Mover, Noise, Scene
from edgevid.types import KMH

LANES = (-5.25, -1.75, 1.75, 5.25)
"""x of the lanes' centers in meters: two towards the camera, two away."""


def drive(
    number: int, kmh: float, *, towards: bool, lane: float, legs: Sequence[tuple[float, float, float]] = (),
    kind: str = "car", begin: float = 0.0, near: float = 14.0, far: float = 62.0,
) -> Mover:  # fmt: skip
    """A vehicle that drives along the road from its far (or near) end."""
    start, heading = ((lane, far), -math.pi / 2) if towards else ((lane, near), math.pi / 2)
    speed = kmh / KMH
    stay = math.inf if legs or speed == 0 else (far - near) / speed
    return Mover(number, kind, start, heading, speed, tuple(legs), begin, begin + stay)


def street(
    seed: int = 1, *, seconds: float = 30.0, camera: Camera | None = None, noise: Noise | None = None
) -> Scene:
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
            movers.append(
                drive(number, kmh, towards=lane < 0, lane=lane, kind=kind, begin=time, near=8, far=90)
            )
            time += float(random.uniform(2.2, 5.0))
    for side in (-9.0, 9.6):
        for _ in range(5):
            away = bool(random.random() < 0.5)
            begin = float(random.uniform(-15, seconds * 0.8))
            place = (side + float(random.uniform(-0.8, 0.8)), 12.0 if away else 45.0)
            heading = math.pi / 2 if away else -math.pi / 2
            pace = float(random.uniform(1.0, 1.7))
            movers.append(
                Mover(len(movers) + 1, "person", place, heading, pace, (), begin, begin + 33 / pace)
            )
    movers.append(Mover(len(movers) + 1, "car", (8.1, 30.0), math.pi / 2, 0.0))  # parked at the curb
    return Scene(movers, camera or Camera(), noise or Noise(), seed)
