"""Do the stated errors hold where the noise is not the filter's own? A simulation, at least 1,000 tracks of
each kind: steady, accelerating, braking, stopping, turning, and groups of walkers.

python benchmarks/speed_errors.py [--tracks 1000] [--seed 9]
python benchmarks/speed_errors.py --curve [--tracks 200]    (live values, by how often traffic changes its speed)

The camera of speed_scenes.py. Sites of 25 tracks; each has a calibration of its own, four points wrong by
2 pixels and 0.5 % of tape: about 1 % of scale. A detector that is not the filter's model: each
track has an own jitter (0.6 to 2.5 px at the edges, correlated over 0.05 to 0.3 s), 3 % of heavy tails
(Student's t of 3, 4 px), jumps (the bottom edge is 8 to 25 % of the height off for 3 to 10 frames: a
shadow, half a car), merges (the box is that of two objects), switches (the id goes to another object),
occlusions of 0.3 to 1 s, and 10 % of misses. The truth is the speed of the object followed: at a value's
moment, or its mean over the whole track.

Settings were chosen on seeds 101 and 102 (100 tracks a kind), and looked at on 103; 7 showed a fault of the noise,
and they are judged on 9.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import shapely
from bench import conditions, save, table

from edgevid import kernels
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.scene import Camera
from edgevid.types import Tracks

CAMERA, FPS, NEAR, FAR = Camera(), 30.0, 15.0, 60.0
KINDS = ("steady", "accelerating", "braking", "stopping", "turning", "groups")
JOBS = 3
"""Kinds that are run at a time."""
SITE = 25
"""Tracks of one site."""
CHANGES = (0.0, 0.002, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Of the curve; the filter's own is 0.2."""
CAR, PERSON = (4.5, 1.8, 1.5), (0.4, 0.5, 1.75)


@dataclass(slots=True)
class Track:
    """One track: T frames of boxes, of which some were detected, and the truth."""

    boxes: np.ndarray
    """(T, 4) pixels."""
    seen: np.ndarray
    """(T,) bool."""
    kmh: np.ndarray
    """(T,) true speed of the object followed."""


