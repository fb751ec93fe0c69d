"""One frame as a browser gets it: a JPEG of the plain image, and the record of its result.

The browser draws the boxes: they stay sharp at any size, can be clicked and switched off, and an image
without them is smaller. docs/viewer.md has the measurements that chose JPEG.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgevid._opencv import cv2
from edgevid.types import Array


def limit_size(image: Array, max_side: int) -> Array:
    """`image` (H, W, 3), downscaled where a side is longer than `max_side` pixels."""
    longest = max(image.shape[:2])
    if longest <= max_side:
        return image
    size = tuple(max(1, round(n * max_side / longest)) for n in (image.shape[1], image.shape[0]))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def encode_jpeg(image: Array, quality: int) -> bytes:
    """The JPEG of an (H, W, 3) uint8 RGB image."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)


def pack(record: Mapping[str, Any], jpeg: bytes) -> bytes:
    """One binary message: length of the JSON (uint32, little endian), the JSON, the JPEG.

    >>> unpack(pack({"n": 1}, b"jpeg"))
    ({'n': 1}, b'jpeg')
    """
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return struct.pack("<I", len(text)) + text + jpeg


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """What `pack` packed: for tests and for other programs that connect."""
    (length,) = struct.unpack_from("<I", message)
    return json.loads(message[4 : 4 + length]), message[4 + length :]
