"""Which decoded frames are damaged: the first wrong one and all that are predicted from it.

A decoder conceals what it cannot decode: blocks from older frames, gray, smears. FFmpeg marks the frame that
the error is in; the frames after it copy the smear unmarked, until a key frame or recovery point ends it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import av

LENGTHS, STOP = "bitstream+buffer", "explode"
CHECKS = {"hevc": STOP, "mjpeg": STOP} | dict.fromkeys(
    ("msmpeg4v1", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2"), LENGTHS
)
"""FFmpeg's err_detect by codec, where the decoder marks no error by itself. HEVC and JPEG name an error only
where they stop at it; the frame comes nevertheless. Of MS MPEG-4 each coded frame must end with its data."""
ODD_FRAMES = 100
"""Where these checks find an error in each of the first so many frames, the encoder is odd: none is damaged."""


class DamageDetector:
    """Decodes the packets of one stream, and tells damaged frames from sound ones.

    VP8, VP9, AV1 and FFV1 contain little that shows a flipped bit, and HEVC shows a part of them.
    """

    def __init__(self, stream: Any, *, live: bool = False) -> None:
        """Before the first packet of `stream` is decoded; `live` streams are decoded without delay."""
        self.failed = 0
        """Packets that gave no frame at all."""
        self._codec = stream.codec_context
        checks = CHECKS.get(self._codec.name)
        self._codec.copy_opaque = True
        if checks is not None:
            self._codec.options = {**self._codec.options, "err_detect": checks}
        # A decoder that stops at errors must not wait for another thread's frame: FFmpeg then hangs.
        self._delayed = not live and checks != STOP
        stream.thread_type = "AUTO" if self._delayed else "SLICE"
        self._lenient: Any = None
        self._number = self._newest = -1
        self._errors: deque[int] = deque(maxlen=256)
        """Numbers of the packets with errors that a later frame may be predicted from."""
        self._refresh: int | None = None
        self._odd = 0.0 if checks else -math.inf
        """Frames from the first on that had an error of their own; -inf once one had none."""

    def decode(self, packet: Any) -> list[tuple[Any, bool]]:
        """The frames that `packet` completes, in presentation order, and whether each is damaged."""
        self._number += 1
        packet.opaque = self._number, packet.is_keyframe
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self._errors.append(min(self._number, self._newest + 1) if self._delayed else self._number)
            frames = self._decode_again(packet)
        return [(frame, self._is_damaged(frame)) for frame in frames]

    def _decode_again(self, packet: Any) -> list[Any]:
        """What can be seen of a packet that the decoder stopped at."""
        if self._codec.name == "hevc":
            return []  # its frame comes nevertheless
        if self._codec.name == "mjpeg":
            if self._lenient is None:
                self._lenient = av.CodecContext.create("mjpeg", "r")
                self._lenient.copy_opaque = True
            try:
                return list(self._lenient.decode(packet))
            except av.FFmpegError:
                pass
        self.failed += 1
        return []

    def _is_damaged(self, frame: Any) -> bool:
        number, recovers = frame.opaque or (self._newest + 1, False)
        self._newest = max(self._newest, number)
        if getattr(frame, "is_corrupt", False):
            self._errors.append(number)
        if self._odd >= ODD_FRAMES:
            return False
        self._odd = self._odd + 1 if number in self._errors else -math.inf
        if not self._errors:
            return False
        if frame.key_frame:
            self._sound_from(number)
        elif recovers:  # an intra refresh begins: it is complete when the next one does
            if self._refresh is not None:
                self._sound_from(self._refresh)
            self._refresh = number
        return any(error <= number for error in self._errors)

    def _sound_from(self, number: int) -> None:
        """Frames shown from now on are predicted from packet `number` and later ones only."""
        self._errors = deque((error for error in self._errors if error >= number), self._errors.maxlen)
        self._refresh = None
