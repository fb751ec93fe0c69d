"""Which CUDA package drives the device: pycuda where it is installed, else NVIDIA's cuda-bindings."""

import importlib.util
import os

from edgevid.errors import InputError, MissingExtraError
from edgevid.runtime.cuda.driver import gpu_of
from edgevid.runtime.cuda.interface import Cuda

BACKENDS = ("pycuda", "cuda-bindings")
CHOICE = "EDGEVID_CUDA"  # Environment variable that forces one of BACKENDS


def open_cuda(device: str = "auto") -> Cuda:
    """The device "cuda:N" (or the first one), by pycuda where it is installed, else by cuda-bindings.

    The driver is looked up first. Raises ModelError without a device, MissingExtraError without a backend.
    """
    gpu = gpu_of(device)
    name = os.environ.get(CHOICE) or _installed()
    if name == "pycuda":
        from edgevid.runtime.cuda.pycuda import PyCuda

        return PyCuda(gpu)
    if name == "cuda-bindings":
        from edgevid.runtime.cuda.cuda_python import NvidiaCuda

        return NvidiaCuda(gpu)
    raise InputError(f"{CHOICE}: expected {' or '.join(BACKENDS)}, got {name!r}")


def _installed() -> str:
    if importlib.util.find_spec("pycuda") is not None:
        return "pycuda"
    try:
        if importlib.util.find_spec("cuda.bindings") is not None:
            return "cuda-bindings"
    except ModuleNotFoundError:  # the package above it
        pass
    raise MissingExtraError("cuda-bindings (or pycuda)", "tensorrt", "running TensorRT engines")
