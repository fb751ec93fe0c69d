"""The packets of a source: passed on for recordings without re-encoding, and decoded, with the damaged frames marked. A
decoder conceals what it cannot decode: blocks from older frames, gray, smears. FFmpeg marks the frame that the error is
in; the frames after it copy the smear unmarked, until a key frame or recovery point ends it."""

import contextlib
import io
import math
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from edgevid.errors import InputError, SourceError

MOST_DELAYED = 100  # Packets whose frames a decoder may hold back; the frame of an older one does not correct its time
LENGTHS, STOP = "bitstream+buffer", "explode"
CHECKS = {"hevc": STOP, "mjpeg": STOP} | dict.fromkeys(("msmpeg4v1", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2"), LENGTHS)
"""FFmpeg's err_detect by codec, where the decoder marks no error by itself. HEVC and JPEG name an error only
where they stop at it; the frame comes nevertheless. Of MS MPEG-4 each coded frame must end with its data."""
ODD_FRAMES = 100  # With an error in each of the first so many frames, the encoder is odd, not the data
B, B_ALONE = 3, ("mpeg4", "mpeg2video", "mpeg1video")  # AV_PICTURE_TYPE_B; codecs that predict nothing from one
MOST_REORDERED = 16  # Frames that wait for one that was decoded before them; then it is taken for lost
KEPT, KEPT_LIVE = 300, 64  # Packets that are kept: up to a group of a file; more than any decoder holds back

MAX_PIXELS = "EDGEVID_MAX_PIXELS"  # Environment variable with the most pixels of an image


def max_pixels() -> int:
    """The most pixels of an image or frame: 64 million, twice 8K video, unless the environment says so."""
    text = os.environ.get(MAX_PIXELS) or "64000000"
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise InputError(f"{MAX_PIXELS}: expected a number of pixels up to {(1 << 31) - 1}, got {text!r}")
    return int(text)


def ffmpeg_limits(nested: str = "data") -> dict[str, str]:
    """FFmpeg's options for a file or stream that may open no other (but by the protocols `nested`), and has no image
    of more than `max_pixels`."""
    return {"protocol_whitelist": nested, **limit_pixels()}


def limit_pixels() -> dict[str, str]:
    """FFmpeg's option for a decoder."""
    return {"max_pixels": str(max_pixels())}


def too_large(size: str = "a larger or damaged one") -> SourceError:
    """The error for an image of more than `max_pixels`."""
    limit = f"{max_pixels() / 1e6:g} megapixels at most ({MAX_PIXELS} raises the limit)"
    return SourceError(f"expected an image of {limit}, got {size}")


def has_many_scans(codec: Any, data: Any) -> bool:
    """Whether a JPEG has so many scans, of all pixels and few bytes each, that decoding takes more than 3 s."""
    return codec.name == "mjpeg" and bool(codec.width * codec.height * bytes(data).count(b"\xff\xda") > 4e10)


@dataclass(slots=True)
class Coded:
    """One encoded packet, a copy of its own."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool
    time_base: Fraction
    layout: Any  # The stream that an output's stream is made from; another one after each reconnection
    number: int  # From 0, over reconnections
    time: float = math.nan  # Seconds on the source's clock: of its frame once that is decoded, estimated before


class PacketTap:
    """Gets every packet before it is decoded, and the time of each frame: `open_video(..., packets=tap)`."""

    def __init__(self, take: Callable[[Coded], None]) -> None:
        """`take` is called in the thread that reads the source; where it waits, the source does."""
        self._take, self._count, self._last = take, 0, -1
        self._stream: Any = None
        self.layout: Any = None  # Of the stream, None before its first packet
        self.later_s = 0.0  # Added to the times of frames: where a file is played again, and its times go on
        self._offset = math.nan
        self._recent: deque[Coded] = deque(maxlen=MOST_DELAYED)

    def packet(self, packet: Any) -> None:
        """Takes a packet of the video; others and empty ones are left out."""
        if packet is None or not packet.size:
            return
        if packet.stream is not self._stream:
            self._stream, self.layout, self._offset = packet.stream, layout_of(packet.stream), math.nan
            self._recent.clear()
            self._last = -1
        stamps = [stamp for stamp in (packet.dts, packet.pts) if stamp is not None]
        dts, pts = (stamps[0], stamps[-1]) if stamps else (self._last + (packet.duration or 1),) * 2
        self._last = dts
        base = packet.time_base or self._stream.time_base
        coded = Coded(bytes(packet), pts, dts, packet.duration or 0, packet.is_keyframe, base, self.layout,
                      self._count, float(pts * base) + self._offset)  # fmt: skip
        self._count += 1
        self._recent.append(coded)
        self._take(coded)

    def shown(self, frame: Any, time: float) -> None:
        """A decoded `av.VideoFrame` was handed on with this time."""
        stamp = frame.dts if frame.pts is None else frame.pts
        for coded in reversed(self._recent):
            if coded.pts == stamp:
                coded.time = time + self.later_s
                self._offset = coded.time - float(coded.pts * coded.time_base)
                return


def layout_of(stream: Any) -> Any:
    """A copy of what a container states of a stream; it outlives the stream."""
    holder = av.open(io.BytesIO(), "w", format="matroska")
    return holder.add_stream_from_template(stream, opaque=True)


@dataclass(slots=True)
class _Shown:
    frame: Any
    number: int
    damaged: bool


class DamageDetector:
    """Decodes the packets of one stream, and tells damaged frames from sound ones. VP8, VP9, AV1 and FFV1
    contain little that shows a flipped bit, and HEVC shows a part of them."""

    def __init__(self, stream: Any, *, live: bool = False, tap: PacketTap | None = None) -> None:
        """Before the first packet of `stream` is decoded; `live` streams are decoded without delay. `tap` gets
        each packet before it is decoded."""
        self._tap = tap
        self.failed = 0  # Packets that gave no frame at all
        self._codec = stream.codec_context
        if self._codec.width * self._codec.height > max_pixels():
            raise too_large(f"{self._codec.width}x{self._codec.height}")
        checks = CHECKS.get(self._codec.name)
        self._codec.options = self._codec.options | limit_pixels() | ({"err_detect": checks} if checks else {})
        self._delayed, self._kept = not live, KEPT_LIVE if live else KEPT
        stream.thread_type = "AUTO" if self._delayed else "SLICE"
        self._lenient: Any = None
        self._packets: dict[int, tuple[Any, int | None, int | None]] = {}  # The last ones and their stamps, by number
        self._number = self._newest = -1
        self._shown: set[int] = set()  # Numbers of the packets whose frames the decoder gave
        self._waiting: deque[_Shown] = deque()  # In order, until those are there that they may be predicted from
        self._due = 0  # The first packet whose frame is not there yet
        self._errors: deque[int] = deque(maxlen=KEPT)  # Packets with errors that later frames may be predicted from
        self._refresh: int | None = None
        self._odd = 0.0 if checks else -math.inf  # First frames with an error of their own; -inf once one had none

    def decode(self, packet: Any) -> list[tuple[Any, bool]]:
        """The frames that `packet` completes (one without data, or None: those that the decoder still holds), in
        presentation order, and whether each is damaged. The decoder gets numbers instead of time stamps, which tell
        the packet of each frame, even where the stream has no stamps; the frames have the stream's stamps again."""
        if self._tap is not None:
            self._tap.packet(packet)
        self._number += 1
        ended = packet is None or not packet.size
        if (not ended and packet.is_keyframe) or len(self._packets) >= self._kept:
            self._forget()
        if not ended:
            self._packets[self._number] = packet, packet.pts, packet.dts
            packet.pts = packet.dts = self._number
        frames: list[Any] = []
        if not ended and has_many_scans(self._codec, packet):
            self.failed += 1
            return []
        try:
            frames = self._codec.decode(packet)
        except av.EOFError:
            return []  # for the second time
        except av.FFmpegError:
            wrong = min(self._number, self._newest + 1) if self._delayed else self._number
            self._note(wrong)
            frames = [] if ended else self._decode_again(wrong)
        for frame in frames:
            self._add(frame)
        if ended and self._delayed and not self._packets.keys() <= self._shown:
            for frame in self._tail():
                self._add(frame)
        return self._released(ended)

    def _released(self, ended: bool) -> list[tuple[Any, bool]]:
        while self._due in self._shown:
            self._due += 1
        if len(self._waiting) > MOST_REORDERED:
            self._due = min(shown.number for shown in self._waiting) + 1
        all_of_them, released = ended or not self._delayed, []
        while self._waiting and (all_of_them or self._waiting[0].number <= self._due):
            shown = self._waiting.popleft()
            released.append((shown.frame, shown.damaged))
        return released

    def _note(self, number: int) -> None:
        """An error in a packet: frames that were decoded after it and wait are damaged, too."""
        self._errors.append(number)
        for shown in self._waiting:
            shown.damaged |= shown.number >= number and self._odd < ODD_FRAMES

    def _decode_again(self, number: int) -> list[Any]:
        """What can be shown of a packet that the decoder stopped at."""
        if self._codec.name == "hevc":
            return []  # its frame comes nevertheless
        if self._codec.name == "mjpeg" and number in self._packets:
            self._newest = number
            if self._lenient is None:
                self._lenient = av.CodecContext.create("mjpeg", "r")
                self._lenient.options = limit_pixels()
            with contextlib.suppress(av.FFmpegError):
                return list(self._lenient.decode(self._packets[number][0]))
        self.failed += 1
        return []

    def _tail(self) -> list[Any]:
        """The last frames, which several threads lose where one of the last packets has an error."""
        codec = av.CodecContext.create(self._codec.name, "r")
        codec.extradata, codec.options = self._codec.extradata, limit_pixels()
        frames: list[Any] = []
        for packet in [packet for packet, _, _ in self._packets.values()] + [None]:
            with contextlib.suppress(av.FFmpegError):
                frames += codec.decode(packet)
        shown = [place for place, frame in enumerate(frames, 1) if frame.pts in self._shown]
        return frames[max(shown, default=0) :]

    def _forget(self) -> None:
        """Keeps the packets from the last key frame on that was shown."""
        keys = [n for n, (p, _, _) in self._packets.items() if p.is_keyframe and n <= self._newest]
        too_many = list(self._packets)[: max(0, len(self._packets) + 1 - self._kept)]
        first = max([*keys, *(n + 1 for n in too_many)], default=0)
        self._packets = {n: packet for n, packet in self._packets.items() if n >= first}
        self._shown = {n for n in self._shown if n >= first}
        self._due = max(self._due, first)

    def _add(self, frame: Any) -> None:
        """One frame more, with its own stamps again."""
        number = frame.pts if frame.pts is not None else self._newest + 1
        packet, pts, _ = self._packets.get(number, (None, None, None))
        _, _, dts = self._packets.get(frame.dts, (None, None, None))
        frame.pts, frame.dts = pts, dts  # of the stream's time base: the frame's own costs microseconds
        self._newest = max(self._newest, number)
        self._shown.add(number)
        alone = frame.is_corrupt and self._is_alone(frame, packet)
        if frame.is_corrupt and not alone:
            self._note(number)
        recovers = packet is not None and packet.is_keyframe
        damaged = self._is_damaged(number, frame.key_frame, recovers)
        self._waiting.append(_Shown(frame, number, damaged or alone))

    def _is_alone(self, frame: Any, packet: Any) -> bool:
        """Whether no other frame is predicted from this one."""
        if self._codec.name == "h264" and packet is not None:
            return _reference(bytes(packet), self._codec.extradata or b"") == 0
        return self._codec.name in B_ALONE and frame.pict_type == B

    def _is_damaged(self, number: int, key: bool, recovers: bool) -> bool:
        if self._odd >= ODD_FRAMES:
            return False
        self._odd = self._odd + 1 if number in self._errors else -math.inf
        if not self._errors:
            return False
        if key:
            self._sound_from(number)
        elif recovers:
            if self._refresh is not None:  # an intra refresh is complete when the next one begins
                self._sound_from(self._refresh)
            self._refresh = number
        return any(error <= number for error in self._errors)

    def _sound_from(self, number: int) -> None:
        """Frames shown from now on are predicted from packet `number` and later ones only."""
        self._errors = deque((error for error in self._errors if error >= number), self._errors.maxlen)
        self._refresh = None


def _reference(data: bytes, header: bytes) -> int | None:
    """nal_ref_idc of an H.264 frame's first slice, 0 where nothing is predicted from it (H.264, 7.4.1)."""
    size = (header[4] & 3) + 1 if header[:1] == b"\1" and len(header) > 4 else 0  # avcC: lengths, no start codes
    at = 0
    while True:
        if size:
            unit, at = at + size, at + size + int.from_bytes(data[at : at + size], "big")
        else:
            unit = at = data.find(b"\0\0\1", at) + 3
        if not 0 <= unit < len(data) or (not size and at < 3):
            return None
        if data[unit] & 31 in (1, 2, 5):
            return data[unit] >> 5 & 3
