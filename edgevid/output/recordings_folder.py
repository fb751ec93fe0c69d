"""The files of one camera's recordings: named by UTC, the oldest deleted by name for days, size and disk."""

from __future__ import annotations

import datetime
import errno
import io
import os
import re
import shutil
import threading
import time as clock
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple
from weakref import finalize

from edgevid.errors import InputError
from edgevid.files.atomic import FULL, claim, make_folder
from edgevid.types import utc_text
from edgevid.types.event import CLOCK_SET_S

NAME = re.compile(r"(\d{8})-(\d{8}T\d{6}Z)(-[\w-]+)?\.(mp4|mkv|jpg)")
MIN_FREE = 256_000_000  # Bytes of the disk that stay free for the other outputs
EVERY = 8_000_000  # Bytes between two looks at the disk
DAY_S, MINUTE_S = 86400.0, 60.0
BOOT_TIME = getattr(clock, "CLOCK_BOOTTIME", clock.CLOCK_MONOTONIC)  # Goes on while the machine sleeps


class Named(NamedTuple):
    """What the name of a file states."""

    number: int  # Ascending with each file of the folder, whatever the clock showed
    utc: float  # Seconds since 1970 of its first frame
    kind: str
    """"" of the continuous recording, "event" of a clip, else the track of a snapshot."""


@lru_cache(maxsize=100_000)
def read_name(name: str) -> Named | None:
    """What a name states, None where it is no recording's.

    >>> read_name("00000012-20260131T120000Z-event.mp4")
    Named(number=12, utc=1769860800.0, kind='event')
    """
    if found := NAME.fullmatch(name):
        with suppress(ValueError):  # no date
            utc = datetime.datetime.strptime(found[2], "%Y%m%dT%H%M%S%z").timestamp()
            return Named(int(found[1]), utc, (found[3] or "").removeprefix("-"))
    return None


def listed(path: Path) -> list[dict[str, Any]]:
    """The videos of all cameras in a folder of recordings, each camera's in their order."""
    folders = sorted(one for one in path.iterdir() if one.is_dir())
    return [{"camera": folder.name, "name": f"{folder.name}/{name}", "utc": utc_text(named.utc),
             "kind": named.kind or "segment"} for folder in folders for name in sorted(os.listdir(folder))
            if (named := read_name(name)) is not None and not name.endswith(".jpg")]  # fmt: skip


