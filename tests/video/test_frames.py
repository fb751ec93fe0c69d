"""From PyAV's frames to Frame: planes as they are, the color matrix, range and rotation."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import av
import numpy as np
import pytest

from edgevid.types import Frame
from edgevid.video import frames
from edgevid.video.frames import BT709, FULL_RANGE, HD_HEIGHT, Orientation, short_reason

SMPTE170M = 6


def to_frame(av_frame: Any, time: float, index: int) -> Frame:
    """The frame as the first one of a stream."""
    return frames.to_frame(av_frame, time, index, Orientation())


def av_frame(
    y: int = 90,
    u: int = 128,
    v: int = 128,
    *,
    size: tuple[int, int] = (64, 48),
    kind: str = "yuv420p",
    colorspace: int | None = None,
    color_range: int | None = None,
) -> av.VideoFrame:
    """A frame of one color."""
    made = av.VideoFrame(*size, kind)
    for plane, value in zip(made.planes, (y, u, v), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    if colorspace is not None:
        made.colorspace = colorspace
    if color_range is not None:
        made.color_range = color_range
    return made


def turned(frame: av.VideoFrame, rotation: int) -> Any:
    """The frame with a rotation."""
    names = ("format", "width", "height", "color_range", "colorspace", "planes", "reformat", "to_ndarray")
    return SimpleNamespace(rotation=rotation, **{name: getattr(frame, name) for name in names})


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Side data that PyAV cannot name, as those of a photo."""
    monkeypatch.setattr(frames, "SideDataContainer", Mock(side_effect=ValueError("31 is not a valid Type")))


def test_planes_are_handed_on_without_a_copy() -> None:
    given = av_frame(90, 100, 110)
    frame = to_frame(given, 1.5, 7)
    assert (frame.size, frame.time, frame.index) == ((64, 48), 1.5, 7)
    assert frame.planes is not None
    assert [plane.shape for plane in frame.planes] == [(48, 64), (24, 32), (24, 32)]
    assert [int(plane[0, 0]) for plane in frame.planes] == [90, 100, 110]
    memory = np.frombuffer(given.planes[0], np.uint8)
    assert np.shares_memory(frame.planes[0], memory)


def test_odd_sizes_round_their_chroma_up_and_rows_may_be_padded() -> None:
    frame = to_frame(av_frame(90, 100, 110, size=(33, 17)), 0.0, 0)
    assert frame.planes is not None
    assert [plane.shape for plane in frame.planes] == [(17, 33), (9, 17), (9, 17)]
    assert frame.image.shape == (17, 33, 3)


@pytest.mark.parametrize(
    ("height", "colorspace", "expected"),
    [(HD_HEIGHT - 2, None, "bt601"), (HD_HEIGHT, None, "bt709"), (HD_HEIGHT, SMPTE170M, "bt601"), (48, BT709, "bt709")],
)
def test_the_matrix_is_the_stated_one_else_that_of_the_height(
    height: int, colorspace: int | None, expected: str
) -> None:
    frame = to_frame(av_frame(size=(64, height), colorspace=colorspace), 0.0, 0)
    assert frame.matrix == expected


@pytest.mark.parametrize(
    ("kind", "color_range", "full"), [("yuv420p", None, False), ("yuv420p", FULL_RANGE, True), ("yuvj420p", None, True)]
)
def test_the_range_is_the_stated_one_or_that_of_the_format(kind: str, color_range: int | None, full: bool) -> None:
    frame = to_frame(av_frame(90, kind=kind, color_range=color_range), 0.0, 0)
    assert frame.full_range is full
    gray = 90 if full else (90 - 16) * 255 / 219
    assert np.abs(frame.image.astype(float) - gray).max() <= 1


def test_red_is_red_by_both_matrices() -> None:
    # Y, Cb, Cr of pure red, limited range: BT.601 81, 90, 240 and BT.709 63, 102, 240.
    for values, colorspace in (((81, 90, 240), SMPTE170M), ((63, 102, 240), BT709)):
        image = to_frame(av_frame(*values, colorspace=colorspace), 0.0, 0).image
        assert np.abs(image.astype(int) - (255, 0, 0)).max() <= 3, colorspace


@pytest.mark.parametrize("colorspace", [None, BT709, SMPTE170M])
@pytest.mark.parametrize("height", [48, HD_HEIGHT])
def test_frames_that_are_no_420_are_converted_by_the_same_matrix(height: int, colorspace: int | None) -> None:
    options: dict[str, Any] = {"size": (64, height), "colorspace": colorspace}
    planar = to_frame(av_frame(81, 90, 200, **options), 0.0, 0)
    other = to_frame(av_frame(81, 90, 200, kind="yuv422p", **options), 0.0, 0)
    assert other.planes is None
    assert np.abs(planar.image.astype(int) - other.image).max() <= 2


def test_rgb_is_taken_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    frame = to_frame(av.VideoFrame.from_ndarray(image, format="rgb24"), 0.0, 0)
    assert frame.planes is None
    assert np.array_equal(frame.image, image)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270, -90])
def test_a_turned_frame_is_made_upright(rotation: int, unknown: None) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    frame = to_frame(turned(av.VideoFrame.from_ndarray(image, format="rgb24"), rotation), 0.0, 0)
    expected = {
        0: image,
        90: image.transpose(1, 0, 2)[::-1],  # counterclockwise: the right column becomes the top row
        180: image[::-1, ::-1],
        270: image.transpose(1, 0, 2)[:, ::-1],
        -90: image.transpose(1, 0, 2)[:, ::-1],
    }[rotation]
    assert np.array_equal(frame.image, expected)
    assert frame.image.flags.c_contiguous


def test_a_turned_frame_of_planes_becomes_rgb(unknown: None) -> None:
    frame = to_frame(turned(av_frame(), 90), 0.0, 0)
    assert frame.planes is None
    assert frame.size == (48, 64)


def test_the_memory_of_a_first_frame_does_not_wait_for_the_cycle_collector() -> None:
    given = av_frame()
    to_frame(given, 0.0, 0)
    gc.collect()
    assert not [one for one in gc.get_referrers(given) if "SideData" in type(one).__name__]


def test_an_error_is_its_reason_alone() -> None:
    error = OSError("[Errno 1094995529] Invalid data found when processing input: 'a.mp4'")
    assert short_reason(error) == "Invalid data found when processing input"
    assert short_reason(ValueError("no such stream")) == "no such stream"
