"""CUDA by the driver's own library, through ctypes: memory, copies, streams, kernels, graphs.

Every machine with an NVIDIA device has that library, and no package is needed. The device's primary context is used,
as in torch and the CUDA runtime, and pushed only for the length of a call: any thread may call, and the current
context of other code does not change. Objects are freed by `close`, never by the garbage collector, which may run in
another thread. Functions are those of the CUDA Driver API (docs.nvidia.com/cuda/cuda-driver-api), under the names that
cuda.h gives them: the newer ones end in _v2."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ctypes import byref, c_char_p, c_int, c_size_t, c_ulonglong, c_void_p
from functools import partial
from typing import Any

import numpy as np

from edgevid.errors import InputError, ModelError
from edgevid.runtime.device import Gpu, driver, gpu_of
from edgevid.types import Array, Closing

Grid = tuple[int, int, int]
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile


class Resource:
    """What lives on a device until `close`."""

    def __init__(self, cuda: Cuda, made: c_void_p, free: str) -> None:
        """`made` is its handle or address, `free` the driver's function that frees it."""
        self._cuda, self.made, self._free = cuda, made, free

    def close(self) -> None:
        """Frees it; a second call does nothing."""
        if self.made:
            with self._cuda.current():
                made, self.made = self.made, c_void_p()
                self._cuda.call(self._free, made)


class Memory(Resource):
    """Bytes on the device."""

    @property
    def address(self) -> int:
        """Where they begin."""
        return self.made.value or 0


class Pinned(Resource):
    """An array in page-locked host memory: copies from it overlap the computation."""

    def __init__(self, cuda: Cuda, made: c_void_p, free: str, array: Array) -> None:
        super().__init__(cuda, made, free)
        self.array = array

    def close(self) -> None:
        """Frees the memory: `array` and its views must not be used afterwards."""
        self.array = np.empty(0, self.array.dtype)
        super().close()


class Stream(Resource):
    """Work that is done in order."""

    @property
    def handle(self) -> int:
        """The CUstream, as TensorRT takes it."""
        return self.made.value or 0

    def synchronize(self) -> None:
        """Waits until all its work is done; other threads go on running."""
        with self._cuda.current():
            self._cuda.call("cuStreamSynchronize", self.made)


class Module(Resource):
    """Compiled kernels on the device."""

    def function(self, name: str) -> c_void_p:
        """The kernel of this name, for `launch`, valid until the module is closed."""
        with self._cuda.current():
            return self._cuda.made_by("cuModuleGetFunction", self.made, name.encode())


