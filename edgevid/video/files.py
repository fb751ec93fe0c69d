"""Video files: every frame once, in order, with the times of the container's stamps, repaired if needed."""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import av
from av.stream import Disposition

from edgevid.errors import SourceError, log
from edgevid.types import Frame
from edgevid.video.frames import Orientation, Source, hardware, short_reason, to_frame
from edgevid.video.packets import DamageDetector, PacketTap, ffmpeg_limits, too_large
from edgevid.video.stamps import FAR_DISCONTINUOUS_S, StampRepair, Stamps

# PyAV's log level stays at its default, None: any other installs a callback that wants the GIL from decoder
# threads, and closing a damaged file then deadlocks now and then. FFmpeg prints nothing either way.

VIDEOS = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv")
DAMAGE_LIMIT = 100  # Reads in a row that may fail before the rest of a file is given up
OPEN_S = 10.0  # Until a file must be open: a playlist may lead to itself
DEFAULT_FPS = 25.0  # The rate of a file that states none
JUMPING = {"mpegts", "mpeg"}  # FFmpeg's formats whose time stamps may jump
MOST_SCANNED = 500_000_000  # Bytes of a file that is searched for such jumps before a seek


class FileSource(Source):
    """A video file, to its end, every frame once."""

    def __init__(self, path: str | Path, *, loop: bool = False, threads: int = 0, opened: Any = None,
                 decode: str = "cpu", packets: PacketTap | None = None) -> None:  # fmt: skip
        """`loop` starts again at the end, times going on; `threads` 0 lets the decoder choose. `opened` is what
        to read instead of the file: a binary file object, or an open container of PyAV. `decode` names the
        decoder's device. `packets` gets every encoded packet."""
        super().__init__()
        self.path, self._loop, self._threads = local_path(str(path)), loop, threads
        self._given, self._hwaccel, self._tap = opened, hardware(decode), packets
        self.repaired: Counter[str] = Counter()  # Time stamps that were replaced, by what was wrong with them
        self._next, self._earlier = 0.0, 0
        """The time of the first frame when the file is read again, and what was corrupted before."""
        self._open()
        self.fps = _rate(self._stream)
        self.missing = _missing(self.path, self._stream) if opened is None else 0
        """Frames that the file announces and does not contain: it was cut off."""
        self.frame_count = self._stream.frames - self.missing or self._estimated_count()
        self.duration = float(self._stream.duration * self._stream.time_base) if self._stream.duration else None
        """Seconds, None where unknown."""
        self._first = self._read()
        if self._first is None:
            limit = "" if self._stream.width else f": {too_large()}"  # FFmpeg forgets the size of one that is too large
            self.close()
            raise SourceError(f"{self.path}: expected a video with at least one frame, none could be decoded "
                              f"({self.corrupted} packets were damaged){limit}")  # fmt: skip
        self.size = self._first.size

    def seek(self, seconds: float) -> bool:
        """Continues from the key frame at or before `seconds`; False where the container cannot seek. Iterate
        again afterwards: times then go on from there, and may lie before those already read."""
        first, origin = self._stream.start_time, self._repair.origin
        if first is None or origin is None or self._jumps:
            return False  # without stamps there is nothing to seek by
        try:
            self._container.seek(first + int(seconds / self._stream.time_base), stream=self._stream, backward=True)
        except (av.FFmpegError, OverflowError):
            return False
        self._first = None
        self._begin(origin)
        return True

    @cached_property
    def _jumps(self) -> bool:
        """Whether the time stamps jump, as in joined recordings: all packets are read, none is decoded."""
        if JUMPING.isdisjoint(self._container.format.name.split(",")) or self._given is not None:
            return False
        if self.path.stat().st_size > MOST_SCANNED:
            return False
        with av.open(_plain(self.path)) as container:
            stream = container.streams.best("video")
            stamps = [p.dts * p.time_base for p in container.demux(stream) if p.dts is not None]
        return any(not 0 < b - a < FAR_DISCONTINUOUS_S for a, b in pairwise(stamps))

    def notes(self) -> list[str]:
        """What was repaired and what is missing, in words."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.repaired.items())
        found = [f"time stamps repaired: {kinds}"] if kinds else []
        if self.missing:
            found.append(f"the file was cut off: the last {self.missing} of its {self._stream.frames} frames are "
                         "missing; copy it again")  # fmt: skip
        return found

    def __iter__(self) -> Iterator[Frame]:
        frame, self._first = self._first, None
        if frame is not None:
            yield frame
        while True:
            while (frame := self._read()) is not None:
                yield frame
            if not self._loop:
                for note in self.notes():
                    log.warning("%s: %s", self.path, note)
                return
            self._container.close()
            self._open()

    def close(self) -> None:
        """Closes the file."""
        self._container.close()
        if self._given is not None:
            self._given.close()

    def _open(self) -> None:
        self._container, self._stream = _opened(self.path, self._given, self._hwaccel)
        try:
            self._earlier, self._damage = self.corrupted, DamageDetector(self._stream, tap=self._tap)
        except SourceError as error:
            raise SourceError(f"{self.path}: {error}") from None
        self._orientation = Orientation()
        if self._threads:
            self._stream.codec_context.thread_count = self._threads
        self._begin(None)

    def _begin(self, origin: Stamps | None) -> None:
        """Reads on from where the container stands; after a seek, `origin` are the first frame's stamps."""
        names = self._container.format.name.split(",")
        self._repair = StampRepair(1.0 / (_rate(self._stream) or DEFAULT_FPS), decoding_only="avi" in names,
                                   may_jump=not JUMPING.isdisjoint(names), begin=self._next, origin=origin,
                                   faults=self.repaired)  # fmt: skip
        self._decoding = self._repair.times(_decode(self._container, self._stream, self._damage))

    def _estimated_count(self) -> int | None:
        length: int | None = self._container.duration
        if not length or not self.fps:
            return None
        if "matroska" in self._container.format.name:  # its length counts from 0, not from the first frame
            length -= max(0, self._container.start_time or 0)
        return round(length / av.time_base * self.fps)

    def _read(self) -> Frame | None:
        """The next frame, None at the end."""
        found = next(self._decoding, None)
        self.corrupted = self._earlier + self._damage.failed
        if found is None:
            return None
        (av_frame, damaged), time = found
        frame = to_frame(av_frame, time, self.decoded, self._orientation, damaged=damaged, tap=self._tap)
        self.decoded, self.damaged = self.decoded + 1, self.damaged + damaged
        self._next = time + 1.0 / (self.fps or DEFAULT_FPS)
        return frame


