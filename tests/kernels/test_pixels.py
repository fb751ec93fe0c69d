"""One suite over both twins of the pixel kernels, and their equality bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevid.errors import InputError
from edgevid.kernels import reference
from edgevid.types import Array

RAW: dict[str, Any] = {
    "color": "RGB", "layout": "NCHW", "pad": 114.0, "scale": (1.0, 1.0, 1.0), "bias": (0.0, 0.0, 0.0),
}  # fmt: skip


@pytest.fixture(params=["base", "avx2", "avx512"])
def every_isa(request: pytest.FixtureRequest, native: Any) -> Iterator[Any]:
    if not native._limit_isa(request.param):
        native._limit_isa("avx512")
        pytest.skip(f"this processor has no {request.param}")
    yield native
    native._limit_isa("avx512")


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def noise_planes(height: int, width: int, seed: int = 0) -> tuple[Array, Array, Array]:
    half = ((height + 1) // 2, (width + 1) // 2)
    return noise(height, width, seed=seed), noise(*half, seed=seed + 1), noise(*half, seed=seed + 2)


def smooth(height: int, width: int) -> Array:
    """Gradients and waves, as photographs are: no clipping, little above half the sampling rate."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    parts = [120 + 80 * np.sin(x / 9 + c) * np.cos(y / 7 - c) + 0.1 * x for c in range(3)]
    return np.clip(np.stack(parts, axis=-1), 0, 255).astype(np.uint8)


# --- letterbox -------------------------------------------------------------------------------------------


def test_two_pixels_become_four_by_half_pixel_centers(twin: Any) -> None:
    image = np.array([[[0, 0, 0], [100, 200, 40]]], np.uint8)
    out = np.zeros((3, 1, 4), np.float32)
    twin.letterbox(image, out, (0, 0, 4, 1), **RAW)
    # Centers 0.5 .. 3.5 of four lie at -0.25, 0.25, 0.75, 1.25 of two.
    assert out[0, 0].tolist() == [0, 25, 75, 100]
    assert out[1, 0].tolist() == [0, 50, 150, 200]
    assert out[2, 0].tolist() == [0, 10, 30, 40]


def test_place_pad_and_normalization(twin: Any) -> None:
    out = np.full((3, 4, 6), -1, np.float32)
    how = RAW | {"color": "BGR", "scale": (2.0, 1.0, 0.5), "bias": (1.0, 0.0, -1.0), "pad": 10.0}
    twin.letterbox(np.full((1, 1, 3), (4, 5, 6), np.uint8), out, (1, 2, 3, 1), **how)
    assert out[:, 2, 1:4].tolist() == [[13.0] * 3, [5.0] * 3, [1.0] * 3]
    inside = np.zeros((4, 6), bool)
    inside[2, 1:4] = True
    assert [set(out[c][~inside].tolist()) for c in range(3)] == [{21.0}, {10.0}, {4.0}]


def test_padding_is_left_alone_on_request(twin: Any) -> None:
    out = np.full((4, 4, 3), 7, np.uint8)
    twin.letterbox(noise(2, 4, 3), out, (0, 1, 4, 2), **RAW | {"layout": "NHWC"}, write_pad=False)
    assert np.all(out[[0, 3]] == 7)
    assert np.array_equal(out[1:3], noise(2, 4, 3))


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.uint8, 0, 255), (np.int32, -300, 10**9)])
def test_whole_numbers_saturate(twin: Any, dtype: Any, low: int, high: int) -> None:
    out = np.zeros((3, 1, 1), dtype)
    image = np.full((1, 1, 3), 200, np.uint8)
    twin.letterbox(image, out, (0, 0, 1, 1), **RAW | {"scale": (-1.5, 1e9, 0.0525)})
    assert out.ravel().tolist() == [low, high, 10]  # 10.5 rounds to even


def test_close_to_cv2_linear(twin: Any) -> None:
    for height, width in ((108, 192), (37, 53), (300, 200)):
        image = smooth(height, width)
        out = np.zeros((90, 71, 3), np.float32)
        twin.letterbox(image, out, (0, 0, 71, 90), **RAW | {"layout": "NHWC"})
        expected = cv2.resize(image, (71, 90), interpolation=cv2.INTER_LINEAR)
        assert np.abs(out - expected).max() < 0.8  # cv2 rounds its weights to 1/2048 and its result to 1
        exact = cv2.resize(image.astype(np.float32), (71, 90), interpolation=cv2.INTER_LINEAR)
        assert np.abs(out - exact).max() < 2e-3


