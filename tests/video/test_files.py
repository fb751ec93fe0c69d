"""Sources and the writer, on clips made here: uneven times, rotation, damage, loss."""

from __future__ import annotations

import io
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from edgevid.errors import InputError, SourceError
from edgevid.types import Frame
from edgevid.video.live import LiveSource
from edgevid.video.open import masked, open_video
from edgevid.video.writer import VideoWriter

TIMES = [0.0, 0.04, 0.08, 0.5, 0.54, 2.0]
"""Uneven on purpose."""


def picture(n: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A gray image whose brightness tells its number, with a bright left edge."""
    image = np.full((height, width, 3), 40 + 20 * (n % 8), np.uint8)
    image[:, : width // 8] = 250
    return image


def write_clip(path: Path, times: list[float], **size: int) -> Path:
    with VideoWriter(path, fps=25) as writer:
        for n, t in enumerate(times):
            writer.write(picture(n, **size), t)
    return path


def test_times_come_from_the_stream_and_not_from_the_frame_rate(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "vfr.mp4", TIMES)) as source:
        frames = list(source)
    assert [round(f.time, 3) for f in frames] == TIMES
    assert [f.index for f in frames] == list(range(6))
    assert source.size == (64, 48)
    assert (source.decoded, source.corrupted, source.dropped) == (6, 0, 0)


def test_planes_are_handed_on_and_become_the_right_rgb(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "a.mp4", TIMES)) as source:
        frames = list(source)
    assert all(f.planes is not None for f in frames)
    for n, frame in enumerate(frames):  # the planes outlive the source, and each other
        assert abs(float(frame.image[:, 20:].mean()) - (40 + 20 * n)) < 4


def test_odd_sizes_are_made_even(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "odd.mp4", [0.0, 0.1], width=65, height=49)) as source:
        assert source.size == (64, 48)


def test_looping_goes_on_in_time(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "a.mp4", [0.0, 0.04, 0.08]), loop=True) as source:
        frames = [f for f, _ in zip(source, range(8), strict=False)]
    steps = np.diff([f.time for f in frames])
    assert steps.min() > 0.02
    assert steps.max() < 0.08


def set_rotation(path: Path, matrix: tuple[int, ...]) -> None:
    """Writes the display matrix (a, b, c, d of 1/65536) into the track header of an MP4 file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    a, b, c, d = (value * 65536 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("matrix", "size", "edge"),
    [
        ((0, 1, -1, 0), (48, 64), "top"),
        ((-1, 0, 0, -1), (64, 48), "right"),
        ((0, -1, 1, 0), (48, 64), "bottom"),
    ],
)
def test_rotation_is_honored(
    tmp_path: Path, matrix: tuple[int, ...], size: tuple[int, int], edge: str
) -> None:
    path = write_clip(tmp_path / "turned.mp4", [0.0, 0.04])
    set_rotation(path, matrix)
    with open_video(path) as source:
        frame = next(iter(source))
        assert source.size == frame.size == size
    rims = {"top": frame.image[:3], "bottom": frame.image[-3:], "right": frame.image[:, -3:]}
    assert max(rims, key=lambda name: float(rims[name].mean())) == edge  # the left edge was the bright one


def test_a_truncated_file_ends_cleanly_with_what_was_read(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", [n / 25 for n in range(200)])
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    with open_video(tmp_path / "cut.mp4") as source:
        count = sum(1 for _ in source)
    assert 50 <= count < 200


def test_damaged_packets_are_passed_over_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", [n / 25 for n in range(200)])
    data = bytearray(whole.read_bytes())
    random = np.random.default_rng(0)
    for found in re.finditer(rb"mdat", data):  # only coded images: the boxes around them stay readable
        size = int.from_bytes(data[found.start() - 4 : found.start()], "big") - 8
        for place in random.integers(found.end() + size // 4, found.end() + size, 12):
            data[place] ^= 0xFF
    (tmp_path / "bad.mp4").write_bytes(bytes(data))
    with open_video(tmp_path / "bad.mp4") as source:
        times = [f.time for f in source]
    assert len(times) > 20
    assert all(a < b for a, b in pairwise(times))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.mp4", None, "there is no such file"),
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"this is no video\n" * 50, "cannot read this one"),
    ],
)
def test_what_is_no_video_is_refused_in_words(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=says) as caught:
        open_video(path)
    assert name in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_a_container_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(SourceError, match=r"none\.mp4"):
        open_video(path)


