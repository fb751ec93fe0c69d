"""Memory, streams, graphs, kernels and engines through edgevid's CUDA interface.

    pytest tests/cuda_checks.py                  (on an NVIDIA device: the real driver)

Without one test_cuda.py runs this file on a driver that works on the host (cuda_host_driver.cpp), where
what lives is counted as well. EDGEVID_CUDA=pycuda|cuda-bindings chooses the implementation.
"""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from device_memory import free_memory

from edgevid.detect.preprocess import letterbox, letterbox_rectangle
from edgevid.errors import InputError, ModelError
from edgevid.runtime.cuda.driver import gpu_of, gpus
from edgevid.runtime.cuda.graph import Graph
from edgevid.runtime.cuda.interface import Cuda
from edgevid.runtime.cuda.letterbox import DeviceLetterbox, kernel_image
from edgevid.runtime.cuda.open import open_cuda
from edgevid.runtime.letterbox import input_shape
from edgevid.types import Frame, InputSpec

ON_HOST = os.environ.get("EDGEVID_HOST_DRIVER") == "1"
RUNS = int(os.environ.get("EDGEVID_LEAK_RUNS", "3000"))
if not gpus():
    pytest.skip("no NVIDIA driver was found", allow_module_level=True)
only_on_host = pytest.mark.skipif(not ON_HOST, reason="counts what only the host driver counts")

NAMES = (
    *("memory", "pinned", "streams", "events", "modules", "graphs", "recorded", "contexts", "stack"),
    *("launches", "replays"),
)


def counts() -> dict[str, int]:
    """What lives in the host driver."""
    found = (ctypes.c_long * len(NAMES))()
    ctypes.CDLL("libcuda.so.1").host_counts(found)
    return dict(zip(NAMES, found, strict=True))


def living() -> dict[str, int]:
    return {k: v for k, v in counts().items() if k not in ("launches", "replays")} if ON_HOST else {}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = living()
    yield
    gc.collect()
    assert living() == before


@pytest.fixture
def cuda() -> Iterator[Cuda]:
    with open_cuda() as opened:
        yield opened


def test_the_backend_is_the_requested_one(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuda.backend == os.environ.get("EDGEVID_CUDA", cuda.backend)
    with pytest.raises(ModelError, match="no device has this number"):
        open_cuda("cuda:77")
    assert gpu_of("auto") == gpus()[0]
    monkeypatch.setenv("EDGEVID_CUDA", "opencl")
    with pytest.raises(InputError, match="expected pycuda or cuda-bindings"):
        open_cuda()


def test_bytes_go_there_and_back(cuda: Cuda) -> None:
    stream, memory = cuda.stream(), cuda.alloc(4000)
    sent, back = cuda.pinned((1000,), np.float32), cuda.pinned((10, 100), np.float32)
    sent.array[:] = np.arange(1000)
    cuda.upload(memory.address, sent.array, stream)
    cuda.download(back.array, memory.address, stream)
    stream.synchronize()
    assert np.array_equal(back.array.ravel(), sent.array)
    plain = np.empty(1000, np.float32)
    cuda.download(plain, memory.address, stream)
    stream.synchronize()
    assert np.array_equal(plain, sent.array)
    with pytest.raises(InputError, match="C-contiguous"):
        cuda.upload(memory.address, plain[::2], stream)
    for part in (memory, sent, back):
        part.close()
        part.close()
    stream.close()
    stream.close()


def test_memory_that_is_not_there_is_one_sentence(cuda: Cuda) -> None:
    with pytest.raises(ModelError, match=r"MB could not be allocated.*use a smaller batch"):
        cuda.alloc(2 * cuda.gpu.memory)
    cuda.alloc(1).close()


def test_a_recorded_graph_runs_again_and_again(cuda: Cuda) -> None:
    stream, memory = cuda.stream(), cuda.alloc(16)
    sent, back = cuda.pinned((4,), np.float32), cuda.pinned((4,), np.float32)
    back.array[:] = 0

    def work() -> None:
        cuda.upload(memory.address, sent.array, stream)
        cuda.download(back.array, memory.address, stream)

    graph = Graph(cuda, stream, work)
    stream.synchronize()
    assert not back.array.any()  # recorded, not run
    for value in (1.0, 2.0):
        sent.array[:] = value
        graph.launch(stream)
        stream.synchronize()
        assert (back.array == value).all()

    def broken() -> None:
        work()
        raise ModelError("it went wrong")

    with pytest.raises(ModelError, match="went wrong"):
        Graph(cuda, stream, broken)
    cuda.upload(memory.address, sent.array, stream)  # the stream is out of the capture again
    stream.synchronize()
    graph.close()
    with pytest.raises(ModelError, match="is closed"):
        graph.launch(stream)
    for part in (memory, sent, back):
        part.close()
    stream.close()


def test_kernels_that_are_none_are_rejected(cuda: Cuda) -> None:
    with pytest.raises(ModelError, match="CUDA"):
        cuda.module(b"no kernels\0")
    module = cuda.module(kernel_image())
    with pytest.raises(ModelError, match="CUDA"):
        module.function("letterbox_float64")
    module.close()


def test_other_threads_may_use_it(cuda: Cuda) -> None:
    stream, memory = cuda.stream(), cuda.alloc(400)
    wrong: list[BaseException] = []

    def use(value: int) -> None:
        try:
            mine, own = cuda.alloc(400), cuda.stream()
            sent, back = np.full(100, value, np.float32), np.empty(100, np.float32)
            for _ in range(50):
                cuda.upload(mine.address, sent, own)
                cuda.download(back, mine.address, own)
                own.synchronize()
                assert (back == value).all()
            mine.close()
            own.close()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    memory.close()
    stream.close()


@only_on_host
def test_the_context_of_other_code_is_kept() -> None:
    """As with torch: another context is this thread's current one before, between and after the calls."""
    driver = ctypes.CDLL("libcuda.so.1")
    theirs, now = ctypes.c_void_p(0x1234), ctypes.c_void_p()
    driver.cuCtxPushCurrent_v2(theirs)
    with open_cuda() as cuda:
        memory = cuda.alloc(16)
        driver.cuCtxGetCurrent(ctypes.byref(now))
        assert now.value == theirs.value
        memory.close()
    driver.cuCtxGetCurrent(ctypes.byref(now))
    assert now.value == theirs.value
    driver.cuCtxPopCurrent_v2(None)


def test_a_closed_device_says_so() -> None:
    cuda = open_cuda()
    cuda.close()
    cuda.close()
    with pytest.raises(ModelError, match="closed; open it again"):
        cuda.alloc(16)


def rgb(width: int, height: int) -> Frame:
    return Frame(np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8), 0.0, 0)


