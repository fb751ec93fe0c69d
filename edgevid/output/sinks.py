"""Sinks: results as JSON lines, CSV, MOTChallenge text or annotated video, events as JSON lines or CSV; in segments."""

import datetime
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from edgevid.errors import InputError, SourceError, check_part
from edgevid.files.atomic import claim, is_full
from edgevid.files.cells import csv_text
from edgevid.output.overlay import Overlay
from edgevid.output.records import TextFile, as_line, json_line, last_lines
from edgevid.types import U8, Closing, Event, Frame, Header, Result
from edgevid.types.event import EVENT_FIELDS
from edgevid.types.rows import flat_kinds, flat_rows
from edgevid.video.writer import VideoWriter


class Sink(Protocol):
    """An output of a run: a class with `close` and with `write`, `send` or both; no base class is needed. Where a sink
    has them, `open(header)` is called before the first frame (it must not wait for a server), and `end(events)` with
    the events that were found after the last one."""

    def write(self, frame: Frame, result: Result) -> None:
        """Takes one frame and its result, in the loop. An OSError ends the run with a SourceError."""

    def close(self) -> None:
        """Finishes the output; called once, also after an error."""


class EventSink(Protocol):
    """A sink that takes events, in a thread of its own; docs/events.md. Further members, all optional: `open(header)`;
    `name`, by which its position in the spool is found again; `held`, how many of the latest events are not safe yet
    and would be sent again after a crash; `write`."""

    def send(self, events: Sequence[Event]) -> None:
        """Delivers events, in order; any exception lets the same ones be sent again, later."""

    def close(self) -> None:
        """Finishes the output; called once, in the same thread."""


AnySink = Sink | EventSink | Callable[[Frame, Result], Any]


def as_sink(sink: AnySink) -> Any:
    """The sink itself; a function of frame and result as one. InputError for what is neither."""
    if callable(sink) and not isinstance(sink, type) and not hasattr(sink, "close"):
        return SimpleNamespace(write=sink, close=lambda: None)
    check_part(sink, EventSink if hasattr(sink, "send") and not hasattr(sink, "write") else Sink, "a sink")
    return sink


class JsonLines(TextFile):
    """JSON lines, a header and then one object per frame, each flushed before the next: docs/records.md. `read_jsonl`
    reads it back."""

    def open(self, header: Header) -> None:
        """Appends the header's line."""
        self.put(json_line(header.to_dict()))

    def write(self, frame: Frame, result: Result) -> None:
        """Appends the result's line."""
        self.put(as_line(result))

    def end(self, events: Iterable[Event]) -> None:
        """Appends a line per event that no frame has."""
        self.put("".join(json_line(event.to_dict()) for event in events))


class CsvSink(TextFile):
    """CSV, one row per object and frame, with the header of supervision's CSVSink: docs/records.md. The columns are
    those of `flat_rows`, empty where there is no value."""

    _names: list[str] | None = None

    def write(self, frame: Frame, result: Result) -> None:
        """Appends a row per track; the first frame of a file writes the header."""
        if self._names is None:
            self._names = list(flat_kinds(result))
            if not self.size:
                self.put(csv_text([self._names], "\r\n"))
        if rows := flat_rows(result):
            self.put(csv_text((row.values() for row in rows), "\r\n"))


class MotText(TextFile):
    """MOTChallenge lines: frame (from 1), id, left, top, width, height, score, -1, -1, -1. Only objects that were
    detected in the frame are written, not predicted ones."""

    def write(self, frame: Frame, result: Result) -> None:
        """Appends the detected objects."""
        lines = []
        for row in result.tracks[result.tracks.match >= 0]:
            x1, y1, x2, y2 = row.box
            box = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
            lines.append(f"{result.frame_index + 1},{row.id},{box},{row.score:.4f},-1,-1,-1\n")
        if lines:
            self.put("".join(lines))


class EventLines(TextFile):
    """JSON lines of events after a header's line; on the disk before the next ones: docs/events.md. `read_events` reads
    it back."""

    def __init__(self, path: str | Path, *, append: bool = False) -> None:
        super().__init__(path, append=append, sync_s=0)
        self.name = f"events {self.path}"
        # A killed run may have written events that it had not acknowledged: they come again.
        self._known = last_lines(self.path) if append and self.path.is_file() else ""

    def open(self, header: Header) -> None:
        """Appends the header's line."""
        self.put(json_line(header.to_dict()))

    def send(self, events: Sequence[Event]) -> None:
        """Appends a line per event."""
        self.put("".join(json_line(event.to_dict()) for event in self._new(events)))

    def _new(self, events: Sequence[Event]) -> list[Event]:
        if new := [event for event in events if event.id not in self._known]:
            self._known = ""  # all after it are new, too
        return new


class EventCsv(EventLines):
    """CSV of events, one column per field of `Event`; boxes are "x1 y1 x2 y2"."""

    def open(self, header: Header) -> None:
        """The names of the columns, in a file that has none."""
        if not self.size:
            self.put(csv_text([EVENT_FIELDS], "\r\n"))

    def send(self, events: Sequence[Event]) -> None:
        """Appends a row per event."""
        rows = [[getattr(event, name) for name in EVENT_FIELDS] for event in self._new(events)]
        texts = ([" ".join(map(str, v)) if isinstance(v, tuple) else v for v in row] for row in rows)
        self.put(csv_text(texts, "\r\n"))