def test_a_sound_file_has_no_video_stream(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(SourceError, match="no video stream"):
        open_video(path)


def test_images_come_in_natural_order_and_damaged_ones_are_counted(tmp_path: Path) -> None:
    for n in (1, 2, 10):
        with av.open(str(tmp_path / f"shot_{n}.png"), "w", format="image2") as container:
            stream = container.add_stream("png", rate=1)
            stream.width, stream.height, stream.pix_fmt = 32 + n, 24, "rgb24"
            frame = av.VideoFrame.from_ndarray(np.full((24, 32 + n, 3), 10 * n, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    (tmp_path / "shot_3.png").write_bytes(b"no image")
    with open_video(tmp_path, fps=2) as source:
        frames = list(source)
    assert [int(f.image[0, 0, 0]) for f in frames] == [10, 20, 100]
    assert [f.time for f in frames] == [0.0, 0.5, 1.5]  # the damaged one still took its half second
    assert [f.index for f in frames] == [0, 1, 2]
    assert source.corrupted == 1
    with open_video(str(tmp_path / "shot_1*.png")) as source:
        assert source.frame_count == 2


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"expected images \(\.bmp"):
        open_video(tmp_path)
    with pytest.raises(InputError, match="fps"):
        open_video(tmp_path, fps=0)


def test_arrays_pairs_and_frames_are_sources() -> None:
    image = picture(0)
    given = [image, (0.5, image), Frame(image, 0.9, 7), (0.2, image)]
    with open_video(given, fps=10) as source:
        frames = list(source)
    assert [f.time for f in frames] == [0.0, 0.5, 0.9]
    assert source.dropped == 1  # its time went back


def test_the_writer_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        VideoWriter(tmp_path / "no" / "a.mp4")
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(picture(0), 0.0)
        with pytest.raises(InputError, match="begin a new file"):
            writer.write(picture(0, width=128), 0.1)
        with pytest.raises(InputError, match="uint8"):
            writer.write(np.zeros((4, 4, 3)), 0.2)
    VideoWriter(tmp_path / "never.mp4").close()
    assert not (tmp_path / "never.mp4").exists()


KILLED = """
import sys, time, numpy as np
from edgevid.video.writer import VideoWriter
writer = VideoWriter(sys.argv[1], fps=25)
noise = np.random.default_rng(0)
for n in range(100000):
    writer.write(noise.integers(0, 255, (48, 64, 3), dtype=np.uint8), n / 25)
    if n == 300:
        print("go", flush=True)
"""


def test_a_killed_writer_leaves_a_file_that_plays(tmp_path: Path) -> None:
    path = tmp_path / "killed.mp4"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with open_video(path) as source:
        assert sum(1 for _ in source) >= 100


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
    for seen in (planes, turned):
        middle = seen[height // 2, 160::320].astype(int)
        assert np.abs(middle - colors).max() <= 4


def test_a_file_is_a_file_whatever_its_name(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "clip[1].mp4", TIMES)) as source:
        assert len(list(source)) == len(TIMES)


def test_a_thousand_damages_are_read_or_refused_in_words(tmp_path: Path) -> None:
    """Nothing but SourceError comes out, and nothing hangs."""
    whole = [write_clip(tmp_path / "w.mp4", [n / 25 for n in range(20)]).read_bytes()]
    whole.append(transport_stream(20, 64))
    random = np.random.default_rng(5)
    ends = {"read": 0, "refused": 0}
    for n in range(1000):
        data = bytearray(whole[n % 2])
        for place in random.integers(0, len(data), int(random.choice([1, 5, 50, 400]))):
            data[place] = random.integers(256)
        (path := tmp_path / ("f.ts" if n % 2 else "f.mp4")).write_bytes(bytes(data))
        try:
            with open_video(path) as source:
                assert sum(frame.image.size > 0 for frame in source) == source.decoded
            ends["read"] += 1
        except SourceError:
            ends["refused"] += 1
    assert min(ends.values()) > 50


def test_a_picture_without_a_time_or_size_and_a_bad_place_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        with pytest.raises(InputError, match="time: expected seconds, got nan"):
            writer.write(picture(0), float("nan"))
        with pytest.raises(InputError, match="at least 2x2"):
            writer.write(picture(0)[:1, :1], 0.0)
    with VideoWriter(tmp_path) as writer, pytest.raises(SourceError, match="cannot be written"):
        writer.write(picture(0), 0.0)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:p@ss@gate/1", "rtsp://***:***@gate/1"),
        ("rtsp://admin:p/w@gate/1", "rtsp://***:***@gate/1"),
        ("http://gate:8080/@lobby", "http://gate:8080/@lobby"),
        ("http://gate/x?api_key=a&sig=b&channel=2", "http://gate/x?api_key=***&sig=***&channel=2"),
    ],
)
def test_awkward_secrets_are_hidden_too(uri: str, shown: str) -> None:
    assert masked(uri) == shown


