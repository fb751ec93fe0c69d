"""Frames check their pixels, and convert planes once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.types import Frame, as_frame


def test_frame_checks_its_pixels() -> None:
    frame = Frame(np.zeros((4, 6, 3), np.uint8), 1.5, 3)
    assert (frame.size, frame.time, frame.index) == ((6, 4), 1.5, 3)
    for wrong in (np.zeros((4, 6), np.uint8), np.zeros((4, 6, 3)), np.zeros((0, 6, 3), np.uint8), None):
        with pytest.raises(InputError, match=r"Frame\.image"):
            Frame(wrong, 0, 0)  # type: ignore[arg-type]


def test_planes_become_rgb_once_and_only_when_asked() -> None:
    asked: list[Frame] = []

    def convert(frame: Frame) -> np.ndarray:
        asked.append(frame)
        return np.full((frame.height, frame.width, 3), 7, np.uint8)

    y, u = np.zeros((5, 7), np.uint8), np.zeros((3, 4), np.uint8)
    frame = Frame.from_yuv420((y, u, u), 0.0, 0, to_rgb=convert)
    assert (frame.size, asked) == ((7, 5), [])
    assert frame.image is frame.image
    assert len(asked) == 1
    with pytest.raises(InputError, match=r"plane v: expected uint8 of shape \(3, 4\)"):
        Frame.from_yuv420((y, u, y), 0.0, 0, to_rgb=convert)
    with pytest.raises(InputError, match="bt601"):
        Frame.from_yuv420((y, u, u), 0.0, 0, to_rgb=convert, matrix="bt2020")  # type: ignore[arg-type]


def test_frame_checks_its_time_and_index() -> None:
    image, plane = np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2), np.uint8)
    assert Frame(image, np.float32(0.5), np.int64(2)).time == 0.5  # type: ignore[arg-type]
    for time in ("x", None, float("nan"), float("inf")):
        with pytest.raises(InputError, match=rf"Frame\.time: expected finite seconds, got {time!r}"):
            Frame(image, time, 0)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"Frame\.time"):
            Frame.from_yuv420((image[..., 0], plane, plane), time, 0, to_rgb=lambda _: image)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"Frame\.index: expected a whole number, got 'x'"):
        Frame(image, 0.0, "x")  # type: ignore[arg-type]


COLORS = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)


def test_a_bare_array_is_bgr_and_a_frame_is_rgb() -> None:
    frame = as_frame(COLORS, 0.5, 3)
    assert frame.image.tolist() == COLORS[..., ::-1].tolist()
    assert frame.image.flags.c_contiguous
    assert (frame.time, frame.index) == (0.5, 3)
    assert frame.bgr.tolist() == COLORS.tolist()
    assert as_frame(frame) is frame
    assert Frame(COLORS, 0.0, 0).image is COLORS


def test_gray_and_bgra_arrays_are_taken() -> None:
    gray = COLORS[..., 0]
    for one in (gray, gray[..., None]):
        assert Frame.from_bgr(one).image.tolist() == np.repeat(gray[..., None], 3, 2).tolist()
    alpha = np.concatenate([COLORS, COLORS[..., :1]], 2)
    assert Frame.from_bgr(alpha).image.tolist() == COLORS[..., ::-1].tolist()


def test_a_pil_image_is_rgb_in_every_mode() -> None:
    pil = pytest.importorskip("PIL.Image")
    assert as_frame(pil.fromarray(COLORS)).image.tolist() == COLORS.tolist()
    gray = as_frame(pil.fromarray(COLORS[..., 0]))
    assert gray.image[..., 2].tolist() == COLORS[..., 0].tolist()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (COLORS / 255, r"got float64 \(2, 5, 3\); .* \(255 \* image\)\.astype"),
        (COLORS.astype(np.uint16), r"got uint16 .*\(image // 257\)"),
        (COLORS.transpose(2, 0, 1), r"got uint8 \(3, 2, 5\); pass image\.transpose\(1, 2, 0\)"),
        (COLORS[None], r"pass a list of images: list\(images\)"),
        (COLORS[0, 0], r"got uint8 \(3,\)"),
        (np.zeros((2, 5, 2), np.uint8), r"got uint8 \(2, 5, 2\)"),
        ("bus.jpg", r"expected a Frame, .* got 'bus.jpg'"),
        (None, r"got None"),
    ],
)
def test_what_is_no_image_is_rejected_with_the_next_step(image: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_frame(image)


@pytest.mark.parametrize(
    ("image", "remedy"),
    [
        (np.full((4, 4, 3), 0.5), r"\(255 \* image\)\.astype"),
        (np.full((4, 4, 3), 90.0), r"pass image\.astype"),
        (np.full((4, 4, 3), 90), r"pass image\.astype"),
        (np.full((4, 4, 3), 900, np.uint16), r"\(image // 257\)\.astype"),
    ],
)
def test_the_remedy_for_another_dtype_fits_its_values(image: np.ndarray[Any, Any], remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        Frame.from_bgr(image)
