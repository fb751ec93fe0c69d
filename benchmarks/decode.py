"""Decode + suppression of a (1, 84, 8400) output: edgevid compared with OpenCV, NumPy and Ultralytics.

    python benchmarks/decode.py                 peers that are not importable say so in their row

Interleaved rounds in one process on one thread, medians. "warm": the tensor is in the caches, as
when the model has just written it; "cold": 256 MiB were read in between. A peer's call includes what
it must do to get from the model's tensor to kept boxes, nothing else.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgevid import kernels
from edgevid.kernels import reference
from edgevid.runtime.processor import processor_name

SCORE, IOU, ANCHORS, CLASSES = 0.25, 0.7, 8400, 80
OBJECTS, ROUNDS = (10, 30, 100), 31
RESULT = Path(__file__).parent / "results" / "decode.json"


def scene(objects: int, seed: int) -> np.ndarray:
    """A head's output: faint noise everywhere, ten anchors on each object."""
    rng = np.random.default_rng(seed)
    out = np.empty((1, 4 + CLASSES, ANCHORS), np.float32)
    out[0, :2] = rng.uniform(0, 640, (2, ANCHORS))
    out[0, 2:4] = rng.uniform(10, 200, (2, ANCHORS))
    out[0, 4:] = rng.random((CLASSES, ANCHORS), np.float32) * 0.02
    at = rng.permutation(ANCHORS)[: objects * 10].reshape(objects, 10)
    for rows in at:
        out[0, :2, rows] = rng.uniform(50, 590, 2) + rng.normal(0, 2, (10, 2))
        out[0, 2:4, rows] = rng.uniform(20, 120, 2) * rng.uniform(0.9, 1.1, (10, 1))
        out[0, 4 + rng.integers(CLASSES), rows] = rng.uniform(0.3, 0.9, 10)
    return out


def ours(output: np.ndarray) -> int:
    found = kernels.decode_columns(output[0, :4], output[0, 4:], SCORE)
    return len(kernels.nms(*found, IOU))


def numpy_reference(output: np.ndarray) -> int:
    found = reference.decode_columns(output[0, :4], output[0, 4:], SCORE)
    return len(reference.nms(*found, IOU))


def opencv() -> Callable[[np.ndarray], int]:
    import cv2

    cv2.setNumThreads(1)

    def run(output: np.ndarray) -> int:
        best = output[0, 4:].max(axis=0)
        keep = np.flatnonzero(best > SCORE)
        picked = output[0][:, keep]
        labels = picked[4:].argmax(axis=0)
        boxes = picked[:4].T.copy()
        boxes[:, :2] -= boxes[:, 2:] / 2
        return len(cv2.dnn.NMSBoxesBatched(boxes.astype(np.float64), best[keep], labels, SCORE, IOU))

    return run


def ultralytics() -> Callable[[np.ndarray], int]:
    import torch
    from ultralytics.utils.nms import non_max_suppression

    torch.set_num_threads(1)

    def run(output: np.ndarray) -> int:
        kept = non_max_suppression(torch.from_numpy(output), SCORE, IOU, max_det=300)
        return len(kept[0])

    return run


def contenders() -> dict[str, Callable[[np.ndarray], int] | str]:
    """Each contender, or why it is missing."""
    found: dict[str, Any] = {f"edgevid ({kernels.BACKEND})": ours, "NumPy twin": numpy_reference}
    for name, make in (("NumPy + cv2.dnn.NMSBoxesBatched", opencv), ("ultralytics (torch)", ultralytics)):
        try:
            found[name] = make()
        except Exception as error:  # noqa: PERF203
            found[name] = f"not importable: {error}".splitlines()[0]
    return found


def measure(running: dict[str, Callable[[np.ndarray], int]], objects: int, cold: bool) -> dict[str, Any]:
    """Medians in ms over interleaved rounds, and how many boxes each one kept."""
    flush = np.ones(1 << 25) if cold else np.ones(1)
    times: dict[str, list[float]] = {name: [] for name in running}
    reads: list[float] = []
    kept: dict[str, int] = {}
    for turn in range(ROUNDS):
        for name, run in running.items():
            output = scene(objects, seed=turn % 4)  # fresh: a contender may write into it
            flush.sum()
            start = time.perf_counter()
            kept[name] = run(output)
            times[name].append(time.perf_counter() - start)
        flush.sum()
        start = time.perf_counter()
        output.max()
        reads.append(time.perf_counter() - start)
    ms = {name: float(np.median(t) * 1e3) for name, t in times.items()}
    return {"objects": objects, "ms": ms, "read_ms": float(np.median(reads) * 1e3), "kept": kept}


def versions() -> dict[str, str]:
    import importlib.metadata

    found = {"python": platform.python_version()}
    for name in ("numpy", "opencv-python-headless", "opencv-python", "torch", "ultralytics"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # noqa: PERF203
            continue
    return found


def show(rows: list[dict[str, Any]], missing: dict[str, str], title: str) -> None:
    names = [*rows[0]["ms"], *missing]
    first = names[0]
    print(f"\n{title}\n{'ms (times edgevid)':34}" + "".join(f"{r['objects']:>5} objects  " for r in rows))
    for name in names:
        if name in missing:
            print(f"{name:34}{missing[name]}")
            continue
        cells = (f"{r['ms'][name]:7.3f} ({r['ms'][name] / r['ms'][first]:.1f})".rjust(15) for r in rows)
        print(f"{name:34}" + "".join(cells))
    print(f"{'reading the tensor once':34}" + "".join(f"{r['read_ms']:7.3f}".rjust(15) for r in rows))


def main() -> None:
    found = contenders()
    running = {n: c for n, c in found.items() if callable(c)}
    missing = {n: c for n, c in found.items() if isinstance(c, str)}
    result: dict[str, Any] = {
        "claim": "decode + class-aware NMS of a (1, 84, 8400) float32 output, ms",
        "conditions": {
            "cpu": processor_name(),
            "cores": os.cpu_count(),
            "date": datetime.date.today().isoformat(),
            "versions": versions(),
            "rounds": ROUNDS,
            "score": SCORE,
            "iou": IOU,
        },
        "missing": missing,
    }
    for label, cold in (("warm", False), ("cold", True)):
        result[label] = [measure(running, n, cold) for n in OBJECTS]
        show(result[label], missing, label)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
