"""HLS: every segment once and in order, live and recorded, across losses and restarts of the playlist."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numbered_clips import clip, number_in
from web_server import send, serving

from edgevid.errors import SourceError
from edgevid.types import Frame
from edgevid.video.hls import HlsStream, Segment, parse_playlist
from edgevid.video.live import LiveSource

QUICK = {"stall_s": 30.0, "min_backoff_s": 0.02, "max_backoff_s": 0.1}
TS = {"format": "mpegts", "codec": "mpeg2video"}


def segments(count: int, frames: int) -> list[bytes]:
    """MPEG-TS segments of so many frames each, whose numbers and stamps go on."""
    return [clip(frames, first=n * frames, **TS) for n in range(count)]


def playlist(names: list[str], target_s: float, first: int, *, ended: bool = False) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{target_s}", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    lines += [f"#EXTINF:{target_s},\n{name}" for name in names] + ["#EXT-X-ENDLIST"] * ended
    return "\n".join(lines).encode()


def live_server(parts: list[bytes], segment_s: float, *, window: int = 4, already: int = 3) -> Callable[[Any], None]:
    """A live stream that has `already` segments at its start; the last one ends it. Its window moves on with the clock,
    but waits for a client that has not requested its first segment yet, as on a busy machine."""
    begun, requested = list[float](), [0]

    def answer(handler: Any) -> None:
        if handler.path.endswith(".m3u8"):
            begun.append(time.monotonic())
            n = already + int((time.monotonic() - begun[0]) / segment_s)
            low, high = max(0, min(n - window, len(parts) - window, requested[-1])), min(n, len(parts))
            body = playlist([f"s{k}.ts" for k in range(low, high)], segment_s, low, ended=n > len(parts))
            send(handler, body, "application/vnd.apple.mpegurl")
        else:
            number = int(handler.path.rpartition("/s")[2].partition(".")[0])
            requested.append(max(requested[-1], number + 1))
            send(handler, parts[number], "video/mp2t")

    return answer


def numbers(frames: list[Frame]) -> list[int]:
    assert all(a.time < b.time for a, b in pairwise(frames))
    return [number_in(frame.image) for frame in frames]


@pytest.mark.parametrize(("frames", "count"), [(5, 12), (25, 5)], ids=["0.2 s", "1 s"])
def test_a_live_stream_is_handed_on_whole_in_order_and_at_its_pace(
    frames: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begins three segments before the end; a consumer of 20 ms loses nothing of frames 40 ms apart."""
    monkeypatch.setattr("edgevid.video.live.BEHIND_S", 60.0)  # a busy machine leaves out nothing, either
    taken: list[tuple[float, Frame]] = []
    opened = time.monotonic()
    with (
        serving(live_server(segments(count, frames), frames / 25)) as address,
        LiveSource(f"{address}/live/a.m3u8", **QUICK) as source,
    ):
        for frame in source:
            taken.append((time.monotonic(), frame))
            time.sleep(0.02)
    got = numbers([frame for _, frame in taken])
    assert got == list(range(count * frames))
    assert (source.dropped, source.reconnections) == (0, 0)
    assert [event.kind for event in source.events] == ["connected", "ended"]
    assert source.live
    length_s = taken[-1][1].time - taken[0][1].time
    assert length_s == pytest.approx((count * frames - 1) / 25, abs=0.01)
    assert taken[-1][0] - opened > length_s - 0.05  # never faster than it was filmed


def test_a_slow_consumer_falls_behind_by_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevid.video.live.BEHIND_S", 0.3)
    lags = list[float]()
    with serving(live_server(segments(8, 10), 0.4)) as address, LiveSource(f"{address}/a.m3u8", **QUICK) as source:
        for frame in source:
            lags.append(source.now() - frame.time)
            time.sleep(0.1)
    assert source.dropped > 10
    assert np.median(lags[-5:]) < np.median(lags[:5]) + 1.0
    assert source.decoded == 80  # what was left out was read


def test_a_recording_is_played_once_as_fast_as_it_is_taken() -> None:
    parts = segments(3, 10)

    def answer(handler: Any) -> None:
        if handler.path == "/master.m3u8":
            variants = "#EXT-X-STREAM-INF:BANDWIDTH=9\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=99\nhigh/v.m3u8"
            send(handler, f"#EXTM3U\n{variants}".encode(), "application/x-mpegURL")
        elif handler.path == "/high/v.m3u8":
            send(handler, playlist(["s0.ts", "s1.ts", "s2.ts"], 10, 0, ended=True), "text/plain")
        else:
            send(handler, parts[int(handler.path[-4])])

    with serving(answer) as address, LiveSource(f"{address}/master.m3u8", **QUICK) as source:
        begun = time.monotonic()
        assert numbers(list(source)) == list(range(30))
        assert time.monotonic() - begun < 10
    assert not source.live
    assert source.events[-1].kind == "ended"


