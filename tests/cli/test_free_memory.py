"""Large buffers of a command go back to the system when they are freed; importing edgevid changes no allocator."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

MAPPED = """
import ctypes, gc, sys
import numpy as np

class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", *map(str, range(6)))]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Heap
whole = np.ones(16 << 20, np.uint8)
del whole  # from now on glibc itself would keep buffers of this size
gc.collect()
gc.disable()  # it may free another buffer between the two counts
before = library.mallinfo2().hblks
buffer = np.ones(1 << 20, np.uint8)
print(library.mallinfo2().hblks - before)
"""
COMMAND = """
sys.argv = ["edgevid", "--version"]
from edgevid.cli import main
try:
    main()
except SystemExit:
    pass
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or later")
@pytest.mark.parametrize(("start", "mapped"), [(COMMAND, "1"), ("import edgevid, edgevid.cli.command_line\n", "0")])
def test_a_command_gives_buffers_back(start: str, mapped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    call = [sys.executable, "-c", "import sys\n" + start + MAPPED]
    run = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.splitlines()[-1] == mapped
