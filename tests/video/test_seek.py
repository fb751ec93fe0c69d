"""Any frame of a source by its time, and a file source that seeks and frees its buffers."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevid.errors import InputError, SourceError
from edgevid.video.files import FileSource
from edgevid.video.open import FrameSeeker
from edgevid.video.writer import VideoWriter


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """40 frames at 10 fps, each brighter by 6 than the one before."""
    with VideoWriter(path := tmp_path / "ramp.mp4", fps=10) as writer:
        for n in range(40):
            writer.write(np.full((64, 96, 3), 6 * n, np.uint8), n / 10)
    return path


def test_any_moment_of_a_video_can_be_read(ramp: Path) -> None:
    with FrameSeeker(ramp) as frames:
        assert frames.duration == pytest.approx(4.0, abs=0.15)
        for number in (30, 3, 17, 39):
            frame = frames.at(number / 10)
            assert frame.time == pytest.approx(number / 10, abs=1e-6)
            assert abs(int(frame.image[30, 40, 0]) - 6 * number) < 8
        assert frames.at(99.0).time == pytest.approx(3.9)
        with pytest.raises(InputError, match="0 or more"):
            frames.at(-1)


def test_images_and_folders_are_sources_too(tmp_path: Path) -> None:
    cv2.imwrite(str(photo := tmp_path / "photo.png"), np.zeros((54, 96, 3), np.uint8))
    with FrameSeeker(photo) as frames:
        assert (frames.at(5.0).size, frames.duration, frames.live) == ((96, 54), 0.0, False)
    with FrameSeeker(tmp_path) as frames:
        assert frames.at(0.0).size == (96, 54)
    (broken := tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(SourceError, match="none of the 1 can be decoded"):
        FrameSeeker(broken)
    with pytest.raises(SourceError, match="no such file"):
        FrameSeeker(tmp_path / "absent.mp4")


def test_a_file_goes_on_after_a_seek(ramp: Path) -> None:
    with FileSource(ramp) as source:
        assert source.seek(2.5)
        times = [frame.time for frame in source]
        assert times[0] <= 2.5
        assert times[-1] == pytest.approx(3.9)
        assert source.seek(0.0)
        assert next(iter(source)).time == 0.0


def test_a_source_that_is_dropped_frees_its_buffers_at_once(ramp: Path) -> None:
    """Without waiting for the cycle collector: each source holds decoder buffers of many megabytes."""
    gc.disable()
    try:
        source = FileSource(ramp)
        next(iter(source))
        gone = weakref.ref(source)
        del source
        assert gone() is None
    finally:
        gc.enable()
