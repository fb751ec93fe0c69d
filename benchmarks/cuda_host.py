"""The CUDA code without a device: memory, graphs, letterbox and engines on a driver that works on the host.

python benchmarks/cuda_host.py [RUNS]

No speed comes of it and no proof of a real driver: it counts that 100,000 runs leave nothing behind.
benchmarks/gpu_check.sh runs the same checks on a device.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import conditions, save, table

TESTS = Path(__file__).resolve().parents[1] / "tests" / "support"
sys.path.insert(0, str(TESTS))
from host_driver import CHECKS, build_driver  # noqa: E402

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000


def run(work: Path) -> dict[str, int]:
    """All checks on the driver that lies in the folder `work`."""
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(work),
        "EDGEVID_HOST_DRIVER": "1",
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
    """Runs the checks, prints a table, writes the JSON."""
    with tempfile.TemporaryDirectory() as folder:
        build_driver("c++", Path(folder))
        found = run(Path(folder))
    print(table(["checks passed", "failed"], [[str(found["passed"]), str(found["failed"])]]))
    driver = "a stand-in for libcuda that works on the host (tests/support/cuda_host_driver.cpp); no NVIDIA device"
    print(save("cuda_host", {"driver": driver, "runs": RUNS, **found}, conditions({})))


if __name__ == "__main__":
    main()