sides = st.integers(1, 70)
colors = st.sampled_from(["RGB", "BGR", "GRAY"])
layouts = st.sampled_from(["NCHW", "NHWC"])
dtypes = st.sampled_from(["float32", "uint8", "int32"])


@given(sides, sides, sides, sides, colors, layouts, dtypes, st.booleans(), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_letterbox_twins_are_equal(
    native: Any, h: int, w: int, ph: int, pw: int, color: str, layout: str, dtype: str, yuv: bool, margin: int
) -> None:
    channels = 1 if color == "GRAY" else 3
    size = (ph + 2 * margin, pw + margin)
    shape = (channels, *size) if layout == "NCHW" else (*size, channels)
    place = (margin // 2, margin, pw, ph)
    how = {"color": color, "layout": layout, "pad": 113.7, "scale": (0.7, 1.3, 1.1), "bias": (-3.3, 9.1, 0.2)}
    outs = []
    for one in (reference, native):
        out = np.full(shape, 99, dtype)
        if yuv:
            one.letterbox_yuv420(*noise_planes(h, w), False, "bt601", out, place, **how)
        else:
            one.letterbox(noise(h, w, 3), out, place, **how)
        outs.append(out)
    assert np.array_equal(*outs)


@pytest.mark.parametrize("size", [(290, 180), (517, 333), (172, 111), (129, 83), (100, 60), (600, 400)])
def test_letterbox_is_the_same_on_every_instruction_set(every_isa: Any, size: tuple[int, int]) -> None:
    """Each pixel, each third, some taps of each row, and several outputs of one tap."""
    image, how = noise(333, 517, 3), RAW | {"scale": (0.3, 0.2, 0.7), "bias": (1.5, 0.1, -2.0)}
    expected, got = np.zeros((2, 3, 420, 621), np.float32)
    reference.letterbox(image, expected, (4, 9, *size), **how)
    every_isa.letterbox(image, got, (4, 9, *size), **how)
    assert np.array_equal(expected, got)
    planes = noise_planes(333, 517)
    rgb = reference.yuv420_to_rgb(*planes, False, "bt709")
    assert np.array_equal(every_isa.yuv420_to_rgb(*planes, False, "bt709"), rgb)
    reference.letterbox(rgb, expected, (4, 9, *size), **how)
    every_isa.letterbox_yuv420(*planes, False, "bt709", got, (4, 9, *size), **how)
    assert np.array_equal(expected, got)
    boxes = np.array([[-20.5, 10, 400, 300], [100, 100, 130.25, 160], [480, 2, 517, 40]], np.float32)
    assert np.array_equal(every_isa.crop_resize(image, boxes, 40, 30), reference.crop_resize(image, boxes, 40, 30))
    got_crops = every_isa.crop_resize_yuv420(*planes, False, "bt709", boxes, 40, 30)
    assert np.array_equal(got_crops, reference.crop_resize(rgb, boxes, 40, 30))


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_floats_convert_every_color_as_whole_numbers_do(every_isa: Any, matrix: str, full_range: bool) -> None:
    """Red needs each luma with each v, blue each luma with each u; green is tried with the ends of the other."""
    luma = np.repeat(np.arange(256, dtype=np.uint8), 2)[:, None].repeat(512, 1)
    every = np.arange(256, dtype=np.uint8)[None].repeat(256, 0)
    for value in (0, 1, 77, 128, 254, 255):
        other = np.full_like(every, value)
        for u, v in ((every, other), (other, every)):
            rgb = every_isa.yuv420_to_rgb(luma, u, v, full_range, matrix)
            assert np.array_equal(rgb, reference.yuv420_to_rgb(luma, u, v, full_range, matrix))


@pytest.mark.parametrize("view", ["rows", "columns", "flipped", "swapped", "upside down", "last row short"])
def test_any_strides(twin: Any, view: str) -> None:
    whole = noise(40, 62, 3)
    flat = noise(40 * 64 * 3 - 6)
    image = {
        "rows": whole[3:30:2, 5:50],
        "columns": whole[:, ::2],
        "flipped": whole[:, ::-1],
        "swapped": whole[..., ::-1],
        "upside down": whole[::-1],
        "last row short": np.lib.stride_tricks.as_strided(flat, (40, 62, 3), (192, 3, 1)),
    }[view]
    packed = np.ascontiguousarray(image)
    got, expected = np.zeros((2, 3, 33, 44), np.float32)
    twin.letterbox(image, got, (0, 0, 44, 33), **RAW)
    reference.letterbox(packed, expected, (0, 0, 44, 33), **RAW)
    assert np.array_equal(got, expected)
    boxes = np.array([[1, 2, 20, 13]], np.float32)
    assert np.array_equal(twin.crop_resize(image, boxes, 7, 9), reference.crop_resize(packed, boxes, 7, 9))


def test_interleaved_chroma_is_just_a_stride(twin: Any) -> None:
    y, u, v = noise_planes(36, 50)
    uv = np.stack([u, v], axis=-1)  # NV12
    got, expected = np.zeros((2, 3, 20, 31), np.float32)
    twin.letterbox_yuv420(y, uv[..., 0], uv[..., 1], True, "bt709", got, (0, 0, 31, 20), **RAW)
    reference.letterbox_yuv420(y, u, v, True, "bt709", expected, (0, 0, 31, 20), **RAW)
    assert np.array_equal(got, expected)
    rgb = twin.yuv420_to_rgb(y, uv[..., 0], uv[..., 1], True, "bt709")
    assert np.array_equal(rgb, reference.yuv420_to_rgb(y, u, v, True, "bt709"))


def test_one_pixel_fills_a_large_input(twin: Any) -> None:
    out = np.zeros((3, 500, 700), np.float32)
    twin.letterbox(np.array([[[3, 4, 5]]], np.uint8), out, (0, 0, 700, 500), **RAW)
    assert [set(np.unique(plane).tolist()) for plane in out] == [{3.0}, {4.0}, {5.0}]


# --- color ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_black_white_and_gray(twin: Any, matrix: str) -> None:
    gray = np.full((1, 1), 128, np.uint8)
    for luma, full_range, level in ((16, False, 0), (235, False, 255), (0, True, 0), (255, True, 255), (77, True, 77)):
        rgb = twin.yuv420_to_rgb(np.full((2, 2), luma, np.uint8), gray, gray, full_range, matrix)
        assert np.all(rgb == level)


@pytest.mark.parametrize(("matrix", "kr", "kb"), [("bt601", 0.299, 0.114), ("bt709", 0.2126, 0.0722)])
@pytest.mark.parametrize("full_range", [False, True])
def test_colors_come_back_through_the_definition(
    twin: Any, matrix: str, kr: float, kb: float, full_range: bool
) -> None:
    for rgb in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (13, 17, 250)):
        r, g, b = (c / 255 for c in rgb)
        luma = kr * r + (1 - kr - kb) * g + kb * b
        cb, cr = (b - luma) / (2 * (1 - kb)), (r - luma) / (2 * (1 - kr))
        y = 255 * luma if full_range else 16 + 219 * luma
        span = 255 if full_range else 224
        y8, u8, v8 = (
            np.full((1, 1), round(value), np.uint8)
            for value in (y, min(128 + span * cb, 255), min(128 + span * cr, 255))
        )
        got = twin.yuv420_to_rgb(y8, u8, v8, full_range, matrix)[0, 0]
        assert np.abs(got.astype(int) - rgb).max() <= 2  # planes hold whole numbers


def test_agrees_with_cv2(twin: Any) -> None:
    y = np.clip(noise(64, 96), 16, 235)
    _, u, v = noise_planes(64, 96, seed=5)
    stacked = np.concatenate([y.ravel(), u.ravel(), v.ravel()]).reshape(96, 96)
    expected = cv2.cvtColor(stacked, cv2.COLOR_YUV2RGB_I420).astype(int)
    assert np.abs(twin.yuv420_to_rgb(y, u, v, False, "bt601") - expected).max() <= 1


def test_agrees_with_libswscale(twin: Any) -> None:
    av = pytest.importorskip("av")
    y, u, v = np.clip(noise(64, 96), 16, 235), *noise_planes(64, 96, seed=5)[1:]
    stacked = np.concatenate([y.ravel(), u.ravel(), v.ravel()]).reshape(96, 96)
    frame = av.VideoFrame.from_ndarray(stacked, format="yuv420p")
    difference = np.abs(twin.yuv420_to_rgb(y, u, v, False, "bt601") - frame.to_ndarray(format="rgb24").astype(int))
    assert difference.max() <= 3  # its tables round more coarsely than cv2 does
    assert difference.mean() < 1


@given(sides, sides, st.booleans(), st.sampled_from(["bt601", "bt709"]))
@settings(max_examples=60, deadline=None)
def test_rgb_twins_are_equal(native: Any, h: int, w: int, full_range: bool, matrix: str) -> None:
    planes = noise_planes(h, w, seed=h)
    assert np.array_equal(
        native.yuv420_to_rgb(*planes, full_range, matrix), reference.yuv420_to_rgb(*planes, full_range, matrix)
    )


# --- crops -----------------------------------------------------------------------------------------------


def test_a_box_of_whole_pixels_is_a_copy(twin: Any) -> None:
    image = noise(20, 30, 3)
    crops = twin.crop_resize(image, np.array([[4, 3, 14, 9], [0, 0, 10, 6]], np.float32), 6, 10)
    assert np.array_equal(crops[0], image[3:9, 4:14])
    assert np.array_equal(crops[1], image[:6, :10])


def test_shrinking_by_four_is_the_mean_of_the_area(twin: Any) -> None:
    image = noise(32, 32, 3)
    expected = image.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3))
    got = twin.crop_resize(image, np.array([[0, 0, 32, 32]], np.float32), 8, 8)[0]
    assert np.abs(got - expected).max() <= 0.501