def speeds(kind: str, random: np.random.Generator, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """(T,) m/s and turn rates in rad/s of one object."""
    t, turn = np.arange(frames) / FPS, np.zeros(frames)
    if kind == "steady":
        return np.full(frames, random.uniform(5, 130) / 3.6), turn
    if kind == "accelerating":
        return random.uniform(3, 40) / 3.6 + random.uniform(1, 3) * t, turn
    if kind == "turning":
        v = random.uniform(12, 30) / 3.6
        begin, radius = random.uniform(0.5, 2), random.uniform(8, 20)
        turn[(t > begin) & (t < begin + np.pi / 2 * radius / v)] = random.choice([-1, 1]) * v / radius
        return np.full(frames, v), turn
    if kind == "groups":
        return np.maximum(0, random.uniform(3, 6) / 3.6 + 0.1 * np.sin(t * 2 + random.uniform(0, 6))), turn
    first, brake, begin = random.uniform(30, 80) / 3.6, random.uniform(2.5, 6), random.uniform(0.3, 1.2)
    v = first - brake * np.maximum(0, t - begin)
    if kind == "braking":
        return np.maximum(v, random.uniform(5, 15) / 3.6), turn
    stood = np.maximum(0, t - begin - first / brake - random.uniform(1, 4))
    return np.maximum(v, 0) + np.minimum(random.uniform(1, 2.5) * stood, first), turn


def path(kind: str, random: np.random.Generator, frames: int) -> tuple[np.ndarray, ...]:
    """(T, 2) places in meters, (T,) headings and (T,) m/s."""
    v, turn = speeds(kind, random, frames)
    towards = random.random() < 0.5
    if kind in ("turning", "groups"):
        start, heading = (np.array([random.uniform(-6, 6), random.uniform(20, 45)]), random.choice([-1, 1]) * np.pi / 2)
    else:
        near = NEAR + random.uniform(0, 15)
        start = np.array([random.choice([-5.25, -1.75, 1.75, 5.25]), FAR - random.uniform(0, 20) if towards else near])
        heading = -np.pi / 2 if towards else np.pi / 2
    angle = heading + np.cumsum(turn) / FPS
    step = np.column_stack([np.cos(angle), np.sin(angle)]) * v[:, None] / FPS
    return start + np.cumsum(step, 0) - step[0], angle, v


def boxes_of(place: np.ndarray, angle: np.ndarray, size: tuple[float, float, float]) -> np.ndarray:
    """(T, 4) boxes around the projected corners of cuboids."""
    corners = np.array([(a, b, c) for a in (-0.5, 0.5) for b in (-0.5, 0.5) for c in (0, 1)]) * size
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x = place[:, :1] + corners[:, 0] * cos - corners[:, 1] * sin
    y = place[:, 1:] + corners[:, 0] * sin + corners[:, 1] * cos
    pixels = CAMERA.project(np.stack([x, y, np.broadcast_to(corners[:, 2], x.shape)], -1))
    return np.concatenate([pixels.min(1), pixels.max(1)], 1)


def correlated(random: np.random.Generator, frames: int, tau: float) -> np.ndarray:
    """(T, 4) of unit variance with correlation time `tau` in seconds."""
    rho, out = np.exp(-1 / FPS / tau), random.normal(0, 1, (frames, 4))
    for n in range(1, frames):
        out[n] = rho * out[n - 1] + np.sqrt(1 - rho * rho) * out[n]
    return out


def stretch(random: np.random.Generator, frames: int, least: int, most: int) -> slice:
    begin = int(random.integers(5, max(6, frames - most)))
    return slice(begin, begin + int(random.integers(least, most + 1)))


def observed(kind: str, random: np.random.Generator) -> Track | None:
    """One track, as a detector that is not the filter's sees it; None where it is too short."""
    frames = int(random.integers(90, 240))
    size, other = (PERSON, PERSON) if kind == "groups" else (CAR, CAR)
    place, angle, v = path(kind, random, frames)
    boxes = boxes_of(place, angle, size)
    # A neighbor: next to it, or behind it in its lane, and nearly as fast.
    ahead, pace = np.column_stack([np.cos(angle), np.sin(angle)]), random.uniform(0.8, 1.2)
    away = random.uniform(5, 8) if size is CAR else random.uniform(-0.6, 0.6)
    aside = 0.0 if size is CAR else random.choice([-1, 1]) * random.uniform(0.5, 0.9)
    side = aside * np.column_stack([-np.sin(angle), np.cos(angle)])
    near = place - away * ahead + side if size is PERSON else place[0] - away * ahead + pace * (place - place[0])
    beside = boxes_of(near, angle, other)
    if (random.random() < 0.08 and kind != "groups") or (random.random() < 0.2 and kind == "groups"):
        begin = int(random.integers(frames // 4, 3 * frames // 4))
        boxes[begin:] = beside[begin:]
        v = np.where(np.arange(frames) >= begin, v * (pace if size is CAR else 1), v)
    if random.random() < (0.5 if kind == "groups" else 0.1):
        at = stretch(random, frames, 5, 20)
        boxes[at] = np.concatenate(
            [np.minimum(boxes[at, :2], beside[at, :2]), np.maximum(boxes[at, 2:], beside[at, 2:])], 1
        )
    high = (boxes[:, 3] - boxes[:, 1])[:, None]
    noise = random.uniform(0.6, 2.5) * np.maximum(1, high / 100) ** 0.5
    boxes = boxes + noise * correlated(random, frames, random.uniform(0.05, 0.3))
    heavy = random.random(frames) < 0.03
    boxes[heavy] += 4 * random.standard_t(3, (int(heavy.sum()), 4))
    for _ in range(random.poisson(0.3)):
        at = stretch(random, frames, 3, 10)
        boxes[at, 3] += random.choice([-1, 1]) * random.uniform(0.08, 0.25) * high[at, 0]
    seen = random.random(frames) > 0.1
    if random.random() < 0.25:
        seen[stretch(random, frames, 9, 30)] = False
    boxes = np.concatenate([np.maximum(boxes[:, :2], 0), np.minimum(boxes[:, 2:], [CAMERA.width, CAMERA.height])], 1)
    on = (
        (boxes[:, 2] - boxes[:, 0] > 3) & (boxes[:, 3] - boxes[:, 1] > 3) & (place[:, 1] > 10) & (place[:, 1] < FAR + 2)
    )
    last = np.flatnonzero(~on)
    end = last[0] if len(last) else frames
    # A track ends where the object was last detected, and begins where it first was.
    found = np.flatnonzero(seen[:end])
    if len(found) < 8:
        return None
    part = slice(found[0], found[-1] + 1)
    for n in np.flatnonzero(~seen):
        boxes[n] = boxes[max(n - 1, 0)]
    return Track(boxes[part], seen[part], 3.6 * v[part])


def wrong_calibration(random: np.random.Generator) -> CameraCalibration:
    """Four corners of the road, clicked and measured as people do."""
    meters = np.array([[-7, NEAR], [7, NEAR], [7, FAR], [-7, FAR]], float)
    pixels = CAMERA.project(np.column_stack([meters, np.zeros(4)])) + random.normal(0, 2, (4, 2))
    return make_calibration(pixels, meters * (1 + random.normal(0, 0.005)), (CAMERA.width, CAMERA.height),
                            region=shapely.box(0, 150, 1920, 1080))  # fmt: skip


def measure(site: list[Track], calibration: CameraCalibration, gap: int = 45, **how: Any) -> dict[str, list[Any]]:
    """By kind of value, (track, km/h, sigma, reason, truth) of every row of a site.

    Tracks begin `gap` frames apart.
    """
    made = SpeedEstimator(calibration, **how)
    begins = [n * gap for n in range(len(site))]
    frames = max(b + len(t.boxes) for b, t in zip(begins, site, strict=True))
    found: dict[str, list[Any]] = {"live": [], "smoothed": [], "track speed": []}
    for f in range(frames + 1):
        here = [n for n, t in enumerate(site) if begins[n] <= f < begins[n] + len(t.boxes)]
        zero = np.zeros(len(here))
        boxes = np.array([site[n].boxes[f - begins[n]] for n in here]).reshape(-1, 4)
        seen = np.array([site[n].seen[f - begins[n]] for n in here], bool)
        report = made.update(Tracks.of(ids=np.array(here) + 1, boxes=boxes, scores=zero + 1, labels=zero,
                                       match=np.where(seen, np.arange(len(here)), -1), age=zero,
                                       unseen=zero), f / FPS)  # fmt: skip
        for kind, rows in zip(found, (report.live, report.smoothed, report.track_speeds), strict=True):
            for i, v, s, t, r in zip(rows.ids, rows.mps, rows.sigma, rows.time, rows.reason, strict=True):
                one, n = site[i - 1], i - 1
                whole = kind == "track speed"
                truth = one.kmh.mean() if whole else np.interp(t * FPS - begins[n], range(len(one.kmh)), one.kmh)
                found[kind].append((n, 3.6 * v, 3.6 * s, r, truth))
    return found


def score(rows: np.ndarray, tracks: int) -> dict[str, float]:
    ok = rows[rows[:, 3] == 0]
    e, s = np.abs(ok[:, 1] - ok[:, 4]), ok[:, 2]
    return {
        "within 68": float((e <= s).mean()), "within 95": float((e <= 1.96 * s).mean()),
        "emitted": len(ok) / len(rows), "rows per track": len(rows) / tracks, "mean": float(e.mean()),
        "p95": float(np.percentile(e, 95)), "worst": float(e.max()), "median sigma": float(np.median(s)),
    }  # fmt: skip


def run(kind: str, tracks: int, seed: int = 0, **how: Any) -> dict[str, dict[str, float]]:
    """Scores of one kind of motion by kind of value."""
    random = np.random.default_rng([seed, KINDS.index(kind)])
    rows: dict[str, list[Any]] = {"live": [], "smoothed": [], "track speed": []}
    for _ in range(-(-tracks // SITE)):
        site: list[Track] = []
        while len(site) < SITE:
            made = observed(kind, random)
            if made is not None:
                site.append(made)
        for value, some in measure(site, wrong_calibration(random), **how).items():
            rows[value] += some
    count = -(-tracks // SITE) * SITE
    return {value: score(np.array(some, float), count) for value, some in rows.items()}


def curve(tracks: int, seed: int) -> None:
    """Live values with other priors: the emitted share on steady driving against the coverage under change."""
    whole, rows, kept = kernels.PlaneCore, [], {}
    for changes in CHANGES:
        kernels.PlaneCore = lambda s, *h, c=changes: whole({**s, "changes": c}, *h)  # type: ignore[misc,assignment]
        kept[f"{changes:g}"] = found = {kind: run(kind, tracks, seed)["live"] for kind in KINDS}
        rows.append([f"{changes:g}", *(f"{100 * s['within 95']:.0f} % of {100 * s['emitted']:.0f} %"
                                       for s in found.values())])  # fmt: skip
    kernels.PlaneCore = whole  # type: ignore[misc]
    head = ["changes a second", *KINDS]
    print(table(head, rows))
    save("speed_curve", {"head": head, "rows": rows, "scores": kept, "tracks": tracks, "seed": seed}, conditions())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tracks", type=int, default=1000)
    options.add_argument("--seed", type=int, default=9)
    options.add_argument("--kind", action="append")
    options.add_argument("--curve", action="store_true")
    chosen = options.parse_args()
    if chosen.curve:
        return curve(chosen.tracks, chosen.seed)
    head = ["kind", "value", "68 % hold", "95 % hold", "emitted", "mean error, km/h", "95th percentile",
            "worst",
            "median sigma"]  # fmt: skip
    rows: list[list[str]] = []
    kinds = chosen.kind or KINDS
    with ProcessPoolExecutor(JOBS) as pool:
        found = pool.map(run, kinds, [chosen.tracks] * len(kinds), [chosen.seed] * len(kinds))
        kept = dict(zip(kinds, found, strict=True))
    for kind, scores in kept.items():
        for value, s in scores.items():
            rows.append([kind, value, *(f"{100 * s[k]:.0f} %" for k in ("within 68", "within 95", "emitted")),
                         *(f"{s[k]:.2f}" for k in ("mean", "p95", "worst", "median sigma"))])  # fmt: skip
    print(table(head, rows))
    if chosen.kind is None:
        save("speed_errors", {"head": head, "rows": rows, "scores": kept, "tracks": chosen.tracks}, conditions())


if __name__ == "__main__":
    main()
