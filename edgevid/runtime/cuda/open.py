"""CUDA by pycuda (documen.tician.de/pycuda) or by cuda-bindings (nvidia.github.io/cuda-python), and which is taken."""

import ctypes
import importlib.util
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np

from edgevid.errors import InputError, MissingExtraError, ModelError
from edgevid.runtime.cuda.interface import Cuda, Grid, Memory, Module, Pinned, Stream
from edgevid.runtime.device import Gpu, driver, gpu_of
from edgevid.types import Array

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_CTYPES: dict[str, Any] = {"uint64": ctypes.c_uint64, "int32": ctypes.c_int32, "float32": ctypes.c_float}


class NvidiaCuda(Cuda):
    """A device by cuda.bindings.driver."""

    backend = "cuda-bindings"
    _memory_error = ModelError

    def __init__(self, gpu: Gpu) -> None:
        from cuda.bindings import driver

        self.gpu, self.driver = gpu, driver
        self.call("cuInit", 0)
        self._device = self.call("cuDeviceGet", gpu.index)
        self._context: Any = self.call("cuDevicePrimaryCtxRetain", self._device)

    def call(self, name: str, *arguments: Any) -> Any:
        """The results of a driver function; ModelError with the driver's name of its error."""
        code, *results = getattr(self.driver, name)(*arguments)
        if int(code) != 0:
            raise ModelError(f"CUDA: {name} failed: {getattr(code, 'name', code)} on {self.gpu}")
        return results[0] if len(results) == 1 else tuple(results) or None

    @contextmanager
    def current(self) -> Iterator[None]:
        if self._context is None:
            raise ModelError(f"{self.gpu}: this device is closed; open it again")
        self.call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self.call("cuCtxPopCurrent")

    def _alloc(self, nbytes: int) -> Memory:
        return Memory(self, self.call("cuMemAlloc", nbytes), partial(self.call, "cuMemFree"))

    def _pinned(self, nbytes: int) -> Pinned:
        address = int(self.call("cuMemHostAlloc", nbytes, 0))
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))
        return Pinned(self, address, partial(self.call, "cuMemFreeHost"), raw)

    def _stream(self) -> Stream:
        made = self.call("cuStreamCreate", _NON_BLOCKING)
        return Stream(self, made, partial(self.call, "cuStreamDestroy"), int(made))

    def _synchronize(self, stream: Any) -> None:
        self.call("cuStreamSynchronize", stream)

    def _upload(self, address: int, array: Array, stream: Any) -> None:
        self.call("cuMemcpyHtoDAsync", address, array.ctypes.data, array.nbytes, stream)

    def _download(self, array: Array, address: int, stream: Any) -> None:
        self.call("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, stream)

    def _module(self, image: bytes) -> Module:
        return Module(self, self.call("cuModuleLoadData", image), partial(self.call, "cuModuleUnload"))

    def _function(self, module: Any, name: str) -> Any:
        return self.call("cuModuleGetFunction", module, name.encode())

    def _launch(self, function: Any, grid: Grid, block: Grid, args: Sequence[np.number[Any]], stream: Any) -> None:
        values = [_CTYPES[arg.dtype.name](arg.item()) for arg in args]
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
        self.call("cuLaunchKernel", function, *grid, *block, 0, stream, ctypes.addressof(pointers), 0)

    def close(self) -> None:
        if self._context is not None:
            self._context = None
            self.call("cuDevicePrimaryCtxRelease", self._device)


class PyCuda(Cuda):
    """A device by pycuda. Its objects may be destroyed only while their context is current."""

    backend = "pycuda"

    def __init__(self, gpu: Gpu) -> None:
        import pycuda.driver as drv

        self.gpu, self._drv, self._memory_error = gpu, drv, drv.MemoryError
        drv.init()
        self._context = drv.Device(gpu.index).retain_primary_context()
        self._thread = threading.get_ident()

    @contextmanager
    def current(self) -> Iterator[None]:
        """The context for a block, in which pycuda's errors become ModelErrors."""
        if self._context is None:
            raise ModelError(f"{self.gpu}: this device is closed; open it again")
        self._context.push()
        try:
            yield
        except self._drv.Error as error:
            raise ModelError(f"CUDA: {error} on {self.gpu}") from error
        finally:
            self._drv.Context.pop()

    def _alloc(self, nbytes: int) -> Memory:
        return Memory(self, self._drv.mem_alloc(nbytes), _free)

    def _pinned(self, nbytes: int) -> Pinned:
        raw = self._drv.pagelocked_empty(nbytes, np.uint8)
        return Pinned(self, raw.base, _free, raw)

    def _stream(self) -> Stream:
        made = self._drv.Stream(1)  # CU_STREAM_NON_BLOCKING
        return Stream(self, made, _drop, int(made.handle))

    def _synchronize(self, stream: Any) -> None:
        stream.synchronize()

    def _upload(self, address: int, array: Array, stream: Any) -> None:
        self._drv.memcpy_htod_async(address, array, stream)

    def _download(self, array: Array, address: int, stream: Any) -> None:
        self._drv.memcpy_dtoh_async(array, address, stream)

    def _module(self, image: bytes) -> Module:
        return Module(self, self._drv.module_from_buffer(image), _drop)

    def _function(self, module: Any, name: str) -> Any:
        return module.get_function(name)

    def _launch(self, function: Any, grid: Grid, block: Grid, args: Sequence[np.number[Any]], stream: Any) -> None:
        function(*args, grid=grid, block=block, stream=stream)

    def close(self) -> None:
        if self._context is None:
            return
        self._context.detach()
        self._context = None
        # In its own thread detach leaves the context on the thread's stack; in another it lets go of
        # nothing (pycuda 2026.1, cuda.hpp).
        if (library := driver()) is not None and threading.get_ident() == self._thread:
            library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        elif library is not None:
            library.cuDevicePrimaryCtxRelease_v2(self.gpu.index)


_free = methodcaller("free")


def _drop(made: Any) -> None:
    """Streams and modules are freed by their destructors."""


BACKENDS = ("pycuda", "cuda-bindings")
CHOICE = "EDGEVID_CUDA"  # Environment variable that forces one of BACKENDS


def open_cuda(device: str = "auto") -> Cuda:
    """The device "cuda:N" (or the first one), by pycuda where it is installed, else by cuda-bindings. The driver is
    looked up first. Raises ModelError without a device, MissingExtraError without a backend."""
    gpu = gpu_of(device)
    if (name := os.environ.get(CHOICE) or _installed()) == "pycuda":
        return PyCuda(gpu)
    if name == "cuda-bindings":
        return NvidiaCuda(gpu)
    raise InputError(f"{CHOICE}: expected {' or '.join(BACKENDS)}, got {name!r}")


def _installed() -> str:
    if importlib.util.find_spec("pycuda") is not None:
        return "pycuda"
    with suppress(ModuleNotFoundError):  # the package above it
        if importlib.util.find_spec("cuda.bindings") is not None:
            return "cuda-bindings"
    raise MissingExtraError("cuda-bindings (or pycuda)", "tensorrt", "running TensorRT engines")