def local_path(text: str) -> Path:
    """The path that a name or a file:// address means; an address may be percent-encoded."""
    path = Path(text.removeprefix("file://"))
    return path if path.exists() or not text.startswith("file://") else Path(unquote(str(path)))


def _opened(path: Path, given: Any = None, hwaccel: Any = None) -> tuple[Any, Any]:
    """The open container of a file and its video stream, which FFmpeg can decode; else SourceError. `given` is
    read instead of the file where it is not None: a file object or a container."""
    if given is None and not path.exists():
        raise SourceError(f"{path}: there is no such file; check the path")
    if given is None and path.stat().st_size == 0:
        raise SourceError(f"{path}: expected a video, the file is empty; copy it again")
    try:
        options: Any = {} if hwaccel is None else {"hwaccel": hwaccel}
        options |= {"options": ffmpeg_limits("file,crypto,data"), "timeout": (OPEN_S, None)}
        container = given if hasattr(given, "demux") else av.open(_plain(path) if given is None else given, **options)
    except (av.FFmpegError, ValueError) as error:
        why = f"FFmpeg cannot read this one ({short_reason(error)}); check that it plays, or convert it to MP4"
        reason = (_mp4_without_index(path) if given is None else "") or why
        raise SourceError(f"{path}: expected a video file, {reason}") from None
    stream = container.streams.best("video")
    is_cover = stream is not None and bool(stream.disposition & Disposition.attached_pic)
    if stream is not None and stream.codec_context is not None and not is_cover:
        return container, stream
    reason = "the file has no video stream"
    if container.streams.video:
        reason = _mp4_without_index(path) if given is None else ""
        reason = reason or "its codec is unknown to this FFmpeg; convert it to H.264 MP4"
    if is_cover:
        reason = "this is a sound file with a cover image"
    container.close()  # last: a closed one's streams cannot be asked
    raise SourceError(f"{path}: expected a video, {reason}")


def _plain(path: Path) -> str:
    """A path that FFmpeg takes for a file: it would read "12:00.mp4" as an address."""
    return str(path.absolute())


def _mp4_without_index(path: Path) -> str:
    """Why an MP4 cannot be read whose index, written last, is missing; "" for every other file."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if at == 0 and kind != b"ftyp":
                return ""
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            end = at + length if length else size
            if (kind == b"mdat" and end >= size) or (kind == b"moov" and end > size):
                return (f"this one was cut off at {size} bytes: its index (moov), written last, is not there in full; "
                        "copy it again. Fragmented MP4, MKV and MPEG-TS can be read up to a cut")  # fmt: skip
            at += max(8, length)
    return ""


def _missing(path: Path, stream: Any) -> int:
    """How many frames of the container's index lie beyond the end of the file."""
    entries, size = getattr(stream, "index_entries", ()) if stream.frames else (), path.stat().st_size
    beyond = takewhile(lambda n: entries[n].pos + entries[n].size > size, reversed(range(len(entries))))
    return sum(1 for _ in beyond)


def _rate(stream: Any) -> float | None:
    """Frames per second on average; of a raw dump, whose container states none, the codec's."""
    own = getattr(stream.codec_context, "framerate", None) if stream.start_time is None else None
    rate = own or stream.average_rate
    return float(rate) if rate else None


def _decode(container: Any, stream: Any, damage: DamageDetector) -> Iterator[tuple[Any, Stamps]]:
    """Decoded frames, each with whether it is damaged, and their stamps; a truncated file just ends. It holds
    no reference to the source: the buffers of a source that is dropped are freed at once."""
    base = stream.time_base.numerator, stream.time_base.denominator  # a Fraction for each frame takes longer
    for packet in _packets(container, stream, damage):
        for frame, damaged in damage.decode(packet):
            pts, dts = (None if one is None else one * base[0] / base[1] for one in (frame.pts, frame.dts))
            yield (frame, damaged), (pts, dts)


def _packets(container: Any, stream: Any, damage: DamageDetector) -> Iterator[Any]:
    """The packets of a stream, an empty one or None at the end."""
    packets, failed = container.demux(stream), 0
    while failed < DAMAGE_LIMIT:
        try:
            yield next(packets)
            failed = 0
        except StopIteration:  # noqa: PERF203
            return
        except (av.FFmpegError, IndexError):  # IndexError: a damaged packet names a stream that is not
            failed += 1
            packets = container.demux(stream)  # a generator that raised is spent; the file goes on
            damage.failed += 1
    yield None
