"""CUDA by pycuda: the first choice where it is installed (documen.tician.de/pycuda)."""

import ctypes
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from edgevid.errors import ModelError
from edgevid.runtime.cuda.driver import Gpu, driver
from edgevid.runtime.cuda.interface import Cuda, Grid, Memory, Module, Pinned, Stream
from edgevid.types import Array


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
        library = driver()
        if library is not None and threading.get_ident() == self._thread:
            library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        elif library is not None:
            library.cuDevicePrimaryCtxRelease_v2(self.gpu.index)


def _free(made: Any) -> None:
    made.free()


def _drop(made: Any) -> None:
    """Streams and modules are freed by their destructors."""
