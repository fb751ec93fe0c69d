"""Spool: events on disk in order, with a position for each sink, bounded in size.

A folder of segments, JSON lines named by the number of their first event, and for each sink a file with the
number of the first event that it has not acknowledged. One program owns it; another one takes another folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from zlib import crc32

from edgevid.errors import SourceError
from edgevid.files.atomic import flush_to_disk, make_folder
from edgevid.files.folders import SPOOL
from edgevid.output.lines import whole_lines, write_all

MAX_BYTES = 256_000_000
SEGMENTS = 16  # A full spool has this many segments; the oldest is deleted as a whole


class Spool:
    """The events of one camera that wait for their sinks, of earlier runs too."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        """`folder`, or folder-2, ... where a program uses it; SourceError where it cannot be written."""
        self.max_bytes = max_bytes
        try:
            self.folder = self._locked(folder)
            self._open()
        except OSError as error:
            raise SourceError(
                f"spool {folder}: cannot be written: {error.strerror}; set {SPOOL} to another folder"
            ) from None

    def append(self, lines: Sequence[bytes]) -> None:
        """Adds events; when it returns they are on the disk. OSError where none could be added."""
        data = b"".join(lines)
        if self._handle < 0 or self._size + len(data) > self.max_bytes / SEGMENTS:
            self._start()
        try:
            write_all(self._handle, data)
            flush_to_disk(self._handle)
        except OSError:
            os.ftruncate(self._handle, self._size)
            raise
        with self.lock:
            self._size += len(data)
            self.end += len(lines)

    def position(self, name: str) -> Position:
        """The position of a sink: where its last run left it, else the end."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-100:]  # names may differ in any letter
        made = Position(self, self.folder / f"{plain}-{crc32(name.encode()):08x}.position")
        self._waiting.pop(made.path, None)
        self._positions.append(made)
        return made

    def close(self) -> None:
        """Deletes what every sink has; what waits stays."""
        with self.lock:
            for one in self._positions:
                one.close()
            if not self._waiting and all(one.acknowledged == self.end for one in self._positions):
                for first in self.firsts:
                    self.path(first).unlink(missing_ok=True)
        os.close(self._lock)
        if self._handle >= 0:
            os.close(self._handle)

    def path(self, first: int) -> Path:
        """The segment that begins with an event."""
        return self.folder / f"{first:015d}.jsonl"

    def _locked(self, folder: Path) -> Path:
        for number in count(1):
            found = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            make_folder(found)
            self._lock = os.open(found, os.O_RDONLY)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return found
            except BlockingIOError:
                os.close(self._lock)
        raise AssertionError

    def _open(self) -> None:
        """Reads what is there; a torn end of the last segment is cut off."""
        self.lock = threading.Lock()
        self.firsts = sorted(int(path.stem) for path in self.folder.glob("*.jsonl"))
        self.end, self._handle, self._size = 0, -1, 0
        if self.firsts:
            whole, size = whole_lines(self.path(self.firsts[-1]))
            os.truncate(self.path(self.firsts[-1]), size)
            self.end = self.firsts[-1] + whole
        self._positions: list[Position] = []
        self._waiting = {p: number_in(p, self.end) for p in self.folder.glob("*.position")}
        self._start()

    def _start(self) -> None:
        """A new segment; old ones that every sink has, or that are too many, are deleted."""
        if self._handle >= 0:
            os.close(self._handle)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._handle, self._size = os.open(self.path(self.end), flags, 0o600), 0
        with self.lock:
            if self.end not in self.firsts:
                self.firsts.append(self.end)
            needed = min([*self._waiting.values(), *(one.acknowledged for one in self._positions)], default=0)
            sizes = [self.path(first).stat().st_size for first in self.firsts]
            while len(self.firsts) > 1 and (self.firsts[1] <= needed or sum(sizes) > self.max_bytes):
                self.path(self.firsts.pop(0)).unlink(missing_ok=True)
                del sizes[0]


class Position:
    """How far one sink is."""

    def __init__(self, spool: Spool, path: Path) -> None:
        self._spool, self.path = spool, path
        self.acknowledged = self.taken = number_in(path, spool.end)
        """Numbers of the first events that are not acknowledged, and not taken."""
        self._at = (-1, 0)
        self.dropped = 0  # Events that the limit on the spool's size deleted before the sink had them
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.acknowledge(0)

    @property
    def backlog(self) -> int:
        """Events that wait."""
        return self._spool.end - self.acknowledged

    def take(self, limit: int) -> list[bytes]:
        """The next events' lines, up to `limit`; each is taken once."""
        spool = self._spool
        with spool.lock:
            if self.taken < spool.firsts[0]:
                self.dropped += spool.firsts[0] - self.taken
                self.taken = spool.firsts[0]
            if self.taken >= spool.end:
                return []
            index = bisect_right(spool.firsts, self.taken) - 1
            first, end = spool.firsts[index], [*spool.firsts, spool.end][index + 1]
            file = spool.path(first).open("rb")
        with file:  # one that is deleted meanwhile is read to its end
            if self._at[0] != first:
                self._at = first, sum(map(len, islice(file, self.taken - first)))
            file.seek(self._at[1])
            lines = list(islice(file, min(limit, end - self.taken)))
        self.taken += len(lines)
        self._at = first, self._at[1] + sum(map(len, lines))
        return lines

    def rewind(self) -> None:
        """What is not acknowledged is taken again."""
        self.taken, self._at = self.acknowledged, (-1, 0)

    def acknowledge(self, unsent: int) -> None:
        """What was taken, but for the last `unsent` events, is not delivered again."""
        with self._spool.lock:
            if self._handle >= 0:
                self.acknowledged = self.taken - unsent
                os.pwrite(self._handle, b"%019d\n" % self.acknowledged, 0)

    def close(self) -> None:
        """Forgets the position where nothing waits."""
        os.close(self._handle)
        self._handle = -1
        if not self.backlog:
            self.path.unlink(missing_ok=True)


def number_in(path: Path, end: int) -> int:
    """The number in a position's file; the end where there is none, the start where it is damaged."""
    with suppress(OSError, ValueError):
        return min(max(int(path.read_text()), 0), end)
    return 0 if path.exists() else end