def test_shrinking_far_keeps_thin_stripes_gray(twin: Any) -> None:
    image = np.zeros((90, 600, 3), np.uint8)
    image[:, ::3] = 240
    got = twin.crop_resize(image, np.array([[0, 0, 600, 90]], np.float32), 9, 60)[0]
    assert np.abs(got.astype(int) - 80).max() <= 17  # plain bilinear would give 0 or 240


def test_outside_is_filled_and_edges_do_not_fade(twin: Any) -> None:
    image = np.full((10, 10, 3), 60, np.uint8)
    got = twin.crop_resize(image, np.array([[-10, -10, 10, 10], [0, 0, 2, 2]], np.float32), 8, 8, 9)
    assert np.all(got[0, :4] == 9)
    assert np.all(got[0, :, :4] == 9)
    assert np.all(got[0, 4:, 4:] == 60)
    assert np.all(got[1] == 60)


def test_boxes_without_an_area_are_filled(twin: Any) -> None:
    boxes = [[3, 3, 3, 9], [8, 2, 4, 6], [np.nan, 0, 4, 4], [0, 0, np.inf, 4], [50, 50, 60, 60]]
    got = twin.crop_resize(noise(9, 9, 3), np.array(boxes, np.float32), 3, 4, 77)
    assert got.shape == (5, 3, 4, 3)
    assert np.all(got == 77)


