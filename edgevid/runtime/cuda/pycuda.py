"""CUDA by pycuda: the first choice where it is installed (documen.tician.de/pycuda)."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from edgevid.errors import ModelError
from edgevid.runtime.cuda.driver import Gpu, driver
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


class PyCuda(Cuda):
    """A device by pycuda. Its objects may be destroyed only while their context is current."""

    backend = "pycuda"

    def __init__(self, gpu: Gpu) -> None:
        import pycuda.driver as drv

        self.gpu, self._drv = gpu, drv
        drv.init()
        self._context = drv.Device(gpu.index).retain_primary_context()
        self._thread = threading.get_ident()

    @contextmanager
    def current(self) -> Iterator[None]:
        """The context for a block, in which pycuda's errors become ModelErrors."""
        with super().current():
            try:
                yield
            except self._drv.Error as error:
                raise ModelError(f"CUDA: {error} on {self.gpu}") from error

    def _push(self) -> None:
        if self._context is None:
            raise ModelError(f"{self.gpu}: this device is closed; open it again")
        self._context.push()

    def _pop(self) -> None:
        self._drv.Context.pop()

    def alloc(self, nbytes: int) -> Memory:
        with self.current():
            try:
                made = self._drv.mem_alloc(max(nbytes, 1))
            except self._drv.MemoryError as error:
                raise out_of_memory(self.gpu, nbytes, error) from error
        return Memory(int(made), nbytes, lambda: self._freed(made))

    def _freed(self, made: Any) -> None:
        with self.current():
            made.free()

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Pinned:
        size = max(int(np.prod(shape)) * np.dtype(dtype).itemsize, 1)
        with self.current():
            try:
                raw = self._drv.pagelocked_empty(size, np.uint8)
            except self._drv.MemoryError as error:
                raise out_of_memory(self.gpu, size, error) from error
        array = raw[: int(np.prod(shape)) * np.dtype(dtype).itemsize].view(dtype).reshape(shape)
        return Pinned(array, lambda: self._freed(raw.base))

    def stream(self) -> Stream:
        with self.current():
            return _Stream(self, self._drv.Stream(1))  # CU_STREAM_NON_BLOCKING

    def upload(self, address: int, array: Array, stream: Stream) -> None:
        assert isinstance(stream, _Stream)
        with self.current():
            self._drv.memcpy_htod_async(address, contiguous(array), stream.made)

    def download(self, array: Array, address: int, stream: Stream) -> None:
        assert isinstance(stream, _Stream)
        with self.current():
            self._drv.memcpy_dtoh_async(contiguous(array), address, stream.made)

    def module(self, image: bytes) -> Module:
        with self.current():
            return _Module(self, self._drv.module_from_buffer(image))

    def launch(
        self, function: Any, grid: Grid, block: Grid, args: Sequence[np.number[Any]], stream: Stream
    ) -> None:
        assert isinstance(stream, _Stream)
        with self.current():
            function(*args, grid=grid, block=block, stream=stream.made)

    def free_memory(self) -> tuple[int, int]:
        with self.current():
            free, total = self._drv.mem_get_info()
        return int(free), int(total)

    def close(self) -> None:
        if self._context is None:
            return
        self._context.detach()
        self._context = None
        # In its own thread detach leaves the context on the thread's stack; in another it lets go of
        # nothing (pycuda 2026.1, cuda.hpp).
        library = driver()
        if library is not None and threading.get_ident() == self._thread:
            library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        elif library is not None:
            library.cuDevicePrimaryCtxRelease_v2(self.gpu.index)


class _Stream(Stream):
    def __init__(self, cuda: PyCuda, made: Any) -> None:
        self._cuda, self.made, self.handle = cuda, made, int(made.handle)

    def synchronize(self) -> None:
        with self._cuda.current():
            self.made.synchronize()

    def close(self) -> None:
        if self.made is not None:
            with self._cuda.current():
                self.made = None  # its destructor, while the context is current


class _Module(Module):
    def __init__(self, cuda: PyCuda, made: Any) -> None:
        self._cuda, self.made = cuda, made

    def function(self, name: str) -> Any:
        with self._cuda.current():
            return self.made.get_function(name)

    def close(self) -> None:
        if self.made is not None:
            with self._cuda.current():
                self.made = None
