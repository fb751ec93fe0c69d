"""Video files, made here: uneven times, rotation, damage."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import set_rotation, transport_stream, write_clip

from edgevid.errors import SourceError, masked
from edgevid.video.open import open_video

TIMES = [0.0, 0.04, 0.08, 0.5, 0.54, 2.0]


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


def test_looping_goes_on_in_time(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "a.mp4", [0.0, 0.04, 0.08]), loop=True) as source:
        frames = [f for f, _ in zip(source, range(8), strict=False)]
    steps = np.diff([f.time for f in frames])
    assert steps.min() > 0.02
    assert steps.max() < 0.08


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


def test_damaged_packets_are_skipped_and_the_rest_is_read(tmp_path: Path) -> None:
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
    ("name", "content", "expected"),
    [
        ("missing.mp4", None, "there is no such file"),
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"this is no video\n" * 50, "cannot read this one"),
    ],
)
def test_what_is_no_video_is_rejected_with_a_reason(
    tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=expected) as caught:
        open_video(path)
    assert name in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_a_container_without_frames_is_rejected(tmp_path: Path) -> None:
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


def test_a_thousand_damages_are_read_or_rejected(tmp_path: Path) -> None:
    """Nothing but SourceError comes out, and nothing hangs."""
    whole = [write_clip(tmp_path / "w.mp4", [n / 25 for n in range(20)]).read_bytes()]
    whole.append(transport_stream(20, 64))
    random = np.random.default_rng(5)
    ends = {"read": 0, "rejected": 0}
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
            ends["rejected"] += 1
    assert min(ends.values()) > 50


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
