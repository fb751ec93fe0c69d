"""The WebSocket protocol of the viewer's server, at a pace that a page needs."""

import asyncio
from typing import Any

import websockets.http11
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from edgevid.actions.clip_buffer import TokenBucket

HEADER_BYTES = 64 * 1024  # Of a request: browsers send the cookies of all programs on this host along
websockets.http11.MAX_LINE_LENGTH = HEADER_BYTES
PER_SECOND, BURST = 8 * 1024, 16 * 1024  # Bytes from one client; 60 acknowledgements are 1.5 KB
MAX_FRAGMENTS = 64  # Of one message


class LimitedWebSocket(WebSocketsSansIOProtocol):
    """What a client sends beyond PER_SECOND is read later, pings too: a flood fills the client's own buffers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._bucket, self._free_at = TokenBucket(PER_SECOND, BURST), 0.0

    def data_received(self, data: bytes) -> None:
        """Handles what came, and reads on once that is within the limit."""
        count, now = len(data) * self.handshake_initiated, self.loop.time()
        super().data_received(data)
        late = count - self._bucket.take(count, now)
        if len(getattr(self, "frames", ())) > MAX_FRAGMENTS:  # earlier versions join them at once
            self.transport.abort()
        elif late and not self.transport.is_closing():
            self._free_at = max(now, self._free_at) + late / PER_SECOND
            self.transport.pause_reading()
            self.loop.call_at(self._free_at, self._read_on)

    async def receive(self) -> Any:
        """The next message, not before its time."""
        await asyncio.sleep(self._free_at - self.loop.time())
        return await super().receive()

    def _read_on(self) -> None:
        if not (self.read_paused or self.transport.is_closing()) and self.loop.time() >= self._free_at:
            self.transport.resume_reading()
