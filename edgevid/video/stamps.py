"""Strictly rising times of a file's frames, whatever its time stamps are.

Sound stamps are left exactly as they are, uneven ones too. The decoder hands frames on in presentation order,
so a stamp that is missing, repeated or out of order is replaced: by the decoding stamps where those are
sounder (FFmpeg's rule, guess_correct_pts), else evenly between the sound ones around it, else by the
container's rate. Where the stamps jump, as in recordings that were joined end to end, time goes on."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
PTS, DTS = 0, 1
LEAST_S = 1e-7  # Frames that are less apart have the same stamp
NEAR_S = 1.0  # A step of at most this is sound at once; a longer one is if the next stamp goes on from there
FAR_S, FAR_DISCONTINUOUS_S = 108_000.0, 10.0
"""A longer step is a jump: FFmpeg's dts_error_threshold, and dts_delta_threshold of formats that may jump."""
MOST_HELD = 8  # Frames that wait for a sound stamp after theirs

Stamps = tuple[float | None, float | None]  # Presentation and decoding stamp of a frame in seconds


@dataclass(slots=True)
class _Waiting(Generic[T]):
    item: T
    stamps: Stamps
    clock: int  # Which of its stamps counts

    @property
    def stamp(self) -> float | None:
        return self.stamps[self.clock]


class StampRepair:
    """The times of one file's frames, from their stamps."""

    def __init__(self, step_s: float, *, decoding_only: bool = False, may_jump: bool = False, begin: float = 0.0,
                 origin: Stamps | None = None, faults: Counter[str] | None = None) -> None:  # fmt: skip
        """`step_s` is the time between two frames by the container's rate, `begin` the first frame's time.
        `decoding_only`: the container states decoding stamps alone; `may_jump`: its stamps may jump. After a
        seek, `origin` are the stamps of the file's first frame. `faults` goes on being counted."""
        self.faults: Counter[str] = Counter() if faults is None else faults
        """Stamps that were replaced, by what was wrong with them."""
        self.origin = origin  # The first frame's stamps; None where it has none
        self._step, self._far, self._time = step_s, FAR_DISCONTINUOUS_S if may_jump else FAR_S, begin
        self._before: Stamps | None = None  # Stamps of the last frame that has its time
        self._offset, self._clock = 0.0, PTS
        self._latest: list[float | None] = [None, None]
        self._wrong = [int(decoding_only), 0]

    def times(self, items: Iterable[tuple[T, Stamps]]) -> Iterator[tuple[T, float]]:
        """Each item of `items`, in presentation order, with its time."""
        held: list[_Waiting[T]] = []
        for item, stamps in items:
            held.append(_Waiting(item, stamps, self._choose(stamps)))
            yield from self._settled(held)
        yield from self._continued(held)

    def _choose(self, stamps: Stamps) -> int:
        """Which stamp counts: the presentation stamp unless the decoding one was wrong less often."""
        self._note(stamps[PTS])
        for clock, stamp in enumerate(stamps):
            latest = self._latest[clock]
            if stamp is not None:
                self._wrong[clock] += latest is not None and stamp < latest + LEAST_S
                self._latest[clock] = stamp
        if stamps[PTS] is None:
            return DTS
        sound = self._wrong[PTS] <= self._wrong[DTS] or self._latest[DTS] is None
        return PTS if sound else DTS  # where the last frames have no DTS, they follow step by step

    def _note(self, stamp: float | None) -> None:
        """Counts a presentation stamp that cannot be right."""
        latest = self._latest[PTS]
        if stamp is None:
            self.faults["missing"] += 1
        elif latest is not None and not LEAST_S < (step := stamp - latest) <= self._far:
            self.faults["repeated" if abs(step) <= LEAST_S else "out of order" if abs(step) < NEAR_S else "jumped"] += 1

    def _settled(self, held: list[_Waiting[T]]) -> Iterator[tuple[T, float]]:
        """The frames that can be timed, of those that wait; the last one is new."""
        newest = held[-1]
        if self._before is None:
            yield self._first(held.pop())
        elif newest.stamp is None and self._before == (None, None):
            yield from self._stepped(held)
        elif LEAST_S < _ahead(newest, self._before) <= NEAR_S:
            yield from self._between(held)
        elif len(held) > 1 and LEAST_S < _ahead(newest, held[-2].stamps) <= self._far:
            held.pop()
            yield from self._continued(held)
            held.append(newest)
            yield from self._settled(held)
        elif len(held) > MOST_HELD:
            yield from self._stepped(held)

    def _first(self, frame: _Waiting[T]) -> tuple[T, float]:
        """The first frame: at the beginning, or, after a seek, as long after it as its stamp states."""
        if self.origin is None:
            self.origin = None if frame.stamp is None else frame.stamps
        elif math.isfinite(since := _ahead(frame, self.origin)):
            self._time = since
        self._anchor(frame, self._time)
        return frame.item, self._time

    def _continued(self, held: list[_Waiting[T]]) -> Iterator[tuple[T, float]]:
        """All that wait: the last one after a pause that its stamp states, else step by step."""
        if held and LEAST_S < _ahead(held[-1], self._before) <= self._far:
            yield from self._between(held)
        else:
            yield from self._stepped(held)

    def _between(self, held: list[_Waiting[T]]) -> Iterator[tuple[T, float]]:
        """The newest frame by its stamp, those that waited evenly before it."""
        newest = held[-1]
        if newest.clock != self._clock:
            end, self._clock = self._time + _ahead(newest, self._before), newest.clock
            self._offset = end - (newest.stamp or 0.0)
        else:
            end = (newest.stamp or 0.0) + self._offset
        step = (end - self._time) / len(held)
        for frame in held[:-1]:
            self._time += step
            yield frame.item, self._time
        self._time, self._before = end, newest.stamps
        held.clear()
        yield newest.item, end

    def _stepped(self, held: list[_Waiting[T]]) -> Iterator[tuple[T, float]]:
        """All that wait, one step after each other."""
        for frame in held:
            self._anchor(frame, self._time + self._step)
            yield frame.item, self._time
        held.clear()

    def _anchor(self, frame: _Waiting[T], time: float) -> None:
        """Lays a frame's stamp onto its time."""
        self._time, self._before, self._clock = time, frame.stamps, frame.clock
        self._offset = time - (frame.stamp or 0.0)


def _ahead(frame: _Waiting[T], before: Stamps | None) -> float:
    """Seconds by which a frame's stamp follows the same one of `before`, NaN where either is missing."""
    other = None if before is None else before[frame.clock]
    return math.nan if frame.stamp is None or other is None else frame.stamp - other
