"""Delivery: events go to the spool on disk, and from there to each sink, in order, whatever the sinks do.

The loop only puts events into a queue. One thread writes them to the spool and flushes it; one thread per sink sends
what is on the disk, and sends it again after a failure, with exponential backoff and jitter.

The spool is a folder of segments, JSON lines named by the number of their first event, and for each sink a file with
the number of the first event that it has not acknowledged. One program owns it; another one takes another folder."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import threading
import time as clock
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import Any
from zlib import crc32

from edgevid.errors import EdgevidError, SourceError, log, masked
from edgevid.files.atomic import flush_to_disk, make_folder
from edgevid.files.folders import SPOOL
from edgevid.output.records import json_line, whole_lines, write_all
from edgevid.types import Event
from edgevid.types.closing import Closing

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


MOST_QUEUED = 20_000
"""Events that wait in memory while the disk of the spool is full or slow; more are dropped and counted."""
BATCH = 256
POLL_S = 0.02
"""How often the queue is looked at. The loop wakes no thread: the system would let that one run in its place,
for milliseconds on a machine that is busy."""
TICK_S = 1.0  # A sink with `write` gets at least one call of `send` per tick
MAX_BACKOFF_S = 30.0
DRAIN_S = 5.0  # How long the end of a run waits for sinks; what they did not take then waits for the next run


class RejectedError(EdgevidError):
    """A sink's other side will never take these events: each one that it rejects is counted and left out."""


class Worker:
    """The thread of one sink; its counts may be read at any time."""

    def __init__(self, sink: Any, name: str, spool: Spool, recent: Mapping[int, Event]) -> None:
        self.sink, self.name = sink, name
        self._position, self._recent = spool.position(self.name), recent
        self.delivered = self.rejected = 0  # Events that the sink took, and that its other side rejected
        self.failure = ""  # Why the sink takes nothing now
        self.more, self._ending, self._end_at = threading.Event(), threading.Event(), 0.0
        """Set where there are more events."""
        self.thread = threading.Thread(target=self._work, name=f"edgevid-{self.name}"[:15], daemon=True)

    @property
    def backlog(self) -> int:
        """Events that wait for the sink."""
        return self._position.backlog

    @property
    def dropped(self) -> int:
        """Events that the limit on the spool's size deleted."""
        return self._position.dropped

    def end(self, within_s: float) -> None:
        """Nothing more comes; what waits may be sent for a while."""
        self._end_at = clock.monotonic() + within_s
        self._ending.set()
        self.more.set()

    def _work(self) -> None:
        wait_s = 0.5
        while True:
            ending = self._ending.is_set()
            self.more.clear()
            lines = self._position.take(BATCH)
            first = self._position.taken - len(lines)
            if not lines and ending:
                break
            events = [self._recent.get(n) or Event.of(json.loads(one)) for n, one in enumerate(lines, first)]
            if not (events or hasattr(self.sink, "write")):
                self.more.wait()
            elif self._attempt(self.sink.send, events):
                wait_s = 0.5
                self.delivered += len(lines)
                self._position.acknowledge(getattr(self.sink, "held", 0))
                if not lines:
                    self.more.wait(TICK_S)
            else:
                self._position.rewind()
                if ending and clock.monotonic() > self._end_at:
                    break
                if self._ending.wait(wait_s * random.uniform(1, 1.5)):
                    clock.sleep(0.2)
                wait_s = min(2 * wait_s, MAX_BACKOFF_S)
        if self._attempt(self.sink.close):
            self._position.acknowledge(0)

    def _attempt(self, call: Any, *events: Sequence[Event]) -> bool:
        """Whether a call of the sink succeeded; the first failure and the recovery are logged."""
        try:
            call(*events)
        except RejectedError as error:
            sent = events[0]
            if len(sent) > 1:
                return all(self._attempt(call, [event]) for event in sent)
            self.rejected += len(sent)
            log.warning("%s: rejects the event %s: %s", self.name, sent[0].id if sent else "", error)
            return True
        except Exception as error:  # a sink of any kind: the loop goes on
            text = masked(str(error)) or type(error).__name__
            if not self.failure:
                log.warning("%s: %s; events wait in the spool", self.name, text)
            self.failure = text
            return False
        if self.failure and events:
            log.info("%s: takes events again", self.name)
            self.failure = ""
        return True


class Delivery(Closing):
    """Takes events from the loop without waiting, and brings them to sinks."""

    def __init__(self, sinks: Sequence[Any], folder: Path, max_bytes: int = MAX_BYTES) -> None:
        """`folder` of the spool, with the events that wait there from earlier runs (docs/events.md)."""
        self._spool = Spool(folder, max_bytes)
        self._recent: dict[int, Event] = {}
        self.workers: list[Worker] = []
        for sink in sinks:
            name = masked(str(getattr(sink, "name", type(sink).__name__)))
            same = sum(one.name.startswith(name) for one in self.workers)
            name += f" {same + 1}" if same else ""  # each has a position of its own
            self.workers.append(Worker(sink, name, self._spool, self._recent))
        self._queue = deque[Event]()
        self._over = threading.Event()
        self.dropped = 0  # Events that neither the spool's disk nor the memory could take
        self._thread = threading.Thread(target=self._write, name="edgevid-spool", daemon=True)
        for thread in (self._thread, *(worker.thread for worker in self.workers)):
            thread.start()

    def put(self, event: Event) -> None:
        """Takes one event; it is on the disk within some 30 ms, and then goes to the sinks."""
        if len(self._queue) < MOST_QUEUED:
            self._queue.append(event)
        else:
            self.dropped += 1

    def close(self) -> None:
        """Waits for the sinks, but not for those that are away."""
        self._over.set()
        self._thread.join(DRAIN_S)
        for worker in self.workers:
            worker.end(DRAIN_S)
        for worker in self.workers:
            worker.thread.join(2 * DRAIN_S)
        self._spool.close()

    def notes(self) -> list[str]:
        """What could not be delivered, for a user."""
        found = [f"{self.dropped} events were dropped: the spool's disk is full"] if self.dropped else []
        for one in self.workers:
            why = one.failure or "it is slow"
            counts = {f"wait for the camera's next run ({why})": one.backlog, "were rejected": one.rejected,
                      "were dropped: the spool was full": one.dropped}  # fmt: skip
            found += [f"{one.name}: {n} events {what}" for what, n in counts.items() if n]
            found += [f"{one.name}: {note}" for note in getattr(one.sink, "notes", list)()]
        return found

    def _write(self) -> None:
        over = False
        while not over:
            over = self._over.wait(POLL_S)
            while self._queue:
                self._append([self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))])

    def _append(self, batch: Sequence[Event]) -> None:
        """Writes events to the spool, as soon as its disk takes them, and wakes the workers."""
        failed = False
        for number in [n for n in self._recent if n < self._spool.end - BATCH]:
            del self._recent[number]
        self._recent.update(enumerate(batch, self._spool.end))
        lines = [json_line(event.to_dict()).encode() for event in batch]
        while lines:
            try:
                self._spool.append(lines)
                break
            except OSError as error:
                if not failed:
                    log.warning("spool %s: cannot be written: %s", self._spool.folder, error.strerror)
                failed = True
                if self._over.wait(0.5):
                    self.dropped += len(batch)
                    return
        for worker in self.workers:
            worker.more.set()
