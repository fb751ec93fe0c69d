"""The driver, looked up without a package: its devices, and what is reported where there is none."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from edgevid.errors import InputError, ModelError
from edgevid.runtime import device as module
from edgevid.runtime.device import Gpu, gpu_of

ORIN, ADA = Gpu(0, "Orin", "8.7"), Gpu(1, "RTX 4090", "8.9")


class Library:
    """libcuda of two Jetsons: writes through its pointers as the driver does."""

    def __init__(self, count: int = 2, status: int = 0) -> None:
        self.count, self.status = count, status

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self.count
        return self.status

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = 10 + index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: ctypes.c_int) -> int:
        assert size == 256
        name.value = f"Orin {device.value}".encode() + b"\xff"
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, device: ctypes.c_int) -> int:
        memory._obj.value = 8 << 30
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 12060
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: int, device: ctypes.c_int) -> int:
        value._obj.value = {75: 8, 76: 7}[which]
        return 0


def test_each_device_is_described_as_the_driver_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "driver", Library)
    found = module.gpus.__wrapped__()
    assert found == tuple(
        Gpu(index, f"Orin {10 + index}\N{REPLACEMENT CHARACTER}", "8.7", 8 << 30, "12.6") for index in (0, 1)
    )
    assert str(ORIN) == "Orin (compute capability 8.7)"


def test_without_a_driver_or_with_a_broken_one_there_are_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in (None, Library(count=0), Library(status=100)):
        monkeypatch.setattr(module, "driver", lambda library=library: library)
        assert module.gpus.__wrapped__() == ()


def test_a_library_that_is_not_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIBRARY", "libno-such-driver.so.1")
    assert module.driver.__wrapped__() is None


def test_a_choice_is_one_of_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gpus", lambda: (ORIN, ADA))
    assert [gpu_of(device) for device in ("auto", "cuda", "cuda:0", "cuda:1")] == [ORIN, ORIN, ORIN, ADA]
    with pytest.raises(ModelError, match=r"'cuda:2': no device has this number; cuda:0 is Orin, cuda:1 is"):
        gpu_of("cuda:2")
    with pytest.raises(InputError, match="device: expected 'auto' or 'cuda:0', got 'cpu'"):
        gpu_of("cpu")


def test_without_a_device_the_doctor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gpus", lambda: ())
    for device in ("auto", "cuda:0"):
        with pytest.raises(ModelError, match=r"no NVIDIA driver was found .*`edgevid doctor`.*device='cpu'"):
            gpu_of(device)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", ""])
def test_devices_that_are_none(device: str) -> None:
    with pytest.raises(InputError, match="device: expected"):
        gpu_of(device)
