"""HTTP live streaming (RFC 8216) as one stream of bytes: every segment once, in order. Segments are MPEG-TS, or
fragmented MP4 behind an initialization section: joined, both are one stream for FFmpeg. Encrypted ones are left
to FFmpeg's own reader."""

import http.client
import re
import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urljoin

from edgevid.errors import SourceError
from edgevid.video.http import HttpClient, HttpError, HttpStream, raising_once

START = 3  # A live stream begins so many segments before its end, as RFC 8216 asks for
ATTEMPTS = 3  # A server may name a segment a moment before it has it
Span = tuple[int, int]


@dataclass
class Hooks:
    """What a connection calls while it reads: each may raise to end it."""

    check: Callable[[], None]  # Before each read: raises when the source is closed
    check_alive: Callable[[], None]  # The same for a live stream, and raises without frames for too long
    wait: Callable[[float], None]  # Sleeps, and raises when the source is closed meanwhile
    report: Callable[[Any, str], Any]
    retry: Callable[[Exception], None]  # A file's connection broke: waits before the next attempt


class Segment(NamedTuple):
    """One entry of a playlist."""

    sequence: int
    url: str
    span: Span | None  # First byte and length, where it is a part of its file
    init: tuple[str, Span | None] | None  # The initialization section that must stand before it


class Playlist(NamedTuple):
    """What a playlist says."""

    segments: list[Segment]
    target_s: float  # No segment is longer
    ended: bool  # Whether no more segments follow
    encrypted: bool
    variants: list[tuple[int, str]]  # Bits per second and address of each version of the stream, in a master playlist


def parse_playlist(text: str, url: str) -> Playlist:
    """The playlist of `text` that came from `url`; SourceError where it is none."""
    lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines() if line.strip()]
    if not lines or not lines[0].startswith("#EXTM3U"):
        raise SourceError("expected an HLS playlist that begins with #EXTM3U, got another text")
    segments, variants, ends = list[Segment](), list[tuple[int, str]](), dict[str, int]()
    sequence, target_s, encrypted = 0, 10.0, False
    span: Span | None = None
    init: tuple[str, Span | None] | None = None
    rate: int | None = None
    for line in lines:
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-MEDIA-SEQUENCE":
            sequence = int(value)
        elif tag == "#EXT-X-TARGETDURATION":
            target_s = float(value)
        elif tag == "#EXT-X-KEY":
            encrypted |= "METHOD=NONE" not in value
        elif tag == "#EXT-X-STREAM-INF":
            found = re.search(r"(?:^|,)BANDWIDTH=(\d+)", value)
            rate = int(found[1]) if found else 0
        elif tag == "#EXT-X-MAP":
            named, part = re.search(r'URI="([^"]*)"', value), re.search(r'BYTERANGE="([^"]*)"', value)
            init = (urljoin(url, named[1] if named else ""), _span(part[1], 0) if part else None)
        elif tag == "#EXT-X-BYTERANGE":
            span = _span(value, -1)
        elif not line.startswith("#"):
            address = urljoin(url, line)
            if rate is not None:
                variants.append((rate, address))
                rate = None
                continue
            if span:
                span = (span[0] if span[0] >= 0 else ends.get(address, 0), span[1])
                ends[address] = sum(span)
            segments.append(Segment(sequence + len(segments), address, span, init))
            span = None
    return Playlist(segments, target_s, "#EXT-X-ENDLIST" in lines, encrypted, variants)


def _span(text: str, default: int) -> Span:
    """`length@first` as (first, length)."""
    length, _, first = text.partition("@")
    return int(first) if first else default, int(length)


class HlsStream:
    """The joined segments of a playlist as a binary file for FFmpeg."""

    def __init__(self, client: HttpClient, playlist: HttpStream, hooks: Hooks, *, after: int | None,
                 stall_s: float) -> None:  # fmt: skip
        """`playlist` is the open response. `after` is the number of the last segment that was read before.
        `stall_s` is the least time without a new segment that counts as a stall: three times the longest
        segment where that is more."""
        self._client, self._hooks, self._stall_s, self.after = client, hooks, stall_s, after
        self._url = playlist.url
        self.stalled = ""  # Why reading stopped before the end; the decoder still hands out what it holds
        self.failed, self._attempts = False, 0
        self._part: HttpStream | None = None
        self._init: tuple[str, Span | None] | None = None
        self._last_new, self._checked = clock.monotonic(), clock.monotonic()
        self.playlist = parse_playlist(playlist.read(-1).decode("utf-8", "replace"), self._url)
        playlist.close()
        if self.playlist.variants:
            self._url = max(self.playlist.variants)[1]
            self._load()
        segments = self.playlist.segments
        if not self.playlist.ended and segments:
            newest = segments[-1].sequence
            if after is None or newest < after - 1 or newest > after + len(segments):
                self.after = max(segments[0].sequence, newest - START + 1) - 1

    @property
    def over(self) -> bool:
        """Whether all of a complete playlist was read before."""
        newest = max((one.sequence for one in self.playlist.segments), default=0)
        return self.playlist.ended and self.after is not None and self.after >= newest

    @raising_once
    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, b"" at the end of a stream that has one."""
        while True:
            self._hooks.check()
            if self._part is None and not self._next():
                return b""
            assert self._part is not None
            if data := self._part.read(size):
                return data
            self._part.close()
            self._part = None

    def close(self) -> None:
        if self._part is not None:
            self._part.close()

    def _next(self) -> bool:
        """Opens the next segment, or the section before it; waits for it; False at the end."""
        while True:
            after = -1 if self.after is None else self.after
            segment = next((s for s in self.playlist.segments if s.sequence > after), None)
            limit_s = max(self._stall_s, 3 * self.playlist.target_s)
            if clock.monotonic() - self._last_new > limit_s:
                self.stalled = f"no new segment for {limit_s:g} s"
            if self.stalled or (segment is None and self.playlist.ended):
                return False
            if segment is None:
                self._reload()
                continue
            if (missed := segment.sequence - after - 1) and self.after is not None:
                self._hooks.report("skipped", f"{missed} segments had left the playlist")
                self.after = segment.sequence - 1
            new_init = segment.init if segment.init != self._init else None
            url, span = new_init or (segment.url, segment.span)
            try:
                self._part = HttpStream(self._client, url, span=span, check=self._hooks.check, retry=self._hooks.retry)
            except HttpError as error:
                if error.status >= 500:
                    self._hooks.retry(error)
                    continue
                if error.status not in (404, 410):
                    raise
                self._attempts += 1  # the server has not got it: a few times, then the next one is requested
                if self._attempts == ATTEMPTS:
                    self._hooks.report("skipped", f"segment {segment.sequence} is gone ({error.status})")
                    self.after, self._attempts = segment.sequence, 0
                self._reload()
                continue
            self._last_new, self._attempts = clock.monotonic(), 0
            if new_init:
                self._init = new_init
            else:
                self.after = segment.sequence
            return True

    def _reload(self) -> None:
        """The playlist again, half a segment or a second after the last time; without one, it stalls."""
        pause_s = min(max(self.playlist.target_s / 2, 0.1), 1.0)
        self._hooks.wait(max(0.0, self._checked + pause_s - clock.monotonic()))
        try:
            self._load()
        except (OSError, http.client.HTTPException):  # a server may miss one of many requests
            self._checked = clock.monotonic()

    def _load(self) -> None:
        self._checked = clock.monotonic()
        text = HttpStream(self._client, self._url, check=self._hooks.check).read(-1)
        self.playlist = parse_playlist(text.decode("utf-8", "replace"), self._url)