def yuv(width: int, height: int) -> Frame:
    rng, half = np.random.default_rng(height), ((height + 1) // 2, (width + 1) // 2)
    y, u, v = (rng.integers(0, 256, shape, np.uint8) for shape in ((height, width), half, half))
    return Frame.from_yuv420((y, u, v), 0.0, 0, to_rgb=lambda frame: y, matrix="bt709")


SPECS = [
    InputSpec(64, 48),
    InputSpec(416, 416, color="BGR", anchor="top-left", std=(1.0, 1.0, 1.0)),
    InputSpec(320, 320, resize="stretch", mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395)),
    InputSpec(64, 64, color="GRAY", resize="stretch", mean=(127.5,) * 3, std=(127.5,) * 3, layout="NHWC"),
    InputSpec(48, 48, pad=0.0, std=(1.0, 1.0, 1.0), layout="NHWC", dtype="int32"),
    InputSpec(48, 32, color="BGR", std=(1.0, 1.0, 1.0), layout="NHWC", dtype="uint8"),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.color}-{s.layout}-{s.dtype}")
def test_the_device_letterbox_equals_the_cpu_kernel(cuda: Cuda, spec: InputSpec) -> None:
    stream = cuda.stream()
    made = DeviceLetterbox(cuda, spec, 3)
    out = np.empty((3, *input_shape(spec)), spec.dtype)
    target = cuda.alloc(out.nbytes)
    # Sizes and kinds change between calls, and come back.
    for frames in ([rgb(97, 61), yuv(95, 61), rgb(30, 90)], [yuv(640, 361)], [rgb(97, 61), rgb(97, 61)]):
        rectangles = [letterbox_rectangle(frame.size, spec) for frame in frames]
        made.write(frames, rectangles, target.address, stream)
        cuda.download(out, target.address, stream)
        stream.synchronize()
        for row, frame in enumerate(frames):
            assert out[row].tobytes() == letterbox(frame, spec)[0].tobytes()
    with pytest.raises(InputError, match="at most 3 frames"):
        made.write([rgb(8, 8)] * 4, [(0, 0, 8, 8)] * 4, target.address, stream)
    made.close()
    target.close()
    stream.close()


def test_many_runs_leak_nothing(cuda: Cuda) -> None:
    """The engine's place is taken by the letterbox kernel; gpu_check.sh runs it 100,000 times."""
    spec, frame = InputSpec(16, 16), rgb(24, 18)
    stream, made = cuda.stream(), DeviceLetterbox(cuda, spec, 1)
    target, rectangle = cuda.alloc(made.row_bytes), letterbox_rectangle(frame.size, spec)
    back = cuda.pinned(input_shape(spec), spec.dtype)
    for _ in range(10):
        made.write([frame], [rectangle], target.address, stream)
        stream.synchronize()
    before, free = living(), free_memory(cuda)
    for _ in range(RUNS):
        made.write([frame], [rectangle], target.address, stream)
        cuda.download(back.array, target.address, stream)
        stream.synchronize()
    assert living() == before
    assert free_memory(cuda) >= free - (1 << 20)  # other programs may use the device meanwhile
    assert back.array.tobytes() == letterbox(frame, spec)[0].tobytes()
    made.close()
    for part in (target, back):
        part.close()
    stream.close()
