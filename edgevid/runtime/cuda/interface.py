"""CUDA behind one small interface: memory, copies, streams, kernels, graphs.

Two implementations: pycuda, and NVIDIA's cuda-bindings where pycuda is absent. Both use the device's primary
context, as torch and the CUDA runtime do, and push it only for the length of a call: any thread may call, and the
current context of other code does not change. Objects are freed by `close`, never by the garbage collector, which
may run in another thread. Graphs go through the driver itself (ctypes), as pycuda has no interface to them: CUDA
Driver API, "Stream Management" and "Graph Management"."""

from __future__ import annotations

import ctypes
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np

from edgevid.errors import InputError, ModelError
from edgevid.runtime.device import Gpu, driver
from edgevid.types import Array, Closing

Grid = tuple[int, int, int]


class Resource:
    """What lives on a device until `close`."""

    def __init__(self, cuda: Cuda, made: Any, free: Callable[[Any], object]) -> None:
        """`made` is the package's own object, `free` frees it with the context current."""
        self._cuda, self.made, self._free = cuda, made, free

    def close(self) -> None:
        """Frees it; a second call does nothing."""
        if self.made is not None:
            with self._cuda.current():
                made, self.made = self.made, None
                self._free(made)
                del made  # pycuda frees streams and modules with their last reference


class Memory(Resource):
    """Bytes on the device."""

    @property
    def address(self) -> int:
        """Where they begin."""
        return int(self.made)


class Pinned(Resource):
    """An array in page-locked host memory: copies from it overlap the computation."""

    def __init__(self, cuda: Cuda, made: Any, free: Callable[[Any], object], array: Array) -> None:
        super().__init__(cuda, made, free)
        self.array = array

    def close(self) -> None:
        """Frees the memory: `array` and its views must not be used afterwards."""
        self.array = np.empty(0, self.array.dtype)
        super().close()


class Stream(Resource):
    """Work that is done in order."""

    def __init__(self, cuda: Cuda, made: Any, free: Callable[[Any], object], handle: int) -> None:
        super().__init__(cuda, made, free)
        self.handle = handle  # CUstream, as TensorRT takes it

    def synchronize(self) -> None:
        """Waits until all its work is done; other threads go on running."""
        with self._cuda.current():
            self._cuda._synchronize(self.made)


class Module(Resource):
    """Compiled kernels on the device."""

    def function(self, name: str) -> Any:
        """The kernel of this name, for `launch`; drop it before the module is closed."""
        with self._cuda.current():
            return self._cuda._function(self.made, name)


class Cuda(Closing):
    """One device, through its primary context. Open it with `open_cuda` (open.py), close it when done. What an
    implementation adds begins with an underscore and is called with the context current."""

    backend: str  # "pycuda" or "cuda-bindings"
    gpu: Gpu
    _memory_error: type[Exception]  # What the package raises where an allocation fails

    @abstractmethod
    def current(self) -> AbstractContextManager[None]:
        """The primary context as this thread's current one, for the length of a block."""

    @contextmanager
    def _allocating(self, nbytes: int) -> Iterator[None]:
        with self.current():
            try:
                yield
            except self._memory_error as error:
                what = f"{self.gpu}: out of memory: {nbytes / 1e6:.1f} MB could not be allocated ({error})"
                raise ModelError(f"{what}; close other engines, or use a smaller batch or another precision") from error

    def alloc(self, nbytes: int) -> Memory:
        """Device memory, not cleared; ModelError where the device is out of memory."""
        with self._allocating(nbytes):
            return self._alloc(max(nbytes, 1))

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Pinned:
        """A page-locked host array, not cleared."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        with self._allocating(size):
            made = self._pinned(max(size, 1))
        made.array = made.array[:size].view(dtype).reshape(shape)
        return made

    def stream(self) -> Stream:
        """A new stream that does not wait for the default one."""
        with self.current():
            return self._stream()

    def upload(self, address: int, array: Array, stream: Stream) -> None:
        """Copies a C-contiguous array to the device, in the stream's order."""
        with self.current():
            self._upload(address, _contiguous(array), stream.made)

    def download(self, array: Array, address: int, stream: Stream) -> None:
        """Copies device memory into a C-contiguous array, in the stream's order."""
        with self.current():
            self._download(_contiguous(array), address, stream.made)

    def module(self, image: bytes) -> Module:
        """Loads PTX, a cubin or a fatbin."""
        with self.current():
            return self._module(image)

    def launch(self, function: Any, grid: Grid, block: Grid, args: Sequence[np.number[Any]], stream: Stream) -> None:
        """Starts a kernel; addresses are numpy.uint64."""
        with self.current():
            self._launch(function, grid, block, args, stream.made)

    @abstractmethod
    def close(self) -> None:
        """Releases the primary context, which ends with its last user."""

    @abstractmethod
    def _alloc(self, nbytes: int) -> Memory: ...
    @abstractmethod
    def _pinned(self, nbytes: int) -> Pinned: ...
    @abstractmethod
    def _stream(self) -> Stream: ...
    @abstractmethod
    def _synchronize(self, stream: Any) -> None: ...
    @abstractmethod
    def _upload(self, address: int, array: Array, stream: Any) -> None: ...
    @abstractmethod
    def _download(self, array: Array, address: int, stream: Any) -> None: ...
    @abstractmethod
    def _module(self, image: bytes) -> Module: ...
    @abstractmethod
    def _function(self, module: Any, name: str) -> Any: ...
    @abstractmethod
    def _launch(self, function: Any, grid: Grid, block: Grid, args: Sequence[np.number[Any]], stream: Any) -> None: ...


def _contiguous(array: Array) -> Array:
    if not array.flags.c_contiguous:
        raise InputError(f"expected a C-contiguous array, got strides {array.strides} of {array.shape}")
    return array


_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile


def _call(name: str, *arguments: object) -> None:
    library = driver()
    assert library is not None
    if code := getattr(library, name)(*arguments):
        text = ctypes.c_char_p()
        library.cuGetErrorName(code, ctypes.byref(text))
        raise ModelError(f"CUDA: {name} failed: {(text.value or b'?').decode()} ({code})")


class Graph(Resource):
    """A recorded sequence of copies and kernels, started by one call."""

    def __init__(self, cuda: Cuda, stream: Stream, work: Callable[[], None]) -> None:
        """Records the work that `work` puts into the stream, without running it."""
        graph, made, handle = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p(stream.handle)
        with cuda.current():
            _call("cuStreamBeginCapture_v2", handle, _THREAD_LOCAL)
            try:
                try:
                    work()
                except BaseException:  # a stream in capture mode can do nothing else
                    driver().cuStreamEndCapture(handle, ctypes.byref(graph))  # type: ignore[union-attr]
                    raise
                _call("cuStreamEndCapture", handle, ctypes.byref(graph))
                _call("cuGraphInstantiateWithFlags", ctypes.byref(made), graph, ctypes.c_ulonglong(0))
            finally:
                if graph.value:
                    _call("cuGraphDestroy", graph)
        super().__init__(cuda, made, partial(_call, "cuGraphExecDestroy"))

    def launch(self, stream: Stream) -> None:
        """Starts it in a stream."""
        if self.made is None:
            raise ModelError("CUDA graph: is closed; record it again")
        with self._cuda.current():
            _call("cuGraphLaunch", self.made, ctypes.c_void_p(stream.handle))
