"""CUDA by NVIDIA's own cuda-bindings, where pycuda is absent (nvidia.github.io/cuda-python)."""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from edgevid.errors import ModelError
from edgevid.runtime.cuda.driver import Gpu
from edgevid.runtime.cuda.interface import Cuda, Grid, Memory, Module, Pinned, Stream
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