class Cuda(Closing):
    """One device, through its primary context; close it when done."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self._device = gpu, c_int()
        self.call("cuDeviceGet", byref(self._device), gpu.index)
        self._context = self.made_by("cuDevicePrimaryCtxRetain", self._device)

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the driver; ModelError with the driver's name of its error."""
        library = driver()
        assert library is not None  # `gpu_of` has found it
        if code := getattr(library, name)(*arguments):
            text = c_char_p()
            library.cuGetErrorName(code, byref(text))
            raise ModelError(f"CUDA: {name} failed: {(text.value or b'?').decode()} ({code}) on {self.gpu}")

    def made_by(self, name: str, *arguments: Any) -> c_void_p:
        """What a function of the driver writes to where its first argument points."""
        made = c_void_p()
        self.call(name, byref(made), *arguments)
        return made

    @contextmanager
    def current(self) -> Iterator[None]:
        """The primary context as this thread's current one, for the length of a block."""
        if not self._context:
            raise ModelError(f"{self.gpu}: this device is closed; open it again")
        self.call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            self.made_by("cuCtxPopCurrent_v2")

    def alloc(self, nbytes: int) -> Memory:
        """Device memory, not cleared; ModelError where the device is out of memory."""
        return Memory(self, self._allocated("cuMemAlloc_v2", nbytes), "cuMemFree_v2")

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Pinned:
        """A page-locked host array, not cleared."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        made = self._allocated("cuMemHostAlloc", size, 0)
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * max(size, 1)).from_address(made.value or 0))
        return Pinned(self, made, "cuMemFreeHost", raw[:size].view(dtype).reshape(shape))

    def _allocated(self, name: str, nbytes: int, *flags: int) -> c_void_p:
        with self.current():
            try:
                return self.made_by(name, c_size_t(max(nbytes, 1)), *flags)
            except ModelError as error:
                raise ModelError(
                    f"{self.gpu}: out of memory: {nbytes / 1e6:.1f} MB could not be allocated ({error}); "
                    "close other engines, or use a smaller batch or another precision"
                ) from error

    def stream(self) -> Stream:
        """A new stream that does not wait for the default one."""
        with self.current():
            return Stream(self, self.made_by("cuStreamCreate", _NON_BLOCKING), "cuStreamDestroy_v2")

    def upload(self, address: int, array: Array, stream: Stream) -> None:
        """Copies a C-contiguous array to the device, in the stream's order."""
        with self.current():
            self.call("cuMemcpyHtoDAsync_v2", c_void_p(address), *_bytes_of(array), stream.made)

    def download(self, array: Array, address: int, stream: Stream) -> None:
        """Copies device memory into a C-contiguous array, in the stream's order."""
        with self.current():
            pointer, size = _bytes_of(array)
            self.call("cuMemcpyDtoHAsync_v2", pointer, c_void_p(address), size, stream.made)

    def module(self, image: bytes) -> Module:
        """Loads PTX, a cubin or a fatbin."""
        with self.current():
            return Module(self, self.made_by("cuModuleLoadData", image), "cuModuleUnload")

    def launch(
        self, function: c_void_p, grid: Grid, block: Grid, args: Sequence[np.number[Any]], stream: Stream
    ) -> None:
        """Starts a kernel; addresses are numpy.uint64."""
        values = [np.array(arg) for arg in args]  # which the driver reads before it returns
        pointers = (c_void_p * len(values))(*[value.ctypes.data for value in values])
        with self.current():
            self.call("cuLaunchKernel", function, *grid, *block, 0, stream.made, pointers, None)

    def close(self) -> None:
        """Releases the primary context, which ends with its last user; a second call does nothing."""
        if self._context:
            self._context = c_void_p()
            self.call("cuDevicePrimaryCtxRelease_v2", self._device)


def _bytes_of(array: Array) -> tuple[c_void_p, c_size_t]:
    """Where an array lies, and its size."""
    if not array.flags.c_contiguous:
        raise InputError(f"expected a C-contiguous array, got strides {array.strides} of {array.shape}")
    return c_void_p(array.ctypes.data), c_size_t(array.nbytes)


class Graph(Resource):
    """A recorded sequence of copies and kernels, started by one call."""

    def __init__(self, cuda: Cuda, stream: Stream, work: Callable[[], None]) -> None:
        """Records the work that `work` puts into the stream, without running it."""
        graph = c_void_p()
        end = partial(cuda.call, "cuStreamEndCapture", stream.made, byref(graph))
        with cuda.current():
            cuda.call("cuStreamBeginCapture_v2", stream.made, _THREAD_LOCAL)
            try:
                try:
                    work()
                except BaseException:
                    with suppress(ModelError):  # a stream in capture mode can do nothing else
                        end()
                    raise
                end()
                made = cuda.made_by("cuGraphInstantiateWithFlags", graph, c_ulonglong(0))
            finally:
                if graph.value:
                    cuda.call("cuGraphDestroy", graph)
        super().__init__(cuda, made, "cuGraphExecDestroy")

    def launch(self, stream: Stream) -> None:
        """Starts it in a stream."""
        if not self.made:
            raise ModelError("CUDA graph: is closed; record it again")
        with self._cuda.current():
            self._cuda.call("cuGraphLaunch", self.made, stream.made)


def open_cuda(device: str = "auto") -> Cuda:
    """The device "cuda:N", or the first one; ModelError without it."""
    return Cuda(gpu_of(device))
