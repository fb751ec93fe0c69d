"""The counters that every source has, from its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from video_clips import write_clip

from edgevid.errors import EdgevidError
from edgevid.synthetic.render import RenderedStreet
from edgevid.types import Frame
from edgevid.video.files import FileSource
from edgevid.video.frames import Source
from edgevid.video.images import ArraySource
from edgevid.video.live import LiveSource


class Numbers(Source):
    """A source of a user's own."""

    def __iter__(self) -> Iterator[Frame]:
        for index in range(3):
            self.decoded += 1
            yield Frame(np.zeros((4, 6, 3), np.uint8), index / 10, index)


def counters(source: Source) -> tuple[int, int, int]:
    return source.decoded, source.corrupted, source.dropped


def test_a_source_of_ones_own_begins_with_nothing_and_counts() -> None:
    with Numbers() as source:
        assert counters(source) == (0, 0, 0)
        assert (source.size, source.fps, source.frame_count, source.live) == ((0, 0), None, None, False)
        assert len(list(source)) == 3
    assert counters(source) == (3, 0, 0)
    assert counters(Numbers()) == (0, 0, 0)


def test_sources_of_the_package_count_what_they_hand_on(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [0.0, 0.04])
    image = np.zeros((4, 6, 3), np.uint8)
    made: list[Source] = [FileSource(str(clip)), ArraySource([image] * 3), RenderedStreet(seconds=0.2)]
    for source, number in zip(made, (2, 3, 5), strict=True):
        with source:
            assert len(list(source)) == number
        assert counters(source) == (number, 0, 0)
        assert not source.live


def test_a_live_source_says_that_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveSource, "_work", lambda self: None)
    with LiveSource("rtsp://nowhere") as source:
        assert source.live
        assert counters(source) == (0, 0, 0)


def test_the_habits_of_opencv_are_answered(tmp_path: Path) -> None:
    with FileSource(write_clip(tmp_path / "clip.mp4", [0.0])) as video:
        for name, hint in (("read", "for frame in open_video"), ("release", "close"), ("width", "use size")):
            with pytest.raises(EdgevidError, match=f"FileSource has no attribute '{name}': .*{hint}"):
                getattr(video, name)
