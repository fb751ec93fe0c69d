"""The checks that need an NVIDIA device and TensorRT, in one run of ten minutes; gpu_check.sh calls it.

python benchmarks/gpu_check.py [FRAMES]

Parts that cannot run here, or no longer within LIMIT_S seconds, are marked as not run in the JSON, with the
reason. Those whose failure would be wrong results come first, those that repeat and time last.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
from bench import conditions, save
from conv_detector import SIZE, conv_detector
from device_memory import free_memory

from edgevid.detect.detector import Detector
from edgevid.detect.preprocess import Preprocessor, letterbox_rectangle
from edgevid.models.hub import resolve_model
from edgevid.optimize.builder.build import build
from edgevid.optimize.builder.engine import choose_backend, installed_version
from edgevid.optimize.builder.options import BuildOptions, Verification
from edgevid.optimize.frames import read_frames
from edgevid.runtime import LocalRecipe, Precision, load_engine
from edgevid.runtime.cuda.open import open_cuda
from edgevid.runtime.device import gpus
from edgevid.runtime.manifest import BACKENDS
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.tensorrt.engine import TrtEngine
from edgevid.types import Frame

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT.parent / "shared" / "data" / "images" / "coco_val2017_100"
RUNS = int(os.environ.get("RUNS", "100000"))
LIMIT_S = float(os.environ.get("LIMIT_S", "560"))
STARTED = time.monotonic()
COUNT = 100
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MODEL = "street-nano"
"""Ships with edgevid, so that no network is needed."""
Result = dict[str, Any]


def left_s() -> float:
    """Seconds until the run must end."""
    return max(LIMIT_S - (time.monotonic() - STARTED), 0.0)


def part(name: str, work: Callable[[], Result], into: Result) -> None:
    """Runs one part; an error is its result."""
    if left_s() < 5:
        return not_run(name, f"the {LIMIT_S:.0f} s of LIMIT_S are over", into)
    started = time.monotonic()
    try:
        found = {"state": "passed", **work()}
    except Exception as error:  # the other parts still run
        found = {"state": "failed", "why": f"{type(error).__name__}: {error}"}
    into[name] = {**found, "seconds": round(time.monotonic() - started, 1)}
    why = f": {found['why']}" if "why" in found else ""
    print(f"{name:<28} {found['state']}{why}", flush=True)


def not_run(name: str, why: str, into: Result) -> None:
    into[name] = {"state": "not run", "why": why}
    print(f"{name:<28} not run: {why}", flush=True)


def checks(backend: str) -> Result:
    """The tests of runtime/cuda that are marked "device", with the real driver and one CUDA package."""
    runs = max(RUNS // 5, 1)
    environment = {"EDGEVID_CUDA": backend, "EDGEVID_LEAK_RUNS": str(runs)}
    return {**pytest("-m", "device", "tests/runtime/cuda", **environment), "letterbox runs": runs}


def real_tests() -> Result:
    """tests/runtime/test_gpu.py, every skip a failure."""
    return pytest("tests/runtime/test_gpu.py", EDGEVID_REQUIRE="trt")


def pytest(*arguments: str, **environment: str) -> Result:
    """The closing line of pytest in the repository; AssertionError with its output where a test fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    settings = {**os.environ, **environment}
    done = subprocess.run(
        command, env=settings, cwd=ROOT, capture_output=True, text=True, check=False, timeout=left_s()
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:]
    return {"pytest": done.stdout.strip().splitlines()[-1]}


def built(model: LocalRecipe, precision: str, backend: str, frames: Path) -> Result:
    """An engine, verified on the frames: the metrics of its manifest."""
    if precision == "int8":
        from edgevid.optimize.quantize.quantizer import quantize

        quantize(model, frames, variants=("int8-trt",), save_ranges=model.local.parent / "ranges.toml")
    result = build(model, BuildOptions(precision=precision, backend=backend), verification=Verification(frames, COUNT))
    manifest = result.manifest
    return {
        "engine bytes": manifest.engine_bytes,
        "build seconds": float(manifest.made["seconds"]),
        "convolutions": manifest.layers["convolutions"],
        "graph parity": _summary(manifest.parity["graph"]),
        "engine parity": _summary(manifest.parity["engine"]),
    }


def _summary(found: str | Result) -> str:
    return found if isinstance(found, str) else str(found["summary"])


def timed(work: Callable[[], object], seconds: float = 4.0) -> Result:
    """p50 and p99 in milliseconds, after warming up."""
    for _ in range(20):
        work()
    spent: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        spent.append(1000 * (time.perf_counter() - start))
    low, high = np.percentile(spent, [50, 99])
    return {"p50 ms": round(float(low), 3), "p99 ms": round(float(high), 3), "runs": len(spent)}