def test_a_server_that_fails_once_is_asked_again_and_a_gone_segment_is_an_event() -> None:
    parts, requests = segments(6, 10), list[str]()
    begun = time.monotonic()

    def answer(handler: Any) -> None:
        requests.append(handler.path)
        n = min(3 + int((time.monotonic() - begun) / 0.4), 6)
        if handler.path.endswith("m3u8"):
            names = [f"s{k}.ts" for k in range(6)][:n]
            send(handler, playlist(names, 0.4, 0, ended=time.monotonic() - begun > 3), "application/x-mpegurl")
        elif handler.path == "/s1.ts" and requests.count("/s1.ts") == 1:
            handler.send_error(500)  # loses the connection
        elif handler.path == "/s3.ts":
            handler.send_error(404)
        else:
            send(handler, parts[int(handler.path[2])], "video/mp2t")

    with serving(answer) as address, LiveSource(f"{address}/a.m3u8", **QUICK) as source:
        got = numbers(list(source))
    assert got == [*range(30), *range(40, 60)]
    assert [event.kind for event in source.events] == ["connected", "lost", "skipped", "ended"]
    assert source.events[1].detail == "the server answers 500 Internal Server Error"
    assert source.events[2].detail == "segment 3 is gone (404)"
    assert source.reconnections == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-mpegURL"])
