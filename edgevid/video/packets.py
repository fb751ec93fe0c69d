"""The encoded packets of a source as they come, for a recording without re-encoding."""

import io
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

MOST_DELAYED = 100  # Packets whose frames a decoder may hold back; the frame of an older one does not correct its time


@dataclass(slots=True)
class Coded:
    """One encoded packet, a copy of its own."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool
    time_base: Fraction
    layout: Any
    """The stream that an output's stream is made from; another one after each reconnection."""
    number: int
    """From 0, over reconnections."""
    time: float = math.nan
    """Seconds on the source's clock: of its frame once that is decoded, estimated before."""


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
