"""Which package drives the device, and what is said where there is none."""

from __future__ import annotations

import os

import pytest

from edgevid.errors import InputError, MissingExtraError, ModelError
from edgevid.runtime import device as cuda_driver
from edgevid.runtime.cuda import open as module
from edgevid.runtime.cuda.interface import Cuda
from edgevid.runtime.cuda.open import open_cuda
from edgevid.runtime.device import gpu_of, gpus


def test_a_missing_package_is_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = cuda_driver.Gpu(0, "Orin", "8.7")
    monkeypatch.setattr(cuda_driver, "gpus", lambda: (gpu,))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("EDGEVID_CUDA", raising=False)
    with pytest.raises(MissingExtraError, match=r'cuda-bindings \(or pycuda\).*pip install "edgevid\[tensorrt\]"'):
        open_cuda()


@pytest.mark.device
def test_the_backend_is_the_requested_one(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuda.backend == os.environ.get("EDGEVID_CUDA", cuda.backend)
    with pytest.raises(ModelError, match="no device has this number"):
        open_cuda("cuda:77")
    assert gpu_of("auto") == gpus()[0]
    monkeypatch.setenv("EDGEVID_CUDA", "opencl")
    with pytest.raises(InputError, match="expected pycuda or cuda-bindings"):
        open_cuda()


@pytest.mark.parametrize(
    ("installed", "choice", "expected"),
    [
        ({"pycuda", "cuda.bindings"}, "", "pycuda"),
        ({"cuda.bindings"}, "", "cuda-bindings"),
        ({"pycuda", "cuda.bindings"}, "cuda-bindings", "cuda-bindings"),
        (set(), "pycuda", "pycuda"),  # what was chosen is imported, and named where it is missing
    ],
)
def test_pycuda_is_taken_where_it_is_installed_unless_another_is_chosen(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], choice: str, expected: str
) -> None:
    monkeypatch.setattr(module, "gpu_of", lambda device: device)
    monkeypatch.setattr("edgevid.runtime.cuda.open.PyCuda", lambda gpu: ("pycuda", gpu))
    monkeypatch.setattr("edgevid.runtime.cuda.open.NvidiaCuda", lambda gpu: ("cuda-bindings", gpu))
    monkeypatch.setenv("EDGEVID_CUDA", choice)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: name if name in installed else None)
    assert open_cuda("cuda:1") == (expected, "cuda:1")


def test_an_unknown_choice_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gpu_of", lambda device: device)
    monkeypatch.setenv("EDGEVID_CUDA", "opencl")
    with pytest.raises(InputError, match="EDGEVID_CUDA: expected pycuda or cuda-bindings, got 'opencl'"):
        open_cuda()


def test_the_driver_is_looked_up_before_any_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "gpus", lambda: ())
    monkeypatch.setenv("EDGEVID_CUDA", "opencl")
    with pytest.raises(ModelError, match="no NVIDIA driver was found"):
        open_cuda()
