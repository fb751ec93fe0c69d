"""The CUDA kernels compiled to the PTX that the package ships.

    python tests/support/compile_ptx.py [LIBNVRTC]

PTX runs on every device from compute capability 7.5 up: the driver compiles it for the device and caches
the result. It is made by NVRTC 12.0 (pip install nvidia-cuda-nvrtc-cu12==12.0.140), whose PTX ISA 8.0
drivers from CUDA 12.0 on read, JetPack 6 included; newer compilers write an ISA that older drivers
reject. Its first line holds the sources' SHA-256, so that a test fails when they have changed.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from edgevid.errors import ModelError
from edgevid.files import sha256

SOURCES = Path(__file__).resolve().parents[2] / "edgevid" / "runtime" / "cuda"
PTX = SOURCES / "letterbox.ptx"
OPTIONS = (b"--gpu-architecture=compute_75", b"--std=c++17", b"--fmad=false")


def sources_hash() -> str:
    """SHA-256 of the kernel and what it includes."""
    text = b"".join((SOURCES / name).read_bytes() for name in ("letterbox.cuh", "letterbox.cu"))
    return sha256(text)


def compile_ptx(library: str = "libnvrtc.so.12") -> str:
    """The PTX of letterbox.cu; ModelError with the compiler's log where it does not compile."""
    try:
        nvrtc = ctypes.CDLL(library)
    except OSError as error:
        raise ModelError(f"{library}: expected NVRTC, got {error}; name the library's path") from error
    source = (SOURCES / "letterbox.cu").read_bytes()
    header, name = (SOURCES / "letterbox.cuh").read_bytes(), b"letterbox.cuh"
    program = ctypes.c_void_p()
    headers, names = (ctypes.c_char_p * 1)(header), (ctypes.c_char_p * 1)(name)
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"letterbox.cu", 1, headers, names)
    code = nvrtc.nvrtcCompileProgram(program, len(OPTIONS), (ctypes.c_char_p * len(OPTIONS))(*OPTIONS))
    if code:
        raise ModelError(f"letterbox.cu: NVRTC rejects it:\n{_text(nvrtc, program, 'ProgramLog')}")
    return _text(nvrtc, program, "PTX")


def _text(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    return buffer.value.decode()


def main() -> None:
    """Compiles and writes the PTX."""
    lines = compile_ptx(*sys.argv[1:2]).splitlines()
    kept = [line for line in lines if line and not line.startswith("//")]
    PTX.write_text("\n".join([f"// sources {sources_hash()}", *kept]) + "\n", encoding="utf-8")
    print(f"{PTX}: {PTX.stat().st_size} bytes")


if __name__ == "__main__":
    main()
