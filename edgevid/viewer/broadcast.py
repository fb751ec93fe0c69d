"""Where the frame loop and the browsers meet, so that neither waits for the other.

The loop leaves its newest result in a one-place slot and goes on. A thread encodes what lies there, once for all
clients, and only while one of them is visible and has room. Each client has a one-place slot too, and at most two
images on their way: a slow one gets fewer images, but never old ones.

An image is the JPEG of the plain one, with the record of its result: the browser draws the boxes, which stay sharp
at any size and can be clicked. docs/viewer.md has the measurements that chose JPEG."""

import asyncio
import atexit
import json
import struct
import threading
import time as clock
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from edgevid._opencv import cv2
from edgevid.errors import log
from edgevid.types import Array, Frame, Result

GAP_S = 1 / 60  # At least so long from one image to the next
MAX_IN_FLIGHT = 2  # Images that may be on their way to one client before it acknowledges them
MAX_MESSAGES = 400  # Text messages that wait for one client; older ones are dropped


class Published(NamedTuple):
    """One frame with its result, on its way to the clients."""

    number: int
    frame: Frame
    result: Result
    extra: Mapping[str, Any]
    at: float  # When it was published, on time.monotonic


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
        self._messages = deque[str](maxlen=MAX_MESSAGES)
        self._in_flight: deque[Packet] = deque()
        self._wake = asyncio.Event()
        self._last = 0
        self.visible = True  # False while its tab is hidden
        self.operator = False  # Whether it may change something
        self.sent = self.dropped = 0
        self.latency_s: float | None = None  # From the end of the frame's processing to the client's acknowledgement

    @property
    def has_room(self) -> bool:
        """Whether it would take an image now."""
        return self.visible and not self._offered and len(self._in_flight) < MAX_IN_FLIGHT

    def offer(self, packet: Packet) -> None:
        """From any thread: the newest packet replaces one that was not sent yet."""
        self._offered = True  # at once: its loop may be busy, and must get no more meanwhile
        self._soon(packet)

    def send(self, message: Mapping[str, Any]) -> None:
        """From any thread: a message that is sent before the next image."""
        self._soon(json.dumps(message, ensure_ascii=False, allow_nan=False))

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

    def _soon(self, value: Packet | str) -> None:
        with suppress(RuntimeError):  # its loop has ended: so has the client
            self._loop.call_soon_threadsafe(self._take, value)

    def _take(self, value: Packet | str) -> None:
        if isinstance(value, str):
            self._messages.append(value)
        else:
            self._packet = value
        self._wake.set()


class Broadcast:
    """Takes results from the frame loop and hands them to all clients."""

    def __init__(self, describe: Callable[[Published], Mapping[str, Any]], *, quality: int = 80,
                 max_side: int = 1280) -> None:  # fmt: skip
        """`describe` makes a record, in its thread; images have JPEG `quality` and at most `max_side` pixels."""
        self._describe, self._quality, self._max_side = describe, quality, max_side
        self._changed = threading.Condition()
        self.clients: tuple[Client, ...] = ()  # The connected clients
        self._slot: Published | None = None
        self._closed = False
        self.latest: Published | None = None  # The newest result, also while no client is connected
        self.published = self.encoded = 0
        self.encode_s = 0.0  # CPU seconds spent on encoding so far
        self.failed = 0  # Frames that could not be encoded; the first one is logged
        self._thread = threading.Thread(target=self._work, name="edgevid-encode", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # Python aborts where it ends a thread that is inside OpenCV

    @property
    def watched(self) -> bool:
        """Whether any client is visible."""
        return any(client.visible for client in self.clients)

    def publish(self, frame: Frame, result: Result, **extra: Any) -> None:
        """From the frame loop: leaves the newest result and returns at once."""
        self.published += 1
        newest = Published(self.published, frame, result, extra, clock.monotonic())
        with self._changed:
            self.latest = self._slot = newest
            if self.clients:
                self._changed.notify()

    def send(self, **message: Any) -> None:
        """Sends a text message to every client; messages are not dropped as images are."""
        for client in self.clients:
            client.send(message)

    def join(self) -> Client:
        """A new client, which gets the newest image at once. Call it in the server's event loop."""
        client = Client(asyncio.get_running_loop(), self._wake)
        with self._changed:
            self.clients = (*self.clients, client)
            self._slot = self.latest  # also while the frame loop is paused
            self._changed.notify()
        return client

    def leave(self, client: Client) -> None:
        """The client is gone."""
        with self._changed:
            self.clients = tuple(one for one in self.clients if one is not client)

    def close(self) -> None:
        """Ends the encoding."""
        atexit.unregister(self.close)
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _due(self) -> bool:
        return self._closed or (self._slot is not None and any(one.has_room for one in self.clients))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._due)
                if self._closed:
                    return
                newest, self._slot = self._slot, None
                takers = [client for client in self.clients if client.visible]
            assert newest is not None
            start = clock.monotonic()
            try:
                packet = Packet(newest.number, self._encode(newest), newest.at)
            except Exception:  # one frame less; without this thread no client would get another image
                if not self.failed:
                    log.exception("frame %s cannot be shown", newest.frame.index)
                self.failed += 1
                continue
            for client in takers:
                client.offer(packet)
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=GAP_S + start - clock.monotonic())

    def _encode(self, newest: Published) -> bytes:
        start = clock.thread_time()
        record = {"type": "frame", "n": newest.number, **self._describe(newest), **newest.extra}
        image = limit_size(newest.frame.image, self._max_side)
        data = pack(record, encode_jpeg(image, self._quality))
        self.encoded += 1
        self.encode_s += clock.thread_time() - start
        return data


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
