"""Which source an address means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from video_clips import write_clip

from edgevid.errors import InputError, SourceError
from edgevid.video.files import FileSource
from edgevid.video.images import ArraySource, ImageSource
from edgevid.video.live import LiveSource
from edgevid.video.open import is_live, open_video, source_options


def test_a_number_as_text_is_a_camera() -> None:
    with open_video("99", give_up_s=0.1, min_backoff_s=0.05) as source:
        assert source.live
        with pytest.raises(SourceError, match="99: no frame"):
            next(iter(source))


def test_a_file_is_a_file_whatever_its_name(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "clip[1].mp4", [0.0, 0.04])) as source:
        assert len(list(source)) == 2


@pytest.mark.parametrize("uri", ["rtsp://gate/1", "HTTP://gate/live.ts", "srt://gate:9000", "/dev/video7", "3", 3])
def test_cameras_and_streams_are_live(monkeypatch: pytest.MonkeyPatch, uri: str | int) -> None:
    monkeypatch.setattr(LiveSource, "_work", lambda self: None)
    with open_video(uri) as source:
        assert isinstance(source, LiveSource)
        assert source.live


def test_paths_are_files_folders_or_patterns(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [0.0, 0.04])
    (tmp_path / "3").mkdir()
    cv2.imwrite(str(tmp_path / "3" / "b.png"), np.zeros((4, 4, 3), np.uint8))
    for uri in (path, str(path), path.as_uri()):
        with open_video(uri) as source:
            assert isinstance(source, FileSource), uri
            assert not source.live
    for uri in (tmp_path / "3", str(tmp_path / "3" / "*.png"), str(tmp_path / "?" / "b.png")):
        with open_video(uri) as source:
            assert isinstance(source, ImageSource), uri
            assert len(list(source)) == 1


def test_anything_else_that_can_be_iterated_is_arrays() -> None:
    with open_video(np.zeros((2, 4, 6, 3), np.uint8), fps=5) as source:
        assert isinstance(source, ArraySource)
        assert source.frame_count == 2
        assert [frame.time for frame in source] == [0.0, 0.2]
    with open_video(np.zeros((4, 6, 3), np.uint8)) as source:
        assert source.frame_count == 1 == len(list(source))
    with open_video(iter([])) as source:
        assert source.frame_count is None


@pytest.mark.parametrize("uri", ["gone.mp4", "rtsp", "video 3", ""])
def test_other_words_are_files_that_are_not_there(uri: str) -> None:
    with pytest.raises(SourceError):
        open_video(uri)


@pytest.mark.parametrize("uri", [None, 1.5])
def test_what_is_no_source_is_rejected(uri: Any) -> None:
    with pytest.raises(InputError, match=f"open_video: expected a file, folder, .*, got {uri}"):
        open_video(uri)


def test_options_go_only_to_sources_that_have_them(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"decode": "auto", "give_up_s": 5.0, "rtsp_transport": "udp"}
    clip = write_clip(tmp_path / "a.mp4", [0.0, 0.04])
    (tmp_path / "cam.sdp").write_text("v=0")
    for live in ("rtsp://gate/1", "0", "http://gate/x.mp4", str(tmp_path / "cam.sdp")):
        assert source_options(live, **chosen) == chosen | {"follow_hosts": ()}
    for file in (str(clip), clip.as_uri(), "-"):
        assert source_options(file, **chosen) == {"decode": "auto"}
        assert source_options(file) == {}
    for other in (str(tmp_path), "gone.sdp", "*.png"):
        assert source_options(other, **chosen) == {}


def test_a_file_whose_name_is_a_number_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "7.mp4", [0.0, 0.04]).rename(tmp_path / "7")
    monkeypatch.chdir(tmp_path)
    assert not is_live("7")
    assert is_live("8")
    with open_video("7") as source:
        assert isinstance(source, FileSource)
