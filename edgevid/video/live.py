"""Cameras and streams, read in the background and reconnected indefinitely; and files by HTTP.

A thread decodes and leaves its newest frame in a one-place slot. A slow consumer of a camera loses frames,
which are counted, and never falls behind; a stream that comes in segments (HLS) is handed on in order at its
own pace, and a finite file in order, to its end. Times go forward across reconnections: each connection's own
stamps are laid onto the clock of this machine at its first frame."""

import random
import threading
import time as clock
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

import av

from edgevid.errors import SourceError, log, masked
from edgevid.types import Frame
from edgevid.video.connect import SEGMENTS_STALL, Connection, Connector, Kind, Snapshots, StreamEvent, remedy_for
from edgevid.video.files import DEFAULT_FPS, FileSource
from edgevid.video.frames import Orientation, Source, hardware, short_reason, to_frame
from edgevid.video.hls import HlsStream, Hooks
from edgevid.video.http import HttpError, HttpStream, PermanentError
from edgevid.video.packets import DamageDetector, PacketTap
from edgevid.video.stream_clock import Backlog, PacedClock, StreamClock

MOST_EVENTS = 1000
CLOSE_S = 1.5
BEHIND_S = 2.0  # A slow consumer of a paced stream falls behind by up to this much; then frames are left out
RECORDING_S = 20.0  # Stamps this far ahead of the clock, before any frame came at its pace, are a recording's
Make = Callable[[float, int], Frame]  # A decoded frame, of its time and index
REFUSALS = (401, 403, 404, 410)  # HTTP's answers at the first connection that end it


class _RecordingError(Exception):
    """An address of unknown length has sent a recording faster than it plays."""


