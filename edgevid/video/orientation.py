"""Upright images: the display matrix of a video and the EXIF orientation of a photo, rotated and mirrored."""

import struct
from typing import Any

import numpy as np

from edgevid.types import Array

Matrix = tuple[int, int, int, int]
"""(a, b, c, d) of -1, 0 and 1: a pixel at (x, y) is shown in the direction of (a x + c y, b x + d y)."""
UPRIGHT: Matrix = (1, 0, 0, 1)
EXIF: dict[int, Matrix] = {
    1: UPRIGHT,
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""By the value of EXIF's tag Orientation (CIPA DC-008, 4.6.4)."""
TURNED: dict[int, Matrix] = {0: UPRIGHT, 90: EXIF[8], 180: EXIF[3], 270: EXIF[6]}
"""By the degrees that an image is to be turned counterclockwise."""
TAG = 0x0112
MARKS = (b"Exif\0\0", b"eXIf", b"EXIF")
"""What stands before EXIF's data in JPEG, PNG and WebP (there with four bytes of length between)."""


def upright(image: Array, matrix: Matrix) -> Array:
    """`image` (H, W, ...) as it is to be shown: (W, H, ...) where it is turned by a quarter."""
    a, b, c, d = matrix
    if a or d:
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
    return np.ascontiguousarray(image.swapaxes(0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1])


def matrix_of(av_frame: Any) -> Matrix:
    """How a decoded frame is to be shown, by its display matrix."""
    try:
        data = av_frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # side data that this PyAV does not know, such as EXIF
        return TURNED.get(int(av_frame.rotation) % 360, UPRIGHT)
    if data is None:
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (-1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1)
    return (0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0)


class Orientation:
    """How the frames of one stream are to be shown.

    A display matrix is read only where the rotation changes: reading side data ties a frame to itself, and
    its memory waits for the cycle collector then.
    """

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
