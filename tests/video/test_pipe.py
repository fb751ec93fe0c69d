"""Standard input and named pipes: every frame in order, and a sentence where no data comes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from numbered_clips import clip, number_in

from edgevid.errors import SourceError
from edgevid.video.open import open_video

READ = """
import sys
from edgevid.errors import EdgevidError
from edgevid.video.open import open_video
sys.path.insert(0, sys.argv[1])
from numbered_clips import number_in
try:
    with open_video("-") as video:
        print(*[number_in(frame.image) for frame in video])
except EdgevidError as error:
    print(error)
"""
SUPPORT = Path(__file__).parents[1] / "support"


def written(path: Path, data: bytes) -> threading.Thread:
    """A program that writes `data` into a new pipe, piece by piece."""
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            for at in range(0, len(data), 3000):
                pipe.write(data[at : at + 3000])

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("format", "codec"),
    [
        ("mpegts", "mpeg2video"),
        ("matroska", "mpeg4"),
        ("h264", "h264"),
        ("yuv4mpegpipe", "rawvideo"),
        ("mjpeg", "mjpeg"),
    ],
)
def test_every_frame_of_a_named_pipe_in_order(tmp_path: Path, format: str, codec: str) -> None:
    writer = written(tmp_path / "cam.fifo", clip(30, format=format, codec=codec))
    with open_video(tmp_path / "cam.fifo") as video:
        assert not video.live
        assert [number_in(frame.image) for frame in video] == list(range(30))
        assert video.dropped == 0
    writer.join(5)
    assert not writer.is_alive()


def test_a_pipe_without_data_says_so(tmp_path: Path) -> None:
    written(tmp_path / "cam.fifo", b"")
    with pytest.raises(SourceError, match=r"cam\.fifo: expected a video, the pipe was closed without data"):
        open_video(tmp_path / "cam.fifo")
    written(tmp_path / "text.fifo", b"no video" * 1000)
    with pytest.raises(SourceError, match="FFmpeg cannot read this one"):
        open_video(tmp_path / "text.fifo")


def test_standard_input(tmp_path: Path) -> None:
    call = [sys.executable, "-c", READ, str(SUPPORT)]
    data = clip(20, format="mpegts", codec="mpeg2video")
    done = subprocess.run(call, input=data, capture_output=True, check=True, cwd=tmp_path)
    assert done.stdout.decode().split() == [str(n) for n in range(20)]
    done = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, check=True, cwd=tmp_path)
    assert b"standard input: expected a video, the pipe was closed without data" in done.stdout


def test_a_terminal_is_no_video(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with pytest.raises(SourceError, match=r"got a terminal: PROGRAM \| edgevid run -"):
        open_video("-")
