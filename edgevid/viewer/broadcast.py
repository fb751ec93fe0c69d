"""Where the frame loop and the viewers meet, so that neither waits for the other.

The loop leaves its newest moment in a one-place slot and goes on. A thread encodes what is there, once
for all viewers, and only while one of them looks and has room. Each viewer has a one-place slot too, and
at most WINDOW images on their way: a slow one sees fewer images, but never old ones.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import threading
import time as clock
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from edgevid.types import Frame, Result
from edgevid.viewer.encode import fitted, jpeg, pack

log = logging.getLogger("edgevid")

WINDOW = 2
"""Images that may be on their way to one viewer before it says that it has them."""
MOST_WORDS = 400
"""Text messages that wait for one viewer; older ones are left out, and counted."""


class Moment(NamedTuple):
    """One frame with what was learned from it, on its way to the viewers."""

    number: int
    frame: Frame
    result: Result
    extra: Mapping[str, Any]
    at: float
    """When it was published, on time.monotonic."""


class Packet(NamedTuple):
    """A moment, encoded."""

    number: int
    data: bytes
    at: float


class Viewer:
    """One browser's end: the newest packet, and the words that must not be lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ready: Callable[[], None]) -> None:
        """`ready` is called when there is room again."""
        self._loop, self._told = loop, ready
        self._packet: Packet | None = None
        self._owed = False
        self._words: deque[str] = deque()
        self._away: deque[Packet] = deque()
        self._wake = asyncio.Event()
        self._last = 0
        self.looking = True
        """False while its tab is hidden."""
        self.sent = self.dropped = self.words_lost = 0
        self.latency_s: float | None = None
        """From the end of the frame's processing to the viewer's answer that it has the image."""

    @property
    def has_room(self) -> bool:
        """Whether it would take an image now."""
        return self.looking and not self._owed and len(self._away) < WINDOW

    def offer(self, packet: Packet) -> None:
        """From any thread: the newest packet takes the place of one that was not sent yet."""
        self._owed = True  # at once: its loop may be busy, and must not be given more meanwhile
        self._call(self._take, packet)

    def say(self, words: Mapping[str, Any]) -> None:
        """From any thread: a message that is sent before the next image."""
        self._call(self._hear, json.dumps(words, ensure_ascii=False, allow_nan=False))

    async def next(self) -> str | bytes:
        """What is to be sent next: words first, then the newest image if there is room for it."""
        while True:
            if self._words:
                return self._words.popleft()
            if self._packet is not None and len(self._away) < WINDOW:
                packet, self._packet, self._owed = self._packet, None, False
                if self._last:
                    self.dropped += packet.number - self._last - 1
                self._last = packet.number
                self._away.append(Packet(packet.number, b"", packet.at))
                self.sent += 1
                self._told()
                return packet.data
            self._wake.clear()
            await self._wake.wait()

    def heard(self, number: int) -> None:
        """The viewer has the image `number`, so all before it too."""
        while self._away and self._away[0].number <= number:
            self.latency_s = clock.monotonic() - self._away.popleft().at
        self._wake.set()
        self._told()

    def look(self, looking: bool) -> None:
        """Its tab was hidden or shown."""
        self.looking = looking
        if looking:
            self._last = 0  # what was missed meanwhile was not dropped
            self._told()

    def _call(self, what: Callable[[Any], None], value: Any) -> None:
        with suppress(RuntimeError):  # its loop has ended: so has the viewer
            self._loop.call_soon_threadsafe(what, value)

    def _take(self, packet: Packet) -> None:
        if self._packet is None or packet.number >= self._packet.number:
            self._packet = packet
            self._wake.set()

    def _hear(self, words: str) -> None:
        if len(self._words) >= MOST_WORDS:
            self._words.popleft()
            self.words_lost += 1
        self._words.append(words)
        self._wake.set()


class Broadcast:
    """Takes moments from the frame loop and hands them to all viewers."""

    def __init__(
        self,
        describe: Callable[[Moment], Mapping[str, Any]],
        *,
        quality: int = 80,
        widest: int = 1280,
        fps: float = 60.0,
    ) -> None:
        """`describe` makes a moment's record, in the encoding thread; images are at most `widest`
        pixels wide and high, and at most `fps` of them are made a second."""
        self._describe, self._quality, self._widest, self._gap = describe, quality, widest, 1 / fps
        self._news = threading.Condition()
        self._viewers: list[Viewer] = []
        self._slot: Moment | None = None
        self._closed = False
        self.latest: Moment | None = None
        """The newest moment, also when nobody looked."""
        self.published = self.encoded = 0
        self.encode_s = 0.0
        """Seconds of this machine's time spent on encoding so far."""
        self.failed = 0
        """Moments that could not be made into an image; the first one is on the log."""
        self._thread = threading.Thread(target=self._work, name="edgevid-encode", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # Python aborts where it ends a thread that is inside OpenCV

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return any(viewer.looking for viewer in self._viewers)

    @property
    def viewers(self) -> tuple[Viewer, ...]:
        """Who is connected."""
        return tuple(self._viewers)

    def publish(self, frame: Frame, result: Result, **extra: Any) -> None:
        """From the frame loop: leaves the newest moment and returns at once."""
        self.published += 1
        moment = Moment(self.published, frame, result, extra, clock.monotonic())
        with self._news:
            self.latest = self._slot = moment
            if self._viewers:
                self._news.notify()

    def tell(self, **words: Any) -> None:
        """Sends a text message to every viewer; none of them is left out as images are."""
        for viewer in self.viewers:
            viewer.say(words)

    def join(self) -> Viewer:
        """A new viewer, which gets the newest moment at once. Call it in the server's event loop."""
        viewer = Viewer(asyncio.get_running_loop(), self._stir)
        with self._news:
            self._viewers.append(viewer)
            self._slot = self.latest  # also when the loop stands still
            self._news.notify()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """The viewer is gone."""
        with self._news:
            self._viewers.remove(viewer)

    def close(self) -> None:
        """Ends the encoding."""
        atexit.unregister(self.close)
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join(timeout=5)

    def _stir(self) -> None:
        with self._news:
            self._news.notify()

    def _work(self) -> None:
        """Encodes the newest moment whenever somebody has room for it."""
        while True:
            with self._news:
                self._news.wait_for(
                    lambda: (
                        self._closed
                        or (self._slot is not None and any(viewer.has_room for viewer in self._viewers))
                    )
                )
                if self._closed:
                    return
                moment, self._slot = self._slot, None
                takers = [viewer for viewer in self._viewers if viewer.looking]
            assert moment is not None
            begun = clock.monotonic()
            try:
                packet = Packet(moment.number, self._encode(moment), moment.at)
            except Exception:  # one moment less; without this thread nobody would see anything any more
                if not self.failed:
                    log.exception("frame %s cannot be shown", moment.frame.index)
                self.failed += 1
                continue
            for viewer in takers:
                viewer.offer(packet)
            self._rest(self._gap - (clock.monotonic() - begun))

    def _rest(self, seconds: float) -> None:
        if seconds > 0:
            with self._news:
                self._news.wait_for(lambda: self._closed, timeout=seconds)

    def _encode(self, moment: Moment) -> bytes:
        begun = clock.thread_time()
        record = {"type": "frame", "n": moment.number, **self._describe(moment), **moment.extra}
        data = pack(record, jpeg(fitted(moment.frame.image, self._widest), self._quality))
        self.encoded += 1
        self.encode_s += clock.thread_time() - begun
        return data
