"""The times of a live stream: its own stamps, laid onto this machine's clock; and its stale backlog."""

import math
import time as clock
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

SLEW = 0.002  # Seconds per second by which times are corrected: too little to bias a speed, enough against drift
SLACK_S = 0.5  # How far times may be from this machine's clock before they are corrected
JUMP_S = 10.0  # From this difference on, stamps are aligned again, however it came about
STEP_S = 1.0  # A stamp that goes forward by this much more than the frame's arrival has jumped
MISORDERED_S = 0.25  # A single stamp may lie this much before the last one without being a jump
BACKLOG_S, PACED_S = 3.0, 0.2
"""How long after connecting a backlog is looked for; it is over when frames are paced for so long."""
BIN_S, BINS = 2.0, 4  # The rate of stamps is compared with that of arrivals over so many spans of so many seconds
MAX_RATE_ERROR = 0.05  # From this share on, stamps and arrivals disagree
WINDOW_S, WINDOW_FRAMES = 3.0, 8  # Arrivals are smoothed over this many seconds, and at least this many frames
BURST = 0.25  # A frame that comes in less than this share of the usual time after the last one had been held up
LATE_S = 0.1  # A frame of a segment that comes this much after it was due delays what follows
FAR_S = 0.25  # From this far from the line through the arrivals on, times are drawn to it quickly


class StreamClock:
    """One connection's stamps on this machine's clock, aligned at its first frame. Where the stamps run at
    another rate than the frames arrive (a format or a camera that counts frames at a nominal rate), times are
    the smoothed arrivals, until both rates agree again."""

    def __init__(self, *, nominal: bool = False, report: Callable[[Any, str], Any] | None = None) -> None:
        """`nominal` stamps are counted frames and mean nothing; `report` gets what happened, in words."""
        self._nominal, self._report = nominal, report or (lambda kind, detail: None)
        self._offset: float | None = None
        self._before: tuple[float, float] | None = None  # Stamp and arrival of the frame before
        self._behind = False
        self._rates = _RateCheck()
        self._arrivals = _ArrivalClock() if nominal else None
        if nominal:
            self._report("retimed", "the format has no time stamps: frames are timed by their arrival")

    def time(self, stamp: float | None, *, now: float, last: float) -> float:
        """Seconds on the source's clock of the frame with `stamp` that arrived at `now`. `last` is the time of
        the frame before. A frame without a stamp has the time of its arrival."""
        if stamp is None:
            return now
        if not self._nominal:
            self._check_rate(stamp, now)
        time = self._arrivals.time(stamp, now, last) if self._arrivals else self._by_stamp(stamp, now, last)
        self._before = stamp, now
        return time

    def _by_stamp(self, stamp: float, now: float, last: float) -> float:
        if self._offset is None:
            self._offset = max(now, last + 0.001) - stamp
        ahead = stamp + self._offset - now
        stamp_step, step = (stamp - self._before[0], now - self._before[1]) if self._before else (0.0, 0.0)
        back = self._before is not None and stamp + self._offset <= last
        if back and not self._behind and stamp_step > -MISORDERED_S:
            self._behind = True  # one misordered stamp; a second one would be a jump
            return last + 0.001
        self._behind = False
        jumped = back or (ahead > STEP_S and stamp_step - step > STEP_S)
        if jumped:
            self._rates = _RateCheck()
        if jumped or abs(ahead) > JUMP_S:
            if jumped or ahead < 0:  # stamps that run ahead are the rate's, which is reported once
                self._report("jumped", f"the stamps went {stamp_step:+.2f} s in {step:.2f} s; time goes on")
            self._offset = max(now, last + max(step, 0.001)) - stamp
        elif abs(ahead) > SLACK_S:  # two clocks never run at the same rate
            self._offset -= math.copysign(SLEW * min(max(stamp + self._offset - last, 0.0), 1.0), ahead)
        return stamp + self._offset

    def _check_rate(self, stamp: float, now: float) -> None:
        """Changes between stamps and arrivals where their rates disagree, or agree again, over seconds."""
        rate = self._rates.add(stamp, now)
        if rate is None:
            return
        if self._arrivals is None and abs(rate - 1) > MAX_RATE_ERROR:
            self._arrivals = _ArrivalClock()
            detail = f"the stamps run at {rate:.2f} times the clock's rate: frames are timed by their arrival"
            self._report("retimed", detail)
        elif self._arrivals is not None and abs(rate - 1) < MAX_RATE_ERROR / 3:
            self._arrivals, self._offset, self._before = None, None, None
            self._report("retimed", "the stamps agree with the clock again: frames are timed by them")


class PacedClock:
    """The times of a stream that comes in segments, and when each frame is due. Times are the stamps, laid onto
    the source's clock at the first frame. Frames are due at the same pace; a segment that comes late delays all
    that follow it."""

    def __init__(self, report: Callable[[Any, str], Any]) -> None:
        """`report` gets what happened, in words."""
        self._report, self._offset, self._delay_s, self._stamp = report, math.nan, 0.0, math.nan

    def time(self, stamp: float | None, *, now: float, last: float, step: float,
             free_at: float = 0.0) -> tuple[float, float]:  # fmt: skip
        """Seconds on the source's clock of the frame with `stamp`, and of the moment when it is due. `step` is
        the usual time between two frames: that after a jump of the stamps. `free_at` is when the frame before
        was handed on: what is late by a slow consumer delays nothing."""
        if stamp is None or self._stamp - MISORDERED_S < stamp <= self._stamp:
            stamp = self._stamp + step if math.isfinite(self._stamp) else 0.0
        if math.isnan(self._offset):
            self._offset = max(now, last + step) - stamp
        due = stamp + self._offset + self._delay_s
        if stamp <= self._stamp or (stamp > self._stamp + JUMP_S and due > now + JUMP_S):
            self._report("jumped", f"the stamps went {stamp - self._stamp:+.2f} s; time goes on")
            self._offset = last + step - stamp
            due = last + step + self._delay_s
        if (late := now - max(due, free_at)) > LATE_S:
            self._delay_s += late
            due += late
        self._stamp = stamp
        return stamp + self._offset, due


