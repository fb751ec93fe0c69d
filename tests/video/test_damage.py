"""Damaged frames are marked, with all that are predicted from them, up to a key frame or a whole refresh."""

from __future__ import annotations

import contextlib
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgevid.types import Array
from edgevid.video.files import FileSource
from edgevid.video.packets import ODD_FRAMES, DamageDetector, _reference

GROUP = 12
VISIBLE = 255**2 / 10**2.5
"""Mean squared error of a PSNR of 25 dB."""


def texture(n: int, noise: int) -> Array:
    """(96, 160, 3) RGB that moves by 2 px a frame, with noise of less than `noise`."""
    blobs = np.random.default_rng(7).integers(0, 240, (12, 40, 3)).astype(np.uint8)
    moved = np.roll(np.repeat(np.repeat(blobs, 8, 0), 8, 1), 2 * n, 1)[:, :160]
    return moved + np.random.default_rng(n).integers(0, noise, moved.shape, np.uint8)


def clip(form: str, codec: str, frames: int = 48, noise: int = 16, **options: str) -> bytes:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    memory = io.BytesIO()
    with av.open(memory, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.bit_rate = 160, 96, 2_000_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 2  # the same bytes on any number of cores
        stream.codec_context.gop_size = GROUP
        stream.options = options
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(texture(n, noise), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return memory.getvalue()


def damaged(data: bytes, packets: list[int], flips: int = 12) -> bytes:
    """Bytes changed in the middle of some packets, in the order of decoding."""
    random, broken = np.random.default_rng(3), bytearray(data)
    with av.open(io.BytesIO(data)) as container:
        places = [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size]
    for number in packets:
        at, size = places[number]
        for place in random.integers(at + size // 3, at + size - 4, flips):
            broken[place] ^= 0x55
    return bytes(broken)


def shown(data: bytes, path: Path) -> dict[int, tuple[Array, bool]]:
    """Each frame's image and whether it is marked, by its number. Decoded by one thread: of H.264 with B-frames,
    FFmpeg's frame threads hand a frame on before another one notes its error, once in 20 times on a busy processor."""
    path.write_bytes(data)
    with FileSource(path, threads=1) as source:
        found = {round(25 * f.time): (f.image.astype(float), f.damaged) for f in source}
        assert source.damaged >= sum(marked for _, marked in found.values())
    return found


def marked(data: bytes, path: Path) -> list[int]:
    """The numbers of the frames that are marked."""
    return [number for number, (_, is_marked) in shown(data, path).items() if is_marked]


def wrong(found: dict[int, tuple[Array, bool]], clean: dict[int, tuple[Array, bool]]) -> list[int]:
    """The numbers of the frames that are visibly wrong."""
    return [n for n, (image, _) in found.items() if np.square(image - clean[n][0]).mean() > VISIBLE]


def plain_count(data: bytes) -> int:
    """How many frames FFmpeg decodes, by itself."""
    count = 0
    with av.open(io.BytesIO(data)) as container:
        for packet in container.demux(container.streams.video[0]):
            with contextlib.suppress(av.FFmpegError):
                count += len(packet.decode())
    return count


FORMS = [
    ("mp4", "libx264", {"bf": "0"}),
    ("mp4", "libx264", {"bf": "3"}),
    ("mpegts", "libx264", {"bf": "2", "x264-params": "slices=3"}),
    ("mp4", "mpeg4", {"bf": "2"}),
    ("mpegts", "mpeg2video", {"bf": "2"}),
    ("avi", "msmpeg4", {}),
    ("avi", "mjpeg", {}),
]


@pytest.mark.parametrize(("form", "codec", "options"), FORMS)
def test_what_follows_damage_is_marked_up_to_the_next_key_frame(
    tmp_path: Path, form: str, codec: str, options: dict[str, str]
) -> None:
    whole = clip(form, codec, **options)
    clean = shown(whole, tmp_path / "whole.bin")
    assert len(clean) == 48
    assert not any(is_marked for _, is_marked in clean.values())
    broken = damaged(whole, [16])
    found = shown(broken, tmp_path / "broken.bin")
    marks = [n for n, (_, is_marked) in found.items() if is_marked]
    assert len(found) == plain_count(broken)
    assert GROUP <= marks[0] <= 18
    assert marks[-1] < 2 * GROUP
    assert set(wrong(found, clean)) <= set(marks)
    if codec == "mjpeg":
        assert marks == [16]  # each frame is a key frame
    elif options.get("bf") == "0":
        assert marks == list(range(16, 2 * GROUP))


@pytest.mark.parametrize(("form", "codec"), [("mpegts", "mpeg2video"), ("avi", "mpeg4")])
def test_a_damaged_frame_that_nothing_is_predicted_from_is_alone(tmp_path: Path, form: str, codec: str) -> None:
    whole = clip(form, codec, bf="2")
    with av.open(io.BytesIO(whole)) as container:
        stamps = [p.pts for p in container.demux(container.streams.video[0]) if p.size]
    number = next(n for n in range(14, 30) if stamps[n] < stamps[n - 1])
    assert len(marked(damaged(whole, [number]), tmp_path / "a.bin")) == 1
    assert len(marked(damaged(whole, [number - 1]), tmp_path / "a.bin")) > 5


@pytest.mark.parametrize(("header", "expected"), [(0x41, 2), (0x01, 0), (0x65, 3), (0x61, 3)])
def test_the_header_of_an_h264_slice_states_whether_frames_are_predicted_from_it(header: int, expected: int) -> None:
    units = [b"\x09\x10", b"\x06\x05\x01\x00", bytes([header, 0x9A, 0x00])]  # delimiter, SEI, slice
    assert _reference(b"".join(b"\0\0\0\1" + unit for unit in units), b"\0\0\0\1\x67") == expected
    lengths = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    assert _reference(lengths, b"\1\x64\0\x1e\xff") == expected
    for data in (b"", b"\0\0\1", b"\0\0\1\x09\x10", b"\xff" * 9):
        assert _reference(data, b"") is None
        assert _reference(data, b"\1\x64\0\x1e\xff") is None


def test_an_intra_refresh_heals_when_it_is_complete(tmp_path: Path) -> None:
    """Columns of intra blocks sweep over the frames; there is no second key frame."""
    refresh = "intra-refresh=1:keyint=12:scenecut=0:ref=1"
    whole = clip("mpegts", "libx264", 72, **{"bf": "0", "x264-params": refresh})
    clean = shown(whole, tmp_path / "whole.ts")
    found = shown(damaged(whole, [20]), tmp_path / "a.ts")
    marks = [n for n, (_, is_marked) in found.items() if is_marked]
    assert marks == list(range(20, marks[-1] + 1))
    assert 2 * GROUP < marks[-1] < 4 * GROUP
    assert set(wrong(found, clean)) <= set(marks)


def test_damaged_hevc_is_marked_where_it_cannot_be_decoded(tmp_path: Path) -> None:
    whole = clip("mp4", "libx265", noise=1, **{"x265-params": "log-level=none:bframes=2:scenecut=0"})
    path, count = tmp_path / "a.mp4", 0
    assert marked(whole, path) == []
    for packet in (13, 14, 15, 16, 17):
        broken = damaged(whole, [packet], 60)
        marks = marked(broken, path)
        with FileSource(path) as source:
            assert len(list(source)) == plain_count(broken)
        assert all(GROUP <= n < 3 * GROUP for n in marks)
        count += bool(marks)
    assert count >= 2


def test_an_encoder_that_deviates_in_each_frame_is_taken_as_it_is() -> None:
    """A camera whose JPEGs each have an error of their own is not blind forever."""
    whole = clip("avi", "mjpeg", ODD_FRAMES + 20)
    with av.open(io.BytesIO(damaged(whole, list(range(ODD_FRAMES + 20)), 60))) as container:
        stream = container.streams.video[0]
        detector = DamageDetector(stream)
        found = [bad for packet in container.demux(stream) for _, bad in detector.decode(packet)]
    assert found == [True] * ODD_FRAMES + [False] * 20


def test_frames_have_the_streams_stamps(tmp_path: Path) -> None:
    """The decoder gets numbers in place of stamps; no frame keeps them."""
    data = clip("mpegts", "mpeg2video", bf="2")
    with av.open(io.BytesIO(data)) as container:
        expected = [(f.pts, f.time_base) for f in container.decode(video=0)]
    for live in (False, True):
        with av.open(io.BytesIO(data)) as container:
            stream = container.streams.video[0]
            detector = DamageDetector(stream, live=live)
            frames = [frame for packet in container.demux(stream) for frame, _ in detector.decode(packet)]
        assert [(f.pts, f.time_base) for f in frames] == expected
