"""Recorder: the camera's own stream on disk, clips of events with what came before, and snapshots. Packets are written
as they came from the camera, without decoding or encoding, by a thread of its own."""

from __future__ import annotations

import io
import math
import threading
import time as clock
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, get_args

import av

from edgevid.errors import InputError, check_choice, log
from edgevid.files import file_name
from edgevid.output.recordings_folder import RecordingsFolder
from edgevid.output.recordings_snapshot import BestMoments
from edgevid.types import Closing, Event, EventKind, Frame, Header, Result
from edgevid.video.packets import Coded, PacketTap
from edgevid.video.writer import FrameEncoder

CLIPPED: tuple[EventKind, ...] = ("cross", "enter", "dwell", "stopped", "wrong-way",
                                  "occupancy-above", "speed-limit", "camera-moved")  # fmt: skip
"""Kinds of events that get a clip by default: not what every object causes."""
DATABASE = "events.db"  # Name of the database of events in a folder of recordings
LATE_S = 5.0  # An event may be found this long after its packets came
MOST_RING = 256_000_000
MOST_QUEUED = 2000  # Packets that wait for the disk; a file waits for it too, of a camera more are left out
MOST_CLIP_S = 300.0  # A clip that overlapping events made this long ends, and the next event begins another one
GAP_S = 10.0  # Time stamps that jump by more begin a new file
ENCODED_FPS = 15.0  # Nominal: a key frame after each 30 frames
MP4 = ("h264", "hevc", "av1", "vp9", "mpeg4")  # Codecs that go into MP4; others go into Matroska
FLAGS = {"movflags": "hybrid_fragmented+delay_moov+frag_keyframe+default_base_moof",
         "frag_duration": "2000000"}  # fmt: skip
"""A killed program leaves a fragmented file that plays up to there; a finished one has an index."""


