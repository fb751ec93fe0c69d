"""Sinks: results as JSON lines, CSV, MOTChallenge text or annotated video, events as JSON lines or CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from edgevid.errors import check_part
from edgevid.output.lines import TextFile, last_lines
from edgevid.output.overlay import Overlay
from edgevid.output.records import as_line, json_line
from edgevid.types import U8, Event, Frame, Header, Result
from edgevid.types.closing import Closing
from edgevid.types.event import EVENT_FIELDS
from edgevid.types.rows import flat_names, flat_rows
from edgevid.video.writer import VideoWriter


class Sink(Protocol):
    """An output of a run: a class with `close` and with `write`, `send` or both; no base class is needed.

    Where a sink has them, `open(header)` is called before the first frame (it must not wait for a server),
    and `end(events)` with the events that were found after the last one.
    """

    def write(self, frame: Frame, result: Result) -> None:
        """Takes one frame and its result, in the loop. An OSError ends the run with a SourceError."""

    def close(self) -> None:
        """Finishes the output; called once, also after an error."""


class EventSink(Protocol):
    """A sink that takes events, in a thread of its own; docs/events.md.

    Further members, all optional: `open(header)`; `name`, by which its position in the spool is found again;
    `held`, how many of the latest events are not safe yet and would be sent again after a crash; `write`.
    """

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
    """JSON lines, a header and then one object per frame, each flushed before the next: docs/records.md.

    `read_jsonl` reads it back.
    """

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
    """CSV, one row per object and frame, with the header of supervision's CSVSink: docs/records.md.

    The columns are those of `flat_rows`, empty where there is no value.
    """

    _names: list[str] | None = None

    def write(self, frame: Frame, result: Result) -> None:
        """Appends a row per track; the first frame of a file writes the header."""
        if self._names is None:
            self._names = flat_names(result)
            if not self.size:
                self.put(_csv([self._names]))
        if rows := flat_rows(result):
            self.put(_csv([row.values() for row in rows]))


class MotText(TextFile):
    """MOTChallenge lines: frame (from 1), id, left, top, width, height, score, -1, -1, -1.

    Only objects that were detected in the frame are written, not predicted ones.
    """

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
    """JSON lines of events after a header's line; on the disk before the next ones: docs/events.md.

    `read_events` reads it back.
    """

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
        new = [event for event in events if event.id not in self._known]
        if new:
            self._known = ""  # all after it are new, too
        return new


class EventCsv(EventLines):
    """CSV of events, one column per field of `Event`; boxes are "x1 y1 x2 y2"."""

    def open(self, header: Header) -> None:
        """The names of the columns, in a file that has none."""
        if not self.size:
            self.put(_csv([EVENT_FIELDS]))

    def send(self, events: Sequence[Event]) -> None:
        """Appends a row per event."""
        rows = [[getattr(event, name) for name in EVENT_FIELDS] for event in self._new(events)]
        self.put(_csv([[" ".join(map(str, v)) if isinstance(v, tuple) else v for v in row] for row in rows]))


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


class AnnotatedVideo(Closing):
    """An MP4 with the overlay; a killed program leaves one that plays up to its last two seconds.

    InputError for a name that does not end in .mp4, SourceError where the file cannot be created.
    """

    def __init__(
        self, path: str | Path, *, fps: float | None = None, overlay: Overlay | None = None, codec: str = "auto"
    ) -> None:
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
