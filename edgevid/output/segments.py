"""Records in parts: a new file after so many seconds and for each image size; the oldest make room."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path

from edgevid.errors import InputError, SourceError
from edgevid.output.sinks import Sink, _Closing
from edgevid.types import Frame, Result

STAMP = r"\d{8}T\d{6}Z(_\d+)?"


class SegmentedSink(_Closing):
    """A sink whose record is a row of files, each complete in itself.

    With `every_s`, parts are named by the moment they began (seen-20260131T120000Z.mp4, UTC): a restarted
    program never writes over an old one. Without, the first part has the plain name and an image of
    another size goes on in seen-2.mp4.
    """

    def __init__(
        self,
        path: str | Path,
        make: Callable[[Path], Sink],
        *,
        every_s: float | None = None,
        limit_bytes: int | None = None,
    ) -> None:
        """`make` opens the sink of one part; `limit_bytes` is for all parts of this name, old runs' too."""
        self.path = Path(path)
        if (every_s is not None and not every_s > 0) or (limit_bytes is not None and limit_bytes <= 0):
            raise InputError(f"parts: expected seconds and bytes over 0, got {every_s}, {limit_bytes}")
        if limit_bytes is not None and every_s is None:
            raise InputError("parts: a limit of bytes needs parts of so many seconds: give every_s")
        if not self.path.parent.is_dir():
            raise SourceError(f"{self.path}: the folder {self.path.parent} does not exist; make it first")
        self._make, self.every_s, self.limit_bytes = make, every_s, limit_bytes
        self._sink: Sink | None = None
        self._began, self._size = 0.0, (0, 0)
        self.parts: list[Path] = []
        """The latest parts of this run, up to 100."""
        self.begun = self.removed = 0
        """Parts that were begun, and old parts that were deleted for room."""

    def write(self, frame: Frame, result: Result) -> None:
        """Appends to the current part, or begins the next one."""
        due = self.every_s is not None and frame.time - self._began >= self.every_s
        if self._sink is None or due or frame.size != self._size:
            self.close()
            self._sink = self._next()
            self._began, self._size = frame.time, frame.size
        self._sink.write(frame, result)

    def close(self) -> None:
        """Finishes the current part."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def _next(self) -> Sink:
        self._make_room()
        path = self._name()
        self.begun += 1
        self.parts = [*self.parts[-99:], path]
        return self._make(path)

    def _name(self) -> Path:
        if self.every_s is None:
            return self.path if not self.begun else self._beside(f"-{self.begun + 1}")
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        path, number = self._beside(f"-{now}"), 1
        while path.exists():
            number += 1
            path = self._beside(f"-{now}_{number}")  # sorts after the first one
        return path

    def _beside(self, more: str) -> Path:
        return self.path.with_name(f"{self.path.stem}{more}{self.path.suffix}")

    def _make_room(self) -> None:
        """Deletes the oldest parts until a part as large as the last one fits as well."""
        if self.limit_bytes is None:
            return
        stem, suffix = re.escape(self.path.stem), re.escape(self.path.suffix)
        pattern = re.compile(rf"{stem}-{STAMP}{suffix}")
        found = [p for p in self.path.parent.iterdir() if pattern.fullmatch(p.name)]
        found.sort(key=lambda p: (p.stat().st_mtime, p.name))
        sizes = [p.stat().st_size for p in found]
        room = self.limit_bytes - (sizes[-1] if sizes else 0)
        for path in found:
            if sum(sizes) <= room:
                return
            path.unlink(missing_ok=True)
            sizes = sizes[1:]
            self.removed += 1
