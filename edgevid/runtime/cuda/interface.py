"""CUDA behind one small interface: memory, copies, streams, kernels.

Two implementations: pycuda, and NVIDIA's cuda-bindings where pycuda is absent. Both use the device's
primary context, as torch and the CUDA runtime do, and push it only for the length of a call: any thread may
call, and the current context of other code does not change. Objects are freed by `free` or `close`, never
by the garbage collector, which may run in another thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from edgevid.errors import InputError, ModelError
from edgevid.runtime.cuda.driver import Gpu
from edgevid.types import Array

Grid = tuple[int, int, int]


class Memory:
    """Bytes on the device."""

    __slots__ = ("_free", "address", "nbytes")

    def __init__(self, address: int, nbytes: int, free: Callable[[], None]) -> None:
        self.address, self.nbytes = address, nbytes
        self._free: Callable[[], None] | None = free

    def free(self) -> None:
        """Frees the bytes; a second call does nothing."""
        if self._free is not None:
            self._free()
            self._free = None
            self.address = 0


class Pinned:
    """An array in page-locked host memory: copies from it overlap the computation."""

    __slots__ = ("_free", "array")

    def __init__(self, array: Array, free: Callable[[], None]) -> None:
        self.array = array
        self._free: Callable[[], None] | None = free

    def free(self) -> None:
        """Frees the memory: `array` and its views must not be used afterwards."""
        if self._free is not None:
            self.array = np.empty(0, self.array.dtype)
            self._free()
            self._free = None


class Stream(ABC):
    """Work that is done in order."""

    handle: int
    """CUstream, as TensorRT takes it."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits until all its work is done; other threads go on running."""

    @abstractmethod
    def close(self) -> None:
        """Destroys it; a second call does nothing."""


class Module(ABC):
    """Compiled kernels on the device."""

    @abstractmethod
    def function(self, name: str) -> Any:
        """The kernel of this name, for `launch`; drop it before the module is closed."""

    @abstractmethod
    def close(self) -> None:
        """Unloads it; a second call does nothing."""


class Cuda(ABC):
    """One device, through its primary context. Open it with `open_cuda` (open.py), close it when done."""

    backend: str
    """"pycuda" or "cuda-bindings"."""
    gpu: Gpu

    def __enter__(self) -> Cuda:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def current(self) -> Iterator[None]:
        """The primary context as this thread's current one, for the length of a block."""
        self._push()
        try:
            yield
        finally:
            self._pop()

    @abstractmethod
    def _push(self) -> None: ...
    @abstractmethod
    def _pop(self) -> None: ...

    @abstractmethod
    def alloc(self, nbytes: int) -> Memory:
        """Device memory, not cleared; ModelError where the device is out of memory."""

    @abstractmethod
    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Pinned:
        """A page-locked host array, not cleared."""

    @abstractmethod
    def stream(self) -> Stream:
        """A new stream that does not wait for the default one."""

    @abstractmethod
    def upload(self, address: int, array: Array, stream: Stream) -> None:
        """Copies a C-contiguous array to the device, in the stream's order."""

    @abstractmethod
    def download(self, array: Array, address: int, stream: Stream) -> None:
        """Copies device memory into a C-contiguous array, in the stream's order."""

    @abstractmethod
    def module(self, image: bytes) -> Module:
        """Loads PTX, a cubin or a fatbin."""

    @abstractmethod
    def launch(
        self, function: Any, grid: Grid, block: Grid, args: Sequence[np.number[Any]], stream: Stream
    ) -> None:
        """Starts a kernel; addresses are numpy.uint64."""

    @abstractmethod
    def free_memory(self) -> tuple[int, int]:
        """Free and total bytes of device memory."""

    @abstractmethod
    def close(self) -> None:
        """Releases the primary context, which ends with its last user."""


def contiguous(array: Array) -> Array:
    """The array itself; InputError where it is not C-contiguous."""
    if not array.flags.c_contiguous:
        raise InputError(f"expected a C-contiguous array, got strides {array.strides} of {array.shape}")
    return array


def out_of_memory(gpu: Gpu, nbytes: int, error: object) -> ModelError:
    """The error of an allocation that failed on the device."""
    return ModelError(
        f"{gpu}: out of memory: {nbytes / 1e6:.1f} MB could not be allocated ({error}); close other "
        "engines, or use a smaller batch or another precision"
    )