class LiveSource(Source):
    """A camera or stream that is read in the background and reconnected whenever it is lost."""

    live = True

    def __init__(self, uri: str, *, stall_s: float = 4.0, min_backoff_s: float = 0.5, max_backoff_s: float = 30.0,
                 give_up_s: float | None = None, rtsp_transport: str = "tcp", snapshot_s: float | None = None,
                 decode: str = "cpu", packets: PacketTap | None = None,
                 follow_hosts: Collection[str] = ()) -> None:  # fmt: skip
        """A stream without a frame for `stall_s` counts as lost, and is reconnected indefinitely.

        The waits between attempts back off exponentially from `min_backoff_s` to `max_backoff_s`, each with
        up to half as much again of jitter, so that a hundred cameras do not come back at one moment.
        `give_up_s` seconds without a frame end it with SourceError (None: never). `rtsp_transport` is tcp
        or udp; a camera that rejects tcp gets udp. The address of an image is read every `snapshot_s` seconds
        (None: as often as it changes, 0.2 to 1 s). `decode`: docs/field.md. `packets` gets each encoded one.
        A server leads (by playlists, redirects) to no other host than its own, but for `follow_hosts`; "*": any."""
        super().__init__()
        self.uri = masked(uri)
        self.stall_s, self.give_up_s, self._snapshot_s = stall_s, give_up_s, snapshot_s
        self._backoff, self._decode_on, self._tap = (min_backoff_s, max_backoff_s), decode, packets
        self.events: list[StreamEvent] = []  # What happened to the connection, the last 1000 events
        self.codec = ""  # Name of the video's codec, once connected
        self.reconnections = 0
        self.newest_at = 0.0  # When the newest frame came, in seconds on the source's clock
        self.lag_s = 0.0  # Age of the newest frame when it was taken
        self.waiting = False  # Whether the program waits for the camera now, and not the camera for the program
        self._begin = self._arrived = self._alive_at = clock.monotonic()
        self._slot: Frame | None = None
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._failure: SourceError | None = None
        self._last, self._retries = -1.0, 0
        self._played_s = -1.0  # How far a file was played, in its own seconds
        hooks = Hooks(self._check, self._check_alive, self._sleep, self._report, self._retry)
        self._connector = Connector(uri, hooks, stall_s=stall_s, transport=rtsp_transport, hwaccel=hardware(decode),
                                    follow_hosts=follow_hosts)  # fmt: skip
        self._silence = f"no frame{' came' * self._connector.silent} for"
        self._thread = threading.Thread(target=self._work, name="edgevid-live", daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether a first frame has come, waited for up to `seconds` (None: as long as it takes). From then on
        `size`, `fps` and `live` are known. SourceError where reconnecting was given up."""
        with self._changed:
            self._wait_for(lambda: self._last >= 0, seconds)
            return self._last >= 0

    def now(self) -> float:
        """Seconds on the source's clock."""
        return clock.monotonic() - self._begin

    def __iter__(self) -> Iterator[Frame]:
        while self.ready():
            yield self.take()

    def ready(self) -> bool:
        """Waits for a frame; False at the end. SourceError where reconnecting was given up."""
        with self._changed:
            self._wait_for(lambda: self._slot is not None)
            return not self._closed and self._slot is not None

    def take(self) -> Frame:
        """The newest frame, once `ready`."""
        with self._changed:
            assert self._slot is not None
            frame, self._slot = self._slot, None
            self.lag_s = clock.monotonic() - self._arrived
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """Ends the reading and reconnecting; returns when its thread has ended, after 1.5 s in any case: an attempt of
        FFmpeg to connect may take until twice `stall_s` to end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._connector.abort()
        self._thread.join(timeout=CLOSE_S)

    def _wait_for(self, ready: Callable[[], bool], seconds: float | None = None) -> None:
        """Waits until `ready()`, the end or the failure, which is raised; with the lock held."""
        self.waiting = True
        self._changed.wait_for(lambda: ready() or self._closed or self._ended or self._failure is not None,
                               timeout=seconds)  # fmt: skip
        self.waiting = False
        if self._failure is not None and not ready():
            raise self._failure

    def _report(self, kind: Kind, detail: str = "") -> None:
        self.events.append(StreamEvent(self.now(), kind, detail))
        del self.events[:-MOST_EVENTS]
        log.info("%s: %s%s", self.uri, kind, f": {detail}" if detail else "")

    def _check(self) -> None:
        if self._closed:
            raise SourceError("closed")

    def _check_alive(self, times: float = 1) -> None:
        """Raises when the source is closed, or no frame has come for `times` the time of a stall."""
        self._check()
        if clock.monotonic() - self._alive_at > times * self.stall_s:
            raise TimeoutError(f"{self._silence} {times * self.stall_s:g} s")

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, timeout=seconds)
        self._check()

    def _work(self) -> None:
        """Connect, read until it fails, back off, and again."""
        backoff, missing_since = self._backoff[0], clock.monotonic()
        while not self._closed:
            before = self.decoded
            try:
                self._read()
            except Exception as error:  # whatever a broken stream provokes, reconnecting goes on
                self._lost(error)
            if self._ended or self._failure is not None:
                break
            if self.decoded > before:
                backoff, missing_since = self._backoff[0], clock.monotonic()
            if self.give_up_s is not None and clock.monotonic() - missing_since > self.give_up_s:
                self._fail(f"no frame for {self.give_up_s:g} s; check address, login and network")
                break
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=backoff * random.uniform(1, 1.5))
            backoff = min(2 * backoff, self._backoff[1])
        with self._changed:
            self._changed.notify_all()

    def _retry(self, error: Exception) -> None:
        """The connection of a file broke: reports it, and waits before it is resumed."""
        self._lost(error)
        waits = min(self._backoff[0] * 2.0 ** min(self._retries, 10), self._backoff[1])
        self._alive_at = clock.monotonic() if not self._retries else self._alive_at
        self._retries += 1
        if self.give_up_s is not None and clock.monotonic() - self._alive_at > self.give_up_s:
            self._fail(f"no frame for {self.give_up_s:g} s; check address, login and network")
            raise PermanentError("given up")
        self._sleep(waits * random.uniform(1, 1.5))

    def _fail(self, reason: str) -> None:
        self._failure = SourceError(f"{self.uri}: {reason}")

    def _lost(self, error: Exception) -> None:
        if self._closed or self._failure is not None:
            return
        path = f"{Path(self.uri)}: "
        detail = str(error) if isinstance(error, SourceError) else short_reason(error)
        if isinstance(error, (av.ExitError, av.TimeoutError, TimeoutError)):
            self._report("stalled", detail if detail.startswith("no ") else f"{self._silence} {self.stall_s:g} s")
        else:
            self._report("lost", masked(detail.removeprefix(path)))
        if self.decoded:
            return
        remedy = remedy_for(self.events[-1].detail)
        refused = isinstance(error, HttpError) and error.status in REFUSALS
        if refused or isinstance(error, PermanentError) or detail.startswith(path):  # of a file that is none
            self._fail("; ".join(filter(None, (f"no frame: {self.events[-1].detail}", remedy))))
        elif len(self.events) == 1:  # a camera that never sent a frame may be away, or its address mistyped
            until = "indefinitely" if self.give_up_s is None else f"for {self.give_up_s:g} s"
            hint = remedy or "`edgevid doctor --source` finds the cause"
            log.warning("%s: no frame yet; reconnecting %s; %s", self.uri, until, hint)

    def _read(self) -> None:
        """Reads until the stream ends; what ended it is reported before the close, which may wait as well."""
        self._alive_at, again = clock.monotonic(), False
        connection = self._connector.connect()
        try:
            if connection.kind == "file":
                self._play(connection)
            elif connection.kind == "images":
                self._poll()
            else:
                self._take(connection)
            self._ended = True
            self._report("ended")
        except _RecordingError:  # nothing has been handed on yet: it is read again, as a file
            self._connector.finite = again = True
            self.decoded = self.dropped = self.corrupted = 0
        except Exception as error:
            self._lost(error)
        finally:
            connection.close()
        if again:
            self._read()

    def _play(self, connection: Connection) -> None:
        """Hands on every frame of a file, in order, to its end."""
        self.live = False
        segments = isinstance(connection.stream, HlsStream)
        if segments and connection.stream.over:
            return
        resumed = 0.0 if not segments or self._last < 0 else self._last + 1.0 / (self.fps or DEFAULT_FPS)
        given = connection.container or connection.stream
        with FileSource(self.uri, opened=given, decode=self._decode_on, packets=self._tap) as file:
            self._connected(file.size, file.fps, getattr(file, "codec", ""))
            self.frame_count = file.frame_count
            for frame in file:
                self._check()
                self.corrupted = file.corrupted
                if not segments and frame.time <= self._played_s:
                    continue
                self._played_s = frame.time
                frame.time, frame.index = frame.time + resumed, self.decoded
                self._hand_on(frame, wait_s=None)
                self._retries = 0

    def _poll(self) -> None:
        """Hands on the image of an address whenever it has changed."""
        assert self._connector.client is not None
        images = Snapshots(self._connector.client, every_s=self._snapshot_s, check=self._check_alive)
        connected = False
        while True:
            image = images.next()
            self._alive_at = clock.monotonic()
            if image is not None:
                frame = Frame(image, max(self.now(), self._last + 0.001), self.decoded)
                if not connected:
                    connected = True
                    self._connected(frame.size, None, "images")
                self._hand_on(frame)
            self._sleep(images.pause_s)

    def _take(self, connection: Connection) -> None:
        """Hands on the frames of a live stream."""
        container, paced = connection.container, connection.kind == "paced"
        self._check_alive(SEGMENTS_STALL if paced else 1)  # FFmpeg opens a session also where nothing comes
        if not container.streams.video:
            raise SourceError("the stream has no video")
        stream = container.streams.video[0]
        times, backlog = StreamClock(nominal=connection.nominal, report=self._report), Backlog()
        pace, damage = PacedClock(self._report), DamageDetector(stream, live=True, tap=self._tap)
        corrupted, frames, orientation = self.corrupted, 0, Orientation()
        # All streams: a sound track that goes on must not hide that the picture has stopped.
        for packet in container.demux():
            self._check_alive(SEGMENTS_STALL if paced else 1)
            if packet.stream is not stream:
                continue
            for av_frame, damaged in damage.decode(packet):
                arrived = clock.monotonic()
                if damaged and not frames and not av_frame.key_frame:  # before the first key frame
                    corrupted += 1
                    continue
                if not paced:
                    self._alive_at = arrived
                if isinstance(connection.stream, HttpStream):
                    connection.stream.frameless = 0
                frames += 1
                if frames == 1:
                    rate, codec = stream.average_rate, getattr(stream.codec_context, "name", "")
                    self._connected((av_frame.width, av_frame.height), float(rate) if rate else None, codec)
                make = partial(to_frame, av_frame, orientation=orientation, damaged=damaged, tap=self._tap)
                stamp = None if av_frame.pts is None else float(av_frame.pts * stream.time_base)
                if paced:
                    self._arrive_paced(make, stamp, pace)
                    continue
                multipart, item = container.format.name == "mpjpeg", (make, stamp)
                counted = frames / DEFAULT_FPS if connection.nominal else stamp
                for passed, at in [item] if multipart else backlog.passed(item, counted, arrived):
                    time = times.time(at, now=self.now(), last=self._last)
                    if time > self._last:
                        self._hand_on(passed(time, self.decoded))
                    else:
                        self.dropped += 1
                if backlog.ahead_s > RECORDING_S and self._last < 0:
                    raise _RecordingError
                self.decoded, self.dropped = (self.decoded + backlog.held_back, self.dropped + backlog.held_back)
            self.corrupted = corrupted + damage.failed
        if isinstance(connection.stream, HlsStream):
            if connection.stream.stalled:
                raise TimeoutError(connection.stream.stalled)
            return
        if backlog.ahead_s > 0 and self._last < 0 and self._connector.sent_a_recording(connection):
            raise _RecordingError
        raise SourceError("the stream ended")

    def _arrive_paced(self, make: Make, stamp: float | None, pace: PacedClock) -> None:
        """Waits until the frame is due, and for the frame before to be taken, but not for long."""
        step = 1.0 / (self.fps or DEFAULT_FPS)
        now, free_at = self.now(), self._alive_at - self._begin
        time, due = pace.time(stamp, now=now, last=self._last, step=step, free_at=free_at)
        self._sleep(max(0.0, due - self.now()))
        self._hand_on(make(time, self.decoded), wait_s=max(0.0, due + BEHIND_S - self.now()))
        self._alive_at = clock.monotonic()

    def _hand_on(self, frame: Frame, wait_s: float | None = 0.0) -> None:
        """Puts a frame into the slot; waits up to `wait_s` (None: no limit) until the one before is taken."""
        if self.size not in ((0, 0), frame.size):
            self._report("resized", f"{self.size[0]}x{self.size[1]} to {frame.width}x{frame.height}")
        with self._changed:
            if wait_s != 0:
                self._changed.wait_for(lambda: self._slot is None or self._closed, timeout=wait_s)
                self._check()
            self.dropped += self._slot is not None
            self.size, self._last, self.newest_at = frame.size, frame.time, self.now()
            self.decoded, self.damaged = self.decoded + 1, self.damaged + frame.damaged
            self._slot, self._arrived = frame, clock.monotonic()
            self._changed.notify_all()

    def _connected(self, size: tuple[int, int], fps: float | None, codec: str) -> None:
        self.fps, self.codec = fps, codec
        self.reconnections += self._last >= 0
        self._report("connected", f"{size[0]}x{size[1]}")
