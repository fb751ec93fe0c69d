"""Pixels in NumPy: letterbox, color conversion and crops; the specification of pixels.hpp. Sampling is bilinear with
half-pixel centers, as cv2.INTER_LINEAR, but kept in float32 where cv2 rounds. Each float32 operation here is one
operation there, in the same order and never fused, so the twins agree bit for bit on every instruction set."""

from collections.abc import Sequence

import numpy as np

from edgevid.errors import InputError
from edgevid.types import F32, U8, Array
from edgevid.types.frame import LUMA

KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}  # Weights of red and blue in luma (ITU-R BT.601, 709)
MAX_SAMPLES = 16  # Most samples a side that a crop averages for one pixel
INT32_LIMIT = 1e9
Taps = tuple[Array, Array, Array, Array]


def letterbox(
    image: U8, out: Array, place: tuple[int, int, int, int], *, color: str, layout: str, pad: float,
    scale: Sequence[float], bias: Sequence[float], write_pad: bool = True,
) -> None:  # fmt: skip
    """Writes `image` (H, W, 3) uint8 RGB, resized to `place` (left, top, width, height), into `out`.

    `out` is (C, h, w) for layout "NCHW" or (h, w, C) for "NHWC", C being 1 for color "GRAY" and 3 for "RGB" or
    "BGR", in float32, uint8 or int32. Channel c becomes value * scale[c] + bias[c] (in the order of `color`);
    integers are rounded half to even and saturate. The rest becomes pad * scale[c] + bias[c], or is left alone
    without `write_pad`."""
    _check_image(image)
    planes = _check_target(out, place, color, layout, scale, bias)
    left, top, width, height = place
    sampled = _sample(image, _axis(image.shape[0], height), _axis(image.shape[1], width))
    if color == "GRAY":
        red, green, blue = (sampled[..., c] * LUMA[c] for c in range(3))
        channels = [(red + green) + blue]
    else:
        channels = [sampled[..., c] for c in ((0, 1, 2) if color == "RGB" else (2, 1, 0))]
    for c, values in enumerate(channels):
        factor, offset = np.float32(scale[c]), np.float32(bias[c])
        if write_pad:
            inside = np.zeros(planes.shape[1:], bool)
            inside[top : top + height, left : left + width] = True
            planes[c][~inside] = _cast(np.array([pad], np.float32) * factor + offset, out.dtype)
        planes[c, top : top + height, left : left + width] = _cast(values * factor + offset, out.dtype)


def letterbox_yuv420(
    y: U8, u: U8, v: U8, full_range: bool, matrix: str, out: Array, place: tuple[int, int, int, int], *, color: str,
    layout: str, pad: float, scale: Sequence[float], bias: Sequence[float], write_pad: bool = True,
) -> None:  # fmt: skip
    """As `letterbox` of yuv420_to_rgb(y, u, v, full_range, matrix), exactly, without that image."""
    image = yuv420_to_rgb(y, u, v, full_range, matrix)
    letterbox(image, out, place, color=color, layout=layout, pad=pad, scale=scale, bias=bias, write_pad=write_pad)


def yuv420_to_rgb(y: U8, u: U8, v: U8, full_range: bool, matrix: str, out: U8 | None = None) -> U8:
    """(H, W, 3) uint8 RGB of planes y (H, W), u and v ((H+1)//2, (W+1)//2), uint8. Each chroma sample serves its block
    of 2x2 pixels, as in libswscale and cv2. 16 fractional bits, rounded; `matrix` is "bt601" or "bt709"."""
    _check_planes(y, u, v)
    height, width = y.shape
    if out is None:
        out = np.empty((height, width, 3), np.uint8)
    elif out.dtype != np.uint8 or out.shape != (height, width, 3):
        raise InputError(f"out: expected uint8 {(height, width, 3)}, got {out.dtype} {out.shape}")
    luma, red_v, green_u, green_v, blue_u, black = _coefficients(full_range, matrix)
    base = (y.astype(np.int32) - black) * luma + (1 << 15)
    rows, columns = np.arange(height)[:, None] >> 1, np.arange(width) >> 1
    cb = u[rows, columns].astype(np.int32) - 128
    cr = v[rows, columns].astype(np.int32) - 128
    out[..., 0] = np.clip((base + red_v * cr) >> 16, 0, 255)
    out[..., 1] = np.clip((base - green_u * cb - green_v * cr) >> 16, 0, 255)
    out[..., 2] = np.clip((base + blue_u * cb) >> 16, 0, 255)
    return out


