"""JSON lines: written so that they survive, read with torn or zero-filled ends left out and reported."""

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgevid.errors import FileFormatError, SourceError
from edgevid.files.atomic import flush_to_disk
from edgevid.types.closing import Closing

log = logging.getLogger("edgevid")
SYNC_S = 1.0


class TextFile(Closing):
    """A text file whose lines are written one by one, and are on the disk after `sync_s` seconds at most.

    "-" is standard output. `append` continues an existing file, and cuts off a torn last line before.
    """

    def __init__(self, path: str | Path, *, append: bool = False, sync_s: float = SYNC_S) -> None:
        """SourceError where the file cannot be written; `sync_s` 0: each line, before the next frame."""
        self.path, self._sync_s = Path(path), sync_s
        try:
            if append and self.path.is_file():
                os.truncate(path, whole_lines(self.path)[1])
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if append else os.O_TRUNC)
            self._handle = os.dup(1) if str(path) == "-" else os.open(path, flags, 0o666)
        except OSError as error:
            raise SourceError(f"{path}: cannot be written: {error.strerror}; choose another place") from None
        self._written, self._over = threading.Event(), threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._sync, name="edgevid-sync", daemon=True)
        if sync_s > 0:
            self._thread.start()

    @property
    def size(self) -> int:
        """Bytes in the file, of earlier runs too."""
        return os.fstat(self._handle).st_size

    def put(self, text: str) -> None:
        """Appends whole lines. OSError where the disk is full; the file then ends as before."""
        if self._failure is not None:
            raise self._failure
        before = self.size
        try:
            write_all(self._handle, text.encode())
        except OSError:
            with suppress(OSError):  # a pipe or device
                os.ftruncate(self._handle, before)
            raise
        if self._sync_s > 0:
            self._written.set()
        else:
            flush_to_disk(self._handle)

    def close(self) -> None:
        """Closes the file, with everything on the disk."""
        if self._over.is_set():
            return
        self._over.set()
        self._written.set()
        if self._sync_s > 0:
            self._thread.join()
        os.close(self._handle)

    def _sync(self) -> None:
        while not self._over.is_set():
            self._written.wait()
            self._over.wait(self._sync_s)
            self._written.clear()
            try:
                flush_to_disk(self._handle)
            except OSError as error:
                self._failure = error


def write_all(handle: int, data: bytes) -> None:
    """Writes bytes to an open file, in as many parts as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def whole_lines(path: Path) -> tuple[int, int]:
    """How many whole lines a file begins with, and their bytes: without a torn or zero-filled end."""
    lines = size = 0
    with path.open("rb") as file:
        for text in file:
            if not text.endswith(b"\n") or b"\0" in text:
                break
            lines, size = lines + 1, size + len(text)
    return lines, size


def last_lines(path: Path, size: int = 1_000_000) -> str:
    """The end of a text file."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")


def read_lines(path: str | Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The number and the object of each JSON line.

    What a power failure or a kill left of a line (cut off at the end of the file, or filled with zeros) is
    left out, and reported by a warning. FileFormatError names any other line that is no JSON object;
    SourceError without a readable file.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    with file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n") or b"\0" in text:
                log.warning("%s: line %d is torn (%d bytes): left out", path, number, len(text))
                continue
            try:
                one = json.loads(text)
            except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of a million digits
                raise FileFormatError(path, f"line {number}", expected="JSON", got=str(error)) from None
            if not isinstance(one, dict):
                raise FileFormatError(path, f"line {number}", expected="an object", got=type(one).__name__)
            yield number, one
