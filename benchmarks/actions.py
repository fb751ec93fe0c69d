"""The cost of recognition besides the models: clips per frame, temporal heads per batch.

    python benchmarks/actions.py [--head runs/actions/recipe.toml]

Bars: clip bookkeeping under 0.3 ms/frame at 16 objects of 112x112; 16 tracks through a temporal
head under 4 times one track. No peer cuts clips per track, so the clips are compared with the simple way:
a list of cv2 crops per object, stacked again for every recognition.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from bench import conditions, save, table

from edgevid import kernels
from edgevid.actions.clip_buffer import ClipBuffer, ClipSpec
from edgevid.runtime import load_engine, read_recipe
from edgevid.types import Frame, Tracks

OBJECTS, FPS, SECONDS = 16, 25, 12
SCENE = {"objects": OBJECTS, "crop": "112x112", "fps": FPS, "moments per second": 8, "threads": 1}


def scene() -> tuple[list[np.ndarray], list[Tracks]]:
    """Sixteen boxes that drift over noise, 25 frames per second."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (1080, 1920, 3), np.uint8) for _ in range(4)]
    corner = rng.uniform((0, 0), (1700, 800), (OBJECTS, 2))
    speed = rng.normal(0, 1.5, (OBJECTS, 2))
    tables = []
    for i in range(FPS * SECONDS):
        low = corner + speed * i
        boxes = np.concatenate((low, low + np.array((90, 220))), axis=1)
        n = range(OBJECTS)
        tables.append(
            Tracks.of(ids=[k + 1 for k in n], boxes=boxes, scores=[1] * OBJECTS, labels=[0] * OBJECTS,
                      match=list(n), age=[1] * OBJECTS, unseen=[0] * OBJECTS)
        )  # fmt: skip
    return images, tables


def run_buffer(images: list[np.ndarray], tables: list[Tracks], *, crops: bool) -> list[float]:
    """Milliseconds of each frame; without `crops` the pixels are left out: bookkeeping alone."""
    import edgevid.actions.clip_buffer as clips

    kept = clips.crop
    blank = np.zeros((64, 112, 112, 3), np.uint8)
    if not crops:
        clips.crop = lambda frame, boxes, size, fill=0, out=None: blank[: len(boxes)]  # type: ignore[assignment]
    try:
        buffer = ClipBuffer(ClipSpec(steps=16, rate_hz=8, stride_s=1.0), budget=16)
        spent = []
        for i, tracks in enumerate(tables):
            frame = Frame(images[i % len(images)], i / FPS, i)
            start = time.perf_counter()
            buffer.update(frame, tracks)
            spent.append(1e3 * (time.perf_counter() - start))
        return spent[FPS:]
    finally:
        clips.crop = kept


def run_plain(images: list[np.ndarray], tables: list[Tracks]) -> list[float]:
    """The simple way: a crop of every object every third frame (about 8 per second), stacked when due."""
    held: dict[int, deque[np.ndarray]] = defaultdict(lambda: deque(maxlen=16))
    spent = []
    for i, tracks in enumerate(tables):
        image = images[i % len(images)]
        start = time.perf_counter()
        if i % 3 == 0:
            for id_, box in zip(tracks.ids.tolist(), tracks.boxes, strict=True):
                x1, y1, x2, y2 = np.clip(box.astype(int), 0, (1920, 1080, 1920, 1080))
                if x2 > x1 and y2 > y1:
                    held[id_].append(cv2.resize(image[y1:y2, x1:x2], (112, 112)))
        if i % FPS == 0:
            _ = np.stack([np.stack(h) for h in held.values() if len(h) == held[1].maxlen] or [np.zeros(1)])
        spent.append(1e3 * (time.perf_counter() - start))
    return spent[FPS:]


def heads(path: Path) -> dict[str, dict[str, float]]:
    """Milliseconds of a temporal head for 1 and 16 tracks, its step and its window graph."""
    found = {}
    for name in ("recipe.toml", "window.toml"):
        recipe = read_recipe(path.parent / name)
        with load_engine(path.parent / recipe.file, device="cpu", threads=1) as engine:
            found[recipe.name] = {str(n): timed(feed(engine, n)) for n in (1, 16)}
    return found


def feed(engine: Any, count: int) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    inputs = {}
    for spec in engine.inputs:
        shape = (count, *spec.shape[1:])
        inputs[spec.name] = np.ones(shape, bool) if spec.dtype == bool else rng.normal(size=shape).astype(spec.dtype)
    return lambda: engine.run(inputs)


def timed(call: Callable[[], Any], repeat: int = 200) -> float:
    spent = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        spent.append(1e3 * (time.perf_counter() - start))
    return float(np.median(spent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--head", type=Path, action="append", default=[], help="recipe of a trained head")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    where = conditions({"numpy": np.__version__, "opencv": cv2.__version__, "onnxruntime": onnxruntime.__version__})
    images, tables = scene()
    ways: dict[str, Callable[[], list[float]]] = {
        "edgevid bookkeeping": lambda: run_buffer(images, tables, crops=False),
        "edgevid with crops": lambda: run_buffer(images, tables, crops=True),
        "plain lists, cv2": lambda: run_plain(images, tables),
    }
    spent: dict[str, list[float]] = defaultdict(list)
    for _ in range(3):  # interleaved, so that all see the same machine
        for name, way in ways.items():
            spent[name] += way()
    figures = {
        name: {"mean_ms": float(np.mean(v)), "median_ms": float(np.median(v)), "p95_ms": float(np.percentile(v, 95))}
        for name, v in spent.items()
    }
    rows = [[n, *(f"{r[k]:.3f}" for k in ("mean_ms", "median_ms", "p95_ms"))] for n, r in figures.items()]
    print(table(["clips, ms/frame", "mean", "median", "p95"], rows))
    batches = {str(p.parent.name): heads(p) for p in options.head}
    graphs = [(g, r) for run in batches.values() for g, r in run.items()]
    rows = [[g, f"{r['1']:.3f}", f"{r['16']:.3f}", f"{r['16'] / r['1']:.2f}"] for g, r in graphs]
    print(table(["head, ms", "1 track", "16 tracks", "ratio"], rows))
    save("actions", {"kernels": kernels.BACKEND, "scene": SCENE, "clips": figures, "heads": batches}, where)


if __name__ == "__main__":
    main()
