"""Frames for calibration and comparison: which are selected, and the errors where there are none."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edgevid.errors import InputError, SourceError
from edgevid.optimize import frames as module
from edgevid.optimize.frames import read_frames, spread_indices


def gray(value: int) -> np.ndarray:
    return np.full((16, 24, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    for number in range(10):
        cv2.imwrite(str(made / f"frame_{number}.png"), gray(20 * number))
    return made


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8), "rgb24")
            out.mux(stream.encode(image))
        out.mux(stream.encode())
    return path


def test_frames_are_the_middles_of_equal_parts() -> None:
    assert spread_indices(10, 2) == [2, 7]
    assert spread_indices(10, 1) == [5]
    assert spread_indices(3, 3) == spread_indices(3, 9) == spread_indices(3, None) == [0, 1, 2]
    assert len(set(spread_indices(1000, 999))) == 999


def test_a_folder_gives_its_images_spread_evenly_in_natural_order(folder: Path) -> None:
    found = list(read_frames(folder, 2))
    assert [f.name for f in found] == ["frame_2.png", "frame_7.png"]
    assert [int(f.frame.image[0, 0, 0]) for f in found] == [40, 140]
    assert len(list(read_frames(folder))) == 10


def test_a_glob_and_a_single_image(folder: Path) -> None:
    assert [f.name for f in read_frames(str(folder / "*_3.png"), 5)] == ["frame_3.png"]
    assert [f.name for f in read_frames(folder / "frame_4.png")] == ["frame_4.png"]


def test_a_list_names_images_relative_to_itself(folder: Path) -> None:
    names = folder.parent / "some.txt"
    names.write_text("# two of them\nimages/frame_9.png\n\n images/frame_1.png \n")
    assert [f.name for f in read_frames(names)] == ["frame_9.png", "frame_1.png"]


def test_a_video_gives_the_same_frames_each_time(video: Path) -> None:
    first, second = (list(read_frames(video, 4)) for _ in range(2))
    assert [f.name for f in first] == [
        "clip.mp4 at 0.20 s",
        "clip.mp4 at 0.70 s",
        "clip.mp4 at 1.20 s",
        "clip.mp4 at 1.70 s",
    ]
    assert all(np.array_equal(a.frame.image, b.frame.image) for a, b in zip(first, second, strict=True))
    assert len(list(read_frames(video))) == 20


def test_a_video_that_announces_too_many_still_yields_the_requested_number(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(module._of_video(video, 4, announced=80))
    assert len(found) == 4
    assert len({f.name for f in found}) == 4
    assert len(list(module._of_video(video, 4, announced=None))) == 4


def test_no_frames_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected images"):
        read_frames(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(SourceError, match="none of the 1 can be decoded"):
        read_frames(tmp_path)
    with pytest.raises(SourceError, match="none of the 1 can be decoded"):
        read_frames(tmp_path / "a.jpg")
    with pytest.raises(SourceError, match="no such file"):
        read_frames(tmp_path / "absent.mp4")


def test_lists_with_mistakes(tmp_path: Path) -> None:
    names = tmp_path / "some.txt"
    names.write_text("# nothing\n")
    with pytest.raises(SourceError, match="got an empty list"):
        read_frames(names)
    names.write_text("gone.png\n")
    with pytest.raises(SourceError, match="1 of 1 images do not exist"):
        read_frames(names)
    names.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SourceError, match="no UTF-8 text"):
        read_frames(names)


def test_an_image_that_does_not_decode_is_skipped(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "frame_0.png").write_bytes(b"damaged")
    assert len(list(read_frames(folder))) == 9
    assert "frame_0.png does not decode" in caplog.text


def test_a_count_below_one_is_an_error(folder: Path) -> None:
    with pytest.raises(InputError, match="at least 1"):
        read_frames(folder, 0)


def test_a_live_source_is_an_error_without_opening_it() -> None:
    with pytest.raises(InputError, match=r"rtsp://\*\*\*:\*\*\*@gate is a live source"):
        read_frames("rtsp://admin:secret@gate", 3)