class _RateCheck:
    """The rate of stamps against that of arrivals, by the least delayed frame of each span of time. A network
    only ever delays: stalls and bursts leave the least delays as they are, and a new route changes them once.
    Only a wrong rate changes them from each span to the next."""

    def __init__(self) -> None:
        self._bins: deque[tuple[float, float, float]] = deque(maxlen=BINS)
        self._begun = math.nan
        self._least = (math.inf, 0.0, 0.0)

    def add(self, stamp: float, now: float) -> float | None:
        """Seconds of stamps per second of arrivals; None until the end of a span, and where it varies."""
        if ended := not now - self._begun < BIN_S:
            if math.isfinite(self._least[0]):
                self._bins.append(self._least)
            self._begun, self._least = now, (math.inf, 0.0, 0.0)
        self._least = min(self._least, (now - stamp, stamp, now))
        if not ended or len(self._bins) < BINS:
            return None
        _, stamps, arrivals = np.array(self._bins).T
        if np.diff(arrivals).min() <= 0:
            return None
        steps = np.diff(stamps) / np.diff(arrivals) - 1
        rate = (stamps[-1] - stamps[0]) / (arrivals[-1] - arrivals[0])
        steady = bool((np.sign(steps) == np.sign(rate - 1)).all()) and np.abs(steps).min() > 0.4 * abs(rate - 1)
        return float(rate) if steady or abs(rate - 1) < MAX_RATE_ERROR / 3 else None


class _ArrivalClock:
    """Times of frames by their arrival, without the network's jitter. The time of a frame follows a robust line
    through the last arrivals (medians, after Theil, 1950, and Sen, 1968), and is drawn towards it by small
    steps, so that a speed keeps the rate of the frames."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[float, float]] = deque()
        self._slope = self._ahead = 0.0

    def time(self, stamp: float, now: float, last: float) -> float:
        """Seconds on the source's clock of the frame that arrived at `now`; later than `last`."""
        before = self._arrived[-1][0] if self._arrived else stamp
        if stamp <= before and self._arrived:
            self._arrived.clear()  # the stamps have jumped
        elif self._arrived and now - self._arrived[-1][1] < BURST * self._slope * (stamp - before):
            self._arrived.pop()  # of frames that were held up the last one is the least late
        self._arrived.append((stamp, now))
        while len(self._arrived) > WINDOW_FRAMES and now - self._arrived[0][1] > WINDOW_S:
            self._arrived.popleft()
        stamps, arrivals = np.array(self._arrived).T
        half = len(stamps) // 2
        if len(stamps) >= WINDOW_FRAMES or (half > 1 and not self._slope):
            self._slope = float(np.median((arrivals[-half:] - arrivals[:half]) / (stamps[-half:] - stamps[:half])))
        step = self._slope * (stamp - before)
        if step <= 0 or now - last > max(STEP_S, 5 * step):  # the first frames, or no frame for long
            self._arrived = deque([(stamp, now)]) if step > 0 else self._arrived
            time = max(now, last + 0.001)
            self._ahead = time - now
            return time
        expected = float(np.median(arrivals - self._slope * stamps)) + self._slope * stamp
        error = expected + self._ahead - (last + step)
        far = abs(error) > max(FAR_S, 2 * step)
        if far and error < 0:  # frames that were late have caught up: what was given out stays
            self._ahead -= error
            return last + step
        most = (0.5 if far else 0.1) * step
        return last + step + min(max(0.2 * error, -most), most)


class Backlog:
    """Holds back what a server had buffered, or what was read to learn the format, when a connection begins.
    Such frames come faster than they were captured. Handed on, they would be shown as current, and what moves
    in them would seem to race. Frames wait until they have come at the camera's pace for a while."""

    def __init__(self) -> None:
        self._waiting: list[Any] = []
        self._until = clock.monotonic() + BACKLOG_S
        self._first = self._before = (math.nan, 0.0)
        """Stamp and arrival of the first frame that has a stamp, and of the frame before."""
        self._paced_since = 0.0
        self.over = False  # Whether frames come at the camera's pace, and are handed on
        self.ahead_s = 0.0  # By how much the stamps have run ahead of the arrivals since the first frame
        self.held_back = 0  # How many frames the last call found to be stale

    def passed(self, item: Any, stamp: float | None, arrived: float) -> list[Any]:
        """What is to be handed on now that `item` with `stamp` came at `arrived` (monotonic seconds)."""
        self.held_back = 0
        if self.over:
            return [item]
        # RTSP's first frame has no stamp yet; where no frame has one, staleness cannot be known.
        current = math.nan if stamp is None else stamp
        if math.isnan(self._first[0]):
            self._first = current, arrived
        self.ahead_s = current - self._first[0] - (arrived - self._first[1])
        before, self._before = self._before, (current, arrived)
        unknown = bool(self._waiting) and math.isnan(current) and math.isnan(before[0])
        if not unknown and not arrived - before[1] > 0.5 * (current - before[0]):
            self.held_back, self._waiting, self._paced_since = len(self._waiting), [], arrived
        self._waiting.append(item)
        self.over = unknown or arrived > self._until or arrived - self._paced_since >= PACED_S
        return self._waiting if self.over else []
