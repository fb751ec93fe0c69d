"""Calls of the driver: all device tests on a driver that works on the host; contexts and errors on one that notes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgevid.errors import InputError, ModelError
from edgevid.runtime import device
from edgevid.runtime.cuda.driver import Cuda, open_cuda
from edgevid.runtime.device import Gpu, gpu_of, gpus

ORIN = Gpu(0, "Orin", "8.7")


def test_all_device_tests_pass_on_the_host_driver(run_on_host: Callable[[], str]) -> None:
    printed = run_on_host()
    passed = re.search(r"(\d+) passed", printed)
    assert passed is not None, printed[-500:]
    assert int(passed[1]) > 40


class Driver:
    """Notes what is called, and fails where `failing` names a function, as the driver does: with a number."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing: dict[str, int] = {}

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name == "cuGetErrorName":
                arguments[1]._obj.value = b"CUDA_ERROR_OUT_OF_MEMORY"
            elif hasattr(arguments[0], "_obj"):
                arguments[0]._obj.value = 7
            return self.failing.get(name, 0)

        return call


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()
    monkeypatch.setattr("edgevid.runtime.cuda.driver.driver", lambda: made)
    return made


def test_the_context_is_current_only_within_a_call(driver: Driver) -> None:
    with Cuda(ORIN) as cuda:
        assert driver.calls == ["cuDeviceGet", "cuDevicePrimaryCtxRetain"]
        memory = cuda.alloc(16)
        assert memory.address == 7
        assert driver.calls[2:] == ["cuCtxPushCurrent_v2", "cuMemAlloc_v2", "cuCtxPopCurrent_v2"]
        memory.close()
        memory.close()
        assert driver.calls[5:] == ["cuCtxPushCurrent_v2", "cuMemFree_v2", "cuCtxPopCurrent_v2"]
    cuda.close()
    assert driver.calls[8:] == ["cuDevicePrimaryCtxRelease_v2"]
    with pytest.raises(ModelError, match="this device is closed; open it again"):
        cuda.alloc(16)


def test_errors_name_the_call_and_leave_the_context(driver: Driver) -> None:
    cuda = Cuda(ORIN)
    stream = cuda.stream()
    assert stream.handle == 7
    driver.failing = {"cuMemAlloc_v2": 2, "cuStreamSynchronize": 700}
    with pytest.raises(ModelError, match=r"Orin .*: out of memory: 2\.0 MB .*CUDA_ERROR_OUT_OF_MEMORY \(2\)"):
        cuda.alloc(2_000_000)
    with pytest.raises(ModelError, match=r"CUDA: cuStreamSynchronize failed: .* on Orin \(compute"):
        stream.synchronize()
    with pytest.raises(InputError, match="C-contiguous"):
        cuda.upload(0, np.zeros(8)[::2], stream)
    assert driver.calls.count("cuCtxPushCurrent_v2") == driver.calls.count("cuCtxPopCurrent_v2") == 4


@pytest.mark.device
def test_the_device_is_the_requested_one() -> None:
    with pytest.raises(ModelError, match="no device has this number"):
        open_cuda("cuda:77")
    assert gpu_of("auto") == gpus()[0]


def test_a_machine_without_a_driver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpus", lambda: ())
    with pytest.raises(ModelError, match="no NVIDIA driver was found"):
        open_cuda()
