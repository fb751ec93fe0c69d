"""Letterboxing a frame into a float32 NCHW input: edgevid, OpenCV, kornia-rs, libswscale and the memory's own time.

    python benchmarks/letterbox.py                          every pair of SOURCES and INPUTS: minutes
    python benchmarks/letterbox.py --source 1280x720        the pairs of one source: some seconds
    python benchmarks/letterbox.py --isa avx2               without AVX-512, OpenCV's too

Interleaved rounds in one process on one thread; the ratio of two contenders is the median over the rounds, with a 95 %
bootstrap interval. "cached": the same frame repeatedly, as when the decoder has just written it; "memory": 64 MiB
were read in between. The floor writes the whole input once and touches once each cache line of the source rows that
bilinear sampling needs. edgevid and the tuned peers write their padding once, as `Preprocessor` does. Every peer's
image is compared with edgevid's, in levels of 255. A source's pairs are added to those in the result file.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import av
import cv2
import numpy as np
from bench import RESULTS, conditions, save, table

from edgevid import kernels
from edgevid.detect.preprocess import Preprocessor, letterbox_rectangle
from edgevid.runtime.engine import InputSpec
from edgevid.types import Frame

Call = Callable[[], np.ndarray]
ROUNDS, EVICT_MIB = 15, 64
SOURCES = ((640, 360), (640, 480), (720, 576), (1280, 720), (1920, 1080), (3840, 2160))
INPUTS = ((320, 320), (416, 416), (448, 256), (640, 640))
CONDITIONS = ("cached", "memory")


class Scene:
    """A frame as RGB and as YUV 4:2:0, and where it belongs in the input."""

    def __init__(self, source: tuple[int, int], size: tuple[int, int]) -> None:
        (width, height), rng = source, np.random.default_rng(0)
        self.spec = InputSpec(*size)
        stacked = (height * 3 // 2, width)
        # Smooth, and within the limited range, so that the compared images mean something.
        small = rng.integers(60, 190, (stacked[0] // 16 + 1, width // 16 + 1), np.uint8)
        self.i420 = np.clip(cv2.resize(small, stacked[::-1], interpolation=cv2.INTER_CUBIC), 16, 235)
        self.planes = self._planes(self.i420, width, height)
        self.rgb = kernels.yuv420_to_rgb(*self.planes, False, "bt601")
        self.left, self.top, self.width, self.height = letterbox_rectangle(source, self.spec)
        at = np.clip((np.arange(self.height) + 0.5) * height / self.height - 0.5, 0, height - 1)
        self.rows = np.unique(np.concatenate([np.floor(at), np.ceil(at)])).astype(int)

    @staticmethod
    def _planes(frame: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        flat, luma, half = frame.ravel(), width * height, (height // 2, width // 2)
        u, v = flat[luma : luma * 5 // 4], flat[luma * 5 // 4 :]
        return flat[:luma].reshape(height, width), u.reshape(half), v.reshape(half)


def touch(image: np.ndarray, rows: np.ndarray) -> Callable[[], Any]:
    """Reads a word of each cache line of these rows."""
    lines = image.reshape(len(image), -1)
    lines = lines[:, : lines.shape[1] // 64 * 64].view(np.uint64)[:, ::8]
    step = rows[1] - rows[0]
    # A slice where the rows are evenly spaced, else as many rows from the top: the same bytes to read.
    even = bool(np.all(np.diff(rows) == step))
    needed = lines[slice(rows[0], rows[-1] + 1, step) if even else slice(0, len(rows))]
    sink = np.empty(needed.shape[1], np.uint64)
    return lambda: np.bitwise_or.reduce(needed, axis=0, out=sink)


def floor(scene: Scene, planes: bool = False) -> Call:
    out = np.zeros((1, 3, scene.spec.height, scene.spec.width), np.float32)
    half = np.unique(scene.rows // 2)
    y, u, v = scene.planes
    reads = [touch(y, scene.rows), touch(u, half), touch(v, half)] if planes else [touch(scene.rgb, scene.rows)]

    def run() -> np.ndarray:
        for read in reads:
            read()
        out.fill(0)
        return out

    return run


def ours(scene: Scene) -> Call:
    frame, prepare = Frame(scene.rgb, 0.0, 0), Preprocessor(scene.spec)
    return lambda: prepare([frame])[0]


def ours_planes(scene: Scene) -> Call:
    def unused(frame: Frame) -> np.ndarray:
        raise AssertionError("RGB was not needed")

    frame = Frame.from_yuv420(scene.planes, 0.0, 0, to_rgb=unused)
    prepare = Preprocessor(scene.spec)
    return lambda: prepare([frame])[0]


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


def planar(scene: Scene) -> Callable[[np.ndarray], np.ndarray]:
    """All that preallocation gives, from the resized image on: split, each plane converted in place."""
    out = np.full((1, 3, scene.spec.height, scene.spec.width), 114 / 255, np.float32)
    parts = [np.empty((scene.height, scene.width), np.uint8) for _ in range(3)]
    inside = out[0, :, scene.top : scene.top + scene.height, scene.left : scene.left + scene.width]

    def run(resized: np.ndarray) -> np.ndarray:
        cv2.split(resized, parts)
        for part, plane in zip(parts, inside, strict=True):
            np.multiply(part, np.float32(1 / 255), out=plane)
        return out

    return run


def cv2_tuned(scene: Scene) -> Call:
    resized, finish = np.empty((scene.height, scene.width, 3), np.uint8), planar(scene)
    return lambda: finish(cv2.resize(scene.rgb, (scene.width, scene.height), dst=resized))


def cv2_planes(scene: Scene) -> Call:
    converted = copy.copy(scene)
    converted.rgb = np.empty_like(scene.rgb)
    letterboxed = cv2_tuned(converted)

    def run() -> np.ndarray:
        cv2.cvtColor(scene.i420, cv2.COLOR_YUV2RGB_I420, dst=converted.rgb)
        return letterboxed()

    return run


def swscale_planes(scene: Scene) -> Call:
    frame, finish = av.VideoFrame.from_ndarray(scene.i420, format="yuv420p"), planar(scene)
    how = {"width": scene.width, "height": scene.height, "format": "rgb24", "interpolation": "BILINEAR"}
    return lambda: finish(frame.reformat(**how).to_ndarray())


def kornia(scene: Scene) -> Call:
    import kornia_rs

    prepare = kornia_rs.Preprocessor(mode="letterbox", format="rgb", pad_value=114)
    height, width = scene.rgb.shape[:2]
    size = (scene.spec.height, scene.spec.width)
    return lambda: np.from_dlpack(prepare.run(scene.rgb.ravel(), width, height, *size))


KINDS: dict[str, dict[str, Callable[[Scene], Call]]] = {
    "RGB": {
        "floor": floor, "edgevid": ours, "cv2 tuned": cv2_tuned, "cv2 blobFromImage": cv2_blob,
        "cv2 copyMakeBorder": cv2_chain, "kornia-rs": kornia,
    },
    "YUV": {
        "floor": lambda scene: floor(scene, planes=True), "edgevid": ours_planes, "cv2 tuned": cv2_planes,
        "libswscale": swscale_planes,
    },
}  # fmt: skip
"""By what the frame comes as: the contenders, all peers but the first two."""


def timed(calls: dict[str, Call], *, evict: bool) -> dict[str, np.ndarray]:
    """Milliseconds of each, (ROUNDS,) by round."""
    other = np.ones(EVICT_MIB << 17, np.float64)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            # What the contender before left in the caches must not matter.
            _ = other.max() if evict else call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * np.array(taken) for name, taken in times.items()}


def ratio(ours: np.ndarray, theirs: np.ndarray) -> list[float]:
    """Median ratio over the rounds, and the ends of its 95 % bootstrap interval."""
    each = ours / theirs
    again = np.median(np.random.default_rng(0).choice(each, (2000, len(each))), 1)
    return [round(float(value), 3) for value in (np.median(each), *np.quantile(again, (0.025, 0.975)))]


def measure(source: tuple[int, int], size: tuple[int, int], kind: str) -> dict[str, Any]:
    scene = Scene(source, size)
    calls = {name: make(scene) for name, make in KINDS[kind].items()}
    image = calls["edgevid"]().copy()
    found: dict[str, Any] = {"source": list(source), "input": list(size), "kind": kind, "levels_off": {}}
    for name, call in calls.items():
        if name != "floor":
            found["levels_off"][name] = round(float(np.abs(call().reshape(image.shape) - image).max() * 255), 2)
    for condition in CONDITIONS:
        times = timed(calls, evict=condition == "memory")
        found[condition] = {
            "ms": {name: round(statistics.median(taken), 4) for name, taken in times.items()},
            "over": {name: ratio(times["edgevid"], times[name]) for name in times if name != "edgevid"},
        }
    return found


def row(found: dict[str, Any]) -> list[str]:
    """A line of the table: times, times the floor, and the ratio to the fastest peer with its interval."""
    cells = ["x".join(map(str, found["source"])), "x".join(map(str, found["input"])), found["kind"]]
    for condition in CONDITIONS:
        ms, over = found[condition]["ms"], found[condition]["over"]
        peer = min((name for name in ms if name not in ("floor", "edgevid")), key=ms.__getitem__)
        middle, low, high = over[peer]
        cells += [f"{ms['edgevid']:.3f}", f"{over['floor'][0]:.2f}", f"{middle:.2f} [{low:.2f}, {high:.2f}] {peer}"]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="WIDTHxHEIGHT of one of SOURCES")
    parser.add_argument("--isa", choices=("avx512", "avx2"), default="avx512")
    given = parser.parse_args()
    if given.isa == "avx2" and "OPENCV_CPU_DISABLE" not in os.environ:  # OpenCV reads it once, on import
        os.environ["OPENCV_CPU_DISABLE"] = "AVX512-SKX"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    cv2.setNumThreads(1)
    if kernels.BACKEND == "native":
        from edgevid.kernels import _native

        assert _native._limit_isa(given.isa), f"this processor has no {given.isa}"
    packages = ("numpy", "opencv-python-headless", "kornia_rs", "av")
    where = conditions({name: metadata.version(name) for name in packages})
    name = "letterbox" if given.isa == "avx512" else f"letterbox_{given.isa}"
    path = RESULTS / f"{name}.json"
    old = json.loads(path.read_text()).get("pairs", []) if given.source and path.is_file() else []
    sources = [size for size in SOURCES if given.source in (None, f"{size[0]}x{size[1]}")]
    pairs = [one for one in old if tuple(one["source"]) not in sources]
    for source in sources:
        for size in INPUTS:
            pairs += [measure(source, size, kind) for kind in KINDS]
    pairs.sort(key=lambda one: (one["kind"], one["source"], one["input"]))
    heads = ["source", "input", "from", *(f"{c} {w}" for c in CONDITIONS for w in ("ms", "x floor", "/ best peer"))]
    rows = [row(one) for one in pairs]
    print(table(heads, [line for line in rows if given.source in (None, line[0])]))
    claim = "letterbox of an RGB frame, and of YUV 4:2:0 planes, into float32 NCHW"
    found = {"claim": claim, "kernels": kernels.BACKEND, "isa": given.isa, "threads": 1, "rounds": ROUNDS}
    print(save(name, {**found, "head": heads, "rows": rows, "pairs": pairs}, where))


if __name__ == "__main__":
    main()
