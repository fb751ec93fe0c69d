"""Video files, made here: uneven times, rotation, damage."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from video_clips import set_rotation, transport_stream, write_clip

from edgevid.errors import SourceError, masked
from edgevid.video.open import FrameSeeker, open_video

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
    [((0, 1, -1, 0), (48, 64), "top"), ((-1, 0, 0, -1), (64, 48), "right"), ((0, -1, 1, 0), (48, 64), "bottom")],
)
def test_rotation_is_honored(tmp_path: Path, matrix: tuple[int, ...], size: tuple[int, int], edge: str) -> None:
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


@pytest.mark.parametrize("name", ["2026-01-31T12:00:00.mp4", "50 %d %41.mp4", "Kamera Süd.mp4", "日本[1].mp4"])
def test_any_name_of_a_file_is_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "a.mp4", TIMES).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with open_video(name) as source:
        assert len(list(source)) == 6


@pytest.mark.parametrize("address", ["file://{}/a b#.mp4", "file://{}/a%20b%23.mp4"])
def test_an_address_of_a_file_is_read(tmp_path: Path, address: str) -> None:
    write_clip(tmp_path / "a b#.mp4", TIMES)
    with open_video(address.format(tmp_path)) as source:
        assert len(list(source)) == 6


def encode(to: Any, form: str, codec: str, frames: int, *, begin: int = 0, fps: int = 25) -> None:
    """A clip whose frame n shows n."""
    with av.open(to, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 12
        if codec in ("libx264", "mpeg4"):
            stream.options = {"bf": "2"}
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * n, np.uint8), format="rgb24")
            frame.pts, frame.time_base = begin + n, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


needs_x264 = pytest.mark.skipif("libx264" not in av.codecs_available, reason="this PyAV has no libx264")


@needs_x264
@pytest.mark.parametrize("fps", [10, 25])
def test_a_raw_dump_is_read_in_full_at_its_codecs_rate(
    tmp_path: Path, fps: int, caplog: pytest.LogCaptureFixture
) -> None:
    encode(str(tmp_path / "a.h264"), "h264", "libx264", 50, fps=fps)
    with open_video(tmp_path / "a.h264") as source:
        frames = list(source)
    assert [f.time for f in frames] == pytest.approx([n / fps for n in range(50)])
    assert [round(float(f.image.mean()) / 4) for f in frames] == list(range(50))
    assert source.notes() == ["time stamps repaired: 50 missing"]  # type: ignore[attr-defined]
    assert "time stamps repaired: 50 missing" in caplog.text


@needs_x264
def test_b_frames_in_avi_come_in_order_and_evenly(tmp_path: Path) -> None:
    encode(str(tmp_path / "a.avi"), "avi", "libx264", 50)
    with open_video(tmp_path / "a.avi") as source:
        frames = list(source)
    assert [round(float(f.image.mean()) / 4) for f in frames] == list(range(50))
    assert np.diff([f.time for f in frames]) == pytest.approx(0.04)


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
@pytest.mark.parametrize("begin", [0, 10_000])
def test_joined_transport_streams_are_read_to_their_end(tmp_path: Path, codec: str, begin: int) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    parts = []
    for first in (0, begin):
        encode(memory := io.BytesIO(), "mpegts", codec, 50, begin=first)
        parts.append(memory.getvalue())
    (path := tmp_path / "twice.ts").write_bytes(b"".join(parts))
    with open_video(path) as source:
        frames = list(source)
    assert np.diff([f.time for f in frames]) == pytest.approx(0.04)
    assert [round(float(f.image.mean()) / 4) for f in frames] == [*range(50), *range(50)]
    assert source.repaired == {"jumped": 1}  # type: ignore[attr-defined]
    with FrameSeeker(path) as stills:
        assert [stills.at(s).time for s in (2.4, 0.4)] == pytest.approx([2.4, 0.4])


def test_stamps_that_wrap_go_on(tmp_path: Path) -> None:
    """An MPEG-TS counts 33 bits of 90 kHz: they start again after 26.5 hours."""
    last = (1 << 33) * 25 // 90_000
    encode(str(tmp_path / "a.ts"), "mpegts", "mpeg2video", 50, begin=last - 20)
    with open_video(tmp_path / "a.ts") as source:
        times = [f.time for f in source]
    assert np.diff(times) == pytest.approx(0.04, abs=1e-4)
    assert len(times) == 50


def test_a_still_of_a_transport_stream_is_found_at_any_second(tmp_path: Path) -> None:
    encode(str(tmp_path / "a.ts"), "mpegts", "mpeg2video", 50, begin=33)
    with FrameSeeker(tmp_path / "a.ts") as stills:
        for n in (30, 2, 0, 49, 12):
            frame = stills.at(n / 25)
            assert frame.time == pytest.approx(n / 25)
            assert round(float(frame.image.mean()) / 4) == n


@pytest.mark.parametrize("begin", [0, 50])
def test_the_count_of_a_matroska_file_is_that_of_its_frames(tmp_path: Path, begin: int) -> None:
    encode(str(tmp_path / "a.mkv"), "matroska", "mpeg4", 50, begin=begin)
    with open_video(tmp_path / "a.mkv") as source:
        assert source.frame_count == pytest.approx(50, abs=1)


def test_a_cut_off_file_says_what_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encode(str(tmp_path / "whole.mp4"), "mp4", "mpeg4", 50)
    data = (tmp_path / "whole.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    for share in (0.2, 0.8):  # in the frames, in the index
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(SourceError, match=r"cut off at \d+ bytes: its index \(moov\), written last, is not"):
            open_video(cut)
    with (
        av.open(str(tmp_path / "whole.mp4")) as given,
        av.open(str(tmp_path / "fast.mp4"), "w", format="mp4", options={"movflags": "faststart"}) as made,
    ):
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.size:
                packet.stream = stream
                made.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    with open_video(cut) as source:
        count = len(list(source))
        missing = source.missing  # type: ignore[attr-defined]
        assert source.frame_count == 50 - missing
    assert 10 < missing <= 51 - count  # one may be there in part
    assert f"the last {missing} of its 50 frames are missing; copy it again" in caplog.text
    with open_video(tmp_path / "fast.mp4") as source:
        assert source.notes() == []  # type: ignore[attr-defined]


def test_a_cover_is_no_video_and_the_default_of_several_tracks_is_read(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        streams: list[Any] = [container.add_stream("mpeg4", rate=25) for _ in range(2)]
        for stream, size in zip(streams, (32, 64), strict=True):
            stream.width, stream.height, stream.pix_fmt = size, 48, "yuv420p"
            stream.disposition = (Disposition.default if size == 64 else Disposition.dub).value
        for n in range(5):
            for stream in streams:
                image = np.full((48, stream.width, 3), 40, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    with open_video(tmp_path / "two.mkv") as source:
        assert {frame.size for frame in source} == {(64, 48)}
    cover = Path(__file__).parents[3] / "shared/cases/video/in/cover.mp3"
    if cover.exists():
        with pytest.raises(SourceError, match="a sound file with a cover image"):
            open_video(cover)
