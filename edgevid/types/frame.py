"""Frame: one image of a stream; bare arrays made into one; whether two sizes can show the same view; FrameClock: the
moments of frames that come without one; Mask: the pixels of one object in a frame. Colors: `Frame(image)` and
`Frame.image` are RGB. A bare array is BGR wherever edgevid takes one, as OpenCV reads it and as supervision and
Ultralytics take it; `as_frame` is the one place that decides so."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from edgevid.errors import InputError, check_choice, check_type, shown
from edgevid.types.peers import Hinted
from edgevid.types.table import F32, U8, Array, png

Matrix = Literal["bt601", "bt709"]
Planes = tuple[U8, U8, U8]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
SAME_ASPECT = 0.01  # Aspect ratios within this share of each other are equal: encoders round sizes up to blocks


class Frame(Hinted):
    """One image of a stream: RGB pixels, the stream's own time, and its index. Decoders hand over YUV 4:2:0
    planes; the first access to `image` converts them to RGB."""

    __slots__ = ("_image", "_to_rgb", "damaged", "full_range", "height", "index", "matrix", "planes", "time",
                 "width")  # fmt: skip

    def __init__(self, image: U8, time: float, index: int) -> None:
        """`image` (H, W, 3) uint8 RGB, `time` seconds on the stream's clock, `index` from 0."""
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
            got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise InputError(f"Frame.image: expected uint8 RGB of shape (H, W, 3), got {got}")
        if image.shape[0] == 0 or image.shape[1] == 0:
            raise InputError(f"Frame.image: expected at least one pixel, got shape {image.shape}")
        self._image: U8 | None = image
        self._to_rgb: Callable[[Frame], U8] | None = None
        self.planes: Planes | None = None
        self.height, self.width = int(image.shape[0]), int(image.shape[1])
        self.time, self.index = _moment(time, index)
        self.full_range = False
        self.matrix: Matrix = "bt601"
        self.damaged = False
        """Whether its pixels are wrong: it, or a frame that it is predicted from, was decoded with errors."""

    @classmethod
    def from_bgr(cls, image: Array, time: float = 0.0, index: int = 0) -> Frame:
        """The frame of an array as OpenCV reads it: (H, W, 3) BGR, (H, W, 4) BGRA or (H, W) gray, uint8.
        InputError for any other shape or dtype."""
        return cls(_rgb_of(image), time, index)

    @classmethod
    def from_yuv420(cls, planes: Planes, time: float, index: int, *, to_rgb: Callable[[Frame], U8],
                    full_range: bool = False, matrix: Matrix = "bt601") -> Frame:  # fmt: skip
        """A frame of planes y (H, W), u and v ((H+1)//2, (W+1)//2), uint8; rows may be strided. `to_rgb` converts the
        frame on the first access to `image`. The planes must stay valid as long as the frame lives."""
        y, u, v = planes
        half = ((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2)
        for name, plane, expected in (("y", y, y.shape), ("u", u, half), ("v", v, half)):
            if plane.dtype != np.uint8 or plane.ndim != 2 or plane.shape != expected:
                got = f"{plane.dtype} {plane.shape}"
                raise InputError(f"Frame plane {name}: expected uint8 of shape {expected}, got {got}")
        check_choice(matrix, get_args(Matrix), "Frame matrix")
        frame = cls.__new__(cls)
        frame._image, frame._to_rgb, frame.planes = None, to_rgb, planes
        frame.height, frame.width = int(y.shape[0]), int(y.shape[1])
        frame.time, frame.index = _moment(time, index)
        frame.full_range, frame.matrix, frame.damaged = full_range, matrix, False
        return frame

    @property
    def image(self) -> U8:
        """(H, W, 3) uint8 RGB; converted from the planes on the first access, then kept."""
        if self._image is None:
            assert self._to_rgb is not None
            self._image = self._to_rgb(self)
        return self._image

    @property
    def bgr(self) -> U8:
        """(H, W, 3) uint8 BGR, a copy: what OpenCV, supervision and Ultralytics take."""
        return _swapped(self.image)

    def luma(self, rows: slice, columns: slice) -> F32:
        """(h, w) float32 luma of these rows and columns, of the Y plane where there is one."""
        pixels = self.planes[0][rows, columns] if self.planes is not None else self.image[rows, columns] @ LUMA
        return np.asarray(pixels, np.float32)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    def crop(self, box: Any) -> Frame:
        """A copy of what lies in a box x1, y1, x2, y2 in pixels, grown to even ones; its image from 0, 0.
        InputError where the box lies outside."""
        x1, y1 = (max(0, int(v) // 2 * 2) for v in box[:2])
        x2, y2 = (min(-(-math.ceil(v) // 2) * 2, n) for v, n in zip(box[2:], self.size, strict=True))
        if x2 <= x1 or y2 <= y1:
            raise InputError(f"Frame.crop: expected a box inside {self.width}x{self.height}, got {box}")
        if self.planes is None or self._image is not None:
            return Frame(self.image[y1:y2, x1:x2].copy(), self.time, self.index)
        y, u, v = self.planes
        half = slice(y1 // 2, (y2 + 1) // 2), slice(x1 // 2, (x2 + 1) // 2)
        planes = y[y1:y2, x1:x2].copy(), u[half].copy(), v[half].copy()
        assert self._to_rgb is not None
        return Frame.from_yuv420(planes, self.time, self.index, to_rgb=self._to_rgb,
                                 full_range=self.full_range, matrix=self.matrix)  # fmt: skip

    def _repr_png_(self) -> bytes:
        return png(self.image)

    def __repr__(self) -> str:
        return f"Frame({self.width}x{self.height}, time={self.time:.3f}, index={self.index})"


def as_frame(image: Any, time: float = 0.0, index: int = 0) -> Frame:
    """The frame of a Frame (itself), a bare array (BGR, as OpenCV reads it) or a PIL image (RGB). InputError
    for anything else, with what to write."""
    if isinstance(image, Frame):
        return image
    if isinstance(image, np.ndarray):
        return Frame.from_bgr(image, time, index)
    if type(image).__module__.startswith("PIL."):
        return Frame(np.asarray(image.convert("RGB")), time, index)
    hint = "; convert a tensor to (H, W, 3) uint8 BGR" if hasattr(image, "numpy") else ""
    raise InputError(f"image: expected a Frame, a (H, W, 3) uint8 BGR array or a PIL image, got {shown(image)}{hint}")


def _rgb_of(image: Array) -> U8:
    """(H, W, 3) RGB of an array in one of OpenCV's layouts."""
    expected = "image: expected uint8 of shape (H, W, 3) BGR, (H, W, 4) BGRA or (H, W) gray"
    check_type(image, np.ndarray, "image", expected.removeprefix("image: expected "))
    got = f"{image.dtype} {image.shape}"
    if image.dtype != np.uint8:
        kind = image.dtype.kind
        eight_bit = kind == "i" or (kind == "f" and image.max(initial=0) > 1)
        value = "image" if eight_bit else "(image // 257)" if kind == "u" else "(255 * image)"
        remedy = f"; where its values are full range, pass {value}.astype(np.uint8)"
        raise InputError(f"{expected}, got {got}{remedy if kind in 'fuib' else ''}")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    if image.ndim == 3 and image.shape[2] in (3, 4):
        return _swapped(image)
    remedy = ""
    if image.ndim == 3 and image.shape[0] in (1, 3):
        remedy = "; pass image.transpose(1, 2, 0)"
    elif image.ndim == 4:
        remedy = "; pass a list of images: list(images)"
    raise InputError(f"{expected}, got {got}{remedy}")


def _swapped(image: Array) -> U8:
    """The first three channels in reverse order: three copies take a third of one with a negative stride."""
    out = np.empty((*image.shape[:2], 3), np.uint8)
    for channel in range(3):
        out[..., channel] = image[..., 2 - channel]
    return out


def _moment(time: float, index: int) -> tuple[float, int]:
    """Time and index of a frame, checked."""
    check_type(index, Integral, "Frame.index", "a whole number")
    if not isinstance(time, Real) or not math.isfinite(time):
        raise InputError(f"Frame.time: expected finite seconds, got {shown(time)}")
    return float(time), int(index)


def scale_between(size: tuple[int, int], other: tuple[int, int]) -> tuple[float, float] | None:
    """The factors (x, y) from pixels of frames of `size` to those of `other`, both (width, height).

    None where the aspect ratios differ: the frames show different views.

    >>> scale_between((1920, 1080), (1280, 720))
    (0.6666666666666666, 0.6666666666666666)
    >>> scale_between((640, 480), (640, 360)) is None
    True
    """
    x, y = other[0] / size[0], other[1] / size[1]
    return (x, y) if abs(x / y - 1) <= SAME_ASPECT else None


class FrameClock:
    """The time of each update: the one that is passed, else one frame after the last."""

    __slots__ = ("_gap", "_owner", "last")

    def __init__(self, owner: str, frame_rate: float | None) -> None:
        """`owner` for messages; `frame_rate` in frames per second, None where every time is passed."""
        if frame_rate is not None and not (isinstance(frame_rate, Real) and 0 < frame_rate < math.inf):
            raise InputError(f"{owner}: frame_rate: expected frames per second, got {shown(frame_rate)}")
        self._owner, self._gap = owner, 1.0 / frame_rate if frame_rate else 0.0
        self.last = -math.inf  # Seconds of the last update

    def next(self, timestamp: float | None) -> float:
        """The time in seconds of an update; InputError for one that is not later than the last."""
        if timestamp is None:
            if not self._gap:
                what = f"{self._owner} time: expected seconds, got None"
                raise InputError(f"{what}; pass timestamp=..., or state the rate: frame_rate=30")
            timestamp = 0.0 if self.last == -math.inf else self.last + self._gap
        try:
            if self.last < timestamp < math.inf:
                self.last = float(timestamp)
                return self.last
        except (TypeError, ValueError):  # an array, or another type
            what = f"{self._owner} time: expected seconds as a number, got {shown(timestamp)}"
            raise InputError(f"{what}; write update(..., timestamp=frame.time)") from None
        what = f"{self._owner} time: expected more than the last {self.last:g} s, got {timestamp:g} s"
        raise InputError(f"{what}. Call reset() when the source starts again")

    def reset(self) -> None:
        """The next time may be any."""
        self.last = -math.inf


class Mask(NamedTuple):
    """The pixels of one object: `pixels` lies at column `left` and row `top` of the frame."""

    left: int
    top: int
    pixels: U8  # (h, w) uint8, 1 where the object is

    def full(self, size: tuple[int, int]) -> Array:
        """(height, width) bool over a whole frame of `size` (width, height)."""
        out = np.zeros((size[1], size[0]), bool)
        high, wide = self.pixels.shape
        out[self.top : self.top + high, self.left : self.left + wide] = self.pixels
        return out

    def rle(self, size: tuple[int, int]) -> dict[str, Any]:
        """Run lengths as COCO writes them uncompressed: {"size": [height, width], "counts": [...]}.

        Counts alternate between background and object, from the background, down the columns of a frame of
        `size` (width, height) (github.com/cocodataset/cocoapi, pycocotools/mask.py).

        >>> Mask(1, 0, np.array([[1], [1]], np.uint8)).rle((2, 2))
        {'size': [2, 2], 'counts': [2, 2]}
        """
        width, height = size
        column, row = np.nonzero(self.pixels.T)
        places = (column + self.left) * height + row + self.top  # in order: column by column
        starts, ends = places[np.diff(places, prepend=-2) != 1], places[np.diff(places, append=-2) != 1] + 1
        edges = np.column_stack([starts, ends]).ravel()
        counts = np.diff(np.concatenate([[0], edges, [width * height]])).tolist()
        return {"size": [height, width], "counts": counts if counts[-1] or len(counts) == 1 else counts[:-1]}


def full_masks(masks: Sequence[Mask | None], size: tuple[int, int]) -> Array | None:
    """(N, height, width) bool of masks in a frame of `size`, empty where one is None; None where all are."""
    if all(mask is None for mask in masks):
        return None
    blank = np.zeros((size[1], size[0]), bool)
    return np.stack([blank if mask is None else mask.full(size) for mask in masks])


def mask_of_rle(rle: dict[str, Any]) -> Mask:
    """The mask of run lengths that `Mask.rle` wrote, over the whole frame.

    >>> mask_of_rle({"size": [2, 2], "counts": [2, 2]}).pixels.tolist()
    [[0, 1], [0, 1]]
    """
    height, width = rle["size"]
    counts: Sequence[int] = rle["counts"]
    flat = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8)
    return Mask(0, 0, np.ascontiguousarray(flat.reshape(width, height).T))
