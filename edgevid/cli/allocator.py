"""glibc's allocator, set for programs that run for months; only the commands do so, never an import."""

import ctypes
import os
from contextlib import suppress

MALLOC_OPTIONS = {-1: 128 << 10, -3: 128 << 10, -8: 2}  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX of malloc.h


def limit_free_memory() -> None:
    """From now on large buffers go back to the system as they are freed, and threads share two heaps. Nothing where the
    C library has no mallopt(3), or where the environment sets options of its own."""
    if not any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        with suppress(AttributeError, OSError, TypeError):
            for option, value in MALLOC_OPTIONS.items():
                ctypes.CDLL(None).mallopt(option, value)
