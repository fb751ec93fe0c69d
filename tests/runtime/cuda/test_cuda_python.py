"""CUDA by cuda-bindings: all device tests on a driver that works on the host, and its own calls."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from host_driver import is_installed

from edgevid.errors import ModelError
from edgevid.runtime.cuda.open import NvidiaCuda
from edgevid.runtime.device import Gpu

ORIN = Gpu(0, "Orin", "8.7")


@pytest.mark.skipif(not is_installed("cuda.bindings"), reason="cuda-bindings is not installed")
def test_all_device_tests_pass_on_the_host_driver(run_on_host: Callable[[str], str]) -> None:
    printed = run_on_host("cuda-bindings")
    passed = re.search(r"(\d+) passed", printed)
    assert passed is not None, printed[-500:]
    assert int(passed[1]) > 40


class Code(int):
    """A status of the driver."""

    name = "CUDA_ERROR_OUT_OF_MEMORY"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The driver functions that were called, of a package that answers as cuda-bindings does."""
    made: list[str] = []

    def answering(name: str, *results: Any) -> Callable[..., tuple[Any, ...]]:
        return lambda *_: (made.append(name), (0, *results))[1]

    functions: dict[str, Any] = {
        **{name: answering(name) for name in ("cuInit", "cuDevicePrimaryCtxRelease", "cuCtxPushCurrent")},
        **{name: answering(name, 7) for name in ("cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxPopCurrent")},
        "cuMemAlloc": lambda nbytes: (Code(2), None),
        "cuMemGetInfo": answering("cuMemGetInfo", 3, 4),
    }
    for name in ("cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules["cuda.bindings"], "driver", SimpleNamespace(**functions), raising=False)
    return made


def test_the_context_is_current_only_within_a_call(calls: list[str]) -> None:
    with NvidiaCuda(ORIN) as cuda:
        assert calls == ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain"]
        with pytest.raises(ModelError, match=r"Orin .*: out of memory: 2\.0 MB .*CUDA_ERROR_OUT_OF_MEMORY"):
            cuda.alloc(2_000_000)
        assert calls[3:] == ["cuCtxPushCurrent", "cuCtxPopCurrent"]  # after an error too
    assert calls[5:] == ["cuDevicePrimaryCtxRelease"]
    cuda.close()
    assert calls[6:] == []
    with pytest.raises(ModelError, match="this device is closed; open it again"):
        cuda.alloc(16)


def test_a_call_gives_its_result_its_results_or_none(calls: list[str]) -> None:
    cuda = NvidiaCuda(ORIN)
    assert cuda.call("cuDeviceGet", 0) == 7
    assert cuda.call("cuMemGetInfo") == (3, 4)
    assert cuda.call("cuInit", 0) is None
    with pytest.raises(ModelError, match="CUDA: cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY on Orin"):
        cuda.call("cuMemAlloc", 16)
