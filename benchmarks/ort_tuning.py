"""The effect of each setting in edgevid/runtime/onnxruntime: threads, spinning, bound outputs.

    python benchmarks/ort_tuning.py MODEL.onnx...        JSON in benchmarks/results/ort_tuning.json

Everything is interleaved in one process, medians. What runs on one thread is given in processor time, which
other work on the machine does not lengthen. Waiting is judged as a camera sees it: a run, 20 ms until the
next frame; what counts is the time of a run and the processor time of both.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from bench import conditions, save, table

from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.processor import default_threads, take_turns
from edgevid.runtime.variants import without_weight_inputs

RUNS = 30


def medians(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of processor time of each, interleaved."""

    def timed(call: Callable[[], Any], _: int) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    times = take_turns([partial(timed, call) for call in work.values()], rounds)
    return {name: float(np.median(t) * 1e3) for name, t in zip(work, times, strict=True)}


def picture(engine: OrtEngine) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {s.name: (rng.random([max(n, 1) for n in s.shape]) * 255).astype(s.dtype) for s in engine.inputs}


def binding(path: Path) -> dict[str, float]:
    """Outputs written into arrays that are made once, against fresh ones at every run."""
    engine = OrtEngine(path, device="cpu", threads=1)
    given, session = picture(engine), engine._session
    names = [s.name for s in engine.outputs]
    work = {"run, bound, CPU ms": lambda: engine.run(given), "run, unbound, CPU ms": lambda: session.run(names, given)}
    return medians(work, RUNS)


def plain(path: Path, threads: int, spin: str) -> Any:
    """A session of ONNX Runtime with these threads."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, threads
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    model = without_weight_inputs(path.read_bytes())
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def in_turns(sessions: dict[str, Any], given: dict[str, Any]) -> dict[str, float]:
    """A run, and the processor time that it costs with the wait for the next frame after it.

    By turns in stretches: a pool that spins would disturb the other run by run.
    """
    wall: dict[str, list[float]] = {name: [] for name in sessions}
    cpu: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(3):
        for name, session in sessions.items():
            for _ in range(RUNS // 3):
                start, used = time.perf_counter(), time.process_time()
                session.run(None, given)
                wall[name].append(time.perf_counter() - start)
                time.sleep(0.02)
                cpu[name].append(time.process_time() - used)
    found: dict[str, float] = {}
    for name in sessions:
        found[f"{name}, ms"] = float(np.median(wall[name]) * 1e3)
        found[f"{name}, CPU ms"] = float(np.median(cpu[name]) * 1e3)
    return found


def waiting(path: Path, threads: int) -> dict[str, float]:
    """Threads that wait by sleeping or by spinning."""
    given = picture(OrtEngine(path, device="cpu", threads=1))
    return in_turns({"sleeping": plain(path, threads, "0"), "spinning": plain(path, threads, "1")}, given)


def crowded(path: Path) -> dict[str, float]:
    """One usable core, as in a container of one processor: one thread on it, or four."""
    given = picture(OrtEngine(path, device="cpu", threads=1))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        sessions = {"1 thread on 1 core": plain(path, 1, "0"), "4 threads on 1 core": plain(path, 4, "0")}
        return in_turns(sessions, given)
    finally:
        os.sched_setaffinity(0, before)


def main() -> None:
    paths = [Path(p) for p in sys.argv[1:]]
    assert paths, __doc__
    threads = max(2, default_threads())
    where = conditions({"onnxruntime": onnxruntime.__version__})
    where["command"] = " ".join(["python benchmarks/ort_tuning.py", *(path.name for path in paths)])
    where |= {"threads of the waiting test": threads, "threads otherwise": 1, "runs": RUNS}
    rows: dict[str, dict[str, float]] = {}
    for path in paths:
        rows[path.name] = {**binding(path), **waiting(path, threads), **crowded(path)}
    head = ["model", *next(iter(rows.values()))]
    cells = [[name, *(f"{v:.1f}" for v in row.values())] for name, row in rows.items()]
    print(table(head, cells))
    print(save("ort_tuning", {"head": head, "rows": cells}, where))


if __name__ == "__main__":
    main()