def speeds(model: LocalRecipe, precision: str, frame: Frame) -> Result:
    """One engine: recorded and step by step, letterboxed by the CPU and on the device; the whole detector."""
    assert model.input is not None
    prepare = Preprocessor(model.input)
    rectangles = [letterbox_rectangle(frame.size, model.input)]
    found: Result = {}
    with load_engine(model, device="cuda:0", precision=precision) as engine:
        assert isinstance(engine, TrtEngine), "ONNX Runtime was used instead of TensorRT"
        name, x = engine.inputs[0].name, prepare([frame])[0]
        found["engine"] = timed(lambda: engine.run({name: x}))
        found["letterbox on CPU + engine"] = timed(lambda: engine.run({name: prepare([frame])[0]}))
        found["letterbox on device + engine"] = timed(
            lambda: engine.run_frames([frame], rectangles, model.input, name=name)
        )
        detector = Detector(engine, model)
        found["whole detector"] = timed(lambda: detector.detect([frame]))
        with TrtEngine(engine.path, graphs=False) as stepwise:
            found["engine without graph"] = timed(lambda: stepwise.run({name: x}))
    return found


def leaks(model: LocalRecipe, precision: str, frame: Frame) -> Result:
    """Many runs of one engine: memory of device and process before and after."""
    assert model.input is not None
    x = Preprocessor(model.input)([frame])[0]
    with load_engine(model, device="cuda:0", precision=precision) as engine, open_cuda() as cuda:
        name = engine.inputs[0].name
        for _ in range(100):
            engine.run({name: x})
        free, resident = free_memory(cuda), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        runs = 0
        while runs < RUNS and left_s() > 10:
            engine.run({name: x})
            runs += 1
        lost = free - free_memory(cuda)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    assert lost <= 1 << 20, f"{lost} bytes of device memory are gone after {runs} runs"
    assert grown <= 16 << 10, f"the process grew by {grown} kB in {runs} runs"
    return {"runs": runs, "device bytes lost": lost, "process kB grown": grown}


def batches(backend: str, folder: Path) -> Result:
    """One engine of batches of 1 to 8 against ONNX Runtime on the CPU: the largest difference of each."""
    model = conv_detector(folder / "batch.onnx", batch="n")
    options = BuildOptions(precision="fp32", backend=backend, batch=(1, 4, 8))
    engine_file = build(model, options).engine
    images = np.random.default_rng(0).random((8, 3, SIZE, SIZE), np.float32)
    found: Result = {}
    with OrtEngine(model, device="cpu") as exact, TrtEngine(engine_file) as engine:
        for n in (1, 3, 4, 8, 1):
            given = {"images": images[:n]}
            a, b = exact.run(given)["output0"], engine.run(given)["output0"]
            found[f"batch of {n}"] = difference = float(np.abs(a - b).max())
            assert a.shape == b.shape, f"{b.shape} instead of {a.shape}"
            assert difference < 0.01, f"a batch of {n} differs by up to {difference}"
    return found


def onnx_runtime(model: LocalRecipe, device: str, frame: Frame) -> Result:
    """The same model by ONNX Runtime, for comparison in the same run."""
    assert model.input is not None
    x = Preprocessor(model.input)([frame])[0]
    with OrtEngine(model.local, device=device) as engine:
        return timed(lambda: engine.run({engine.inputs[0].name: x}))


def packages() -> list[str]:
    """The CUDA packages that are installed."""
    found = ["pycuda"] if find_spec("pycuda") else []
    return found + (["cuda-bindings"] if find_spec("cuda") and find_spec("cuda.bindings") else [])


def engines(model: LocalRecipe, backend: str, frames: Path, into: Result) -> None:
    frame = next(iter(read_frames(frames, 1))).frame
    part("batches", lambda: batches(backend, model.local.parent), into)
    for precision in PRECISIONS:
        part(f"build {precision}", lambda p=precision: built(model, p, backend, frames), into)
    for precision in PRECISIONS:
        if into[f"build {precision}"]["state"] == "passed":
            part(f"speed {precision}", lambda p=precision: speeds(model, p, frame), into)
    part("leak fp16", lambda: leaks(model, "fp16", frame), into)
    for device in ("cpu", "cuda:0"):
        part(f"ONNX Runtime {device}", lambda d=device: onnx_runtime(model, d, frame), into)


def main() -> int:
    """Runs all parts and writes the JSON; 1 where one failed, 2 where some could not run."""
    frames = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    found: Result = {}
    here = gpus()
    backend = choose_backend()
    versions = {b: installed_version(b) or "not installed" for b in BACKENDS}
    where = conditions(versions | {"CUDA packages": ", ".join(packages()) or "none"})
    where["devices"] = [f"{g}, driver for CUDA {g.cuda}" for g in here] or "none"
    if not here:
        not_run("everything", "no NVIDIA driver was found", found)
    for package in packages() if here else []:
        part(f"CUDA by {package}", lambda p=package: checks(p), found)
    if here and not packages():
        not_run("CUDA", "neither pycuda nor cuda-bindings is installed", found)
    if here and not installed_version(backend):
        not_run("engines", "neither TensorRT nor TensorRT-RTX is installed", found)
    elif here:
        part("tests/runtime/test_gpu.py", real_tests, found)
        with tempfile.TemporaryDirectory() as folder:
            model = resolve_model(MODEL)
            own = model.with_local(Path(shutil.copy(model.local, folder)))
            if frames.exists():
                engines(own, backend, frames, found)
            else:
                not_run("engines", f"no frames: {frames} does not exist, name some", found)
    print(save("gpu_check", {"parts": found}, where))
    states = {one["state"] for one in found.values()}
    return 1 if "failed" in states else 2 if "not run" in states else 0


if __name__ == "__main__":
    sys.exit(main())
