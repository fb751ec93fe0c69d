"""Delivery: events go to the spool on disk, and from there to each sink, in order, whatever the sinks do.

The loop only puts events into a queue. One thread writes them to the spool and flushes it; one thread per sink sends
what is on the disk, and sends it again after a failure, with exponential backoff and jitter.

The spool is a SQLite database in a folder: the events, numbered, and for each sink the number of the first one that it
has not acknowledged. One program owns the folder; another one takes another folder."""

import json
import os
import random
import sqlite3
import threading
import time as clock
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

from edgevid.errors import EdgevidError, SourceError, log, masked
from edgevid.files.atomic import InUseError, claim, make_folder
from edgevid.files.folders import SPOOL
from edgevid.output.records import json_line
from edgevid.types import Closing, Event

MAX_BYTES = 256_000_000
SHARE = 16  # Of a full spool this part is deleted at once, the oldest events
EVENTS = "events.db"


class Spool:
    """The events of one camera that wait for their sinks, of earlier runs too."""

    first: int  # Numbers of the first event that is there, and of the next one
    end: int

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        """`folder`, or folder-2, ... where a program uses it; SourceError where it cannot be written."""
        self._max_bytes, self.lock = max_bytes, threading.Lock()
        try:
            self.folder = self._locked(folder)
            self.base = open_spool(self.folder)
            ((self.first, self.end),) = self.rows("SELECT first, end FROM state")
        except (OSError, sqlite3.Error) as error:
            raise SourceError(f"spool {folder}: cannot be written: {reason_of(error)}; "
                              f"set {SPOOL} to another folder") from None  # fmt: skip

    def append(self, lines: Sequence[bytes]) -> None:
        """Adds events; when it returns they are on the disk. OSError or sqlite3.Error where none could be added."""
        with self.lock:
            self.base.execute("PRAGMA synchronous = FULL")
            with self.base:
                self.base.executemany("INSERT INTO events VALUES (?, ?)", enumerate(lines, self.end))
                first = self._trim()
            self.first, self.end = first, self.end + len(lines)

    def rows(self, query: str, *values: Any) -> list[Any]:
        """The rows of a query."""
        return self.base.execute(query, values).fetchall()

    def close(self) -> None:
        """Deletes what every sink has; what waits stays."""
        waiting = True
        with self.lock, closing(self.base), suppress(sqlite3.Error), self.base:
            self.base.execute("DELETE FROM sinks WHERE acknowledged > coalesce((SELECT max(number) FROM events), -1)")
            waiting = bool(self.rows("SELECT 1 FROM sinks LIMIT 1"))
        if not waiting:
            (self.folder / EVENTS).unlink()
        os.close(self._lock)

    def _trim(self) -> int:
        """Deletes what every sink has, and of too much the oldest; seldom, as it writes pages again. What is first."""
        ((first, end, needed, size),) = self.rows("SELECT * FROM state")
        if size > self._max_bytes:
            needed = max(needed, first + (end - first) // SHARE)
        if needed - first < BATCH:
            return int(first)
        self.base.execute("DELETE FROM events WHERE number < ?", (needed,))
        return int(needed)

    def _locked(self, folder: Path) -> Path:
        for number in count(1):
            found = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            make_folder(found)
            with suppress(InUseError):
                self._lock = claim(found)
                return found
        raise AssertionError


def open_spool(folder: Path) -> sqlite3.Connection:
    """The database of a spool, which only this user may read."""
    (folder / EVENTS).touch(0o600)
    base = sqlite3.connect(folder / EVENTS, check_same_thread=False)
    base.executescript(Path(__file__).with_name("spool.sql").read_text(encoding="utf-8"))
    return base


def reason_of(error: Exception) -> str:
    """Why the spool's disk cannot be written."""
    return str(getattr(error, "strerror", None) or error)


MOST_QUEUED = 20_000  # Events that wait in memory while the spool's disk is full or slow; more are dropped and counted
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
    """The thread of one sink, and how far it is: where its last run left it, else at the end. Its counts may be read at
    any time."""

    acknowledged: int  # Number of the first event that it has not acknowledged

    def __init__(self, sink: Any, name: str, spool: Spool, recent: Mapping[int, Event]) -> None:
        self.sink, self.name, self._spool, self._recent = sink, name, spool, recent
        with spool.lock, spool.base:
            spool.base.execute("INSERT OR IGNORE INTO sinks VALUES (?, ?)", (name, spool.end))
            ((self.acknowledged,),) = spool.rows("SELECT acknowledged FROM sinks WHERE name = ?", name)
        self.taken = self.acknowledged  # Number of the first event that it has not taken
        self.delivered = self.rejected = 0  # Events that the sink took, and that its other side rejected
        self.dropped = 0  # Events that the limit on the spool's size deleted before the sink had them
        self.failure = ""  # Why the sink takes nothing now
        self.more, self._ending, self._end_at = threading.Event(), threading.Event(), 0.0  # more: set where events wait
        self.thread = threading.Thread(target=self._work, name=f"edgevid-{self.name}"[:15], daemon=True)

    @property
    def backlog(self) -> int:
        """Events that wait."""
        return self._spool.end - self.acknowledged

    def take(self, limit: int) -> list[tuple[int, bytes]]:
        """The next events' numbers and lines, up to `limit`; each is taken once."""
        spool = self._spool
        with spool.lock:
            if (dropped := spool.first - self.taken) > 0:
                self.dropped += dropped
                self.acknowledged = self.taken = spool.first
            query = "SELECT number, line FROM events WHERE number >= ? ORDER BY number LIMIT ?"
            found = spool.rows(query, self.taken, limit)
            self.taken = found[-1][0] + 1 if len(found) == limit else spool.end
        return found

    def acknowledge(self, unsent: int) -> None:
        """What was taken, but for the last `unsent` events, is not delivered again."""
        spool, last = self._spool, "SELECT number FROM events WHERE number < ? ORDER BY number DESC LIMIT ?"
        with spool.lock, suppress(sqlite3.Error):  # a full disk, or the end: then it comes again
            ((first,),) = spool.rows(f"SELECT min(number) FROM ({last})", self.taken, unsent)
            self.acknowledged = self.taken if first is None else first
            spool.base.execute("PRAGMA synchronous = NORMAL")  # on the disk with the next events
            with spool.base:
                spool.base.execute("UPDATE sinks SET acknowledged = ?1 WHERE name = ?2 AND acknowledged <> ?1",
                                   (self.acknowledged, self.name))  # fmt: skip

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
            if not (rows := self.take(BATCH)) and ending:
                break
            events = [self._recent.get(number) or Event.of(json.loads(line)) for number, line in rows]
            if not (events or hasattr(self.sink, "write")):
                self.more.wait()
            elif self._attempt(self.sink.send, events):
                wait_s = 0.5
                self.delivered += len(rows)
                self.acknowledge(getattr(self.sink, "held", 0))
                if not rows:
                    self.more.wait(TICK_S)
            else:
                self.taken = self.acknowledged  # so that it comes again
                if ending and clock.monotonic() > self._end_at:
                    break
                if self._ending.wait(wait_s * random.uniform(1, 1.5)):
                    clock.sleep(0.2)
                wait_s = min(2 * wait_s, MAX_BACKOFF_S)
        if self._attempt(self.sink.close):
            self.acknowledge(0)

    def _attempt(self, call: Any, *events: Sequence[Event]) -> bool:
        """Whether a call of the sink succeeded; the first failure and the recovery are logged."""
        try:
            call(*events)
        except RejectedError as error:
            if len(sent := events[0]) > 1:
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
        for number in [n for n in self._recent if n < self._spool.end - BATCH]:
            del self._recent[number]
        self._recent.update(enumerate(batch, self._spool.end))
        lines = [json_line(event.to_dict()).encode() for event in batch]
        for attempt in count():
            try:
                self._spool.append(lines)
                break
            except (OSError, sqlite3.Error) as error:
                if not attempt:
                    log.warning("spool %s: cannot be written: %s", self._spool.folder, reason_of(error))
                if self._over.wait(0.5):
                    self.dropped += len(batch)
                    return
        for worker in self.workers:
            worker.more.set()
