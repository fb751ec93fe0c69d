"""Time of a tracker's update at 10 to 1000 objects per frame, next to peers, interleaved in one run.

python benchmarks/tracker.py            (peers: pip install ultralytics supervision trackers norfair
                                         edgefirst-tracker ioutrack)
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
from bench import conditions, save, table
from tracker_peers import TRACKERS, available, version

SIZES = (10, 50, 100, 300, 1000)
SLOW_MS = 400.0
"""A tracker slower than this is not taken to the next size."""


def scene(objects: int, frames: int, seed: int = 5) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, float]]:
    """Walking boxes at a density of 50 in 1920x1080, with jitter, 8 % misses and low scores."""
    random = np.random.default_rng(seed)
    area = np.array([1920.0, 1080.0]) * np.sqrt(objects / 50)
    place, speed = random.uniform(0, area, (objects, 2)), random.normal(0, 60, (objects, 2))
    size = np.stack([random.uniform(30, 60, objects), random.uniform(70, 150, objects)], 1)
    made = []
    for n in range(frames):
        t = n / 30
        center = (place + speed * t) % area + random.normal(0, 1.5, (objects, 2))
        there = random.random(objects) > 0.08
        half = size * (1 + random.normal(0, 0.02, (objects, 2))) / 2
        boxes = np.concatenate([center - half, center + half], 1)[there].astype(np.float32)
        scores = np.clip(random.normal(0.75, 0.15, len(boxes)), 0.05, 0.99).astype(np.float32)
        made.append((boxes, scores, np.zeros(len(boxes), np.int32), t))
    return made


def measure(objects: int, makers: dict, frames: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of one update of each tracker; the trackers take turns, scene by scene."""
    spent: dict[str, list[float]] = {name: [] for name in makers}
    for r in range(rounds):
        given = scene(objects, frames, seed=5 + r)
        for name, make in makers.items():
            update = make(30.0).update
            for n, frame in enumerate(given):
                begin = time.perf_counter()
                update(*frame)
                if n >= 10:
                    spent[name].append(time.perf_counter() - begin)
    return {name: 1000 * float(np.median(values)) for name, values in spent.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--frames", type=int, default=80)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    makers, missing = available()
    results: dict[str, dict[str, float]] = {name: {} for name in makers}
    for objects in SIZES:
        quick = {n: m for n, m in makers.items() if max(results[n].values(), default=0.0) < SLOW_MS}
        for name, ms in measure(objects, quick, chosen.frames, chosen.rounds).items():
            results[name][str(objects)] = ms
    ours = results["edgevid Tracker (default)"]
    rows = []
    for name, values in results.items():
        cells = [f"{values[str(n)]:.3f}" if str(n) in values else "-" for n in SIZES]
        ratio = values.get("100", np.nan) / ours["100"]
        rows.append([name, *cells, f"{ratio:.1f}x"])
    rows += [[name, *["not run"] * len(SIZES), why[:40]] for name, why in missing.items()]
    head = ["median ms of one update", *map(str, SIZES), "at 100, of ours"]
    print(table(head, rows))
    versions = {package: version(package) for package, _ in TRACKERS.values()}
    save("tracker", {"head": head, "rows": rows, "ms": results, "not run": missing}, conditions(versions))


if __name__ == "__main__":
    main()
