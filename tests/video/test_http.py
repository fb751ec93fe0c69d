"""Videos by HTTP: finite files played once, broken connections resumed, logins, streams without an end."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import re
import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from numbered_clips import clip, number_in
from web_server import chunked, file_server, send, serving

from edgevid.errors import SourceError
from edgevid.video.http import HttpClient, HttpError, HttpStream
from edgevid.video.live import LiveSource

QUICK = {"stall_s": 2.0, "min_backoff_s": 0.02, "max_backoff_s": 0.1}


def played(address: str, **options: Any) -> tuple[list[int], LiveSource]:
    """The numbers of the frames that come until the source ends, and the source."""
    with LiveSource(address, give_up_s=10, **QUICK, **options) as source:
        frames = list(source)
    assert all(a.time < b.time for a, b in pairwise(frames))
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return [number_in(frame.image) for frame in frames], source


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("breaks", [0, 3])
@pytest.mark.parametrize(("format", "codec"), [("mp4", "mpeg4"), ("mpegts", "mpeg2video"), ("matroska", "mpeg4")])
def test_a_file_is_played_once_to_its_end_though_connections_break(
    format: str, codec: str, breaks: int, ranges: bool
) -> None:
    data = clip(60, format=format, codec=codec)
    with serving(file_server(data, ranges=ranges, breaks=breaks)) as address:
        numbers, source = played(f"{address}/clip")
    assert numbers == list(range(60))
    assert (source.dropped, source.reconnections, source.live) == (0, 0, False)
    kinds = [event.kind for event in source.events]
    assert kinds.count("connected") == kinds.count("ended") == 1
    assert ("lost" in kinds) is (breaks > 0)


@pytest.mark.parametrize(
    ("format", "codec", "options"),
    [("matroska", "mpeg4", {}), ("mp4", "mpeg4", {"movflags": "+faststart"}), ("mpegts", "mpeg2video", {})],
)
def test_a_file_of_unknown_length_is_played_once(format: str, codec: str, options: dict[str, str]) -> None:
    """MP4 and Matroska announce their duration; MPEG-TS comes faster than it plays."""
    with serving(chunked(clip(40, format=format, codec=codec, **options))) as address:
        numbers, source = played(f"{address}/clip")
    assert numbers == list(range(40))
    assert source.reconnections == 0


@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize(
    ("format", "codec"), [("mpegts", "mpeg2video"), ("avi", "mpeg4"), ("mjpeg", "mjpeg"), ("m4v", "mpeg4")]
)
def test_a_recording_whose_end_only_the_connection_shows_is_played_once(
    format: str, codec: str, chunks: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """HTTP/1.0 ends an answer without a length by closing, as a broken one: it is requested again."""
    data = clip(40, format=format, codec=codec)

    def until_closed(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(data)

    with serving(chunked(data) if chunks else until_closed) as address:
        numbers, source = played(f"{address}/clip")
    assert numbers == list(range(40))
    assert (source.dropped, source.reconnections, source.live) == (0, 0, False)
    assert "exception being dropped" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "image/jpeg", "audio/mpeg", "nonsense"])
def test_a_wrong_content_type_hides_no_video(kind: str) -> None:
    with serving(file_server(clip(5), kind=kind)) as address:
        assert played(f"{address}/clip")[0] == [0, 1, 2, 3, 4]


def test_a_file_that_is_no_video_ends_with_a_sentence() -> None:
    with (
        serving(file_server(b"no video" * 9999)) as address,
        LiveSource(f"{address}/a.mp4", **QUICK) as source,
        pytest.raises(SourceError, match=r"a\.mp4: no frame: expected a video file, FFmpeg cannot read this one"),
    ):
        next(iter(source))


def test_ffmpeg_that_reads_on_after_an_error_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """PyAV prints a second exception of a file object, with its traceback."""

    def fails(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"G" * 5000)
        time.sleep(0.8)

    with serving(fails) as address, LiveSource(f"{address}/a", **QUICK | {"stall_s": 0.2}) as source:
        while not source.events:
            time.sleep(0.01)
        assert "stalled" in [event.kind for event in source.events]
    assert "exception being dropped" not in capfd.readouterr().err


def test_a_consumer_slower_than_the_file_loses_nothing() -> None:
    with serving(file_server(clip(12))) as address, LiveSource(f"{address}/a.mp4", **QUICK) as source:
        numbers = []
        for frame in source:
            numbers.append(number_in(frame.image))
            time.sleep(0.02)
    assert numbers == list(range(12))


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(404, "check the path"), (401, "check the user and the password"), (403, "no permission for the stream")],
)
def test_a_refusal_at_the_first_connection_ends_with_a_sentence(status: int, remedy: str) -> None:
    with (
        serving(lambda handler: handler.send_error(status)) as address,
        LiveSource(f"{address}/no.mp4", **QUICK) as source,
        pytest.raises(SourceError, match=rf"no frame: the server answers {status} .*; .*{remedy}"),
    ):
        next(iter(source))


def test_a_web_page_is_no_video() -> None:
    with (
        serving(lambda handler: send(handler, b"<html>", "text/html")) as address,
        LiveSource(f"{address}/", **QUICK) as source,
        pytest.raises(SourceError, match="the address shows a web page; open it in a browser"),
    ):
        next(iter(source))


def test_a_server_that_is_not_ready_is_asked_again_and_given_up_only_where_that_was_chosen() -> None:
    answers = itertools.count()
    data = clip(5)

    def answer(handler: Any) -> None:
        handler.send_error(503) if next(answers) < 3 else file_server(data)(handler)

    with serving(answer) as address:
        numbers, source = played(f"{address}/clip.mp4")
    assert numbers == [0, 1, 2, 3, 4]
    assert [event.detail for event in source.events].count("the server answers 503 Service Unavailable") == 3
    with (
        serving(lambda handler: handler.send_error(503)) as address,
        LiveSource(f"{address}/x", give_up_s=0.1, **QUICK) as source,
        pytest.raises(SourceError, match=r"no frame for 0\.1 s"),
    ):
        next(iter(source))


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_a_login_with_an_odd_password(scheme: str) -> None:
    user, password, data = "admin", "12/S3@c ret%", clip(5)

    def right(given: str) -> bool:
        if scheme == "Basic":
            return given == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', given))
        md5 = lambda text: hashlib.md5(text.encode()).hexdigest()  # noqa: E731
        ours = md5(f"{user}:r:{password}"), md5(f"GET:{fields.get('uri')}")
        middle = ":".join(fields.get(key, "") for key in ("nonce", "nc", "cnonce", "qop"))
        return fields.get("response") == md5(f"{ours[0]}:{middle}:{ours[1]}")

    def answer(handler: Any) -> None:
        if right(handler.headers.get("Authorization", "")):
            file_server(data)(handler)
            return
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", f'{scheme} realm="r", nonce="n", qop="auth"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with serving(answer) as address:
        login = address.replace("//", f"//{user}:{password}@")
        numbers, source = played(f"{login}/clip.mp4")
        assert numbers == [0, 1, 2, 3, 4]
        assert "S3" not in source.uri + repr(source.events)
        with (
            pytest.raises(SourceError, match="401") as caught,
            LiveSource(f"{login}/x".replace("12/", "13/"), **QUICK) as source,
        ):
            next(iter(source))
    assert "S3" not in str(caught.value)


def test_a_response_is_a_file_that_can_be_sought_in_with_and_without_ranges() -> None:
    data = bytes(range(256)) * 4000
    for ranges in (True, False):
        with serving(file_server(data, ranges=ranges)) as address:
            stream = HttpStream(HttpClient(address, timeout_s=2))
            assert (stream.length, stream.seekable()) == (len(data), True)
            for at, whence, place in ((10, 0, 10), (900_000, 0, 900_000), (-6, 2, len(data) - 6), (3, 0, 3)):
                assert stream.seek(at, whence) == place
                assert stream.tell() == place
                assert stream.read(4) == data[place : place + 4]
            stream.seek(0, 2)
            assert stream.read(10) == b""
            stream.close()


def test_a_file_that_has_changed_is_not_joined_to_what_was_read() -> None:
    bodies = iter([b"a" * 9000, b"b" * 8000])

    def answer(handler: Any) -> None:
        file_server(next(bodies), breaks=1)(handler)

    with serving(answer) as address:

        def once(_: Exception) -> None:
            stream.retry = fail

        def fail(error: Exception) -> None:
            raise error

        stream = HttpStream(HttpClient(address, timeout_s=2), retry=once)
        assert stream.read(6000) == b"a" * 6000
        with pytest.raises(SourceError, match="the file has changed: 9000 bytes before, 8000 now"):
            stream.read(4096)


def test_what_a_server_that_cannot_be_reached_says() -> None:
    with pytest.raises(SourceError, match="Connection refused"):
        HttpClient("http://127.0.0.1:9/x", timeout_s=1).get()
    with (
        serving(lambda handler: handler.send_error(418, "teapot")) as address,
        pytest.raises(HttpError, match="the server answers 418 teapot") as caught,
    ):
        HttpClient(address, timeout_s=1).get()
    assert caught.value.status == 418


@pytest.mark.parametrize("kind", ["video/mp2t", "multipart/x-mixed-replace; boundary=f", "video/mp4"])
def test_closing_ends_a_read_that_waits_and_leaves_no_thread(kind: str) -> None:
    asked, released = threading.Event(), threading.Event()

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        if kind == "video/mp4":
            handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.flush()
        asked.set()
        released.wait(20)

    before = set(threading.enumerate())
    with serving(answer) as address:
        source = LiveSource(f"{address}/x", stall_s=15.0)
        assert asked.wait(10)
        time.sleep(0.1)  # now it waits for the first byte
        started = time.monotonic()
        source.close()
        assert not source._thread.is_alive()
        assert time.monotonic() - started < 10  # far below the 15 s after which the read itself would end
        assert list(source) == []
        released.set()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "edgevid-live"]


def test_bytes_after_the_end_of_a_stream_of_unknown_length() -> None:
    with serving(chunked(b"abc" * 5000)) as address:
        stream = HttpStream(HttpClient(address, timeout_s=2))
        assert not stream.seekable()
        read = io.BytesIO()
        while part := stream.read(4096):
            read.write(part)
    assert read.getvalue() == b"abc" * 5000


@pytest.mark.parametrize("moment", ["before the answer", "in its body", "behind a redirection"])
def test_closing_does_not_wait_for_a_server(moment: str) -> None:
    asked, released = threading.Event(), threading.Event()

    def answer(handler: Any) -> None:
        if moment == "behind a redirection" and handler.path == "/a":
            handler.send_response(302)
            handler.send_header("Location", "/b")
            handler.end_headers()
            return
        if moment == "in its body":
            handler.send_response(200)
            handler.end_headers()
        asked.set()
        released.wait(20)

    with serving(answer) as address:
        source = LiveSource(f"{address}/a", stall_s=20)
        assert asked.wait(20)
        source.close()
        assert not released.is_set()
        assert not source._thread.is_alive()
        released.set()


def test_a_digest_login_with_sha_256_and_letters_beyond_ascii() -> None:
    logins: list[str] = []

    def answer(handler: Any) -> None:
        logins.append(handler.headers.get("Authorization", ""))
        if logins[-1]:
            send(handler, clip(3))
        else:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Digest realm="gate", nonce="n", algorithm=SHA-256')
            handler.end_headers()

    def sha(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    with serving(answer) as address:
        numbers, _ = played(address.replace("//", "//admin:Süd/1@") + "/a.mp4")
    assert numbers == [0, 1, 2]
    expected = sha(f"{sha('admin:gate:Süd/1')}:n:{sha('GET:/a.mp4')}")
    assert f'response="{expected}"' in logins[-1]
