"""A driver that works on the host: tests marked "device" run on it where there is no NVIDIA device."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
CHECKS = [
    str(SUPPORT.parent / "runtime" / name)
    for name in (
        *("cuda/test_memory.py", "cuda/test_graph.py", "cuda/test_calls.py", "cuda/test_letterbox.py"),
        *("tensorrt/test_engine.py", "tensorrt/test_session.py", "tensorrt/test_kernel_cache.py"),
        "test_load.py",
    )
]
"""The files with tests marked "device"."""
ON_HOST = os.environ.get("EDGEVID_HOST_DRIVER") == "1"
"""Whether this process runs on the host driver: cuda/test_calls.py starts one."""
RUNS = int(os.environ.get("EDGEVID_LEAK_RUNS", "3000"))
NAMES = (
    *("memory", "pinned", "streams", "modules", "graphs", "recorded", "contexts", "stack"),
    *("launches", "replays"),
)


def counts() -> dict[str, int]:
    """What lives in the host driver."""
    found = (ctypes.c_long * len(NAMES))()
    ctypes.CDLL("libcuda.so.1").host_counts(found)
    return dict(zip(NAMES, found, strict=True))


def living() -> dict[str, int]:
    return {k: v for k, v in counts().items() if k not in ("launches", "replays")} if ON_HOST else {}


def build_driver(compiler: str, work: Path) -> Path:
    """Compiles `libcuda.so.1` into the folder `work`."""
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    include = f"-I{SUPPORT.parents[1] / 'edgevid' / 'runtime' / 'cuda'}"
    made = work / "libcuda.so.1"
    subprocess.run([compiler, *flags, include, str(SUPPORT / "cuda_host_driver.cpp"), "-o", str(made)], check=True)
    return made
