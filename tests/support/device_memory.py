"""How much memory a device has left, by the driver."""

from __future__ import annotations

import ctypes

from edgevid.runtime.cuda.interface import Cuda
from edgevid.runtime.device import driver


def free_memory(cuda: Cuda) -> int:
    """Free bytes of device memory."""
    library, free, total = driver(), ctypes.c_size_t(), ctypes.c_size_t()
    assert library is not None
    with cuda.current():
        assert library.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    return free.value
