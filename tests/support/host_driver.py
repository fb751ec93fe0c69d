"""A driver that works on the host: tests marked "device" run on it where there is no NVIDIA device."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
CHECKS = [
    str(SUPPORT.parent / "runtime" / name)
    for name in (
        *("cuda/test_interface.py", "cuda/test_graph.py", "cuda/test_open.py", "cuda/test_letterbox.py"),
        *("tensorrt/test_engine.py", "tensorrt/test_session.py", "tensorrt/test_kernel_cache.py"),
        "test_load.py",
    )
]
"""The files with tests marked "device"."""
ON_HOST = os.environ.get("EDGEVID_HOST_DRIVER") == "1"
"""Whether this process runs on the host driver: test_pycuda.py and test_cuda_python.py start such ones."""
RUNS = int(os.environ.get("EDGEVID_LEAK_RUNS", "3000"))
NAMES = (
    *("memory", "pinned", "streams", "events", "modules", "graphs", "recorded", "contexts", "stack"),
    *("launches", "replays"),
)


def counts() -> dict[str, int]:
    """What lives in the host driver."""
    found = (ctypes.c_long * len(NAMES))()
    ctypes.CDLL("libcuda.so.1").host_counts(found)
    return dict(zip(NAMES, found, strict=True))


def living() -> dict[str, int]:
    return {k: v for k, v in counts().items() if k not in ("launches", "replays")} if ON_HOST else {}


def is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def stubs(work: Path) -> list[str]:
    """pycuda binds to its whole list of driver functions when it loads: the rest answer "not supported"."""
    spec, nm = find_spec("pycuda"), shutil.which("nm")
    if spec is None or nm is None or not spec.submodule_search_locations:
        return []
    binding = next(Path(spec.submodule_search_locations[0]).glob("_driver*.so"))
    listed = subprocess.run([nm, "-D", "--undefined-only", str(binding)], capture_output=True, text=True)
    expected = {w for w in listed.stdout.split() if w.startswith("cu") and w[2:3].isupper()}
    have = (SUPPORT / "cuda_host_driver.cpp").read_text()
    rest = sorted(name for name in expected if f"API {name}(" not in have)
    (work / "rest.cpp").write_text("".join(f'extern "C" int {name}() {{ return 801; }}\n' for name in rest))
    return [str(work / "rest.cpp")]


def build_driver(compiler: str, work: Path) -> Path:
    """Compiles `libcuda.so.1` into the folder `work`."""
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    sources = [str(SUPPORT / "cuda_host_driver.cpp"), *stubs(work)]
    include = f"-I{SUPPORT.parents[1] / 'edgevid' / 'runtime' / 'cuda'}"
    made = work / "libcuda.so.1"
    subprocess.run([compiler, *flags, include, *sources, "-o", str(made), "-ldl"], check=True)
    return made
