"""Letterboxing a frame into a float32 NCHW input: edgevid, OpenCV, kornia-rs and the memory bandwidth.

    python benchmarks/letterbox.py              peers that are not importable say so in their row

Interleaved rounds in one process on one thread, medians. "cached": the same frame repeatedly, as when
the decoder has just written it; "from memory": 64 MiB were read in between. The floor writes the whole
input once (memset) and touches once each cache line of the source rows that bilinear sampling needs.
Every contender's image is compared with edgevid's, in levels of 255.
"""

from __future__ import annotations

import copy
import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgevid import kernels
from edgevid.detect.preprocess import Preprocessor, letterbox_rectangle
from edgevid.runtime.engine import InputSpec, write_letterbox
from edgevid.runtime.processor import processor_name
from edgevid.types import Frame

Call = Callable[[], np.ndarray]
ROUNDS, EVICT_MIB = 61, 64
CASES = ((1920, 1080, 640), (1920, 1080, 416), (1280, 720, 640), (640, 480, 640))
RESULT = Path(__file__).parent / "results" / "letterbox.json"
CONDITIONS = ("cached", "from memory")
FLOOR, OURS, KEPT = "memory floor", "edgevid, padding written", "edgevid, padding kept"
PLANES, PLANES_TO_RGB = "edgevid from YUV planes", "edgevid YUV -> RGB -> letterbox"


