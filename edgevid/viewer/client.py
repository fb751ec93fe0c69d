"""One browser's end of the broadcast: what waits for it, and what is on its way."""

from __future__ import annotations

import asyncio
import json
import time as clock
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

MAX_IN_FLIGHT = 2
"""Images that may be on their way to one client before it acknowledges them."""
MAX_MESSAGES = 400
"""Text messages that wait for one client; older ones are dropped, and counted."""


class Packet(NamedTuple):
    """A published frame, encoded."""

    number: int
    data: bytes
    at: float


class Client:
    """One browser's end: the newest packet, and the text messages that must not be lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_room: Callable[[], None]) -> None:
        """`on_room` is called when there is room again."""
        self._loop, self._on_room = loop, on_room
        self._packet: Packet | None = None
        self._offered = False
        self._messages: deque[str] = deque()
        self._in_flight: deque[Packet] = deque()
        self._wake = asyncio.Event()
        self._last = 0
        self.visible = True
        """False while its tab is hidden."""
        self.sent = self.dropped = self.messages_dropped = 0
        self.latency_s: float | None = None
        """From the end of the frame's processing to the client's acknowledgement."""

    @property
    def has_room(self) -> bool:
        """Whether it would take an image now."""
        return self.visible and not self._offered and len(self._in_flight) < MAX_IN_FLIGHT

    def offer(self, packet: Packet) -> None:
        """From any thread: the newest packet replaces one that was not sent yet."""
        self._offered = True  # at once: its loop may be busy, and must get no more meanwhile
        self._call(self._take, packet)

    def send(self, message: Mapping[str, Any]) -> None:
        """From any thread: a message that is sent before the next image."""
        self._call(self._queue, json.dumps(message, ensure_ascii=False, allow_nan=False))

    async def next(self) -> str | bytes:
        """What to send next: messages first, then the newest image if there is room for it."""
        while True:
            if self._messages:
                return self._messages.popleft()
            if self._packet is not None and len(self._in_flight) < MAX_IN_FLIGHT:
                packet, self._packet, self._offered = self._packet, None, False
                if self._last:
                    self.dropped += packet.number - self._last - 1
                self._last = packet.number
                self._in_flight.append(Packet(packet.number, b"", packet.at))
                self.sent += 1
                self._on_room()
                return packet.data
            self._wake.clear()
            await self._wake.wait()

    def acknowledge(self, number: int) -> None:
        """The client has image `number`, so all before it too."""
        while self._in_flight and self._in_flight[0].number <= number:
            self.latency_s = clock.monotonic() - self._in_flight.popleft().at
        self._wake.set()
        self._on_room()

    def set_visible(self, visible: bool) -> None:
        """Its tab was hidden or shown."""
        self.visible = visible
        if visible:
            self._last = 0  # what was skipped meanwhile was not dropped
            self._on_room()

    def _call(self, what: Callable[[Any], None], value: Any) -> None:
        with suppress(RuntimeError):  # its loop has ended: so has the client
            self._loop.call_soon_threadsafe(what, value)

    def _take(self, packet: Packet) -> None:
        if self._packet is None or packet.number >= self._packet.number:
            self._packet = packet
            self._wake.set()

    def _queue(self, message: str) -> None:
        if len(self._messages) >= MAX_MESSAGES:
            self._messages.popleft()
            self.messages_dropped += 1
        self._messages.append(message)
        self._wake.set()
