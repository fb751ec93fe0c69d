"""Preprocessing: placements worked by hand, fits that come back, one buffer reused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letterboxed import letterbox

from edgevid import kernels
from edgevid.detect.preprocess import LetterboxTransform, Preprocessor, crop
from edgevid.errors import InputError
from edgevid.runtime.engine import InputSpec
from edgevid.types import Array, Frame

RAW = {"std": (1.0, 1.0, 1.0)}
"""No normalization: the input keeps 0..255."""


def plain(width: int, height: int, color: tuple[int, int, int] = (10, 20, 30)) -> Frame:
    return Frame(np.full((height, width, 3), color, np.uint8), 0.0, 0)


def yuv(width: int, height: int, seed: int = 0, *, full_range: bool = False, matrix: str = "bt709") -> Frame:
    rng = np.random.default_rng(seed)
    half = ((height + 1) // 2, (width + 1) // 2)
    planes = tuple(rng.integers(0, 256, s, np.uint8) for s in ((height, width), half, half))

    def to_rgb(frame: Frame) -> Array:
        assert frame.planes is not None
        return kernels.yuv420_to_rgb(*frame.planes, frame.full_range, frame.matrix)

    return Frame.from_yuv420(planes, 0.0, 0, to_rgb=to_rgb, full_range=full_range, matrix=matrix)  # type: ignore[arg-type]


def test_a_wide_frame_lies_in_the_middle_between_bars() -> None:
    out, transform = letterbox(plain(1920, 1080), InputSpec(640, 640, **RAW))
    assert transform == LetterboxTransform(1 / 3, 1 / 3, 0, 140, 1920, 1080)
    assert out.shape == (3, 640, 640)
    assert out.dtype == np.float32
    assert np.all(out[:, :140] == 114)
    assert np.all(out[:, 500:] == 114)
    assert [out[c, 140:500].min() for c in range(3)] == [10, 20, 30]
    assert [out[c, 140:500].max() for c in range(3)] == [10, 20, 30]


def test_top_left_anchor_pads_below() -> None:
    out, transform = letterbox(plain(20, 10), InputSpec(40, 40, anchor="top-left", pad=7, **RAW))
    assert (transform.left, transform.top, transform.scale_x, transform.scale_y) == (0, 0, 2.0, 2.0)
    assert np.all(out[0, :20] == 10)
    assert np.all(out[0, 20:] == 7)


def test_stretch_fills_the_input() -> None:
    out, transform = letterbox(plain(20, 10), InputSpec(40, 40, resize="stretch", **RAW))
    assert (transform.scale_x, transform.scale_y, transform.left, transform.top) == (2.0, 4.0, 0, 0)
    assert np.all(out[2] == 30)


def test_mean_and_std_are_in_the_models_channel_order() -> None:
    spec = InputSpec(4, 4, color="BGR", mean=(30.0, 0.0, 10.0), std=(1.0, 2.0, 5.0))
    out, _ = letterbox(plain(4, 4), spec)
    assert out[:, 0, 0].tolist() == [0.0, 10.0, 0.0]


def test_gray_is_the_luma_of_bt601() -> None:
    out, _ = letterbox(plain(4, 4, (100, 50, 200)), InputSpec(4, 4, color="GRAY", **RAW))
    assert out.shape == (1, 4, 4)
    assert out[0, 0, 0] == pytest.approx(0.299 * 100 + 0.587 * 50 + 0.114 * 200, abs=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_whole_number_inputs_are_rounded(dtype: str) -> None:
    image = np.array([[[0, 0, 0], [1, 2, 3]]], np.uint8)
    spec = InputSpec(1, 1, resize="stretch", dtype=dtype, layout="NHWC", **RAW)
    out, _ = letterbox(Frame(image, 0.0, 0), spec)
    assert out.dtype == np.dtype(dtype)
    assert out[0, 0].tolist() == [0, 1, 2]  # 0.5 to even, 1.0, 1.5 to even


def test_planes_and_pixels_give_the_same_numbers() -> None:
    frame = yuv(63, 41)
    spec = InputSpec(48, 64, color="BGR")
    looked_at = Frame(frame.image, 0.0, 0)
    assert np.array_equal(letterbox(yuv(63, 41), spec)[0], letterbox(looked_at, spec)[0])
    boxes = np.array([[3, 4, 30, 35], [-8, 2, 20, 60]], np.float32)
    assert np.array_equal(crop(yuv(63, 41), boxes, (16, 24)), crop(looked_at, boxes, (16, 24)))


def test_planes_are_not_turned_into_rgb() -> None:
    def never(frame: Frame) -> Array:
        raise AssertionError("RGB was made")

    half = np.full((4, 4), 128, np.uint8)
    frame = Frame.from_yuv420((np.full((8, 8), 90, np.uint8), half, half), 0.0, 0, to_rgb=never, full_range=True)
    out, _ = letterbox(frame, InputSpec(8, 8, **RAW))
    assert np.all(out == 90)
    assert np.all(crop(frame, np.array([[0, 0, 8, 8]], np.float32), (4, 4)) == 90)


sides = st.integers(1, 3000)


@given(sides, sides, st.integers(1, 1300), st.integers(1, 1300), st.booleans(), st.booleans())
def test_fit_comes_back(w: int, h: int, iw: int, ih: int, stretch: bool, corner: bool) -> None:
    spec = InputSpec(iw, ih, resize="stretch" if stretch else "letterbox", anchor="top-left" if corner else "center")
    transform = LetterboxTransform.of((w, h), spec)
    boxes = np.array([[0, 0, w, h], [w * 0.25, h * 0.25, w * 0.75, h * 0.5]], np.float32)
    there = transform.forward(boxes)
    assert there.min() >= 0
    assert np.all(there[:, 2] <= iw + 1e-2)
    assert np.all(there[:, 3] <= ih + 1e-2)
    back = transform.inverse(there)
    assert np.allclose(back, boxes, atol=2e-4 * max(w / iw, h / ih, 1) * max(w, h, iw, ih) / 100)


def test_inverse_clips_to_the_frame_and_keeps_no_rows() -> None:
    transform = LetterboxTransform.of((100, 50), InputSpec(200, 200))
    assert transform.inverse(np.array([[-40, 0, 500, 400]], np.float32)).tolist() == [[0, 0, 100, 50]]
    assert transform.inverse(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_boxes_point_at_the_same_pixels_before_and_after() -> None:
    image = np.zeros((90, 160, 3), np.uint8)
    image[30:60, 40:80] = 255
    out, transform = letterbox(Frame(image, 0.0, 0), InputSpec(320, 320, pad=0, **RAW))
    bright = np.argwhere(out[0] > 127)
    (y1, x1), (y2, x2) = bright.min(axis=0), bright.max(axis=0) + 1
    assert transform.inverse(np.array([x1, y1, x2, y2], np.float32)).tolist() == [40, 30, 80, 60]


def test_preprocessor_reuses_its_buffer_and_keeps_padding_right() -> None:
    prepare = Preprocessor(InputSpec(32, 32, **RAW), batch=2)
    first, fits = prepare([plain(32, 16), plain(16, 32)])
    assert first.shape == (2, 3, 32, 32)
    assert [(f.left, f.top) for f in fits] == [(0, 8), (8, 0)]
    again, _ = prepare([plain(16, 32, (1, 1, 1))])
    assert again.shape == (1, 3, 32, 32)
    assert np.shares_memory(first, again)
    expected, _ = letterbox(plain(16, 32, (1, 1, 1)), prepare.spec)
    assert np.array_equal(again[0], expected)  # the bars moved, and nothing of the first frame is left


def test_preprocessor_takes_no_frames_and_rejects_too_many() -> None:
    prepare = Preprocessor(InputSpec(8, 8), batch=1)
    batch, fits = prepare([])
    assert (batch.shape, fits) == ((0, 3, 8, 8), [])
    with pytest.raises(InputError, match="at most 1 frames, got 2"):
        prepare([plain(4, 4), plain(4, 4)])
    with pytest.raises(InputError, match="at least 1"):
        Preprocessor(InputSpec(8, 8), batch=0)


def test_crop_of_nothing_and_beyond_the_frame() -> None:
    frame = plain(10, 10, (9, 9, 9))
    assert crop(frame, np.zeros((0, 4), np.float32), (4, 6)).shape == (0, 6, 4, 3)
    crops = crop(frame, np.array([[5, 0, 15, 10], [3, 3, 3, 8], [np.nan, 0, 1, 1]]), (4, 4), fill=200)
    assert np.all(crops[0, :, :2] == 9)
    assert np.all(crops[0, :, 2:] == 200)
    assert np.all(crops[1:] == 200)