class Scene:
    """A frame as RGB and as YUV 4:2:0, and where it belongs in the input."""

    def __init__(self, width: int, height: int, side: int) -> None:
        rng = np.random.default_rng(0)
        self.spec = InputSpec(side, side)
        stacked = (height * 3 // 2, width)
        # Smooth, and within the limited range, so that the compared images mean something.
        small = rng.integers(60, 190, (stacked[0] // 16 + 1, width // 16 + 1), np.uint8)
        self.i420 = np.clip(cv2.resize(small, stacked[::-1], interpolation=cv2.INTER_CUBIC), 16, 235)
        self.planes = self._planes(self.i420, width, height)
        self.rgb = kernels.yuv420_to_rgb(*self.planes, False, "bt601")
        ratio = min(side / width, side / height)
        self.width, self.height = round(width * ratio), round(height * ratio)
        self.left, self.top = (side - self.width) // 2, (side - self.height) // 2
        at = np.clip((np.arange(self.height) + 0.5) * height / self.height - 0.5, 0, height - 1)
        self.rows = np.unique(np.concatenate([np.floor(at), np.ceil(at)])).astype(int)

    @staticmethod
    def _planes(frame: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        flat, luma, half = frame.ravel(), width * height, (height // 2, width // 2)
        u, v = flat[luma : luma * 5 // 4], flat[luma * 5 // 4 :]
        return flat[:luma].reshape(height, width), u.reshape(half), v.reshape(half)


def floor(scene: Scene) -> Call:
    out = np.zeros((1, 3, scene.spec.height, scene.spec.width), np.float32)
    step = scene.rows[1] - scene.rows[0]
    even = bool(np.all(np.diff(scene.rows) == step))
    lines = scene.rgb.reshape(len(scene.rgb), -1).view(np.uint64)[:, ::8]
    # A slice where the rows are evenly spaced, else as many rows from the top: the same bytes to read.
    chosen = slice(scene.rows[0], scene.rows[-1] + 1, step) if even else slice(0, len(scene.rows))
    needed = lines[chosen]
    sink = np.empty(needed.shape[1], np.uint64)

    def run() -> np.ndarray:
        np.bitwise_or.reduce(needed, axis=0, out=sink)
        out.fill(0)
        return out

    return run


def ours(scene: Scene) -> Call:
    frame = Frame(scene.rgb, 0.0, 0)
    out = np.empty((3, scene.spec.height, scene.spec.width), np.float32)

    def run() -> np.ndarray:
        write_letterbox(frame, letterbox_rectangle(frame.size, scene.spec), scene.spec, out)
        return out

    return run


def ours_kept(scene: Scene) -> Call:
    frame = Frame(scene.rgb, 0.0, 0)
    prepare = Preprocessor(scene.spec)
    return lambda: prepare([frame])[0]


def ours_planes(scene: Scene) -> Call:
    def unused(frame: Frame) -> np.ndarray:
        raise AssertionError("RGB was not needed")

    frame = Frame.from_yuv420(scene.planes, 0.0, 0, to_rgb=unused)
    prepare = Preprocessor(scene.spec)
    return lambda: prepare([frame])[0]


def ours_through_rgb(scene: Scene) -> Call:
    rgb, prepare = np.empty_like(scene.rgb), Preprocessor(scene.spec)

    def run() -> np.ndarray:
        kernels.yuv420_to_rgb(*scene.planes, False, "bt601", rgb)
        return prepare([Frame(rgb, 0.0, 0)])[0]

    return run


def cv2_blob(scene: Scene) -> Call:
    """The usual short form: border first, then blobFromImage resizes and scales."""
    size = (scene.spec.width, scene.spec.height)

    def run() -> np.ndarray:
        canvas = np.full((*size[::-1], 3), 114, np.uint8)
        resized = cv2.resize(scene.rgb, (scene.width, scene.height))
        canvas[scene.top : scene.top + scene.height, scene.left : scene.left + scene.width] = resized
        return cv2.dnn.blobFromImage(canvas, 1 / 255, size, swapRB=False)

    return run


def cv2_chain(scene: Scene) -> Call:
    below = scene.spec.height - scene.height - scene.top
    right = scene.spec.width - scene.width - scene.left

    def run() -> np.ndarray:
        resized = cv2.resize(scene.rgb, (scene.width, scene.height), interpolation=cv2.INTER_LINEAR)
        bordered = cv2.copyMakeBorder(
            resized, scene.top, below, scene.left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114)
        )
        return np.ascontiguousarray(bordered.transpose(2, 0, 1)[None], np.float32) / np.float32(255)

    return run


def cv2_tuned(scene: Scene) -> Call:
    """All that preallocation gives: resize into a reused buffer, split, convert each plane in place."""
    out = np.full((1, 3, scene.spec.height, scene.spec.width), 114 / 255, np.float32)
    resized = np.empty((scene.height, scene.width, 3), np.uint8)
    parts = [np.empty((scene.height, scene.width), np.uint8) for _ in range(3)]
    inside = out[0, :, scene.top : scene.top + scene.height, scene.left : scene.left + scene.width]

    def run() -> np.ndarray:
        cv2.resize(scene.rgb, (scene.width, scene.height), dst=resized)
        cv2.split(resized, parts)
        for part, plane in zip(parts, inside, strict=True):
            np.multiply(part, np.float32(1 / 255), out=plane)
        return out

    return run


def cv2_planes(scene: Scene) -> Call:
    converted = copy.copy(scene)
    converted.rgb = np.empty_like(scene.rgb)
    letterboxed = cv2_tuned(converted)

    def run() -> np.ndarray:
        cv2.cvtColor(scene.i420, cv2.COLOR_YUV2RGB_I420, dst=converted.rgb)
        return letterboxed()

    return run


def kornia(scene: Scene) -> Call:
    import kornia_rs

    prepare = kornia_rs.Preprocessor(mode="letterbox", format="rgb", pad_value=114)
    height, width = scene.rgb.shape[:2]
    size = (scene.spec.height, scene.spec.width)
    return lambda: np.from_dlpack(prepare.run(scene.rgb.ravel(), width, height, *size))


CONTENDERS: dict[str, Callable[[Scene], Call]] = {
    FLOOR: floor,
    OURS: ours,
    KEPT: ours_kept,
    "cv2.resize + cv2.dnn.blobFromImage": cv2_blob,
    "cv2.resize + copyMakeBorder + transpose": cv2_chain,
    "cv2 tuned: reused buffers, padding kept": cv2_tuned,
    "kornia-rs Preprocessor": kornia,
    PLANES: ours_planes,
    PLANES_TO_RGB: ours_through_rgb,
    "cv2.cvtColor + cv2 tuned, from planes": cv2_planes,
}


def measure(scene: Scene) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    calls: dict[str, Call] = {}
    missing: dict[str, str] = {}
    rows: dict[str, dict[str, float]] = {}
    expected = ours(scene)().copy()
    for name, make in CONTENDERS.items():
        made = attempt(make, scene)
        if isinstance(made, str):
            missing[name] = made
            continue
        calls[name] = made
        off = float(np.abs(made().reshape(expected.shape) - expected).max() * 255)
        rows[name] = {"levels_off": float("nan") if name == FLOOR else off}
    for condition in CONDITIONS:
        for name, ms in timed(calls, evict=condition == "from memory").items():
            rows[name][condition] = ms
    return rows, missing


def attempt(make: Callable[[Scene], Call], scene: Scene) -> Call | str:
    """The contender after a first run, or why it cannot run: that is a row, not a crash."""
    try:
        call = make(scene)
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return call


def timed(calls: dict[str, Call], *, evict: bool) -> dict[str, float]:
    """Median milliseconds of each, in interleaved rounds."""
    other = np.ones(EVICT_MIB << 17, np.float64)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            # What the contender before left in the caches must not matter.
            _ = other.max() if evict else call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) * 1e3 for name, taken in times.items()}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("numpy", "opencv-python-headless", "kornia_rs"):
        installed = any(metadata.distributions(name=package))
        found[package] = metadata.version(package) if installed else "missing"
    return found


def show(title: str, rows: dict[str, dict[str, float]], missing: dict[str, str]) -> None:
    print(f"\n{title}")
    print(f"{'':42}{'cached ms':>10}{'x floor':>9}{'memory ms':>11}{'x floor':>9}{'levels off':>12}")
    for name, row in rows.items():
        ratios = {c: row[c] / rows[FLOOR][c] for c in CONDITIONS}
        print(
            f"{name:42}{row['cached']:10.3f}{ratios['cached']:9.2f}"
            f"{row['from memory']:11.3f}{ratios['from memory']:9.2f}{row['levels_off']:12.3f}"
        )
    for name, why in missing.items():
        print(f"{name:42} not run: {why}")


def main() -> None:
    cv2.setNumThreads(1)
    results: list[dict[str, Any]] = []
    for width, height, side in CASES:
        rows, missing = measure(Scene(width, height, side))
        show(f"{width}x{height} -> {side}x{side} float32 NCHW, kernels: {kernels.BACKEND}", rows, missing)
        case: dict[str, Any] = {"source": [width, height], "input": [side, side], "missing": missing}
        case["ms"] = {name: {k: None if v != v else round(v, 4) for k, v in row.items()} for name, row in rows.items()}
        results.append(case)
    conditions = {
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "threads": 1,
        "rounds": ROUNDS,
        "kernels": kernels.BACKEND,
        "versions": versions(),
        "date": datetime.date.today().isoformat(),
    }
    claim = "letterbox of an RGB frame (and of YUV 4:2:0 planes) into float32 NCHW, ms"
    report = {"claim": claim, "conditions": conditions, "cases": results}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nwritten: {RESULT}")


if __name__ == "__main__":
    main()
