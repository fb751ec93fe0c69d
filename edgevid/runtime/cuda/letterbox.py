"""Images made into a model's input on the device: one upload each, one launch for all. Frames go up as they were
decoded (YUV planes where they are planes, half the bytes of RGB). The kernel is letterbox.cuh; its arithmetic is that
of the CPU kernels, operation by operation."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError, ModelError
from edgevid.kernels.reference.pixels import _axis, _coefficients  # the specification of both twins
from edgevid.runtime.cuda.interface import Cuda, Memory, Pinned, Stream
from edgevid.runtime.engine import InputSpec, Rectangle, input_shape
from edgevid.types import Array, Frame

FOLDER = Path(__file__).resolve().parent
BLOCK = (32, 8, 1)

_WORDS = "width height row_step chroma_step target_width target_height left top place_width place_height"
_MORE = "channels swapped interleaved luma red_v green_u green_v blue_u black"
_FLOATS = [("scale", np.float32, 3), ("bias", np.float32, 3), ("pad", np.float32), ("unused", np.int32, 2)]
TASK = np.dtype([*((name, np.uint64) for name in ("source", "u", "v", "columns", "rows", "target")),
                 *((name, np.int32) for name in (_WORDS + " " + _MORE).split()), *_FLOATS])  # fmt: skip
"""struct Task of letterbox.cuh."""


def kernel_image() -> bytes:
    """The compiled kernels that the package ships, PTX."""
    return (FOLDER / "letterbox.ptx").read_bytes() + b"\0"


def axis_table(limit: int, count: int) -> Array:
    """(2, count) int32: lower taps of `count` samples along `limit` pixels, and the bits of their weights."""
    lower, _, weight, _ = _axis(limit, count)
    return np.stack([lower.astype(np.int32), weight.view(np.int32)])


def planes_of(frame: Frame) -> tuple[Array, ...]:
    """What of a frame goes to the device: its planes, or its RGB."""
    return frame.planes if frame.planes is not None else (frame.image,)


def pack_frame(frame: Frame, out: Array) -> None:
    """Copies a frame's planes (or its RGB) one after the other into `out`, bytes, rows packed."""
    at = 0
    for plane in planes_of(frame):
        out[at : at + plane.size].reshape(plane.shape)[...] = plane
        at += plane.size


def write_task(task: Array, frame: Frame, spec: InputSpec, rectangle: Rectangle) -> None:
    """Fills one record of TASK, except its addresses."""
    half = (frame.width + 1) // 2
    planar = frame.planes is not None
    channels = 1 if spec.color == "GRAY" else 3
    task["width"], task["height"] = frame.width, frame.height
    task["row_step"], task["chroma_step"] = (frame.width, half) if planar else (3 * frame.width, 0)
    task["target_width"], task["target_height"] = spec.width, spec.height
    task["left"], task["top"], task["place_width"], task["place_height"] = rectangle
    task["channels"], task["swapped"] = channels, spec.color == "BGR"
    task["interleaved"] = spec.layout == "NHWC"
    six = ("luma", "red_v", "green_u", "green_v", "blue_u", "black")
    for name, value in zip(six, _coefficients(frame.full_range, frame.matrix), strict=True):
        task[name] = value
    task["scale"] = [1.0 / s for s in spec.std]
    task["bias"] = [-m / s for m, s in zip(spec.mean, spec.std, strict=True)]
    task["pad"] = spec.pad


@dataclass(slots=True)
class _Slot:
    """The buffers of one image of the batch, on the host and on the device."""

    staged: Pinned
    source: Memory
    axes: Memory
    shape: tuple[object, ...]  # What the record was made for: it is made again when this changes