def test_enormous_boxes_are_survived(twin: Any) -> None:
    boxes = np.array([[-3e38, -3e38, 3e38, 3e38], [-1e6, -1e6, 1e6, 1e6]], np.float32)
    got = twin.crop_resize(noise(9, 9, 3), boxes, 5, 5, 1)
    assert got.shape == (2, 5, 5, 3)
    assert np.all(got[0, 0] == 1)


def test_crops_go_where_they_are_told(twin: Any) -> None:
    out = np.zeros((1, 4, 4, 3), np.uint8)
    boxes = np.array([[0, 0, 8, 8]], np.float32)
    assert twin.crop_resize(noise(8, 8, 3), boxes, 4, 4, 0, out) is out
    assert np.array_equal(out, twin.crop_resize(noise(8, 8, 3), boxes, 4, 4))
    assert twin.crop_resize(noise(8, 8, 3), np.zeros((0, 4), np.float32), 4, 4).shape == (0, 4, 4, 3)


coordinate = st.floats(-40, 110, width=32)
box = st.tuples(coordinate, coordinate, coordinate, coordinate)


@given(sides, sides, st.lists(box, min_size=1, max_size=5), st.integers(1, 20), st.integers(1, 20), st.booleans())
@settings(max_examples=120, deadline=None)
def test_crop_twins_are_equal(
    native: Any, h: int, w: int, boxes: list[tuple[float, ...]], ch: int, cw: int, yuv: bool
) -> None:
    array = np.array(boxes, np.float32)
    if yuv:
        given_planes = (*noise_planes(h, w), False, "bt709")
        got, expected = (one.crop_resize_yuv420(*given_planes, array, ch, cw, 5) for one in (native, reference))
    else:
        got, expected = (one.crop_resize(noise(h, w, 3), array, ch, cw, 5) for one in (native, reference))
    assert np.array_equal(got, expected)


