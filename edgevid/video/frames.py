"""From PyAV's decoded frames to `Frame`: YUV planes as they are, turned and mirrored where stated.

RGB is made only when `Frame.image` is read.
"""

import re
from typing import Any, NamedTuple

import numpy as np

from edgevid import kernels
from edgevid.errors import masked
from edgevid.types import Array, Frame
from edgevid.video.orientation import UPRIGHT, Orientation, upright
from edgevid.video.packets import PacketTap

PLANAR = {"yuv420p": False, "yuvj420p": True}
"""Pixel formats whose planes are handed on, and whether they use the full range."""
BT709, UNSPECIFIED = 1, 2  # FFmpeg's numbers of a color matrix (AVCOL_SPC)
FULL_RANGE = 2  # FFmpeg's number of the range 0..255 (AVCOL_RANGE_JPEG)
HD_HEIGHT = 720  # From this height on a stream without a stated color matrix is taken for BT.709


class Decoded(NamedTuple):
    """A decoded frame, and whether it is damaged."""

    av_frame: Any
    damaged: bool
    pts: int | None
    time_base: Any
    orientation: Orientation
    tap: PacketTap | None

    def frame(self, time: float, index: int) -> Frame:
        """The Frame of it, which is handed on now."""
        if self.tap is not None:
            self.tap.shown(self.av_frame, time)
        made = to_frame(self.av_frame, time, index, self.orientation)
        made.damaged = self.damaged
        return made


def to_frame(av_frame: Any, time: float, index: int, orientation: Orientation) -> Frame:
    """The upright Frame of a decoded `av.VideoFrame`: its planes where it is YUV 4:2:0, else its RGB.

    `orientation` is that of its stream.
    """
    matrix = orientation.of(av_frame)
    if av_frame.format.name in PLANAR and matrix == UPRIGHT:
        planes = _plane(av_frame, 0), _plane(av_frame, 1), _plane(av_frame, 2)
        full = PLANAR[av_frame.format.name] or int(av_frame.color_range or 0) == FULL_RANGE
        return Frame.from_yuv420(
            planes, time, index, to_rgb=_to_rgb, full_range=full,
            matrix="bt709" if _is_bt709(av_frame) else "bt601",
        )  # fmt: skip
    return Frame(upright(_rgb(av_frame), matrix), time, index)


def seconds_of(av_frame: Any) -> float | None:
    """The presentation time stamp of a decoded frame in seconds, None without one."""
    return float(av_frame.pts * av_frame.time_base) if av_frame.pts is not None else None


def short_reason(error: BaseException) -> str:
    """The reason of an FFmpeg error without its number and without the file's name."""
    return re.sub(r"^\[Errno \d+\] ", "", masked(str(error))).split(":")[0]


def _is_bt709(av_frame: Any) -> bool:
    """Whether the stream states BT.709, or states nothing and has the height of HD video."""
    matrix = int(av_frame.colorspace or UNSPECIFIED)
    return matrix == BT709 or (matrix == UNSPECIFIED and av_frame.height >= HD_HEIGHT)


def _rgb(av_frame: Any) -> Array:
    """(H, W, 3) RGB by FFmpeg, which assumes BT.601 unless the matrix is named."""
    if av_frame.format.is_rgb or int(av_frame.colorspace or UNSPECIFIED) not in (BT709, UNSPECIFIED):
        return np.asarray(av_frame.to_ndarray(format="rgb24"))
    matrix = "ITU709" if _is_bt709(av_frame) else "ITU601"
    return np.asarray(av_frame.reformat(format="rgb24", src_colorspace=matrix).to_ndarray())


def _plane(av_frame: Any, number: int) -> Array:
    """One plane as a view; the array keeps the decoded frame's memory alive."""
    plane = av_frame.planes[number]
    height = av_frame.height if number == 0 else (av_frame.height + 1) // 2
    width = av_frame.width if number == 0 else (av_frame.width + 1) // 2
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[:height, :width]


def _to_rgb(frame: Frame) -> Array:
    assert frame.planes is not None
    return kernels.yuv420_to_rgb(*frame.planes, frame.full_range, frame.matrix)
