"""The simulated road of the speed benchmark: detections of one vehicle at a time, and the truth.

A camera 8 m high, 1080p, focal length 1400 px, pitch 18 degrees, over a road from 15 to 60 m; cars of
4.5 x 1.8 x 1.5 m as 3-D boxes whose projected box is jittered edge by edge, independently ("white") or with
a memory of 0.8 a frame at 30 fps ("correlated": what detectors do); 10 % misses, half of them in bursts of
5 frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import shapely

from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.synthetic.scene import LANES, Camera, Mover, Noise, Scene, drive

CAMERA = Camera()
NEAR, FAR = 15.0, 60.0
FPS = 30.0
KMH = (5, 15, 30, 50, 70, 90, 110, 130)
LONGEST_S = 12.0
MEMORY_S = -1 / FPS / math.log(0.8)
WHITE, CORRELATED = Noise(2.0, 0.0, 0.1), Noise(2.0, MEMORY_S, 0.1)


@dataclass(slots=True)
class Run:
    """One vehicle as detected: T frames from its first sighting on."""

    kind: str
    times: np.ndarray
    """(T,) seconds."""
    boxes: np.ndarray
    """(T, 4) pixels, float32; the last detected one where it was missed."""
    seen: np.ndarray
    """(T,) bool."""
    kmh: np.ndarray
    """(T,) true speed."""
    mover: Mover
    seed: int = 0
    """Runs of one seed share their clock."""


def calibration() -> CameraCalibration:
    """The exact calibration: the rectangle of the road's corners, valid on the whole image below row 150."""
    meters = np.array([[-7, NEAR], [7, NEAR], [7, FAR], [-7, FAR]], float)
    pixels = CAMERA.project(np.column_stack([meters, np.zeros(4)]))
    return make_calibration(pixels, meters, (CAMERA.width, CAMERA.height), region=shapely.box(0, 150, 1920, 1080))


def clock(seconds: float, fps: float = FPS, uneven: np.random.Generator | None = None) -> list[float]:
    """Frame times; uneven: the rate wanders between 15 and 30 fps and 5 % of the frames are dropped."""
    if uneven is None:
        return [n / fps for n in range(int(seconds * fps))]
    times, time = [], 0.0
    while time < seconds:
        if uneven.random() >= 0.05:
            times.append(time)
        time += 1 / uneven.uniform(15, 30)
    return times


def watch(kind: str, mover: Mover, noise: Noise, seed: int, times: list[float]) -> Run | None:
    """The vehicle alone before the camera (others would occlude it) while it is on the road."""
    scene = Scene([mover], CAMERA, noise, seed)
    boxes, seen, kept, truth = [], [], [], []
    for now, found, ids in scene.simulate(times):
        real = ids >= 0
        if real.any():
            boxes.append(found.boxes[real][0])
        elif boxes:
            boxes.append(boxes[-1])
        if not boxes or not len(now.ids):
            continue
        seen.append(bool(real.any()))
        kept.append(now.time)
        truth.append(3.6 * now.speeds[0])
    if not kept:
        return None
    return Run(kind, np.array(kept), np.array(boxes[: len(kept)], np.float32), np.array(seen),
               np.array(truth), mover)  # fmt: skip


def movers(kind: str) -> Iterable[tuple[Mover, float]]:
    """The vehicles of a kind, each with the seconds it is on the road between NEAR and FAR."""
    for number, lane in enumerate(LANES):
        for towards in (True, False):
            n = 10 * number + towards
            if kind == "constant":
                for k, kmh in enumerate(KMH):
                    mover = drive(100 * k + n + 1, kmh, towards=towards, lane=lane, near=NEAR, far=FAR)
                    yield mover, min(mover.end, LONGEST_S)
                continue
            begin, legs = {
                "accelerate": (10.0, ((50 / 3.6 / 2.5, 2.5, 0.0),)),
                "brake": (60.0, ((60 / 3.6 / 6, -6.0, 0.0),)),
                "stop and go": (36.0, ((2.0, -5.0, 0.0), (2.0, 0.0, 0.0), (2.0, 3.0, 0.0), (1.5, 0.0, 0.0))),
            }[kind]
            mover = drive(n + 1, begin, towards=towards, lane=lane, legs=legs, near=NEAR, far=FAR)
            yield mover, _on_road(mover, sum(leg[0] for leg in legs))


def _on_road(mover: Mover, most: float) -> float:
    """Seconds until the vehicle leaves the road, `most` at the longest."""
    times = np.arange(0, most, 1 / FPS)
    place = np.array([mover.state(t)[1] for t in times])
    out = np.flatnonzero((place < NEAR - 0.01) | (place > FAR + 0.01))
    return float(times[out[0]]) if len(out) else most


def runs(kind: str, noise: Noise, seeds: int, *, fps: float = FPS, uneven: bool = False) -> list[Run]:
    """All runs of a kind ("constant", "accelerate", "brake", "stop and go"), `seeds` times over."""
    made = []
    for seed in range(seeds):
        for mover, seconds in movers(kind):
            at = 1000 * seed + mover.id
            times = clock(seconds, fps, np.random.default_rng(seed) if uneven else None)
            run = watch(kind, mover, noise, at, times)
            if run is not None and run.seen.sum() >= 5:
                run.seed = seed
                made.append(run)
    return made


def parked(noise: Noise, count: int) -> list[Run]:
    """`count` parked cars watched for 10 s, spread over the road and its lanes."""
    made = []
    for n in range(count):
        place = NEAR + (FAR - NEAR) * (n + 0.5) / count
        mover = drive(n + 1, 0, towards=True, lane=LANES[n % 4], far=place)
        made.append(watch("parked", mover, noise, 50_000 + n, clock(10.0)))
    return [run for run in made if run is not None]
