"""The device of the tests marked "device": a real one, or the driver that works on the host."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from host_driver import CHECKS, ON_HOST, SUPPORT, build_driver, living
from made_once import made_once

from edgevid.runtime.cuda.interface import Cuda
from edgevid.runtime.cuda.open import open_cuda
from edgevid.runtime.device import gpus


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a device, test_cuda_python.py and test_pycuda.py run the tests marked "device"."""
    if gpus():
        return
    elsewhere = [item for item in items if item.get_closest_marker("device")]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """No memory, stream, graph, module or context outlives the test."""
    before = living()
    gc.freeze()  # the collection below looks only at what the test made
    yield
    gc.collect()
    gc.unfreeze()
    assert living() == before


@pytest.fixture
def cuda(nothing_is_left: None) -> Iterator[Cuda]:
    with open_cuda() as opened:
        yield opened


@pytest.fixture
def trt(nothing_is_left: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A TensorRT that runs on the host driver (tensorrt_host.py)."""
    if not ON_HOST:
        pytest.skip("needs the host driver; test_gpu.py has real engines on a real device")
    import tensorrt_host

    made = tensorrt_host.module()
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    return made


@pytest.fixture(scope="session")
def run_on_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Runs all tests marked "device" on the host driver by one CUDA package, in the order of this run's seed; what
    pytest printed."""
    seed = request.config.getoption("randomly_seed", None)
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler is at hand")

    def build(path: Path) -> None:
        shutil.copy(build_driver(compiler, tmp_path_factory.mktemp("driver")), path)

    work = made_once(tmp_path_factory, "libcuda.so.1", build).parent

    def run(package: str) -> str:
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": f"{work}:{os.environ.get('LD_LIBRARY_PATH', '')}",
            "EDGEVID_HOST_DRIVER": "1",
            "EDGEVID_CUDA": package,
        }
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-m", "device", *CHECKS]
        command += [] if seed is None else [f"--randomly-seed={seed}"]
        # Not in the clone's folder: Python would take the package without kernels.
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=SUPPORT)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    return run
