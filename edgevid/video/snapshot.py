"""The address of a JPEG image, polled: each image that differs from the one before is a frame."""

import io
from typing import Any

from edgevid.errors import SourceError
from edgevid.types import Array
from edgevid.video.http import HttpClient, HttpError, HttpStream
from edgevid.video.images import read_image

FASTEST_S, SLOWEST_S = 0.2, 1.0  # Between these, an image is requested as often as it changes
LARGEST = 1 << 26  # No image has more bytes


class Snapshots:
    """The images of an address; unchanged ones have the same ETag, or the same bytes."""

    def __init__(self, address: str, first: HttpStream, *, timeout_s: float, every_s: float | None = None) -> None:
        """`first` is the open response; `every_s` the seconds between two requests, None: as it changes."""
        self._client = HttpClient(address, timeout_s=timeout_s)
        self._first: Any = first
        self._every_s, self._etag, self._bytes = every_s, "", b""
        self.pause_s = SLOWEST_S if every_s is None else every_s  # Seconds to wait before the next request

    def next(self) -> Array | None:
        """(H, W, 3) RGB of a new image, None where it has not changed; SourceError where it is none."""
        data = self._fetch()
        changed = data not in (b"", self._bytes)
        if self._every_s is None:
            self.pause_s = min(max(self.pause_s * (0.6 if changed else 1.5), FASTEST_S), SLOWEST_S)
        if not changed:
            return None
        self._bytes = data
        image = read_image(io.BytesIO(data))
        if image is None:
            raise SourceError(f"expected an image, its {len(data)} bytes do not decode")
        return image

    def _fetch(self) -> bytes:
        """The image's bytes, b"" where the server says that it has not changed."""
        response, self._first = self._first, None
        try:
            if response is None:
                response = self._client.get(headers={"If-None-Match": self._etag} if self._etag else {})
        except HttpError as error:
            if error.status == 304:
                return b""
            raise
        self._etag = response.headers.get("ETag", "")
        try:
            return bytes(response.read(LARGEST) if not isinstance(response, HttpStream) else _all(response))
        finally:
            response.close()


def _all(stream: HttpStream) -> bytes:
    """All bytes of a stream."""
    parts = []
    while part := stream.read(1 << 16):
        parts.append(part)
        if stream.tell() > LARGEST:
            raise SourceError(f"expected an image, its more than {LARGEST >> 20} MB do not end")
    return b"".join(parts)