def test_a_playlist_is_known_by_its_content_and_a_segment_is_asked_for_again(kind: str) -> None:
    """A byte order mark, a wrong type; the second segment is there late, the third never."""
    parts, requests = segments(4, 5), list[str]()

    def answer(handler: Any) -> None:
        requests.append(handler.path)
        if handler.path == "/play":
            text = playlist([f"s{k}.ts" for k in range(4)], 0.2, 0, ended=True)
            send(handler, b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"), kind)
        elif handler.path == "/s2.ts" or (handler.path == "/s1.ts" and requests.count("/s1.ts") == 1):
            handler.send_error(404)
        else:
            send(handler, parts[int(handler.path[2])], "video/mp2t")

    with serving(answer) as address, LiveSource(f"{address}/play", **QUICK) as source:
        assert numbers(list(source)) == [*range(10), *range(15, 20)]
    assert sorted(event.kind for event in source.events) == ["connected", "ended", "skipped"]


def break_once(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """The connection breaks once, behind segment `after`."""
    broken, whole = list[int](), HlsStream._next

    def next_segment(self: HlsStream) -> bool:
        if self.after == after and not broken:
            broken.append(1)
            raise IndexError
        return whole(self)

    monkeypatch.setattr(HlsStream, "_next", next_segment)


def test_a_stream_that_ended_while_it_was_away_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    break_once(monkeypatch, after=5)
    with serving(live_server(segments(6, 5), 0.2)) as address, LiveSource(f"{address}/a.m3u8", **QUICK) as source:
        assert numbers(list(source))[:20] == list(range(20))
    assert "lost" in [event.kind for event in source.events]
    assert source.events[-1].kind == "ended"


def test_a_connection_that_is_lost_goes_on_behind_the_last_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks it: what was read is not read again."""
    break_once(monkeypatch, after=3)
    with serving(live_server(segments(6, 10), 0.4)) as address, LiveSource(f"{address}/a.m3u8", **QUICK) as source:
        got = numbers(list(source))
    assert got[-20:] == list(range(40, 60))
    assert got == sorted(set(got))
    assert source.reconnections == 1


def test_a_server_that_begins_its_numbers_again_and_stamps_that_jump() -> None:
    """The stamps of the second half begin at 0 again: frames are handed on at once, times going on."""
    parts = [*segments(2, 10), *segments(2, 10)]
    with (
        serving(live_server(parts, 0.4, window=9, already=4)) as address,
        LiveSource(f"{address}/a.m3u8", **QUICK) as source,
    ):
        frames = list(source)
    assert [number_in(f.image) for f in frames] == [*range(10, 20), *range(20), *[]][-30:]
    steps = [b.time - a.time for a, b in pairwise(frames)]
    assert max(steps) == pytest.approx(0.04, abs=0.005)
    assert [event.kind for event in source.events] == ["connected", "jumped", "ended"]


def test_a_playlist_that_stands_still_is_a_stall() -> None:
    part = clip(5, **TS)

    def answer(handler: Any) -> None:
        body = playlist(["s0.ts"], 0.1, 0) if handler.path.endswith("m3u8") else part
        send(handler, body, "application/x-mpegurl" if handler.path.endswith("m3u8") else "video/mp2t")

    with serving(answer) as address:
        source = LiveSource(f"{address}/a.m3u8", stall_s=0.4, min_backoff_s=0.02, give_up_s=1.0)
        with pytest.raises(SourceError, match="no frame for 1 s"):
            list(source)
        source.close()
    assert "no new segment for 0.4 s" in [event.detail for event in source.events]
    assert source.decoded == 5  # after the stall the same segment is not read again


def test_fragmented_mp4_behind_an_initialization_section() -> None:
    data = clip(20, movflags="+frag_keyframe+empty_moov+default_base_moof", frag_duration="100000")
    cuts = [n for n in range(len(data)) if data[n : n + 4] == b"moof"]
    begins = [cut - 4 for cut in cuts]
    text = '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI="v.mp4",BYTERANGE="'
    text += f'{begins[0]}@0"\n'
    for begin, end in zip(begins, [*begins[1:], len(data)], strict=True):
        text += f"#EXTINF:0.2,\n#EXT-X-BYTERANGE:{end - begin}" + f"@{begin}" * (begin == begins[0]) + "\nv.mp4\n"

    def answer(handler: Any) -> None:
        if handler.path.endswith("m3u8"):
            send(handler, (text + "#EXT-X-ENDLIST").encode(), "application/x-mpegurl")
            return
        first, _, last = handler.headers["Range"].removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1]
        send(handler, part, status=206, Content_Range=f"bytes {first}-{last}/{len(data)}")

    with serving(answer) as address, LiveSource(f"{address}/a.m3u8", **QUICK) as source:
        assert numbers(list(source)) == list(range(20))


def test_an_encrypted_recording_is_left_to_ffmpeg(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(range(16)))
    (tmp_path / "info").write_text(f"key\n{tmp_path / 'key'}\n")
    (tmp_path / "clip.ts").write_bytes(clip(20, **TS))
    names = {"hls_key_info_file": str(tmp_path / "info"), "hls_list_size": "0", "hls_time": "0.4"}
    with (
        av.open(str(tmp_path / "clip.ts")) as plain,
        av.open(str(tmp_path / "a.m3u8"), "w", format="hls", options=names) as made,
    ):
        video = made.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                made.mux(packet)
    kinds = {".m3u8": "application/x-mpegurl", ".ts": "video/mp2t", "": "application/octet-stream"}

    def answer(handler: Any) -> None:
        path = tmp_path / handler.path[1:]
        send(handler, path.read_bytes(), kinds[path.suffix])

    with serving(answer) as address, LiveSource(f"{address}/a.m3u8", follow_hosts=["*"], **QUICK) as source:
        assert numbers(list(source)) == list(range(20))
    with (
        serving(answer) as address,
        pytest.raises(SourceError, match="encrypted segments, from any host: allow it with --follow-host"),
        LiveSource(f"{address}/a.m3u8", **QUICK) as source,
    ):
        list(source)


def test_what_a_playlist_says() -> None:
    text = """#EXTM3U
#EXT-X-TARGETDURATION:6
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-KEY:METHOD=NONE
#EXT-X-MAP:URI="init.mp4"
#EXTINF:6,
#EXT-X-BYTERANGE:100@20
a.mp4
#EXTINF:6,
#EXT-X-BYTERANGE:50
a.mp4
#EXTINF:6,
/b.ts?token=1
"""
    found = parse_playlist(text, "http://h/live/x.m3u8?t=2")
    init = ("http://h/live/init.mp4", None)
    assert found.segments == [
        Segment(7, "http://h/live/a.mp4", (20, 100), init),
        Segment(8, "http://h/live/a.mp4", (120, 50), init),
        Segment(9, "http://h/b.ts?token=1", None, init),
    ]
    assert (found.target_s, found.ended, found.encrypted, found.variants) == (6.0, False, False, [])
    assert parse_playlist('#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXT-X-ENDLIST', "http://h/x").encrypted
    with pytest.raises(SourceError, match="expected an HLS playlist that begins with #EXTM3U"):
        parse_playlist("<html>", "http://h/x")