class DeviceLetterbox:
    """Writes batches of a model's input into device memory. Close it before its `cuda`."""

    def __init__(self, cuda: Cuda, spec: InputSpec, batch: int) -> None:
        """`batch` is the most frames of one call."""
        self._cuda, self.spec = cuda, spec
        own, built = None, FOLDER / "letterbox.fatbin"
        if built.is_file():  # what CMake's EDGEVID_CUDA made, where it has this device
            with suppress(ModelError):
                own = cuda.module(built.read_bytes())
        self._module = own or cuda.module(kernel_image())
        self._function: Any = self._module.function(f"letterbox_{spec.dtype}")
        self._tasks = cuda.pinned((batch,), TASK)
        self._device_tasks = cuda.alloc(batch * TASK.itemsize)
        self._slots: list[_Slot | None] = [None] * batch
        self.row_bytes = int(np.prod(input_shape(spec))) * np.dtype(spec.dtype).itemsize  # Of one image of the input

    def write(self, frames: Sequence[Frame], rectangles: Sequence[Rectangle], target: int, stream: Stream) -> None:
        """Puts the work into `stream`: row i of the input at device address `target` is made of frame i. The frames'
        pixels are copied before this returns; the stream's earlier work must be done."""
        if len(frames) > len(self._slots):
            raise InputError(f"letterbox: expected at most {len(self._slots)} frames, got {len(frames)}")
        changed = False
        for row, (frame, rectangle) in enumerate(zip(frames, rectangles, strict=True)):
            changed |= self._stage(row, frame, rectangle, target + row * self.row_bytes, stream)
        if changed:
            self._cuda.upload(self._device_tasks.address, self._tasks.array, stream)
        grid = (-(-self.spec.width // BLOCK[0]), -(-self.spec.height // BLOCK[1]), len(frames))
        if frames:
            self._cuda.launch(self._function, grid, BLOCK, [np.uint64(self._device_tasks.address)], stream)

    def _stage(self, row: int, frame: Frame, rectangle: Rectangle, target: int, stream: Stream) -> bool:
        """Uploads one frame; whether its record has changed."""
        shape = (frame.size, frame.planes is None, frame.full_range, frame.matrix, rectangle, target)
        slot = self._slots[row]
        changed = slot is None or slot.shape != shape
        if slot is None or changed:
            slot = self._prepare(row, frame, rectangle, target, shape, stream)
        pack_frame(frame, slot.staged.array)
        self._cuda.upload(slot.source.address, slot.staged.array, stream)
        return changed

    def _prepare(self, row: int, frame: Frame, rectangle: Rectangle, target: int, shape: tuple[object, ...],
                 stream: Stream) -> _Slot:  # fmt: skip
        """Buffers and tables for frames of a new size."""
        self._free(row)
        tables = [axis_table(frame.width, rectangle[2]), axis_table(frame.height, rectangle[3])]
        flat = np.concatenate([t.ravel() for t in tables])
        sizes = [plane.size for plane in planes_of(frame)]
        staged = self._cuda.pinned((sum(sizes),), np.uint8)
        slot = _Slot(staged, self._cuda.alloc(sum(sizes)), self._cuda.alloc(flat.nbytes), shape)
        self._slots[row] = slot
        self._cuda.upload(slot.axes.address, flat, stream)
        stream.synchronize()  # `flat` is freed when this returns
        task = self._tasks.array[row : row + 1]
        write_task(task, frame, self.spec, rectangle)
        task["source"] = slot.source.address
        task["u"], task["v"] = (slot.source.address + np.cumsum(sizes)[:2]) if len(sizes) == 3 else (0, 0)
        task["columns"], task["rows"] = slot.axes.address, slot.axes.address + tables[0].nbytes
        task["target"] = target
        return slot

    def _free(self, row: int) -> None:
        if slot := self._slots[row]:
            self._slots[row] = None
            for part in (slot.staged, slot.source, slot.axes):
                part.close()

    def close(self) -> None:
        """Frees its buffers; the stream's work on them must be done."""
        for row in range(len(self._slots)):
            self._free(row)
        self._tasks.close()
        self._device_tasks.close()
        self._function = None  # pycuda's functions keep their module alive
        self._module.close()
