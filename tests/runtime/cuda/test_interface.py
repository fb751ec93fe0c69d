"""Memory, copies, streams, kernels and threads through the one interface to CUDA."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest
from host_driver import ON_HOST

from edgevid.errors import InputError, ModelError
from edgevid.runtime.cuda.interface import Cuda
from edgevid.runtime.cuda.letterbox import kernel_image
from edgevid.runtime.cuda.open import open_cuda

pytestmark = pytest.mark.device


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


def test_the_context_of_other_code_is_kept(nothing_is_left: None) -> None:
    """As with torch: another context is this thread's current one before, between and after the calls."""
    if not ON_HOST:
        pytest.skip("the host driver alone takes any number for a context")
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


def test_a_closed_device_is_named(cuda: Cuda) -> None:
    cuda.close()
    cuda.close()
    with pytest.raises(ModelError, match="closed; open it again"):
        cuda.alloc(16)
