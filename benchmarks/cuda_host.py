"""The CUDA code without a device: memory, graphs, letterbox and engines on a driver that works on the host.

python benchmarks/cuda_host.py [RUNS]

No speed comes of it and no proof of a real driver: it counts that 100,000 runs leave nothing behind, with
each CUDA package that is installed. benchmarks/gpu_check.sh runs the same checks on a device.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import conditions, save, table

TESTS = Path(__file__).resolve().parents[1] / "tests" / "support"
sys.path.insert(0, str(TESTS))
from host_driver import CHECKS, build_driver, is_installed  # noqa: E402

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
PACKAGES = {"pycuda": "pycuda", "cuda-bindings": "cuda.bindings"}


def run(package: str, work: Path) -> dict[str, object]:
    """All checks with one package."""
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(work),
        "EDGEVID_HOST_DRIVER": "1",
        "EDGEVID_CUDA": package,
        "EDGEVID_LEAK_RUNS": str(RUNS),
        "PYTHONPATH": f"{TESTS}:{TESTS.parent}:{os.environ.get('PYTHONPATH', '')}",
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    start = time.monotonic()
    done = subprocess.run(
        [*command, "--timeout", "0", "-m", "device", *CHECKS],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = done.stdout.strip().splitlines()[-1]
    passed, failed = (int(m[1]) if (m := re.search(rf"(\d+) {w}", last)) else 0 for w in ("passed", "failed"))
    return {"passed": passed, "failed": failed, "seconds": round(time.monotonic() - start)}


def main() -> None:
    """Runs what is installed, prints a table, writes the JSON."""
    versions, found = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        build_driver("c++", Path(folder))
        for package, module in PACKAGES.items():
            if not is_installed(module):
                found[package] = {"passed": 0, "failed": 0, "why": "not installed"}
                continue
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                versions[package] = "?"
            found[package] = run(package, Path(folder))
    rows = [[p, str(f["passed"]), str(f["failed"])] for p, f in found.items()]
    print(table(["CUDA package", "checks passed", "failed"], rows))
    driver = "a stand-in for libcuda that works on the host (tests/support/cuda_host_driver.cpp); no NVIDIA device"
    print(save("cuda_host", {"driver": driver, "runs": RUNS, "packages": found}, conditions(versions)))


if __name__ == "__main__":
    main()
