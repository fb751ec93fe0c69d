"""CUDA graphs through the driver itself (ctypes): pycuda has no interface to them.

Names and signatures: CUDA Driver API, "Stream Management" and "Graph Management".
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from edgevid.errors import ModelError
from edgevid.runtime.cuda.driver import driver
from edgevid.runtime.cuda.interface import Cuda, Resource, Stream

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile


def _call(name: str, *arguments: object) -> None:
    library = driver()
    assert library is not None
    if code := getattr(library, name)(*arguments):
        text = ctypes.c_char_p()
        library.cuGetErrorName(code, ctypes.byref(text))
        raise ModelError(f"CUDA: {name} failed: {(text.value or b'?').decode()} ({code})")


@contextmanager
def _capturing(stream: ctypes.c_void_p, graph: ctypes.c_void_p) -> Iterator[None]:
    """Ends the capture in any case: a stream in capture mode can do nothing else."""
    _call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)
    try:
        yield
    except BaseException:
        driver().cuStreamEndCapture(stream, ctypes.byref(graph))  # type: ignore[union-attr]
        if graph.value:
            driver().cuGraphDestroy(graph)  # type: ignore[union-attr]
        raise
    _call("cuStreamEndCapture", stream, ctypes.byref(graph))


class Graph(Resource):
    """A recorded sequence of copies and kernels, started by one call."""

    def __init__(self, cuda: Cuda, stream: Stream, work: Callable[[], None]) -> None:
        """Records the work that `work` puts into the stream, without running it."""
        graph, made = ctypes.c_void_p(), ctypes.c_void_p()
        with cuda.current():
            with _capturing(ctypes.c_void_p(stream.handle), graph):
                work()
            try:
                _call("cuGraphInstantiateWithFlags", ctypes.byref(made), graph, ctypes.c_ulonglong(0))
            finally:
                _call("cuGraphDestroy", graph)
        super().__init__(cuda, made, partial(_call, "cuGraphExecDestroy"))

    def launch(self, stream: Stream) -> None:
        """Starts it in a stream."""
        if self.made is None:
            raise ModelError("CUDA graph: is closed; record it again")
        with self._cuda.current():
            _call("cuGraphLaunch", self.made, ctypes.c_void_p(stream.handle))