class AnnotatedVideo(Closing):
    """An MP4 with the overlay; a killed program leaves one that plays up to its last two seconds. InputError for a name
    that does not end in .mp4, SourceError where the file cannot be created."""

    def __init__(self, path: str | Path, *, fps: float | None = None, overlay: Overlay | None = None,
                 codec: str = "auto") -> None:  # fmt: skip
        """`fps` is the nominal rate; the frames keep their own times. `codec` as of `VideoWriter`."""
        self._writer = VideoWriter(path, fps=fps or 25.0, codec=codec)
        self._overlay = overlay or Overlay()
        self.last: U8 | None = None  # The latest drawn image

    def write(self, frame: Frame, result: Result) -> None:
        """Draws and appends one frame."""
        self.last = self._overlay.draw(frame, result)
        self._writer.write(self.last, frame.time)

    def close(self) -> None:
        """Finishes the file."""
        self._writer.close()


STAMP = r"(\d{8}T\d{6}Z)(?:_(\d+))?"
LATEST = 100


class SegmentedSink(Closing):
    """A sink whose output is a series of files, each complete in itself. With `segment_s`, segments are named by the
    time of their start (seen-20260131T120000Z.mp4, UTC): a restarted program never overwrites an old one. Without, the
    first segment has the plain name, and frames of another size continue in seen-2.mp4."""

    def __init__(self, path: str | Path, make: Callable[[Path], Sink], *, segment_s: float | None = None,
                 max_disk_bytes: int | None = None) -> None:  # fmt: skip
        """`make` opens the sink of one segment; `max_disk_bytes` limits all segments of this name, of
        earlier runs too."""
        self.path = Path(path)
        if not all(limit is None or limit > 0 for limit in (segment_s, max_disk_bytes)):
            raise InputError("segments: expected segment_s and max_disk_bytes above "
                             f"0, got {segment_s}, {max_disk_bytes}")  # fmt: skip
        if max_disk_bytes is not None and segment_s is None:
            raise InputError("segments: max_disk_bytes needs segments of a limited length: set segment_s")
        if not self.path.parent.is_dir():
            raise SourceError(f"{self.path}: the folder {self.path.parent} does not exist; create it first")
        self._make, self.segment_s, self.max_disk_bytes = make, segment_s, max_disk_bytes
        self._sink: Any = None
        self._header: Header | None = None
        self._start, self._size = 0.0, (0, 0)
        self.segments: list[Path] = []  # The latest segments of this run, up to 100
        self.started = self.removed = 0  # Segments that were started, and old segments that were deleted

    def open(self, header: Header) -> None:
        """Each segment begins with the header."""
        self._header = header

    def end(self, events: Iterable[Event]) -> None:
        """Appends the events that no frame has to the current segment."""
        if hasattr(self._sink, "end"):
            self._sink.end(events)

    def write(self, frame: Frame, result: Result) -> None:
        """Appends to the current segment, or starts the next one. After an error the next frame starts one; this one
        where the disk is full and an old segment can be deleted."""
        try:
            self._append(frame, result)
        except OSError as error:
            with suppress(OSError):
                self.close()
            if not (is_full(error) and self._remove_oldest(on_full_disk=True)):
                raise
            self._append(frame, result)

    def _append(self, frame: Frame, result: Result) -> None:
        due = self.segment_s is not None and frame.time - self._start >= self.segment_s
        if self._sink is None or due or frame.size != self._size:
            self.close()
            self._check_alone()
            self._remove_oldest()
            path = self._name()
            self.started += 1
            self.segments = [*self.segments[1 - LATEST :], path]
            self._sink, self._start, self._size = self._make(path), frame.time, frame.size
            if self._header is not None and hasattr(self._sink, "open"):
                self._sink.open(self._header)
        self._sink.write(frame, result)

    def close(self) -> None:
        """Finishes the current segment."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def _name(self) -> Path:
        if self.segment_s is None:
            later = (self._with_suffix(f"-{number}") for number in count(self.started + 1))
            return next(path for path in later if not path.exists()) if self.started else self.path
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        known = [*self._found(), *filter(None, map(self._place, self.segments[-1:]))]
        last, number = max(known, default=("", 0))  # a name whose segment was deleted is not taken again
        return self._with_suffix(f"-{now}" if now > last else f"-{last}_{number + 1}")  # each after those before

    def _place(self, path: Path) -> tuple[str, int] | None:
        """Time stamp and number of a segment's name, by which segments are ordered; None of another file."""
        stem, suffix = re.escape(self.path.stem), re.escape(self.path.suffix)
        found = re.fullmatch(rf"{stem}-{STAMP}{suffix}", path.name)
        return found and (found[1], int(found[2] or 1))

    def _found(self) -> dict[tuple[str, int], Path]:
        """The segments of all runs, oldest first."""
        return dict(sorted((place, p) for p in self.path.parent.iterdir() if (place := self._place(p))))

    def _with_suffix(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.stem}{suffix}{self.path.suffix}")

    def _check_alone(self) -> None:
        """SourceError where another program writes segments of this name: its latest one is open."""
        for path in [*self._found().values()][-1:]:
            with suppress(FileNotFoundError):
                os.close(claim(path))

    def _remove_oldest(self, *, on_full_disk: bool = False) -> bool:
        """Deletes the oldest segments until one more as large as the last one fits; on a full disk one in any case, but
        not the last one. Whether it deleted any."""
        if self.max_disk_bytes is None:
            return False
        found, before = self._found().values(), self.removed
        sizes = [p.stat().st_size for p in found]
        limit = self.max_disk_bytes - (sizes[-1] if sizes else 0)
        for path in found:
            if sum(sizes) <= limit and not (on_full_disk and self.removed == before and len(sizes) > 1):
                break
            path.unlink(missing_ok=True)
            sizes = sizes[1:]
            self.removed += 1
        return self.removed > before
