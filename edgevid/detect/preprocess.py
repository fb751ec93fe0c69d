"""Frames made into model inputs, and boxes transformed back: the only preprocessing in edgevid. Training, calibration
and inference share it, so that a model always gets pixels that were made in the same way. Frames in YUV are read as
planes, without a conversion to RGB; the values are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError
from edgevid.runtime.engine import InputSpec, Rectangle, input_shape, write_letterbox
from edgevid.types import Array, Frame


@dataclass(frozen=True, slots=True)
class LetterboxTransform:
    """From frame pixels to pixels of a model's input, and back.

    >>> transform = LetterboxTransform.of((1920, 1080), InputSpec(640, 640))
    >>> transform.inverse(np.float32([[0, 140, 320, 320]])).tolist()
    [[0.0, 0.0, 960.0, 540.0]]
    """

    scale_x: float  # Input pixels per frame pixel, along x
    scale_y: float
    left: int  # First input column of the image; padding lies before it
    top: int
    frame_width: int
    frame_height: int

    @classmethod
    def of(cls, size: tuple[int, int], spec: InputSpec) -> LetterboxTransform:
        """The transform of a frame of `size` (width, height) into `spec`. A letterboxed side is rounded to whole
        pixels; both scales are those after rounding."""
        left, top, width, height = letterbox_rectangle(size, spec)
        return cls(width / size[0], height / size[1], left, top, size[0], size[1])

    def inverse(self, boxes: Array) -> Array:
        """(..., 4) float32 boxes of the model's input as frame pixels, clipped to the frame."""
        scale, shift = self._terms()
        limits = np.array([self.frame_width, self.frame_height] * 2, np.float32)
        moved = (np.asarray(boxes, np.float32) - shift) / scale
        return np.clip(moved, np.float32(0), limits, out=moved)

    def forward(self, boxes: Array) -> Array:
        """(..., 4) float32 boxes of the frame as pixels of the model's input."""
        scale, shift = self._terms()
        return np.asarray(np.asarray(boxes, np.float32) * scale + shift)

    def _terms(self) -> tuple[Array, Array]:
        return np.array([self.scale_x, self.scale_y] * 2, np.float32), np.array([self.left, self.top] * 2, np.float32)


def letterbox_rectangle(size: tuple[int, int], spec: InputSpec) -> Rectangle:
    """Left, top, width, height of a frame of `size` (width, height) within the model's input."""
    if spec.resize == "stretch":
        return 0, 0, spec.width, spec.height
    ratio = min(spec.width / size[0], spec.height / size[1])
    width = min(max(round(size[0] * ratio), 1), spec.width)
    height = min(max(round(size[1] * ratio), 1), spec.height)
    if spec.anchor == "top-left":
        return 0, 0, width, height
    return (spec.width - width) // 2, (spec.height - height) // 2, width, height


class Preprocessor:
    """Makes batches of a model's input in one buffer of its own, reused from call to call."""

    def __init__(self, spec: InputSpec, batch: int = 1) -> None:
        """`batch` is the most frames that one call takes."""
        if batch < 1:
            raise InputError(f"Preprocessor batch: expected at least 1, got {batch}")
        self.spec, self.batch = spec, batch
        shape = (batch, *input_shape(spec))
        size = int(np.prod(shape)) * np.dtype(spec.dtype).itemsize
        raw = np.zeros(size + 64, np.uint8)
        start = -raw.ctypes.data % 64  # on a cache line: wide stores and copies to the device are faster
        self.buffer: Array = raw[start : start + size].view(spec.dtype).reshape(shape)
        """(batch, ...) the model's input; rows past the last frames keep their old values."""
        self._sizes: list[tuple[int, int] | None] = [None] * batch

    def __call__(self, frames: Sequence[Frame]) -> tuple[Array, list[LetterboxTransform]]:
        """(len(frames), ...) the first rows of the buffer, valid until the next call, and each frame's transform.
        InputError for more frames than `batch`."""
        if len(frames) > self.batch:
            raise InputError(f"Preprocessor: expected at most {self.batch} frames, got {len(frames)}")
        transforms = []
        for row, frame in enumerate(frames):
            changed = self._sizes[row] != frame.size  # else the padding of the row is still valid
            rectangle = letterbox_rectangle(frame.size, self.spec)
            write_letterbox(frame, rectangle, self.spec, self.buffer[row], write_pad=changed)
            transforms.append(LetterboxTransform.of(frame.size, self.spec))
            self._sizes[row] = frame.size
        return self.buffer[: len(frames)], transforms


def crop(frame: Frame, boxes: Array, size: tuple[int, int], *, fill: int = 0, out: Array | None = None) -> Array:
    """(N, height, width, 3) uint8 RGB crops at `boxes` (N, 4) xyxy frame pixels, `size` (width, height). Bilinear, and
    averaged over each pixel's footprint when shrinking by more than 2. Pixels outside the frame are `fill`, and so is
    the whole crop of an empty or non-finite box."""
    width, height = size
    rows = np.ascontiguousarray(boxes, np.float32).reshape(-1, 4)
    if frame.planes is None:
        return kernels.crop_resize(frame.image, rows, height, width, fill, out)
    return kernels.crop_resize_yuv420(*frame.planes, frame.full_range, frame.matrix, rows, height, width, fill, out)
