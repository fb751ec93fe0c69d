"""What a camera, a server or a file must not do: lead to other hosts and files, or fill the memory."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_clips import clip
from web_server import send, serving

from edgevid.errors import InputError, SourceError
from edgevid.video.files import FileSource
from edgevid.video.http import HttpClient
from edgevid.video.images import ImageSource, read_image, to_jpeg
from edgevid.video.images import _without_texts as without_texts
from edgevid.video.live import LiveSource
from edgevid.video.open import source_options
from edgevid.video.packets import max_pixels

QUICK: dict[str, Any] = {"stall_s": 2.0, "min_backoff_s": 0.02, "max_backoff_s": 0.1, "give_up_s": 3.0}


def playlist(*lines: str) -> bytes:
    return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:1", *lines, "#EXT-X-ENDLIST"]).encode()


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (("#EXTINF:1,", "OTHER/secret.ts"), "another host, localhost"),
        (('#EXT-X-MAP:URI="OTHER/secret.mp4"', "#EXTINF:1,", "a.ts"), "another host, localhost"),
        (("#EXT-X-STREAM-INF:BANDWIDTH=1", "OTHER/secret.m3u8"), "another host, localhost"),
        (("#EXTINF:1,", "file:///etc/passwd"), "from http to file: rejected"),
        (("#EXTINF:1,", "ftp://localhost/secret.ts"), "from http to ftp: rejected"),
        (("#EXTINF:1,", "data:video/mp2t;base64,AAAA"), "from http to data: rejected"),
        (("#EXTINF:1,", "moved.ts"), "another host, localhost"),
    ],
    ids=["segment", "init", "variant", "file", "ftp", "data", "redirect"],
)
def test_a_playlist_leads_to_no_other_host_and_to_no_file(lines: tuple[str, ...], what: str) -> None:
    asked: list[str] = []

    def answer(handler: Any) -> None:
        host = handler.headers["Host"]
        asked.append(handler.path if not host.startswith("localhost") else f"{host} {handler.path}")
        other = f"http://localhost:{host.rpartition(':')[2]}"
        if handler.path.endswith("a.m3u8"):
            text = playlist(*lines).replace(b"OTHER", other.encode())
            send(handler, text, "application/vnd.apple.mpegurl")
        elif handler.path.endswith("moved.ts"):
            send(handler, b"", status=302, Location=f"{other}/secret.ts")
        else:
            send(handler, clip(5, format="mpegts", codec="mpeg2video"), "video/mp2t")

    with serving(answer) as address:
        with pytest.raises(SourceError, match=what), LiveSource(f"{address}/a.m3u8", **QUICK) as source:
            list(source)
        assert not [one for one in asked if "secret" in one]
        if "moved.ts" in lines:
            return
        if "localhost" in what:  # allowed, it is read
            end = time.monotonic() + 30
            with LiveSource(f"{address}/a.m3u8", follow_hosts=["localhost"], **QUICK):
                while not (found := [one for one in asked if one.startswith("localhost:")]) and time.monotonic() < end:
                    time.sleep(0.01)
            assert found


@pytest.mark.parametrize("path", ["/image.jpg", "/video.mp4", "/stream"])
def test_a_redirect_leads_to_no_other_host(path: str) -> None:
    reached: list[str] = []

    def answer(handler: Any) -> None:
        host = handler.headers["Host"]
        if host.startswith("localhost"):
            reached.append(handler.path)
            send(handler, clip(5))
        else:
            send(handler, b"", status=302, Location=f"http://localhost:{host.rpartition(':')[2]}{path}")

    with serving(answer) as address:
        with (
            pytest.raises(SourceError, match="another host, localhost: allow it with --follow-host"),
            LiveSource(address + path, **QUICK) as source,
        ):
            list(source)
        assert not reached
        with LiveSource(address + path, follow_hosts=["LocalHost"], **QUICK) as source:
            assert len(list(source)) == 5


def test_https_leads_to_no_http_and_the_options_of_a_program_reach_the_source() -> None:
    with pytest.raises(SourceError, match="from https to http: rejected"):
        HttpClient("https://gate/1", timeout_s=1).check_address("http://gate/1")
    HttpClient("http://gate/1", timeout_s=1).check_address("https://gate:8443/2")
    assert source_options("http://gate/1", follow_host=["cdn"])["follow_hosts"] == ["cdn"]


NESTED = {
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "concat": "ffconcat version 1.0\nfile 'http://localhost:1/secret.mp4'\n",
}


@pytest.mark.parametrize("kind", list(NESTED))
def test_a_file_or_stream_that_names_others_opens_none(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text(NESTED[kind])
    with pytest.raises(SourceError, match="expected a video"):
        FileSource(tmp_path / "a.mp4")
    with pytest.raises(SourceError, match="expected a video"):
        FileSource("stream", opened=io.BytesIO(NESTED[kind].encode()))


def png(side: int, *more: tuple[bytes, bytes]) -> bytes:
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + 3 * side)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), *more, (b"IDAT", rows), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_an_image_of_many_pixels_is_refused_with_the_limit(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEVID_MAX_PIXELS", "2000000")
    path, side = tmp_path / f"bomb.{kind}", 1500
    path.write_bytes(png(side) if kind == "png" else to_jpeg(np.zeros((side, side, 3), np.uint8)))
    limit = r"bomb\.\w+: expected an image of 2 megapixels at most \(EDGEVID_MAX_PIXELS raises the limit\)"
    with pytest.raises(SourceError, match=limit):
        read_image(path)
    with pytest.raises(SourceError, match=limit):
        ImageSource(path)
    monkeypatch.setenv("EDGEVID_MAX_PIXELS", "3000000")
    assert read_image(path).shape == (side, side, 3)  # type: ignore[union-attr]


def test_one_image_that_is_too_large_does_not_end_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_MAX_PIXELS", "10000")
    for number, side in enumerate((64, 400, 64)):
        (tmp_path / f"{number}.jpg").write_bytes(to_jpeg(np.zeros((side, side, 3), np.uint8)))
    with ImageSource(tmp_path) as images:
        assert [frame.size for frame in images] == [(64, 64)] * 2
        assert images.corrupted == 1


def test_a_video_of_many_pixels_is_refused_with_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_MAX_PIXELS", "1000")
    (tmp_path / "a.mp4").write_bytes(clip(5))
    limit = r"a\.mp4: .*none .* expected an image of 0.001 megapixels at most \(EDGEVID_MAX_PIXELS"
    with pytest.raises(SourceError, match=limit):
        FileSource(tmp_path / "a.mp4")
    monkeypatch.setenv("EDGEVID_MAX_PIXELS", "many")
    with pytest.raises(InputError, match="EDGEVID_MAX_PIXELS: expected a number of pixels"):
        max_pixels()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_the_texts_of_a_png_are_not_unpacked(kind: bytes, tmp_path: Path) -> None:
    """FFmpeg unpacks them into memory without a limit: 1 MB took 1.9 GB and 20 s."""
    with_text = png(8, (kind, b"k\0\0" + zlib.compress(bytes(100_000))), (b"gAMA", bytes(4)))
    (tmp_path / "a.png").write_bytes(with_text)
    assert without_texts(with_text) == png(8, (b"gAMA", bytes(4)))
    assert read_image(tmp_path / "a.png").shape == (8, 8, 3)  # type: ignore[union-attr]
    assert without_texts(b"\xff\xd8") == b"\xff\xd8"


def test_a_png_that_is_cut_off_in_a_chunk_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(8)[:20])
    assert read_image(tmp_path / "a.png") is None
