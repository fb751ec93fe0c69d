"""CUDA by NVIDIA's own cuda-bindings, where pycuda is absent (nvidia.github.io/cuda-python)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgevid.errors import ModelError
from edgevid.runtime.cuda.driver import Gpu
from edgevid.runtime.cuda.interface import (
    Cuda,
    Grid,
    Memory,
    Module,
    Pinned,
    Stream,
    contiguous,
    out_of_memory,
)
from edgevid.types import Array

_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING."""
_CTYPES: dict[str, Any] = {"uint64": ctypes.c_uint64, "int32": ctypes.c_int32, "float32": ctypes.c_float}


class NvidiaCuda(Cuda):
    """A device by cuda.bindings.driver."""

    backend = "cuda-bindings"

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

    def _push(self) -> None:
        if self._context is None:
            raise ModelError(f"{self.gpu}: this device is closed; open it again")
        self.call("cuCtxPushCurrent", self._context)

    def _pop(self) -> None:
        self.call("cuCtxPopCurrent")

    def alloc(self, nbytes: int) -> Memory:
        with self.current():
            try:
                address = int(self.call("cuMemAlloc", max(nbytes, 1)))
            except ModelError as error:
                raise out_of_memory(self.gpu, nbytes, error) from error
        return Memory(address, nbytes, lambda: self.freed("cuMemFree", address))

    def freed(self, name: str, made: Any) -> None:
        """Calls a function that frees an object, with the context current."""
        with self.current():
            self.call(name, made)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Pinned:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        with self.current():
            try:
                address = int(self.call("cuMemHostAlloc", max(size, 1), 0))
            except ModelError as error:
                raise out_of_memory(self.gpu, size, error) from error
        raw = (ctypes.c_uint8 * size).from_address(address)
        array: Array = np.frombuffer(raw, dtype=dtype).reshape(shape) if size else np.empty(shape, dtype)
        return Pinned(array, lambda: self.freed("cuMemFreeHost", address))

    def stream(self) -> Stream:
        with self.current():
            return _Stream(self, self.call("cuStreamCreate", _NON_BLOCKING))

    def upload(self, address: int, array: Array, stream: Stream) -> None:
        data = contiguous(array).ctypes.data
        with self.current():
            self.call("cuMemcpyHtoDAsync", address, data, array.nbytes, stream.handle)

    def download(self, array: Array, address: int, stream: Stream) -> None:
        data = contiguous(array).ctypes.data
        with self.current():
            self.call("cuMemcpyDtoHAsync", data, address, array.nbytes, stream.handle)

    def module(self, image: bytes) -> Module:
        with self.current():
            return _Module(self, self.call("cuModuleLoadData", image))

    def launch(
        self, function: Any, grid: Grid, block: Grid, args: Sequence[np.number[Any]], stream: Stream
    ) -> None:
        values = [_CTYPES[arg.dtype.name](arg.item()) for arg in args]
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
        with self.current():
            where = (*grid, *block, 0, stream.handle)
            self.call("cuLaunchKernel", function, *where, ctypes.addressof(pointers), 0)

    def free_memory(self) -> tuple[int, int]:
        with self.current():
            free, total = self.call("cuMemGetInfo")
        return int(free), int(total)

    def close(self) -> None:
        if self._context is not None:
            self._context = None
            self.call("cuDevicePrimaryCtxRelease", self._device)


class _Stream(Stream):
    def __init__(self, cuda: NvidiaCuda, made: Any) -> None:
        self._cuda, self._made, self.handle = cuda, made, int(made)

    def synchronize(self) -> None:
        with self._cuda.current():
            self._cuda.call("cuStreamSynchronize", self._made)

    def close(self) -> None:
        if self._made is not None:
            self._cuda.freed("cuStreamDestroy", self._made)
            self._made = None


class _Module(Module):
    def __init__(self, cuda: NvidiaCuda, made: Any) -> None:
        self._cuda, self._made = cuda, made

    def function(self, name: str) -> Any:
        with self._cuda.current():
            return self._cuda.call("cuModuleGetFunction", self._made, name.encode())

    def close(self) -> None:
        if self._made is not None:
            self._cuda.freed("cuModuleUnload", self._made)
            self._made = None
