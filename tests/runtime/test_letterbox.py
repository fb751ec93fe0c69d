"""One frame in a model's input: its place, its colors, its padding, worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_frames import yuv

from edgevid import kernels
from edgevid.runtime.engine import InputSpec, input_shape, write_letterbox
from edgevid.types import Frame

PLAIN: dict[str, Any] = {"std": (1.0, 1.0, 1.0)}


def colored(red: int, green: int, blue: int, size: tuple[int, int] = (4, 2)) -> Frame:
    image = np.empty((size[1], size[0], 3), np.uint8)
    image[:] = (red, green, blue)
    return Frame(image, 0.0, 0)


def written(frame: Frame, rectangle: tuple[int, int, int, int], spec: InputSpec, **more: Any) -> np.ndarray:
    out = np.full(input_shape(spec), 77, spec.dtype)
    write_letterbox(frame, rectangle, spec, out, **more)
    return out


@pytest.mark.parametrize(
    ("color", "layout", "shape"),
    [("RGB", "NCHW", (3, 5, 9)), ("BGR", "NHWC", (5, 9, 3)), ("GRAY", "NCHW", (1, 5, 9)),
     ("GRAY", "NHWC", (5, 9, 1))],
)  # fmt: skip
def test_the_shape_of_one_image(color: Any, layout: Any, shape: tuple[int, ...]) -> None:
    assert input_shape(InputSpec(9, 5, color=color, layout=layout)) == shape


def test_the_frame_fills_its_rectangle_and_padding_the_rest() -> None:
    out = written(colored(10, 20, 30), (2, 3, 4, 2), InputSpec(8, 8, pad=114.0, **PLAIN))
    for channel, value in enumerate((10, 20, 30)):
        expected = np.full((8, 8), 114.0)
        expected[3:5, 2:6] = value
        np.testing.assert_array_equal(out[channel], expected)


def test_padding_is_left_alone_on_request() -> None:
    out = written(colored(10, 20, 30), (2, 3, 4, 2), InputSpec(8, 8, **PLAIN), write_pad=False)
    assert (out[0] == 10).sum() == 8
    assert (out[0] == 77).sum() == 56


def test_mean_and_divisor_are_those_of_the_models_channel_order() -> None:
    spec = InputSpec(4, 2, color="BGR", mean=(30.0, 10.0, 0.0), std=(2.0, 5.0, 10.0))
    out = written(colored(10, 20, 30), (0, 0, 4, 2), spec)
    # Blue (30 - 30) / 2, green (20 - 10) / 5, red (10 - 0) / 10.
    np.testing.assert_allclose(out[:, 0, 0], [0, 2, 1], atol=1e-6)


def test_padding_is_normalized_as_pixels_are() -> None:
    spec = InputSpec(8, 8, pad=50.0, mean=(10.0, 20.0, 30.0), std=(10.0, 10.0, 10.0))
    out = written(colored(0, 0, 0), (0, 0, 4, 2), spec)
    np.testing.assert_allclose(out[:, 7, 7], [4, 3, 2], atol=1e-6)
    np.testing.assert_allclose(out[:, 0, 0], [-1, -2, -3], atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_channels_last_and_each_element_type(dtype: Any) -> None:
    out = written(colored(10, 20, 30), (0, 0, 4, 2), InputSpec(4, 2, layout="NHWC", dtype=dtype, **PLAIN))
    assert out.dtype == np.dtype(dtype)
    assert out[1, 3].tolist() == [10, 20, 30]


def test_gray_is_the_luma_of_bt601() -> None:
    out = written(colored(200, 100, 50), (0, 0, 4, 2), InputSpec(4, 2, color="GRAY", **PLAIN))
    assert out[0, 0, 0] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, abs=0.6)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_planes_give_what_their_rgb_gives(full_range: bool, matrix: str) -> None:
    frame = yuv(31, 17, full_range=full_range, matrix=matrix)
    assert frame.planes is not None
    image = kernels.yuv420_to_rgb(*frame.planes, full_range, matrix)
    spec = InputSpec(16, 16)
    rectangle = (0, 3, 16, 9)
    np.testing.assert_array_equal(written(frame, rectangle, spec), written(Frame(image, 0.0, 0), rectangle, spec))
