"""Cameras and streams: only the newest frame is kept, and a lost stream is reconnected indefinitely.

A thread decodes and leaves its newest frame in a one-place slot: a slow consumer loses frames, which are
counted, and never falls behind. Times go forward across reconnections: each connection's own stamps are
laid onto the clock of this machine at its first frame.
"""

from __future__ import annotations

import logging
import random
import re
import ssl
import threading
import time as clock
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av

from edgevid.errors import SourceError, masked
from edgevid.types import Frame
from edgevid.video.base import SourceBase
from edgevid.video.frames import seconds_of, short_reason, to_frame
from edgevid.video.stream_clock import Backlog, StreamClock

log = logging.getLogger("edgevid")

MOST_EVENTS = 1000


class StreamEvent(NamedTuple):
    """Something that happened to the connection."""

    time: float
    """Seconds on the source's clock."""
    kind: Literal["connected", "lost", "stalled", "resized"]
    """Lost: the stream ended or could not be opened; stalled: no frame came for too long."""
    detail: str


class LiveSource(SourceBase):
    """A camera or stream that is read in the background and reconnected whenever it is lost."""

    live = True

    def __init__(
        self,
        uri: str,
        *,
        stall_s: float = 4.0,
        min_backoff_s: float = 0.5,
        max_backoff_s: float = 30.0,
        give_up_s: float | None = None,
    ) -> None:
        """A stream without a frame for `stall_s` counts as lost, and is reconnected indefinitely.

        The waits between attempts back off exponentially from `min_backoff_s` to `max_backoff_s`, each with
        up to half as much again of jitter, so that a hundred cameras do not come back at one moment.
        `give_up_s` seconds without a frame end it with SourceError (None: never).
        """
        super().__init__()
        self.uri = masked(uri)
        self._uri, self.stall_s, self.give_up_s = uri, stall_s, give_up_s
        self._backoff = (min_backoff_s, max_backoff_s)
        self.events: list[StreamEvent] = []
        """What happened to the connection, the last 1000 events."""
        self.codec = ""
        """Name of the video's codec, once connected."""
        self.reconnections = 0
        self.newest_at = 0.0
        """When the newest frame came, in seconds on the source's clock."""
        self.lag_s = 0.0
        """Age of the newest frame when it was taken."""
        self.waiting = False
        """Whether the program waits for the camera now, and not the camera for the program."""
        self._begin = clock.monotonic()
        self._slot: Frame | None = None
        self._arrived = self._begin
        self._changed = threading.Condition()
        self._closed = False
        self._failure: SourceError | None = None
        self._last = -1.0
        self._thread = threading.Thread(target=self._work, name="edgevid-live", daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether a first frame has come, waited for up to `seconds` (None: as long as it takes).

        From then on `size` and `fps` are known. SourceError where reconnecting was given up.
        """
        with self._changed:
            self._wait_for(lambda: self._last >= 0, seconds)
            return self._last >= 0

    def now(self) -> float:
        """Seconds on the source's clock."""
        return clock.monotonic() - self._begin

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._wait_for(lambda: self._slot is not None)
                if self._closed:
                    return
                frame, self._slot = self._slot, None
                self.lag_s = clock.monotonic() - self._arrived
            assert frame is not None
            yield frame

    def close(self) -> None:
        """Ends the reading and reconnecting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=self.stall_s + 1)

    def _wait_for(self, ready: Any, seconds: float | None = None) -> None:
        """Waits until `ready()`, the end or the failure, which is raised; with the lock held."""
        self.waiting = True
        self._changed.wait_for(lambda: ready() or self._closed or self._failure is not None, timeout=seconds)
        self.waiting = False
        if self._failure is not None:
            raise self._failure

    def _report(self, kind: Literal["connected", "lost", "stalled", "resized"], detail: str = "") -> None:
        self.events.append(StreamEvent(self.now(), kind, detail))
        del self.events[:-MOST_EVENTS]
        log.info("%s: %s%s", self.uri, kind, f": {detail}" if detail else "")

    def _work(self) -> None:
        """Connect, read until it fails, back off, and again."""
        backoff, missing_since = self._backoff[0], clock.monotonic()
        while not self._closed:
            before = self.decoded
            try:
                self._read()
            except Exception as error:  # whatever a broken stream provokes, reconnecting goes on
                self._lost(error)
            if self.decoded > before:
                backoff, missing_since = self._backoff[0], clock.monotonic()
            if self.give_up_s is not None and clock.monotonic() - missing_since > self.give_up_s:
                with self._changed:
                    self._failure = SourceError(
                        f"{self.uri}: no frame for {self.give_up_s:g} s; check address, login and network"
                    )
                    self._changed.notify_all()
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=backoff * random.uniform(1, 1.5))
            backoff = min(2 * backoff, self._backoff[1])

    def _lost(self, error: Exception) -> None:
        if self._closed:
            return
        if not self.events:  # a camera that never sent a frame may be away, or its address mistyped
            log.warning(
                "%s: no frame yet; reconnecting indefinitely. `edgevid doctor --source` finds the cause",
                self.uri,
            )
        if isinstance(error, (av.ExitError, av.TimeoutError, TimeoutError)):
            self._report("stalled", f"no frame for {self.stall_s:g} s")
        else:
            self._report("lost", short_reason(error))

    def _connect(self) -> Any:
        uri, options, form = self._uri, {}, None
        if re.fullmatch(r"\d+", uri) or uri.startswith("/dev/video"):
            uri, form = (f"/dev/video{uri}" if uri.isdigit() else uri), "v4l2"
        elif uri.startswith("rtsp"):
            # No "nobuffer": it throws away what was read to learn the format, the first key frame with it,
            # and a camera that sends one in ten seconds then shows nothing for as long.
            options = {"rtsp_transport": "tcp", "analyzeduration": "500000", "fpsprobesize": "0"}
        if uri.startswith(("rtsps", "https")):
            options |= {"tls_verify": "1", **trusted_certificates()}
        return av.open(uri, format=form, options=options, timeout=(self.stall_s, self.stall_s))

    def _read(self) -> None:
        """Reads until the stream ends; what ended it is reported before the close, which may wait as well."""
        container = self._connect()
        try:
            self._take(container)
        except Exception as error:
            self._lost(error)
        finally:
            container.close()

    def _take(self, container: Any) -> None:
        if not container.streams.video:
            raise SourceError("the stream has no video")
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"  # frame threads would hold frames back
        self.fps = float(stream.average_rate) if stream.average_rate else None
        self.codec = stream.codec_context.name if stream.codec_context else ""
        times, backlog = StreamClock(), Backlog()
        connected, arrived = False, clock.monotonic()
        for packet in container.demux(stream):
            if self._closed:
                return
            if clock.monotonic() - arrived > self.stall_s:  # packets come, but no frames
                raise TimeoutError
            for av_frame in self._decode(packet):
                arrived = clock.monotonic()
                if not connected:
                    connected = True
                    self.reconnections += self.decoded > 0
                    self._report("connected", f"{av_frame.width}x{av_frame.height}")
                for current in backlog.passed(av_frame, arrived):
                    self._arrive(current, times)
                if backlog.held_back:
                    self.decoded, self.dropped = self.decoded + 1, self.dropped + 1
        raise SourceError("the stream ended")

    def _decode(self, packet: Any) -> list[Any]:
        """The intact frames of a packet; what cannot be decoded, or only in part, is counted."""
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            self.corrupted += 1
            return []
        intact = [frame for frame in decoded if not getattr(frame, "is_corrupt", False)]
        self.corrupted += len(decoded) - len(intact)
        return intact

    def _arrive(self, av_frame: Any, times: StreamClock) -> None:
        """Puts the newest frame into the slot."""
        now = self.now()
        time = times.time(seconds_of(av_frame), now=now, last=self._last)
        if time <= self._last:
            self.dropped += 1
            return
        frame = to_frame(av_frame, time, self.decoded)
        if self.size not in ((0, 0), frame.size):
            self._report("resized", f"{self.size[0]}x{self.size[1]} to {frame.width}x{frame.height}")
        self.size, self._last, self.newest_at = frame.size, time, now
        self.decoded += 1
        with self._changed:
            self.dropped += self._slot is not None
            self._slot, self._arrived = frame, clock.monotonic()
            self._changed.notify()


def trusted_certificates() -> dict[str, str]:
    """FFmpeg's option for the certificates that this machine trusts: PyAV's wheels do not look there."""
    paths = ssl.get_default_verify_paths()
    for file in (paths.cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if file and Path(file).is_file():
            return {"ca_file": file}
    return {}
