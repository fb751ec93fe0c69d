"""SpeedDriftDetector: whether an hour of the week is as fast as it used to be, and far as fast as near.

Baselines are medians and median deviations of log speeds for each hour of the day and weekday, and of the
ratio far : near of single vehicles. A two-sided CUSUM of log-likelihood ratios (Page 1954) accumulates
evidence; its threshold log(2 N) bounds false alarms to one in N independent vehicles (Lorden 1971)."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np

from edgevid.errors import InputError
from edgevid.types import Reason, Speeds, Tracks

Direction = Literal["up", "down"]
MIN_VEHICLES = 30  # Vehicles that make a baseline
MAX_VEHICLES = 200  # Vehicles that a baseline keeps; the oldest go first
MIN_MPS = 2.0  # Slower vehicles are in a queue and tell nothing about the camera
MAX_Z = 3.0  # Standard deviations at which a vehicle is clipped: one speeder is no evidence
BASELINE_ERROR = 1.2533  # Standard error of a median, in standard deviations over the square root of the count
RATIO_CHANGE = 0.03  # Relative change of far : near to detect


class Baseline(NamedTuple):
    """Log values of a slot."""

    median: float
    spread: float
    vehicles: int


@dataclass(slots=True)
class Comparison:
    """Log values by slot, and the evidence for "higher by `change`" and for "lower by `change`" than those, in nats.
    New values wait in `pending` until their hour has ended without suspicion."""

    change: float  # Relative change to detect, 0.05 for 5 %
    tolerance: float  # Relative change that happens without a fault (weather, holidays)
    min_spread: float
    vehicles: float = 100_000  # Mean number of vehicles between false alarms
    up: float = 0.0
    down: float = 0.0
    slots: dict[str, list[float]] = field(default_factory=dict)
    pending: dict[str, list[float]] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """Nats at which it fires."""
        return math.log(2 * self.vehicles)

    @property
    def quiet(self) -> bool:
        """Whether there is little evidence: only then are values learned."""
        return max(self.up, self.down) < self.threshold / 2

    def compare(self, value: float, groups: list[list[str]]) -> list[tuple[Direction, str]]:
        """Compares a log value with its baseline, then keeps it; direction and text of a certain change, or none."""
        self.keep(groups[0][0], value)
        baseline = self.baseline(groups)
        if (direction := self.weigh(value, baseline) if baseline else None) is None:
            return []
        self.clear()
        self.drop()
        return [(direction, f"{100 * self.change:.0f} % or more {'higher' if direction == 'up' else 'lower'}")]

    def weigh(self, value: float, baseline: Baseline) -> Direction | None:
        """Adds one log value; the direction of the change once there is enough evidence for it."""
        step = math.log1p(self.change) / baseline.spread
        slack = math.log1p(self.tolerance) / baseline.spread + BASELINE_ERROR / math.sqrt(baseline.vehicles)
        z = float(np.clip((value - baseline.median) / baseline.spread, -MAX_Z, MAX_Z))
        self.up = max(0.0, self.up + step * (z - slack - step / 2))
        self.down = max(0.0, self.down + step * (-z - slack - step / 2))
        return "up" if self.up > self.threshold else "down" if self.down > self.threshold else None

    def keep(self, slot: str, value: float) -> None:
        """Keeps a value until `commit` or `drop`."""
        self.pending.setdefault(slot, []).append(round(value, 4))

    def commit(self) -> None:
        """Learns the pending values."""
        for slot, values in self.pending.items():
            self.slots[slot] = (self.slots.get(slot, []) + values)[-MAX_VEHICLES:]
        self.drop()

    def drop(self) -> None:
        """Forgets the pending values."""
        self.pending.clear()

    def clear(self) -> None:
        """Forgets the evidence."""
        self.up = self.down = 0.0

    def baseline(self, groups: list[list[str]]) -> Baseline | None:
        """The baseline of the first group of slots with enough values; None without any."""
        for group in groups:
            if len(values := [v for slot in group for v in self.slots.get(slot, ())]) >= MIN_VEHICLES:
                median = float(np.median(values))
                spread = 1.4826 * float(np.median(np.abs(np.array(values) - median)))
                return Baseline(median, max(spread, self.min_spread), min(len(values), MAX_VEHICLES))
        return None


@dataclass(frozen=True, slots=True)
class Finding:
    """A change that the detector found."""

    kind: Literal["speeds", "ratio"]  # All speeds, or far against near
    direction: Direction
    message: str


class SpeedDriftDetector:
    """Learns a site's speeds and finds when they drift away from what was learned."""

    def __init__(self, *, change: float = 0.05, tolerance: float = 0.03, hour_s: float = 3600.0) -> None:
        """`change` and `tolerance` are relative; `hour_s` is how long values stay pending."""
        if not (change > 0 and tolerance >= 0 and hour_s > 0):
            raise InputError("camera health: expected change and hour_s above 0 and tolerance "
                             f">= 0, got {change}, {hour_s} and {tolerance}")  # fmt: skip
        self.speeds = Comparison(change, tolerance, min_spread=0.03)
        self.ratio = Comparison(RATIO_CHANGE, RATIO_CHANGE / 4, min_spread=0.01)
        self._both = {"speeds": self.speeds, "ratio": self.ratio}
        self.split_row: float | None = None  # Image row between near and far; learned from the first vehicles
        self.vehicles = 0
        self._hour_s, self._commit_at = hour_s, -math.inf
        self._middle_rows: list[float] = []
        self._open: defaultdict[int, list[tuple[float, float, float]]] = defaultdict(list)
        """Image row, speed and heading of each vehicle in view, at each of its moments."""

    def update(self, tracks: Tracks, smoothed: Speeds, track_speeds: Speeds, now: datetime) -> list[Finding]:
        """What the vehicles of this frame show; `now` is local time."""
        if (stamp := now.timestamp()) >= self._commit_at:
            if math.isfinite(self._commit_at):
                self.commit()
            self._commit_at = stamp + self._hour_s
        places = dict(zip(tracks.ids.tolist(), tracks.boxes[:, 3].tolist(), strict=True))
        for row in smoothed:
            if row.reason is Reason.OK and row.mps >= MIN_MPS and row.id in places:
                self._open[row.id].append((places[row.id], row.mps, row.heading))
        found = []
        for row in track_speeds:
            moments = self._open.pop(row.id, [])
            if row.reason is Reason.OK and row.mps >= MIN_MPS:
                found += self.add_speed(row.mps, row.heading, now) + self._add_halves(moments)
        return found

    def add_speed(self, mps: float, heading: float, now: datetime) -> list[Finding]:
        """Compares one vehicle's speed with its hour of the week, then keeps it."""
        self.vehicles += 1
        # This hour of this weekday, then of all workdays or weekends. Other hours and other kinds of days do
        # not compare: nights are faster than days without a fault.
        days, slot = range(5) if now.weekday() < 5 else range(5, 7), f"{now.hour} {_travel(heading)}"
        groups = [[f"{now.weekday()} {slot}"], [f"{day} {slot}" for day in days]]
        found = self.speeds.compare(math.log(mps), groups)
        return [Finding("speeds", way, f"speeds are permanently {by} than usual at this hour") for way, by in found]

    def add_ratio(self, far_mps: float, near_mps: float, heading: float) -> list[Finding]:
        """Compares one vehicle's speeds in the far and in the near half, then keeps their ratio."""
        found = self.ratio.compare(math.log(far_mps / near_mps), [[_travel(heading)]])
        return [Finding("ratio", way, f"far : near speeds are permanently {by} than usual") for way, by in found]

    def clear(self) -> None:
        """Forgets the evidence; the baselines stay."""
        for one in self._both.values():
            one.clear()

    def forget(self) -> None:
        """Learns everything again."""
        for one in self._both.values():
            one.slots.clear()
            one.drop()
        self.clear()
        self.split_row = None
        self._middle_rows.clear()
        self._open.clear()

    def reset(self) -> None:
        """The stream starts again: vehicles in view are forgotten, baselines stay."""
        self._open.clear()

    def drop_hour(self) -> None:
        """Forgets the values of this hour: the clock was set, and they may be those of another one."""
        self._commit_at = -math.inf
        for one in self._both.values():
            one.drop()

    def commit(self) -> None:
        """Ends an hour: learns its values, or drops them where there is evidence of a change."""
        good = self.speeds.quiet and self.ratio.quiet
        for one in self._both.values():
            one.commit() if good else one.drop()

    def _add_halves(self, moments: list[tuple[float, float, float]]) -> list[Finding]:
        if len(moments) < 10:
            return []
        rows, mps, heading = np.array(moments).T
        if self.split_row is None:
            self._middle_rows.append(float(rows[len(rows) // 2]))
            if len(self._middle_rows) >= MIN_VEHICLES:
                self.split_row = float(np.median(self._middle_rows))
            return []
        far = rows < self.split_row
        if min(far.sum(), (~far).sum()) < 5:
            return []
        return self.add_ratio(*(float(np.median(values)) for values in (mps[far], mps[~far], heading)))

    def to_dict(self) -> dict[str, Any]:
        """What is kept over a restart."""
        parts = {name: {"up": one.up, "down": one.down, "slots": one.slots} for name, one in self._both.items()}
        return {"split_row": self.split_row, "vehicles": self.vehicles, **parts}

    def from_dict(self, values: dict[str, Any]) -> None:
        """Takes the values of `to_dict`; ValueError, KeyError or TypeError where they are damaged."""
        split_row = None if values["split_row"] is None else float(values["split_row"])
        parts = []
        for name in self._both:
            up, down = float(values[name]["up"]), float(values[name]["down"])
            slots = {str(k): [float(v) for v in logs] for k, logs in values[name]["slots"].items()}
            if not all(map(math.isfinite, (up, down, *(v for logs in slots.values() for v in logs)))):
                raise ValueError(f"{name} holds numbers that are not finite")
            parts.append((up, down, slots))
        self.split_row, self.vehicles = split_row, int(values["vehicles"])
        for one, (up, down, slots) in zip(self._both.values(), parts, strict=True):
            one.up, one.down, one.slots = up, down, slots
            one.drop()


def _travel(heading: float) -> str:
    """Away from the camera or towards it, by the plane's y axis."""
    return "towards" if math.sin(math.radians(heading if math.isfinite(heading) else 90.0)) < 0 else "away"