def crop_resize(image: U8, boxes: F32, height: int, width: int, fill: int = 0, out: U8 | None = None) -> U8:
    """(N, height, width, 3) uint8 crops of `image` (H, W, 3) uint8 at `boxes` (N, 4) float32 xyxy.

    A pixel is the mean of kx x ky bilinear samples spread evenly over its footprint, k being ceil(shrink / 2) along
    each axis (at most 16): plain bilinear up to a shrink of 2, close to the area mean beyond. Samples outside the
    image are `fill`; so is the whole crop of a box that is empty, inverted or not finite."""
    _check_image(image)
    _check_boxes(boxes, height, width, fill)
    shape = (len(boxes), height, width, 3)
    if out is None:
        out = np.empty(shape, np.uint8)
    elif out.dtype != np.uint8 or out.shape != shape:
        raise InputError(f"out: expected uint8 {shape}, got {out.dtype} {out.shape}")
    for box, crop in zip(boxes.astype(np.float64), out, strict=True):
        x1, y1, x2, y2 = box
        if not (np.isfinite(box).all() and x2 > x1 and y2 > y1):
            crop[...] = fill
            continue
        kx, ky = _samples(x2 - x1, width), _samples(y2 - y1, height)
        rows = _axis(image.shape[0], ky * height, y1, y2 - y1)
        columns = _axis(image.shape[1], kx * width, x1, x2 - x1)
        fine = _sample(image, rows, columns)
        fine[~(rows[3][:, None] & columns[3])] = fill
        fine = fine.reshape(height, ky, width, kx, 3)
        total = np.zeros((height, width, 3), np.float32)
        for j in range(ky):
            line = fine[:, j, :, 0].copy()
            for i in range(1, kx):
                line += fine[:, j, :, i]
            total += line
        crop[...] = np.rint(total * np.float32(1.0 / (kx * ky)))
    return out


def crop_resize_yuv420(
    y: U8, u: U8, v: U8, full_range: bool, matrix: str, boxes: F32, height: int, width: int, fill: int = 0,
    out: U8 | None = None,
) -> U8:  # fmt: skip
    """As `crop_resize` of yuv420_to_rgb(y, u, v, full_range, matrix), exactly, without that image."""
    return crop_resize(yuv420_to_rgb(y, u, v, full_range, matrix), boxes, height, width, fill, out)


def _samples(length: float, count: int) -> int:
    """Samples for each of `count` pixels along a box side of `length` pixels."""
    return int(min(max(np.ceil(length / count / 2.0), 1.0), float(MAX_SAMPLES)))


def _axis(limit: int, count: int, start: float = 0.0, length: float | None = None) -> Taps:
    """Lower tap, upper tap, weight of the upper one, and whether inside, of `count` samples."""
    step = (limit if length is None else length) / count
    position = (start + (np.arange(count) + 0.5) * step) - 0.5
    inside = (position >= -0.5) & (position <= limit - 0.5)
    position = np.clip(position, 0.0, limit - 1.0)
    lower = position.astype(np.int64)  # toward zero, and positions are not negative
    return lower, np.minimum(lower + 1, limit - 1), (position - lower).astype(np.float32), inside


def _sample(image: U8, rows: Taps, columns: Taps) -> Array:
    """(rows, columns, 3) float32, interpolated along x first."""
    lines = []
    for taps in (rows[0], rows[1]):
        left = image[taps[:, None], columns[0]].astype(np.float32)
        right = image[taps[:, None], columns[1]].astype(np.float32)
        lines.append(left + (right - left) * columns[2][:, None])
    upper, lower = lines
    sampled: Array = upper + (lower - upper) * rows[2][:, None, None]
    return sampled


