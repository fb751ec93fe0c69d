"""From PyAV's decoded frames to `Frame`: YUV planes as they are, upright; RGB only when `Frame.image` is read."""

import re
import struct
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal, get_args

import av
import numpy as np
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.sidedata.sidedata import SideDataContainer

from edgevid import kernels
from edgevid.errors import check_choice, log, masked
from edgevid.types import Array, Closing, Frame, Hinted
from edgevid.video.packets import PacketTap

PLANAR = {"yuv420p": False, "yuvj420p": True}
"""Pixel formats whose planes are handed on, and whether they use the full range."""
BT709, UNSPECIFIED = 1, 2  # FFmpeg's numbers of a color matrix (AVCOL_SPC)
FULL_RANGE = 2  # FFmpeg's number of the range 0..255 (AVCOL_RANGE_JPEG)
HD_HEIGHT = 720  # From this height on a stream without a stated color matrix is taken for BT.709
Matrix = tuple[int, int, int, int]
"""(a, b, c, d) of -1, 0 and 1: a pixel at (x, y) is shown in the direction of (a x + c y, b x + d y)."""
UPRIGHT: Matrix = (1, 0, 0, 1)
_FLIPPED: list[Matrix] = [(-1, 0, 0, 1), (-1, 0, 0, -1), (1, 0, 0, -1)]
_TRANSPOSED: list[Matrix] = [(0, 1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0), (0, -1, 1, 0)]
EXIF: dict[int, Matrix] = dict(enumerate([UPRIGHT, *_FLIPPED, *_TRANSPOSED], 1))
"""By the value of EXIF's tag Orientation (CIPA DC-008, 4.6.4): 1 to 8."""
TURNED: dict[int, Matrix] = {0: UPRIGHT, 90: EXIF[8], 180: EXIF[3], 270: EXIF[6]}
"""By the degrees that an image is to be turned counterclockwise."""
TAG = 0x0112
MARKS = (b"Exif\0\0", b"eXIf", b"EXIF")
"""What stands before EXIF's data in JPEG, PNG and WebP (there with four bytes of length between)."""

Decode = Literal["auto", "cpu", "cuda", "vaapi", "videotoolbox", "qsv", "d3d11va"]
"""Where videos are decoded; auto: on the first device that is there."""
TRIED = ("cuda", "videotoolbox", "vaapi", "d3d11va", "qsv")  # What auto tries, in this order


class Source(Closing, Hinted):
    """Where frames come from: iterate it, once, inside `with`. Subclasses fill its counters."""

    live = False
    independent = False  # Whether the frames are unrelated photos: objects are not tracked from one to the next

    def __init__(self) -> None:
        self.size: tuple[int, int] = (0, 0)  # (width, height) in pixels of the frames as they are handed on
        self.fps: float | None = None  # Average frame rate, for display only
        self.frame_count: int | None = None  # How many frames the container announces; None where it does not
        self.decoded = 0
        self.corrupted = 0  # Packets or images that could not be decoded and were skipped
        self.damaged = 0  # Frames that were handed on with `Frame.damaged`
        self.dropped = 0
        """Frames left out because their time did not go forward (or, live, because a newer one was there)."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """The frames, in order."""

    def close(self) -> None:
        """Releases the source's resources."""


def hardware(decode: str) -> Any:
    """What `av.open` takes as hwaccel, None for the CPU; a note on the log says why it is the CPU."""
    check_choice(decode, get_args(Decode), "decode")
    if decode == "cpu":
        return None
    known = [name for name in hwdevices_available() if name in TRIED]
    for name in TRIED if decode == "auto" else (decode,):
        if name not in known:
            continue
        with suppress(av.FFmpegError, NotImplementedError):  # it is opened once, for H.264: this machine may have none
            found = HWAccel(name, allow_software_fallback=True)
            found.create(av.Codec("h264", "r"))
            log.info("decoding on %s", name)
            return found
    log.warning("decoding on the CPU: no device for --decode %s (this FFmpeg knows %s)", decode,
                ", ".join(known) or "none")  # fmt: skip
    return None


def upright(image: Array, matrix: Matrix) -> Array:
    """`image` (H, W, ...) as it is to be shown: (W, H, ...) where it is turned by a quarter."""
    a, b, c, d = matrix
    if a or d:
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
    return np.ascontiguousarray(image.swapaxes(0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1])


def matrix_of(av_frame: Any) -> Matrix:
    """How a decoded frame is to be shown, by its display matrix; `av_frame.side_data` would tie the frame to itself."""
    try:
        data = SideDataContainer(av_frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    except ValueError:  # side data that this PyAV does not know, such as EXIF
        return TURNED.get(int(av_frame.rotation) % 360, UPRIGHT)
    if data is None:
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (-1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1)
    return (0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0)


class Orientation:
    """How the frames of one stream are to be shown. A display matrix is read only where the rotation changes."""

    def __init__(self) -> None:
        self._rotation, self._matrix = -1, UPRIGHT

    def of(self, av_frame: Any) -> Matrix:
        """The matrix of the next frame of the stream."""
        rotation = int(av_frame.rotation) % 360
        if rotation != self._rotation:
            self._rotation, self._matrix = rotation, matrix_of(av_frame)
        return self._matrix


def exif_matrix(data: bytes) -> Matrix | None:
    """How a photo is to be shown, by its EXIF data in the bytes of its file; None where it states nothing."""
    starts = [0] if data[:4] in (b"II*\0", b"MM\0*") else []  # TIFF, whose own tags are EXIF's
    for mark in MARKS:
        at = data.find(mark)
        if at >= 0:
            at += len(mark) + (4 if mark == b"EXIF" else 0)
            starts.append(at + 6 if data[at : at + 6] == MARKS[0] else at)
    return next((m for at in starts if (m := EXIF.get(_orientation(data[at:]))) is not None), None)


def _orientation(tiff: bytes) -> int:
    """The tag's value in a TIFF structure, 0 without one."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 0
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    count = struct.unpack_from(order + "H", tiff, at)[0] if at + 2 <= len(tiff) else 0
    for entry in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == TAG:
            return int(value)
    return 0


def to_frame(av_frame: Any, time: float, index: int, orientation: Orientation, *, damaged: bool = False,
             tap: PacketTap | None = None) -> Frame:  # fmt: skip
    """The upright Frame of a decoded `av.VideoFrame` that is handed on now: its planes where it is YUV 4:2:0, else its
    RGB. `orientation` is that of its stream."""
    if tap is not None:
        tap.shown(av_frame, time)
    matrix = orientation.of(av_frame)
    if av_frame.format.name in PLANAR and matrix == UPRIGHT:
        planes = _plane(av_frame, 0), _plane(av_frame, 1), _plane(av_frame, 2)
        full = PLANAR[av_frame.format.name] or int(av_frame.color_range or 0) == FULL_RANGE
        frame = Frame.from_yuv420(planes, time, index, to_rgb=_to_rgb, full_range=full,
                                  matrix="bt709" if _is_bt709(av_frame) else "bt601")  # fmt: skip
    else:
        frame = Frame(upright(_rgb(av_frame), matrix), time, index)
    frame.damaged = damaged
    return frame


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
    height, width = (-(-side // (2 if number else 1)) for side in (av_frame.height, av_frame.width))
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :width]


def _to_rgb(frame: Frame) -> Array:
    assert frame.planes is not None
    return kernels.yuv420_to_rgb(*frame.planes, frame.full_range, frame.matrix)
