"""Sinks: results written as JSON lines, CSV, MOTChallenge text or annotated video. docs/records.md."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from edgevid.errors import SourceError
from edgevid.output.overlay import Overlay
from edgevid.output.records import as_line
from edgevid.types import U8, Frame, Result
from edgevid.types.closing import Closing
from edgevid.types.rows import flat_names, flat_rows
from edgevid.video.writer import VideoWriter


class Sink(Protocol):
    """An output of a run. A class with these two methods is a sink; no base class is needed."""

    def write(self, frame: Frame, result: Result) -> None:
        """Takes one frame and its result. An OSError ends the run with a SourceError."""

    def close(self) -> None:
        """Finishes the output; called once, also after an error."""


class _FunctionSink:
    """A function of frame and result as a sink."""

    def __init__(self, function: Callable[[Frame, Result], Any]) -> None:
        self.write = function

    def close(self) -> None:
        """Nothing to finish."""


def as_sink(sink: Sink | Callable[[Frame, Result], Any]) -> Sink:
    """The sink itself; a function of frame and result as one."""
    if callable(sink) and not hasattr(sink, "write"):
        return _FunctionSink(sink)
    return sink  # type: ignore[return-value]


class _Text(Closing):
    """A sink of text lines, each flushed before the next frame; "-" is standard output."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        target = os.dup(1) if str(path) == "-" else path
        try:
            self._file = open(target, "w", encoding="utf-8", newline="")  # noqa: SIM115
        except OSError as error:
            raise SourceError(f"{path}: cannot be written: {error.strerror}; choose another place") from None

    def close(self) -> None:
        """Closes the file."""
        # After a full disk a line may still be in the buffer: its error was raised when it was written.
        with suppress(OSError):
            self._file.close()


class JsonLines(_Text):
    """JSON lines, one object per frame, each flushed before the next frame: docs/records.md.

    SourceError where the file cannot be created. `read_jsonl` reads it back.
    """

    def write(self, frame: Frame, result: Result) -> None:
        """Appends the result's line."""
        self._file.write(as_line(result))
        self._file.flush()


class CsvSink(_Text):
    """CSV, one row per object and frame, with the header of supervision's CSVSink: docs/records.md.

    The columns are those of `flat_rows`, empty where there is no value. SourceError where the file cannot be
    created.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._table: csv.DictWriter[str] | None = None

    def write(self, frame: Frame, result: Result) -> None:
        """Appends a row per track; the first frame writes the header."""
        if self._table is None:
            self._table = csv.DictWriter(self._file, flat_names(result))
            self._table.writeheader()
        self._table.writerows(flat_rows(result))
        self._file.flush()


class MotText(_Text):
    """MOTChallenge lines: frame (from 1), id, left, top, width, height, score, -1, -1, -1.

    Only objects that were detected in the frame are written, not predicted ones. SourceError where the file
    cannot be created.
    """

    def write(self, frame: Frame, result: Result) -> None:
        """Appends the detected objects."""
        for row in result.tracks[result.tracks.match >= 0]:
            x1, y1, x2, y2 = row.box
            box = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
            self._file.write(f"{result.frame_index + 1},{row.id},{box},{row.score:.4f},-1,-1,-1\n")
        self._file.flush()


class AnnotatedVideo(Closing):
    """An MP4 with the overlay; a killed program leaves one that plays up to its last two seconds.

    InputError for a name that does not end in .mp4, SourceError where the file cannot be created.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | None = None,
        overlay: Overlay | None = None,
        codec: str = "auto",
    ) -> None:
        """`fps` is the nominal rate; the frames keep their own times. `codec` as of `VideoWriter`."""
        self._writer = VideoWriter(path, fps=fps or 25.0, codec=codec)
        self._overlay = overlay or Overlay()
        self.last: U8 | None = None
        """The latest drawn image."""

    def write(self, frame: Frame, result: Result) -> None:
        """Draws and appends one frame."""
        self.last = self._overlay.draw(frame, result)
        self._writer.write(self.last, frame.time)

    def close(self) -> None:
        """Finishes the file."""
        self._writer.close()
