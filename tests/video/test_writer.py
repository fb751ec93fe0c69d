"""The video writer: what it writes plays, whatever ends it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from video_clips import gray, set_rotation, write_clip

from edgevid.errors import InputError, SourceError
from edgevid.video.open import open_video
from edgevid.video.writer import VideoWriter


def test_odd_sizes_are_made_even(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "odd.mp4", [0.0, 0.1], width=65, height=49)) as source:
        assert source.size == (64, 48)


def test_the_writer_rejects_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        VideoWriter(tmp_path / "no" / "a.mp4")
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(gray(0), 0.0)
        with pytest.raises(InputError, match="start a new file"):
            writer.write(gray(0, width=128), 0.1)
        with pytest.raises(InputError, match="uint8"):
            writer.write(np.zeros((4, 4, 3)), 0.2)
    VideoWriter(tmp_path / "never.mp4").close()
    assert not (tmp_path / "never.mp4").exists()


KILLED = """
import sys, time, numpy as np
from edgevid.video.writer import VideoWriter
writer = VideoWriter(sys.argv[1], fps=25)
noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
for n in range(301):
    writer.write(noise if sys.argv[2] == "noise" else noise * 0, n / 25)
print("go", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("content", ["noise", "black"])
def test_a_killed_writer_leaves_a_file_that_plays(tmp_path: Path, content: str) -> None:
    """Without a flush after each fragment, FFmpeg kept 256 kB of them: all of a black video."""
    path = tmp_path / "killed.mp4"
    command = [sys.executable, "-c", KILLED, str(path), content]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path)  # not the clone, without kernels
    assert child.stdout is not None
    child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with open_video(path) as source:
        assert sum(1 for _ in source) >= 250  # of 301: all but the fragment in work


@pytest.mark.parametrize("height", [480, 720])
def test_colors_come_back_as_they_were_written_at_every_size(tmp_path: Path, height: int) -> None:
    colors = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40)], np.uint8)
    image = np.repeat(np.tile(colors, (height, 1, 1)), 320, axis=1)
    with VideoWriter(tmp_path / "c.mp4") as writer:
        writer.write(image, 0.0)
    set_rotation(path := tmp_path / "c.mp4", (1, 0, 0, 1))
    with open_video(path) as source:
        planes = next(iter(source)).image
    set_rotation(path, (-1, 0, 0, -1))  # a turned image is converted by FFmpeg, not by our kernel
    with open_video(path) as source:
        turned = next(iter(source)).image[::-1, ::-1]
    for image in (planes, turned):
        middle = image[height // 2, 160::320].astype(int)
        assert np.abs(middle - colors).max() <= 4


def test_a_frame_without_a_time_or_size_and_a_bad_path_are_rejected(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        with pytest.raises(InputError, match="time: expected seconds, got nan"):
            writer.write(gray(0), float("nan"))
        with pytest.raises(InputError, match="at least 2x2"):
            writer.write(gray(0)[:1, :1], 0.0)
    with VideoWriter(tmp_path) as writer, pytest.raises(SourceError, match="cannot be written"):
        writer.write(gray(0), 0.0)


def test_the_writer_reuses_one_frame(tmp_path: Path) -> None:
    """A new one each time fragmented the heap: at 1080p a program grew by 6 MB per frame."""
    shades, held = [40, 120, 200, 80], set[int]()
    with VideoWriter(tmp_path / "x.mp4", fps=10) as writer:
        for n, shade in enumerate(shades):
            writer.write(np.full((48, 65, 3), shade, np.uint8), n / 10)  # odd: the last column is left out
            held.add(id(writer._encoder._reused))
    assert len(held) == 1
    with open_video(tmp_path / "x.mp4") as video:
        assert [round(float(frame.image.mean()), -1) for frame in video] == shades


def test_what_the_writer_makes_plays_in_a_browser(tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = os.environ.get("EDGEVID_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("there is no Chromium on this machine")
    with VideoWriter(tmp_path / "a.mp4", fps=25) as writer:
        for n in range(30):
            writer.write(gray(8 * n), n / 25)
    play = """source => new Promise(done => {
        const video = document.createElement("video");
        video.muted = true;
        video.onended = () => done(video.currentTime);
        video.onerror = () => done(video.error.message);
        video.src = source;
        video.play();
    })"""
    (tmp_path / "page.html").write_text("<html></html>")
    with api.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
        opened = driver.chromium.launch(executable_path=browser, args=options)
        page = opened.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        assert page.evaluate(play, "a.mp4") == pytest.approx(1.2, abs=0.05)
        opened.close()
