"""Frames check their pixels, and convert planes once."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.types import (
    Frame,
)


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
