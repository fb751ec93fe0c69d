"""Small clips for the tests of sources and writers."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from edgevid.video.writer import VideoWriter


def gray(n: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A gray image whose brightness encodes its number, with a bright left edge."""
    image = np.full((height, width, 3), 40 + 20 * (n % 8), np.uint8)
    image[:, : width // 8] = 250
    return image


def write_clip(path: Path, times: list[float], **size: int) -> Path:
    with VideoWriter(path, fps=25) as writer:
        for n, t in enumerate(times):
            writer.write(gray(n, **size), t)
    return path


def set_rotation(path: Path, matrix: tuple[int, ...]) -> None:
    """Writes the display matrix (a, b, c, d of 1/65536) into the track header of an MP4 file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    a, b, c, d = (value * 65536 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


def transport_stream(frames: int, width: int) -> bytes:
    """MPEG-TS of `frames` images at 25 fps."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, 48, "yuv420p", 200_000
        stream.codec_context.gop_size = 5
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(gray(n, width), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return memory.getvalue()


def exif(orientation: int, order: str = "<") -> bytes:
    """EXIF data that state an orientation of 1 to 8, in the byte order "<" or ">"."""
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    return head + entry + bytes(4)


def with_exif(image: bytes, data: bytes) -> bytes:
    """A JPEG, PNG or WebP with EXIF data."""
    if image.startswith(b"\xff\xd8"):
        part = b"Exif\0\0" + data
        return image[:2] + b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part + image[2:]
    if image.startswith(b"\x89PNG"):
        part = b"eXIf" + data
        chunk = struct.pack(">I", len(data)) + part + struct.pack(">I", zlib.crc32(part))
        return image[:33] + chunk + image[33:]
    padded = data + b"\0" * (len(data) % 2)
    body = image[8:] + b"EXIF" + struct.pack("<I", len(data)) + padded
    return b"RIFF" + struct.pack("<I", len(body)) + body