class Recorder(Closing):
    """A sink that records; its `tap` goes to `open_video(..., packets=recorder.tap)`."""

    def __init__(self, folder: str | Path, *, camera: str = "camera", continuous: bool = True,
                 events: Collection[str] = CLIPPED, pre_s: float = 5.0, post_s: float = 5.0, segment_s: float = 60.0,
                 keep_days: float | None = None, max_bytes: int | None = None, live: bool = False,
                 unit: str = "km/h") -> None:  # fmt: skip
        """Files go to folder/camera, within `keep_days` and `max_bytes`.

        `continuous` records all of the stream, in segments of about `segment_s`. An event whose kind is in `events`
        gets a clip from the last key frame before `pre_s` to `post_s` after it, and a snapshot of its object.
        `live`: where the disk is slow packets are left out, and the camera is not delayed."""
        for kind in events:
            check_choice(kind, get_args(EventKind), "recorded events")
        if min(pre_s, post_s) < 0 or segment_s <= 0:
            raise InputError(f"recordings: expected seconds, got {pre_s}, {post_s} and {segment_s}")
        self.camera = file_name(camera)
        self.path, self.live = Path(folder), live
        self.folder = RecordingsFolder(self.path / self.camera, keep_days=keep_days, max_bytes=max_bytes)
        self.tap = PacketTap(self._queue_packet)
        self._continuous, self._kinds, self._segment_s = continuous, frozenset(events), segment_s
        self._pre_s, self._post_s = pre_s, post_s
        self._moments = BestMoments(self.folder, unit=unit)
        self._queue: SimpleQueue[Callable[[], None] | Coded | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._header, self._skipping, self._failed = Header(), False, False
        self._failure: OSError | None = None  # Why nothing is recorded now, for the loop
        self.dropped = 0  # Packets that were left out, because the disk was slow
        self._ring: deque[Coded] = deque()
        self._encoder: FrameEncoder | None = None
        self._holder: Any = None
        self._segment: _File | None = None
        self._clip: _Clip | None = None
        self._thread = threading.Thread(target=self._work, name="edgevid-record", daemon=True)

    def open(self, header: Header) -> None:
        """Begins to write; the run's start names the files of a recording."""
        self._header = header
        self._thread.start()

    def annotate(self, event: Event) -> Event:
        """The event with the names of its clip and its snapshot, which are written from now on."""
        utc = self._utc(event.time_s)
        clip = self._clip_of(event, utc) if event.kind in self._kinds else ""
        snapshot = self._moments.name(event, utc, self._queue.put)
        clip, snapshot = (f"{self.camera}/{name}" if name else "" for name in (clip, snapshot))
        return replace(event, clip=clip, snapshot=snapshot)

    def write(self, frame: Frame, result: Result) -> None:
        """Notes each object's best moment, and writes the snapshots that events named. Frames of a source that has no
        packets, or whose packets must not be kept, are encoded."""
        failure, self._failure = self._failure, None
        if failure is not None and self.live:
            raise failure
        if self._encoder is not None or self.tap.layout is None:
            self._encode(frame)
        self._moments.update(frame, result, self._queue.put)

    def close(self) -> None:
        """Finishes all files."""
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        self.folder.close()

    def notes(self) -> list[str]:
        """What was left out, for a user."""
        return [f"{self.dropped} packets were not recorded: the disk was slow"] if self.dropped else []

    def _utc(self, time: float) -> float:
        return clock.time() if self.live else self._header.start + (time if time == time else 0.0)

    def _clip_of(self, event: Event, utc: float) -> str:
        """The clip that is open, longer from now on, or a new one."""
        begin, end = event.time_s - self._pre_s, event.time_s + self._post_s
        with self._lock:
            if (before := self._clip) is not None and begin <= before.end and end - before.begin <= MOST_CLIP_S:
                before.end = max(before.end, end)
                return before.name
            self._clip = _Clip(self.folder.name(utc, "event", suffix_of(self.tap.layout)), begin, end)
        self._queue.put(lambda: self._next_clip(before))
        return self._clip.name

    def _encode(self, frame: Frame) -> None:
        size = frame.width // 2 * 2, frame.height // 2 * 2
        if self._encoder is None or self._encoder.size != size:
            self._holder = av.open(io.BytesIO(), "w", format="mp4")
            self._encoder = FrameEncoder(self._holder, size, fps=ENCODED_FPS, quality=23,
                                         codec="auto", start=frame.time)  # fmt: skip
            self._holder.start_encoding()
        av_frame = self._encoder.frame(frame.image[: size[1], : size[0]], frame.time)
        for packet in self._encoder.stream.encode(av_frame):
            self.tap.packet(packet)
        self.tap.shown(av_frame, frame.time - self.tap.later_s)

    def _queue_packet(self, coded: Coded) -> None:
        """In the thread that reads the source."""
        while self._queue.qsize() > MOST_QUEUED and not self.live and self._thread.is_alive():
            clock.sleep(0.005)
        self._skipping = (self.live and self._queue.qsize() > MOST_QUEUED) or (self._skipping and not coded.key)
        self.dropped += self._skipping
        if not self._skipping:
            self._queue.put(coded)

    # What the recording's own thread does.

    def _work(self) -> None:
        while (item := self._next()) is not None:
            try:
                self.folder.remove_expired()
                self._take(item) if isinstance(item, Coded) else item()
                self._failed &= self._segment is None and (self._clip is None or self._clip.file is None)
            except (OSError, av.FFmpegError) as error:  # noqa: PERF203
                if not self._failed:
                    log.warning("%s: not recorded: %s", self.folder.path, error)
                self._failed, self._failure = True, error if isinstance(error, OSError) else self._failure
                self._end_all()
        self._end_all()

    def _next(self) -> Any:
        with suppress(Empty):
            return self._queue.get(timeout=60.0)
        return self.folder.remove_expired  # also while the camera is away

    def _end_all(self) -> None:
        segment, self._segment = self._segment, None
        self._end(segment)
        self._end_clip()

    def _take(self, coded: Coded) -> None:
        if self._ring and not continues(self._ring[-1], coded):
            self._end_clip()
            self._ring.clear()
        self._ring.append(coded)
        if coded.key:
            self._trim(coded.time - self._pre_s - LATE_S)
        if self._continuous:
            self._continue(coded)
        if self._clip is not None and coded.time > self._clip.end + self._pre_s + LATE_S:
            self._end_clip()
        self._fill()

    def _trim(self, time: float) -> None:
        """Forgets what lies before the last key frame at `time`, and what is too much."""
        known = [coded for coded in self._ring if coded.key and coded.time <= time]
        size = sum(len(coded.data) for coded in self._ring)
        while (known and self._ring[0] is not known[-1]) or size > MOST_RING:
            size -= len(self._ring.popleft().data)

    def _continue(self, coded: Coded) -> None:
        if (segment := self._segment) is not None and not segment.fits(coded, self._segment_s):
            self._end(segment)
            segment = self._segment = None
        if segment is None and coded.key:
            name = self.folder.name(self._utc(coded.time), "", suffix_of(coded.layout))
            segment = self._segment = _File(self.folder, name, coded)
        if segment is not None:
            segment.write(coded)

    def _next_clip(self, before: _Clip | None) -> None:
        self._end(before.file if before else None)
        self._fill()

    def _fill(self) -> None:
        """Adds to the clip what the ring holds of it by now."""
        if (clip := self._clip) is None:
            return
        if clip.file is None:
            if not (keys := [coded for coded in self._ring if coded.key]):
                return
            first = [coded for coded in keys if coded.time <= clip.begin][-1:] or keys[:1]
            clip.file, clip.last = _File(self.folder, clip.name, first[0]), first[0].number - 1
        last = clip.last
        for coded in [*takewhile(lambda coded: coded.number > last, reversed(self._ring))][::-1]:
            if coded.time > clip.end:
                return
            if not clip.file.fits(coded):
                self._end_clip()
                return
            clip.file.write(coded)
            clip.last = coded.number

    def _end_clip(self) -> None:
        with self._lock:
            clip, self._clip = self._clip, None
        self._end(clip.file if clip else None)

    def _end(self, file: _File | None) -> None:
        if file is not None:
            with suppress(OSError, av.FFmpegError):  # what is on the disk plays without the index
                file.close()


@dataclass(slots=True)
class _Clip:
    """A clip that may still become longer."""

    name: str
    begin: float
    end: float
    file: _File | None = None
    last: int = -1  # Number of the last packet in it


class _File:
    """A file that packets are written to; its time starts at the first one."""

    def __init__(self, folder: RecordingsFolder, name: str, first: Coded) -> None:
        self._output = folder.create(name)
        mp4 = name.endswith(".mp4")
        self._container: Any = av.open(self._output, "w", format="mp4" if mp4 else "matroska",
                                       container_options={"flush_packets": "1"} | (FLAGS if mp4 else {}))  # fmt: skip
        self._stream = self._container.add_stream_from_template(first.layout, opaque=True)
        self._first, self._last = first, first.dts - 1

    def fits(self, coded: Coded, most_s: float = math.inf) -> bool:
        """Whether a packet continues this file; a key frame after `most_s` begins another one."""
        full = coded.key and float((coded.dts - self._first.dts) * coded.time_base) >= most_s
        return not full and continues(self._first, coded, self._last)

    def write(self, coded: Coded) -> None:
        """Adds a packet."""
        self._last = max(coded.dts, self._last + 1)
        packet: Any = av.Packet(coded.data)
        packet.stream, packet.time_base, packet.is_keyframe = self._stream, coded.time_base, coded.key
        packet.dts, packet.duration = self._last - self._first.pts, coded.duration
        packet.pts = max(coded.pts - self._first.pts, packet.dts)
        self._container.mux(packet)

    def close(self) -> None:
        """Finishes it."""
        try:
            self._container.close()
        finally:
            self._output.close()


def continues(before: Coded, coded: Coded, last: int | None = None) -> bool:
    """Whether a packet is of the same stream as one before, without a jump of time since `last`."""
    gap = float((coded.dts - (before.dts if last is None else last)) * coded.time_base)
    return coded.layout is before.layout and -1.0 < gap < GAP_S


def suffix_of(layout: Any) -> str:
    """The suffix of the container that a stream goes into; None: one that will be encoded."""
    return ".mp4" if layout is None or layout.codec_context.codec.canonical_name in MP4 else ".mkv"