def _cast(values: Array, dtype: np.dtype[np.generic]) -> Array:
    if dtype == np.float32:
        return values
    limits = (0.0, 255.0) if dtype == np.uint8 else (-INT32_LIMIT, INT32_LIMIT)
    rounded: Array = np.rint(np.clip(values, *limits)).astype(dtype)
    return rounded


def _coefficients(full_range: bool, matrix: str) -> tuple[int, int, int, int, int, int]:
    if matrix not in KR_KB:
        raise InputError(f"matrix: expected 'bt601' or 'bt709', got {matrix!r}")
    kr, kb = KR_KB[matrix]
    kg = 1.0 - kr - kb
    stretch, chroma = (1.0, 1.0) if full_range else (255.0 / 219.0, 255.0 / 224.0)
    factors = (
        stretch,
        2.0 * (1.0 - kr) * chroma,
        2.0 * kb * (1.0 - kb) / kg * chroma,
        2.0 * kr * (1.0 - kr) / kg * chroma,
        2.0 * (1.0 - kb) * chroma,
    )
    luma, red_v, green_u, green_v, blue_u = (int(f * 65536.0 + 0.5) for f in factors)
    return luma, red_v, green_u, green_v, blue_u, 0 if full_range else 16


def _described(array: object) -> str:
    return f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__


def _check_image(image: U8) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"image: expected uint8 RGB of shape (H, W, 3), got {_described(image)}")
    if image.size == 0:
        raise InputError(f"image: expected at least one pixel, got shape {image.shape}")


def _check_planes(y: U8, u: U8, v: U8) -> None:
    for name, plane in (("y", y), ("u", u), ("v", v)):
        if not isinstance(plane, np.ndarray) or plane.dtype != np.uint8 or plane.ndim != 2:
            raise InputError(f"plane {name}: expected uint8 of two dimensions, got {_described(plane)}")
    if y.size == 0:
        raise InputError(f"plane y: expected at least one pixel, got shape {y.shape}")
    half = ((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2)
    for name, plane in (("u", u), ("v", v)):
        if plane.shape != half:
            raise InputError(f"plane {name}: expected shape {half} for y {y.shape}, got {plane.shape}")


def _check_boxes(boxes: F32, height: int, width: int, fill: int) -> None:
    if not isinstance(boxes, np.ndarray) or boxes.dtype != np.float32 or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"boxes: expected float32 of shape (N, 4), got {_described(boxes)}")
    if height < 1 or width < 1:
        raise InputError(f"crop size: expected at least 1x1, got {width}x{height}")
    if not 0 <= fill <= 255:
        raise InputError(f"fill: expected 0 to 255, got {fill}")


def _check_target(
    out: Array, place: tuple[int, int, int, int], color: str, layout: str, scale: Sequence[float], bias: Sequence[float]
) -> Array:
    """`out` viewed as (C, h, w)."""
    if color not in ("RGB", "BGR", "GRAY"):
        raise InputError(f"color: expected 'RGB', 'BGR' or 'GRAY', got {color!r}")
    if layout not in ("NCHW", "NHWC"):
        raise InputError(f"layout: expected 'NCHW' or 'NHWC', got {layout!r}")
    if not isinstance(out, np.ndarray) or out.dtype not in (np.float32, np.uint8, np.int32) or out.ndim != 3:
        raise InputError(f"out: expected float32, uint8 or int32 of three dimensions, got {_described(out)}")
    planes = out if layout == "NCHW" else out.transpose(2, 0, 1)
    count = 1 if color == "GRAY" else 3
    if planes.shape[0] != count:
        raise InputError(f"out: expected {count} channels for {color} in {layout}, got shape {out.shape}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise InputError("out: expected a writable C-contiguous array")
    left, top, width, height = place
    if min(left, top) < 0 or min(width, height) < 1 or left + width > planes.shape[2] or top + height > planes.shape[1]:
        raise InputError(
            f"place: expected (left, top, width, height) inside {planes.shape[2]}x{planes.shape[1]}, got {place}"
        )
    if len(scale) < count or len(bias) < count:
        raise InputError(f"scale and bias: expected {count} values, got {len(scale)} and {len(bias)}")
    return planes