# --- bad input -------------------------------------------------------------------------------------------

GOOD = np.zeros((4, 4, 3), np.uint8)
OUT = np.zeros((3, 8, 8), np.float32)
FULL = (0, 0, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": GOOD.astype(np.float32)}, r"image: expected uint8 RGB .*got float32 \(4, 4, 3\)"),
        ({"image": GOOD[..., 0]}, r"image: expected .*got uint8 \(4, 4\)"),
        ({"image": GOOD[:0]}, r"at least one pixel, got shape \(0, 4, 3\)"),
        ({"image": [[1, 2, 3]]}, "got list"),
        ({"out": OUT.astype(np.float64)}, r"out: expected .*got float64 \(3, 8, 8\)"),
        ({"out": OUT[:2]}, r"expected 3 channels.*\(2, 8, 8\)"),
        ({"out": OUT[:, :, ::2]}, "C-contiguous"),
        ({"place": (1, 0, 8, 8)}, r"inside 8x8, got \(1, 0, 8, 8\)"),
        ({"place": (0, 0, 0, 8)}, "inside 8x8"),
        ({"color": "rgb"}, "'RGB', 'BGR' or 'GRAY', got 'rgb'"),
        ({"layout": "CHW"}, "'NCHW' or 'NHWC', got 'CHW'"),
        ({"scale": (1.0,)}, "expected 3 values, got 1"),
    ],
)
def test_letterbox_refuses(twin: Any, change: dict[str, Any], message: str) -> None:
    how = RAW | {"image": GOOD, "out": OUT, "place": FULL} | change
    with pytest.raises(InputError, match=message):
        twin.letterbox(how.pop("image"), how.pop("out"), how.pop("place"), **how)


def test_read_only_output_is_refused(twin: Any) -> None:
    out = OUT.copy()
    out.flags.writeable = False
    with pytest.raises(InputError, match="writable"):
        twin.letterbox(GOOD, out, FULL, **RAW)


def test_planes_that_do_not_fit_are_refused(twin: Any) -> None:
    y, u, v = noise_planes(7, 9)
    with pytest.raises(InputError, match=r"plane u: expected shape \(4, 5\) for y \(7, 9\), got \(3, 5\)"):
        twin.yuv420_to_rgb(y, u[:3], v, False, "bt601")
    with pytest.raises(InputError, match="plane v: expected uint8 of two dimensions, got int64"):
        twin.yuv420_to_rgb(y, u, v.astype(np.int64), False, "bt601")
    with pytest.raises(InputError, match="'bt601' or 'bt709', got 'bt2020'"):
        twin.yuv420_to_rgb(y, u, v, False, "bt2020")
    with pytest.raises(InputError, match=r"out: expected .*uint8 \(7, 9, 3\)"):
        twin.yuv420_to_rgb(y, u, v, False, "bt601", np.zeros((7, 9, 4), np.uint8))


def test_crops_that_cannot_be_are_refused(twin: Any) -> None:
    boxes = np.zeros((2, 4), np.float32)
    with pytest.raises(InputError, match=r"boxes: expected .*got float64 \(2, 4\)"):
        twin.crop_resize(GOOD, boxes.astype(np.float64), 4, 4)
    with pytest.raises(InputError, match="at least 1x1, got 0x4"):
        twin.crop_resize(GOOD, boxes, 4, 0)
    with pytest.raises(InputError, match="0 to 255, got 256"):
        twin.crop_resize(GOOD, boxes, 4, 4, 256)
    with pytest.raises(InputError, match="out: expected"):
        twin.crop_resize(GOOD, boxes, 4, 4, 0, np.zeros((1, 4, 4, 3), np.uint8))