def test_secrets_never_show() -> None:
    assert masked("rtsp://me:secret@cam/1") == "rtsp://***:***@cam/1"
    assert masked("rtsp://cam/1") == "rtsp://cam/1"
    assert masked("http://cam/v?user=bob&pwd=x1&size=3") == "http://cam/v?user=***&pwd=***&size=3"
    with LiveSource("rtsp://me:secret@127.0.0.1:9/1", give_up_s=0.2, first_wait_s=0.1) as source:
        with pytest.raises(SourceError) as caught:
            next(iter(source))
        told = str(caught.value) + repr(source.events) + source.uri
    assert "secret" not in told
    assert "127.0.0.1" in told


def transport_stream(frames: int, width: int) -> bytes:
    """MPEG-TS of `frames` images, 25 a second."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, 48, "yuv420p", 200_000
        stream.codec_context.gop_size = 5
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(n, width), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return memory.getvalue()


@contextmanager
def served(seconds: float, *widths: int) -> Iterator[str]:
    """The address of a camera that hangs up after `seconds` and comes back with the next width."""
    clips = [transport_stream(int(25 * seconds), width) for width in widths]
    waiting = iter(clips)

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            clip = next(waiting, None)
            self.send_response(200 if clip else 503)
            self.end_headers()
            step = len(clip or b"") // int(25 * seconds) + 1
            for at in range(0, len(clip or b""), step):
                try:
                    self.wfile.write((clip or b"")[at : at + step])
                except OSError:
                    return
                time.sleep(0.04)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live.ts"
    finally:
        server.shutdown()
        server.server_close()


def test_a_lost_stream_is_found_again_with_another_size_and_times_go_on() -> None:
    seen: list[tuple[float, tuple[int, int]]] = []
    with (
        served(3, 64, 128) as address,
        LiveSource(address, stall_s=2, first_wait_s=0.1, longest_wait_s=0.3, give_up_s=20) as source,
    ):
        for frame in source:
            seen.append((frame.time, frame.size))
            if frame.width == 128 and len(seen) > 20:
                break
    kinds = [event.kind for event in source.events]
    assert {size for _, size in seen} == {(64, 48), (128, 48)}
    assert all(a[0] < b[0] for a, b in pairwise(seen))
    assert kinds.count("connected") == 2
    assert "lost" in kinds
    assert "resized" in kinds
    assert source.reconnections == 1


def test_a_slow_consumer_loses_frames_and_never_falls_behind() -> None:
    lags = []
    with (
        served(6, 64) as address,
        LiveSource(address, stall_s=2, first_wait_s=0.1, give_up_s=20) as source,
    ):
        for frame, _ in zip(source, range(6), strict=False):
            lags.append(source.now() - frame.time)
            time.sleep(0.3)
    assert source.dropped > 10
    assert max(lags[1:]) < lags[0] + 0.5


def test_the_writer_uses_one_picture_of_ffmpegs_again_and_again(tmp_path: Path) -> None:
    """A new one each time tore holes into the heap: at 1080p a program grew by six megabytes an image."""
    shades, held = [40, 120, 200, 80], set[int]()
    with VideoWriter(tmp_path / "x.mp4", fps=10) as writer:
        for n, shade in enumerate(shades):
            writer.write(np.full((48, 65, 3), shade, np.uint8), n / 10)  # odd: the last column is left out
            held.add(id(writer._frame))
    assert len(held) == 1
    with open_video(tmp_path / "x.mp4") as video:
        assert [round(float(frame.image.mean()), -1) for frame in video] == shades