class RecordingsFolder:
    """A folder of recordings that stays within its limits while files are written into it."""

    def __init__(self, path: Path, *, keep_days: float | None = None, max_bytes: int | None = None,
                 now: Callable[[], float] = clock.time, steady: Callable[[], float] | None = None) -> None:  # fmt: skip
        """Makes the folder; files of earlier runs count. `steady` are seconds of a clock that is never set. SourceError
        where it cannot be made, or another program records into it; `close` lets go of it."""
        if not all(limit is None or limit > 0 for limit in (keep_days, max_bytes)):
            raise InputError(f"recordings: expected limits above 0, got {keep_days} days, {max_bytes} bytes")
        self.path, self._max_bytes, self._now = path, max_bytes, now
        self._keep_s = None if keep_days is None else DAY_S * keep_days
        self._looked = self._since = 0.0
        self._steady = steady or (partial(clock.clock_gettime, BOOT_TIME) if now is clock.time else now)
        self._told, self._steps = self._now(), list[tuple[int, int, float]]()
        self._offset = self._told - self._steady()
        """What the clock showed, by how much it was ahead of the steady one, and by how much it was set since: of files
        after a number, up to another one."""
        make_folder(path)
        self.close = finalize(self, os.close, claim(path))
        self._lock, self._open = threading.RLock(), set[str]()
        self._sizes = {name: (path / name).stat().st_size for name in filter(read_name, sorted(os.listdir(path)))}
        self._number = self._begun = max((int(name[:8]) for name in self._sizes), default=0)
        self.bytes = sum(self._sizes.values())  # Of all files
        self.removed = 0  # Files that were deleted for the limits

    def name(self, utc: float, kind: str, suffix: str) -> str:
        """A new name, which sorts after all before, also where the clock was set back."""
        with self._lock:
            self._note_step()
            self._number += 1
            moment = datetime.datetime.fromtimestamp(utc, datetime.timezone.utc)
            return f"{self._number:08d}-{moment:%Y%m%dT%H%M%SZ}{kind and '-'}{kind}{suffix}"

    def create(self, name: str) -> RecordingFile:
        """A new file, or an existing one from its start; OSError where none can be made."""
        with self._lock:
            self.remove_expired()
            handle = self._with_room(lambda: os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644))
            self.bytes -= self._sizes.get(name, 0)
            last = next(reversed(self._sizes), "")
            self._sizes[name] = 0
            if name < last:  # named before another one, and created after it
                self._sizes = dict(sorted(self._sizes.items()))
            self._open.add(name)
            return RecordingFile(self, name, handle)

    def write(self, name: str, handle: int, data: bytes, growth: int) -> None:
        """Writes to an open file after making room; OSError where there is none."""
        with self._lock:
            while self._max_bytes is not None and self.bytes + growth > self._max_bytes:
                if not self._remove_oldest():
                    raise OSError(errno.ENOSPC, "the limit of the recordings is reached")
            if growth and (self._sizes[name] % EVERY) + growth >= EVERY:
                while shutil.disk_usage(self.path).free < MIN_FREE and self._remove_oldest():
                    pass
            view = memoryview(data)
            while view:
                view = view[self._with_room(partial(os.write, handle, view)) :]
            self._sizes[name] += growth
            self.bytes += growth

    def closed(self, name: str) -> None:
        """The file is complete: from now on it may be deleted."""
        with self._lock:
            self._open.discard(name)
            if not self._sizes.get(name, 1):  # the disk was full
                (self.path / name).unlink(missing_ok=True)
                del self._sizes[name]

    def remove_expired(self) -> None:
        """Deletes what is older than the days that are kept, looking once per minute. A clock that is set while this
        program runs makes nothing older or newer. A file whose name is in the future, or before an older one's, is as
        old as the next one. A gap of more than a day, or a clock that jumps by more, makes nothing older until a day
        after it has passed."""
        with self._lock:
            now = self._note_step()
            if self._keep_s is None or abs(now - self._looked) < MINUTE_S:
                return
            if not 0 <= now - self._looked < DAY_S:
                self._since = now  # The clock runs evenly since then
            self._looked, latest, moments = now, 0.0, list[float]()
            for name in self._sizes:
                utc = self._utc(name)
                latest = utc if max(CLOCK_SET_S, latest) <= utc <= now else latest
                moments.append(utc if utc == latest else 0.0)
            moments = [*accumulate(reversed(moments), lambda newer, own: own or newer, initial=now)][:0:-1]
            before = [*moments[: bisect_left(moments, self._since)], self._since]
            recent = bisect_right(before, now - DAY_S)
            gap = before[recent] - before[recent - 1] if 0 < recent < len(before) else 0.0
            for n, moment in enumerate(moments):
                age = now - moment - (gap if n < recent and gap > DAY_S else 0.0)
                if age <= self._keep_s or not self._remove_oldest():
                    return

    def _note_step(self) -> float:
        """What the clock shows; that it was set, forward or back, is noted."""
        now = self._now()
        step = now - self._steady() - self._offset
        if abs(step) > MINUTE_S:  # a clock that was never set tells nothing of earlier runs' files
            self._steps.append((0 if self._told >= CLOCK_SET_S else self._begun, self._number, step))
            self._offset += step
        self._told = now
        return now

    def _utc(self, name: str) -> float:
        """When a file began, by the clock as it is now."""
        number, utc, _ = read_name(name) or Named(0, 0.0, "")
        return utc + sum(step for first, last, step in self._steps if first < number <= last)

    def _with_room(self, call: Callable[[], int]) -> int:
        """`call` again and again while the disk is full and there is a file to delete."""
        while True:
            try:
                return call()
            except OSError as error:  # noqa: PERF203
                if error.errno not in FULL or not self._remove_oldest():
                    raise

    def _remove_oldest(self) -> bool:
        """Deletes the first file by name; False where there is none, or where it is being written."""
        if (name := next(iter(self._sizes), None)) is None or name in self._open:
            return False
        (self.path / name).unlink(missing_ok=True)
        self.bytes -= self._sizes.pop(name)
        self.removed += 1
        return True


class RecordingFile(io.FileIO):
    """An open file of the folder, as PyAV writes to it."""

    def __init__(self, folder: RecordingsFolder, name: str, handle: int) -> None:
        super().__init__(handle, "r+b")
        self._folder, self.name, self._size = folder, name, 0

    def write(self, data: Any) -> int:
        """Writes where the file stands."""
        end = self.tell() + len(data)
        self._folder.write(self.name, self.fileno(), data, max(0, end - self._size))
        self._size = max(end, self._size)
        return len(data)

    def close(self) -> None:
        """Finishes it."""
        super().close()
        self._folder.closed(self.name)
