"""The device's letterbox, compiled for the host and held bit for bit against the CPU kernels."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from compile_ptx import PTX, sources_hash
from device_memory import free_memory
from host_driver import RUNS, living
from letterboxed import letterbox
from random_frames import rgb, yuv

from edgevid.detect.preprocess import letterbox_rectangle
from edgevid.errors import InputError
from edgevid.runtime.cuda.interface import Cuda
from edgevid.runtime.cuda.letterbox import (
    TASK,
    DeviceLetterbox,
    axis_table,
    kernel_image,
    pack_frame,
    planes_of,
    write_task,
)
from edgevid.runtime.engine import InputSpec, input_shape
from edgevid.types import Frame

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler is at hand")
    made = tmp_path_factory.mktemp("letterbox") / "letterbox.so"
    include = f"-I{TESTS.parent / 'edgevid' / 'runtime' / 'cuda'}"
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run(
        [compiler, *flags, include, str(TESTS / "support" / "letterbox_host.cpp"), "-o", str(made)], check=True
    )
    return ctypes.CDLL(str(made))


def on_host(host: ctypes.CDLL, frames: list[Frame], spec: InputSpec) -> np.ndarray:
    """What the device's kernel writes for a batch, its addresses being the host's."""
    out = np.full((len(frames), *input_shape(spec)), 77, spec.dtype)
    tasks, kept = np.zeros(len(frames), TASK), []
    for row, frame in enumerate(frames):
        rectangle = letterbox_rectangle(frame.size, spec)
        write_task(tasks[row : row + 1], frame, spec, rectangle)
        staged = np.empty(sum(plane.size for plane in planes_of(frame)), np.uint8)
        pack_frame(frame, staged)
        columns, rows = axis_table(frame.width, rectangle[2]), axis_table(frame.height, rectangle[3])
        kept += [staged, columns, rows]
        luma, quarter = frame.width * frame.height, ((frame.width + 1) // 2) * ((frame.height + 1) // 2)
        tasks["source"][row] = staged.ctypes.data
        if frame.planes is not None:
            tasks["u"][row] = staged.ctypes.data + luma
            tasks["v"][row] = staged.ctypes.data + luma + quarter
        tasks["columns"][row], tasks["rows"][row] = columns.ctypes.data, rows.ctypes.data
        tasks["target"][row] = out[row].ctypes.data
    getattr(host, f"letterbox_{spec.dtype}")(ctypes.c_void_p(tasks.ctypes.data), len(frames))
    return out


SPECS = [
    InputSpec(64, 48),
    InputSpec(64, 64, color="BGR", anchor="top-left", std=(1.0, 1.0, 1.0)),
    InputSpec(33, 57, resize="stretch", mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395)),
    InputSpec(64, 64, color="GRAY", resize="stretch", mean=(127.5,) * 3, std=(127.5,) * 3, layout="NHWC"),
    InputSpec(48, 48, pad=0.0, std=(1.0, 1.0, 1.0), layout="NHWC", dtype="int32"),
    InputSpec(48, 32, color="BGR", std=(1.0, 1.0, 1.0), layout="NHWC", dtype="uint8"),
    InputSpec(50, 40, color="GRAY", std=(1.0, 1.0, 1.0), dtype="uint8"),
]


def test_the_record_is_as_long_as_the_struct(host: ctypes.CDLL) -> None:
    assert host.task_size() == TASK.itemsize


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.color}-{s.resize}-{s.layout}-{s.dtype}")
@pytest.mark.parametrize("size", [(97, 61), (64, 48), (31, 200)], ids=str)
def test_rgb_is_the_cpu_kernel_bit_for_bit(host: ctypes.CDLL, spec: InputSpec, size: tuple[int, int]) -> None:
    frame = rgb(*size)
    expected, _ = letterbox(frame, spec)
    given = on_host(host, [frame], spec)[0]
    assert given.tobytes() == expected.tobytes()


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.color}-{s.resize}-{s.layout}-{s.dtype}")
@pytest.mark.parametrize(("full_range", "matrix"), [(False, "bt709"), (True, "bt601")])
def test_yuv_is_the_cpu_kernel_bit_for_bit(host: ctypes.CDLL, spec: InputSpec, full_range: bool, matrix: str) -> None:
    frame = yuv(95, 61, full_range=full_range, matrix=matrix)
    expected, _ = letterbox(frame, spec)
    assert on_host(host, [frame], spec)[0].tobytes() == expected.tobytes()


def test_a_batch_mixes_sizes_and_kinds(host: ctypes.CDLL) -> None:
    spec = SPECS[0]
    frames = [rgb(97, 61), yuv(40, 90, full_range=False, matrix="bt601"), rgb(10, 10)]
    given = on_host(host, frames, spec)
    for row, frame in enumerate(frames):
        assert given[row].tobytes() == letterbox(frame, spec)[0].tobytes()


def test_the_shipped_ptx_is_of_these_sources_and_fuses_nothing() -> None:
    """Made again with `python tests/support/compile_ptx.py` when this fails."""
    text = PTX.read_text()
    assert text.splitlines()[0] == f"// sources {sources_hash()}"
    assert text.splitlines()[1:3] == [".version 8.0", ".target sm_75"]  # read by drivers from CUDA 12.0 on
    assert "fma" not in text
    for name in ("float32", "uint8", "int32"):
        assert f".visible .entry letterbox_{name}(" in text
    assert len(text) < 100_000
    assert kernel_image() == text.encode() + b"\0"


def test_nvcc_takes_the_source(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc is at hand")
    source, made = PTX.with_suffix(".cu"), tmp_path / "letterbox.cubin"
    subprocess.run([nvcc, "-cubin", "-arch=sm_87", "--fmad=false", "-o", str(made), str(source)], check=True)
    assert b"letterbox_float32" in made.read_bytes()


@pytest.mark.device
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


@pytest.mark.device
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
