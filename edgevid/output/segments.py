"""Segmented outputs: a new file after a set time and for each frame size; the oldest are deleted."""

import datetime
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edgevid.errors import InputError, SourceError
from edgevid.output.sinks import Sink
from edgevid.types import Event, Frame, Header, Result
from edgevid.types.closing import Closing

STAMP = r"(\d{8}T\d{6}Z)(?:_(\d+))?"
LATEST = 100


class SegmentedSink(Closing):
    """A sink whose output is a series of files, each complete in itself.

    With `segment_s`, segments are named by the time of their start (seen-20260131T120000Z.mp4, UTC): a
    restarted program never overwrites an old one. Without, the first segment has the plain name, and frames
    of another size continue in seen-2.mp4.
    """

    def __init__(
        self,
        path: str | Path,
        make: Callable[[Path], Sink],
        *,
        segment_s: float | None = None,
        max_disk_bytes: int | None = None,
    ) -> None:
        """`make` opens the sink of one segment; `max_disk_bytes` limits all segments of this name, of
        earlier runs too."""
        self.path = Path(path)
        if not all(limit is None or limit > 0 for limit in (segment_s, max_disk_bytes)):
            raise InputError(
                f"segments: expected segment_s and max_disk_bytes above 0, got {segment_s}, {max_disk_bytes}"
            )
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
        """Appends to the current segment, or starts the next one."""
        due = self.segment_s is not None and frame.time - self._start >= self.segment_s
        if self._sink is None or due or frame.size != self._size:
            self.close()
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
            return self._free(self.started + 1) if self.started else self.path
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

    def _free(self, number: int) -> Path:
        """The first name from this number on that no file has."""
        while (path := self._with_suffix(f"-{number}")).exists():
            number += 1
        return path

    def _with_suffix(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.stem}{suffix}{self.path.suffix}")

    def _remove_oldest(self) -> None:
        """Deletes the oldest segments until one more as large as the last one fits."""
        if self.max_disk_bytes is None:
            return
        found = self._found().values()
        sizes = [p.stat().st_size for p in found]
        limit = self.max_disk_bytes - (sizes[-1] if sizes else 0)
        for path in found:
            if sum(sizes) <= limit:
                return
            path.unlink(missing_ok=True)
            sizes = sizes[1:]
            self.removed += 1
