"""CUDA by pycuda: all device tests on a driver that works on the host, and its contexts and errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from host_driver import is_installed

from edgevid.errors import InputError, ModelError
from edgevid.runtime.cuda.open import PyCuda
from edgevid.runtime.device import Gpu

ORIN = Gpu(0, "Orin", "8.7")


@pytest.mark.skipif(not is_installed("pycuda"), reason="pycuda is not installed")
def test_all_device_tests_pass_on_the_host_driver(run_on_host: Callable[[str], str]) -> None:
    printed = run_on_host("pycuda")
    passed = re.search(r"(\d+) passed", printed)
    assert passed is not None, printed[-500:]
    assert int(passed[1]) > 40


class Driver:
    """What edgevid uses of `pycuda.driver`, on the host: it notes contexts, and fails as pycuda does."""

    class Error(Exception):
        pass

    class MemoryError(Error):
        pass

    def __init__(self) -> None:
        self.stack, self.detached, self.freed = 0, 0, 0
        self.Context = SimpleNamespace(pop=lambda: self.push(-1))
        self.context = SimpleNamespace(push=lambda: self.push(1), detach=self.detach)

    def push(self, step: int) -> None:
        self.stack += step

    def detach(self) -> None:
        self.detached += 1

    def init(self) -> None:
        pass

    def Device(self, index: int) -> Any:
        assert index == ORIN.index
        return SimpleNamespace(retain_primary_context=lambda: self.context)

    def free(self) -> None:
        assert self.stack == 1  # pycuda frees only where the context is current
        self.freed += 1

    def mem_alloc(self, nbytes: int) -> Any:
        if nbytes > 1000:
            raise self.MemoryError("cuMemAlloc failed: out of memory")
        return SimpleNamespace(free=self.free)

    def Stream(self, flags: int) -> Any:
        assert flags == 1  # it does not wait for the default stream
        return SimpleNamespace(handle=5, synchronize=self.fail)

    def fail(self) -> None:
        raise self.Error("cuStreamSynchronize failed: an illegal memory access")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made, package, module = Driver(), ModuleType("pycuda"), ModuleType("pycuda.driver")
    for name in dir(made):
        if not name.startswith("_"):
            setattr(module, name, getattr(made, name))
    package.driver = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", module)
    monkeypatch.setattr("edgevid.runtime.cuda.open.driver", lambda: None)
    return made


def test_the_context_is_current_only_within_a_call(driver: Driver) -> None:
    with PyCuda(ORIN) as cuda:
        assert driver.stack == 0
        with cuda.current():
            assert driver.stack == 1
        memory = cuda.alloc(16)
        memory.close()
        memory.close()
        assert (driver.stack, driver.freed) == (0, 1)


def test_errors_of_pycuda_are_model_errors_and_leave_the_context(driver: Driver) -> None:
    cuda = PyCuda(ORIN)
    with pytest.raises(ModelError, match=r"Orin .*: out of memory: 0\.0 MB could not be allocated"):
        cuda.alloc(2000)
    stream = cuda.stream()
    assert stream.handle == 5
    with pytest.raises(ModelError, match=r"CUDA: cuStreamSynchronize failed: .* on Orin \(compute"):
        stream.synchronize()
    assert driver.stack == 0
    with pytest.raises(InputError, match="C-contiguous"):
        cuda.upload(0, np.zeros(8)[::2], stream)
    assert driver.stack == 0


def test_a_device_is_released_once(driver: Driver) -> None:
    cuda = PyCuda(ORIN)
    cuda.close()
    cuda.close()
    assert driver.detached == 1
    with pytest.raises(ModelError, match="this device is closed; open it again"):
        cuda.alloc(16)


def test_the_driver_releases_what_pycuda_leaves(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Detaching leaves the context on its own thread's stack, and in another thread releases nothing."""
    released: list[str] = []
    library = SimpleNamespace(
        cuCtxPopCurrent_v2=lambda context: released.append("pop"),
        cuDevicePrimaryCtxRelease_v2=lambda device: released.append(f"release {device}"),
    )
    monkeypatch.setattr("edgevid.runtime.cuda.open.driver", lambda: library)
    PyCuda(ORIN).close()
    other = PyCuda(ORIN)
    other._thread = -1
    other.close()
    assert released == ["pop", "release 0"]
