"""Cameras and streams: only the newest frame is kept, and a lost stream is sought for ever.

A thread decodes and leaves its newest frame in a one-place box: a slow consumer loses frames, which are
counted, and never falls behind. Times go forward across reconnections: each connection's own stamps are
laid onto the clock of this machine at its first frame.
"""

from __future__ import annotations

import logging
import math
import random
import re
import ssl
import threading
import time as clock
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av

from edgevid.errors import SourceError
from edgevid.types import Frame
from edgevid.video.open import _Counted, _short, masked, to_frame

log = logging.getLogger("edgevid")


SLEW = 0.002
"""Seconds a second by which times are led back to this machine's clock: no speed notices, no drift wins."""
BACKLOG_S = 3.0
"""How long after connecting a backlog of images is looked for."""
SLACK_S = 0.5
"""How far times may be from this machine's clock before they are led back."""


class StreamEvent(NamedTuple):
    """Something that happened to the connection."""

    time: float
    """Seconds on the source's clock."""
    kind: str
    """"connected", "lost" (ended or refused), "stalled" (silent for too long) or "resized"."""
    detail: str


class LiveSource(_Counted):
    """A camera or stream that is read in the background and reconnected whenever it is lost."""

    live = True

    def __init__(
        self,
        uri: str,
        *,
        stall_s: float = 4.0,
        first_wait_s: float = 0.5,
        longest_wait_s: float = 30.0,
        give_up_s: float | None = None,
    ) -> None:
        """A stream silent for `stall_s` counts as lost. Waits between attempts double from `first_wait_s`
        to `longest_wait_s`, each with up to half as much again by chance, so that a hundred cameras do
        not come back at one moment. `give_up_s` ends the search with SourceError (None: never).
        """
        super().__init__()
        self.uri = masked(uri)
        self._uri, self.stall_s, self.give_up_s = uri, stall_s, give_up_s
        self._waits = (first_wait_s, longest_wait_s)
        self.events: list[StreamEvent] = []
        """What happened to the connection, the last 1000 of it."""
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
        self._box: Frame | None = None
        self._arrived = self._begin
        self._news = threading.Condition()
        self._closed = False
        self._failure: SourceError | None = None
        self._last = -1.0
        self._thread = threading.Thread(target=self._work, name="edgevid-live", daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether a first image has come, waited for up to `seconds` (None: as long as it takes).

        From then on `size` and `fps` are known. SourceError where the search was given up.
        """
        with self._news:
            self.waiting = True
            self._news.wait_for(
                lambda: self._last >= 0 or self._closed or self._failure is not None, timeout=seconds
            )
            self.waiting = False
            if self._failure is not None:
                raise self._failure
            return self._last >= 0

    def now(self) -> float:
        """Seconds on the source's clock."""
        return clock.monotonic() - self._begin

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._news:
                self.waiting = True
                self._news.wait_for(
                    lambda: self._box is not None or self._closed or self._failure is not None
                )
                self.waiting = False
                if self._failure is not None:
                    raise self._failure
                if self._closed:
                    return
                frame, self._box = self._box, None
                self.lag_s = clock.monotonic() - self._arrived
            assert frame is not None
            yield frame

    def close(self) -> None:
        """Ends the search and the reading."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join(timeout=self.stall_s + 1)

    def _tell(self, kind: str, detail: str = "") -> None:
        self.events.append(StreamEvent(self.now(), kind, detail))
        del self.events[:-1000]
        log.info("%s: %s%s", self.uri, kind, f": {detail}" if detail else "")

    def _work(self) -> None:
        """Connect, read until it fails, wait, and again."""
        wait, missing_since = self._waits[0], clock.monotonic()
        while not self._closed:
            before = self.decoded
            try:
                self._read()
            except Exception as error:  # whatever a broken stream provokes, the search goes on
                self._lost(error)
            if self.decoded > before:
                wait, missing_since = self._waits[0], clock.monotonic()
            if self.give_up_s is not None and clock.monotonic() - missing_since > self.give_up_s:
                with self._news:
                    self._failure = SourceError(
                        f"{self.uri}: no image for {self.give_up_s:g} s; check address, login and network"
                    )
                    self._news.notify_all()
                return
            with self._news:
                self._news.wait_for(lambda: self._closed, timeout=wait * random.uniform(1, 1.5))
            wait = min(2 * wait, self._waits[1])

    def _lost(self, error: Exception) -> None:
        if self._closed:
            return
        if not self.events:  # a camera that was never seen may be away, or mistyped
            log.warning(
                "%s: no image yet; sought until it comes. `edgevid doctor --camera` says what is wrong",
                self.uri,
            )
        if isinstance(error, (av.ExitError, av.TimeoutError, TimeoutError)):
            self._tell("stalled", f"silent for {self.stall_s:g} s")
        else:
            self._tell("lost", _short(error))

    def _connect(self) -> Any:
        uri, options, form = self._uri, {}, None
        if re.fullmatch(r"\d+", uri) or uri.startswith("/dev/video"):
            uri, form = (f"/dev/video{uri}" if uri.isdigit() else uri), "v4l2"
        elif uri.startswith("rtsp"):
            # No "nobuffer": it throws away what was read to learn the format, the first key image with it,
            # and a camera that sends one in ten seconds then shows nothing for as long.
            options = {"rtsp_transport": "tcp", "analyzeduration": "500000", "fpsprobesize": "0"}
        if uri.startswith(("rtsps", "https")):
            options |= {"tls_verify": "1", **_trusted()}
        return av.open(uri, format=form, options=options, timeout=(self.stall_s, self.stall_s))

    def _read(self) -> None:
        """Reads until the stream ends; what ended it is told before the close, which may wait as well."""
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
        stream.thread_type = "SLICE"  # frame threads would hold images back
        self.fps = float(stream.average_rate) if stream.average_rate else None
        self.codec = stream.codec_context.name if stream.codec_context else ""
        anchor: float | None = None
        told, heard, backlog = False, clock.monotonic(), _Backlog()
        for packet in container.demux(stream):
            if self._closed:
                return
            if clock.monotonic() - heard > self.stall_s:  # packets come, but no images
                raise TimeoutError
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                self.corrupted += 1
                continue
            for picture in pictures:
                if getattr(picture, "is_corrupt", False):  # parts of it were made up by the decoder
                    self.corrupted += 1
                    continue
                heard = clock.monotonic()
                if not told:
                    told = True
                    self.reconnections += self.decoded > 0
                    self._tell("connected", f"{picture.width}x{picture.height}")
                for timely in backlog.passed(picture, heard):
                    anchor = self._arrive(timely, anchor)
                if backlog.held_back:
                    self.decoded, self.dropped = self.decoded + 1, self.dropped + 1
        raise SourceError("the stream ended")

    def _arrive(self, picture: Any, anchor: float | None) -> float | None:
        """Puts the newest image into the box; returns what its own stamps must be shifted by."""
        heard = self.now()
        stamp = float(picture.pts * picture.time_base) if picture.pts is not None else None
        if stamp is None:
            time = heard
        else:
            # A jump of the stamps against this machine's clock (a camera that set its clock) starts anew.
            if anchor is None:
                anchor = max(heard, self._last + 0.001) - stamp
            ahead = stamp + anchor - heard
            if abs(ahead) > 5.0:
                anchor = heard - stamp
            elif abs(ahead) > SLACK_S:  # two clocks never run alike
                step = SLEW * min(max(stamp + anchor - self._last, 0.0), 1.0)
                anchor -= math.copysign(step, ahead)
            time = stamp + anchor
        if time <= self._last:
            self.dropped += 1
            return anchor
        frame = to_frame(picture, time, self.decoded)
        if self.size not in ((0, 0), frame.size):
            self._tell("resized", f"{self.size[0]}x{self.size[1]} to {frame.width}x{frame.height}")
        self.size, self._last, self.newest_at = frame.size, time, heard
        self.decoded += 1
        with self._news:
            self.dropped += self._box is not None
            self._box, self._arrived = frame, clock.monotonic()
            self._news.notify()
        return anchor


class _Backlog:
    """Holds back what a server had stored up, or what was read to learn the format, when a connection begins.

    Such images come faster than they were taken. Handed on, they would be shown as of now, and what moves
    in them would seem to race. Each image waits for the next one, until they come at the camera's pace.
    """

    def __init__(self) -> None:
        self._waiting: tuple[Any, float, float] | None = None
        self._until = clock.monotonic() + BACKLOG_S
        self._over = False
        self.held_back = False
        """Whether the last call found an image to be stale."""

    def passed(self, picture: Any, heard: float) -> list[Any]:
        """The images to be handed on now that `image` came at `heard` (monotonic seconds)."""
        self.held_back = False
        if self._over:
            return [picture]
        # RTSP's first image has no stamp yet; where no image has one, nothing can be told.
        stamp = float(picture.pts * picture.time_base) if picture.pts is not None else math.nan
        before, self._waiting = self._waiting, (picture, stamp, heard)
        if before is None:
            return []
        unknown = math.isnan(stamp) and math.isnan(before[1])
        self._over = unknown or heard > self._until or heard - before[2] > 0.5 * (stamp - before[1])
        self.held_back = not self._over
        return [before[0], picture] if self._over else []


def _trusted() -> dict[str, str]:
    """Where this machine keeps the certificates it trusts: FFmpeg in PyAV's wheels does not look there."""
    paths = ssl.get_default_verify_paths()
    for file in (paths.cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if file and Path(file).is_file():
            return {"ca_file": file}
    return {}
