"""Watches a site's speeds: is an hour of the week as fast as it has been, and far as fast as near?

Baselines are medians and median deviations of log speeds for each hour of the day and weekday, and of the
ratio far : near of single vehicles. A two-sided CUSUM of log-likelihood ratios (Page 1954) gathers small
evidence; its threshold log(2 N) lets it fire falsely less than once in N independent vehicles (Lorden 1971).
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.types import Array, Reason, Speeds, Tracks

LEAST = 30
"""Vehicles that make a baseline."""
KEPT = 200
"""Vehicles that a baseline remembers; the oldest go first."""
SLOWEST_MPS = 2.0
"""Slower vehicles stand in a queue: they say nothing of the camera."""
CLIP = 3.0
"""Standard deviations beyond which a vehicle counts no more: one speeder is no evidence."""


@dataclass(slots=True)
class Cusum:
    """Evidence for "faster by `change`" and for "slower by `change`", in nats."""

    change: float
    """Relative change that is to be found, 0.05 for 5 %."""
    ordinary: float
    """Relative change that happens without a fault (weather, holidays)."""
    vehicles: float
    """Wanted mean number of vehicles between false alarms."""
    up: float = 0.0
    down: float = 0.0

    @property
    def threshold(self) -> float:
        """Nats at which it fires."""
        return math.log(2 * self.vehicles)

    def add(self, value: float, middle: float, spread: float, count: int) -> str:
        """What one more log value gives against a baseline of `count`: "up", "down" or ""."""
        step = math.log1p(self.change) / spread
        slack = math.log1p(self.ordinary) / spread + 1.2533 / math.sqrt(count)  # the baseline errs as well
        z = float(np.clip((value - middle) / spread, -CLIP, CLIP))
        self.up = max(0.0, self.up + step * (z - slack - step / 2))
        self.down = max(0.0, self.down + step * (-z - slack - step / 2))
        return "up" if self.up > self.threshold else "down" if self.down > self.threshold else ""

    def clear(self) -> None:
        """Forgets the evidence."""
        self.up = self.down = 0.0

    @property
    def quiet(self) -> bool:
        """Whether there is hardly any evidence: only then is anything learned."""
        return max(self.up, self.down) < self.threshold / 2


@dataclass(slots=True)
class Baseline:
    """Log values by slot; what comes in waits in `pending` until its hour has ended in order."""

    slots: dict[str, list[float]] = field(default_factory=dict)
    pending: dict[str, list[float]] = field(default_factory=dict)
    _known: dict[str, tuple[float, float, int] | None] = field(default_factory=dict)

    def add(self, slot: str, value: float) -> None:
        """Remembers a value until `debounce`."""
        self.pending.setdefault(slot, []).append(round(value, 4))

    def debounce(self, good: bool) -> None:
        """Learns what is pending, or drops it where something was wrong."""
        for slot, values in self.pending.items():
            if good:
                self.slots[slot] = (self.slots.get(slot, []) + values)[-KEPT:]
        self.pending.clear()
        self._known.clear()

    def of(self, slots: list[list[str]], least_spread: float) -> tuple[float, float, int] | None:
        """Median, spread and count of the first group of slots with enough values; None without any."""
        key = slots[0][0]
        if key not in self._known:
            self._known[key] = self._measure(slots, least_spread)
        return self._known[key]

    def _measure(self, slots: list[list[str]], least_spread: float) -> tuple[float, float, int] | None:
        for group in slots:
            values = [v for slot in group for v in self.slots.get(slot, ())]
            if len(values) >= LEAST:
                middle = float(np.median(values))
                spread = 1.4826 * float(np.median(np.abs(np.array(values) - middle)))
                return middle, max(spread, least_spread), min(len(values), KEPT)
        return None


@dataclass(slots=True)
class _Vehicle:
    rows: list[float] = field(default_factory=list)
    mps: list[float] = field(default_factory=list)
    heading: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Finding:
    """One alarm of the statistics."""

    kind: str
    """"speeds" (all speeds changed) or "ratio" (far against near changed)."""
    way: str
    """"up" or "down"."""
    words: str


class SpeedDriftDetector:
    """Learns a site's speeds from `Speeds` tables and says when they are no longer themselves."""

    def __init__(
        self, *, change: float = 0.05, ratio_change: float = 0.03, ordinary: float = 0.03,
        vehicles_between_false_alarms: float = 100_000, hour_s: float = 3600.0,
    ) -> None:  # fmt: skip
        """`change`, `ratio_change`, `ordinary` are relative; `hour_s` is how long values stay pending."""
        for name, value in (("change", change), ("ratio_change", ratio_change), ("hour_s", hour_s)):
            if not value > 0:
                raise InputError(f"camera health: expected {name} above 0, got {value}")
        if not (ordinary >= 0 and vehicles_between_false_alarms >= 10):
            raise InputError(
                "camera health: expected ordinary >= 0 and at least 10 vehicles between false alarms, "
                f"got {ordinary}, {vehicles_between_false_alarms}"
            )
        self.speeds = Cusum(change, ordinary, vehicles_between_false_alarms)
        self.ratio = Cusum(ratio_change, ratio_change / 4, vehicles_between_false_alarms)
        self.speed_base, self.ratio_base = Baseline(), Baseline()
        self.split: float | None = None
        """Image row between near and far; learned from the first vehicles."""
        self.vehicles = 0
        self._hour_s, self._settle_at = hour_s, -math.inf
        self._middles: list[float] = []
        self._open: defaultdict[int, _Vehicle] = defaultdict(_Vehicle)

    def update(self, tracks: Tracks, smoothed: Speeds, track_speeds: Speeds, now: datetime) -> list[Finding]:
        """What the vehicles of this frame give; `now` is local time."""
        stamp = now.timestamp()
        if stamp >= self._settle_at:
            if math.isfinite(self._settle_at):
                self._settle()
            self._settle_at = stamp + self._hour_s
        self._gather(tracks, smoothed)
        found = []
        for row in track_speeds:
            vehicle = self._open.pop(row.id, None)
            if row.reason is Reason.OK and row.mps >= SLOWEST_MPS:
                found += self.passed(row.mps, row.heading, now)
                found += self._far_near(vehicle) if vehicle is not None else []
        return found

    def passed(self, mps: float, heading: float, now: datetime) -> list[Finding]:
        """One vehicle's speed: against its hour of the week, then remembered."""
        self.vehicles += 1
        way, value = _way(heading), math.log(mps)
        self.speed_base.add(f"{now.weekday()} {now.hour} {way}", value)
        base = self.speed_base.of(_groups(now, way), 0.03)
        fired = self.speeds.add(value, *base) if base else ""
        if not fired or base is None:
            return []
        self.speeds.clear()
        self.speed_base.debounce(False)
        return [
            Finding("speeds", fired, _changed("speeds are", fired, self.speeds.change, "usual at this hour"))
        ]

    def far_near(self, far_mps: float, near_mps: float, heading: float) -> list[Finding]:
        """One vehicle's speeds in the far and in the near half."""
        way, value = _way(heading), math.log(far_mps / near_mps)
        self.ratio_base.add(way, value)
        base = self.ratio_base.of([[way]], 0.01)
        fired = self.ratio.add(value, *base) if base else ""
        if not fired:
            return []
        self.ratio.clear()
        self.ratio_base.debounce(False)
        return [
            Finding(
                "ratio", fired, _changed("far against near, speeds are", fired, self.ratio.change, "usual")
            )
        ]

    def forget(self) -> None:
        """Learns everything anew."""
        self.speed_base, self.ratio_base = Baseline(), Baseline()
        self.speeds.clear()
        self.ratio.clear()
        self.split = None
        self._middles.clear()
        self._open.clear()

    def reset(self) -> None:
        """The stream starts again: vehicles on the way are forgotten, baselines stay."""
        self._open.clear()

    def _settle(self) -> None:
        good = self.speeds.quiet and self.ratio.quiet
        self.speed_base.debounce(good)
        self.ratio_base.debounce(good)

    def _gather(self, tracks: Tracks, smoothed: Speeds) -> None:
        """Remembers image row and smoothed speed of each vehicle that is in view."""
        rows = dict(zip(tracks.ids.tolist(), tracks.boxes[:, 3].tolist(), strict=True))
        for row in smoothed:
            if row.reason is Reason.OK and row.mps >= SLOWEST_MPS and row.id in rows:
                vehicle = self._open[row.id]
                vehicle.rows.append(rows[row.id])
                vehicle.mps.append(row.mps)
                vehicle.heading.append(row.heading)

    def _far_near(self, vehicle: _Vehicle) -> list[Finding]:
        rows, mps = np.array(vehicle.rows), np.array(vehicle.mps)
        if len(rows) < 10:
            return []
        if self.split is None:
            self._middles.append(float(rows[len(rows) // 2]))
            if len(self._middles) >= LEAST:
                self.split = float(np.median(self._middles))
            return []
        far = rows < self.split
        if min(far.sum(), (~far).sum()) < 5:
            return []
        return self.far_near(_median(mps[far]), _median(mps[~far]), _median(np.array(vehicle.heading)))

    def to_dict(self) -> dict[str, Any]:
        """What is worth keeping over a restart."""
        return {
            "split": self.split,
            "vehicles": self.vehicles,
            "speeds": {"up": self.speeds.up, "down": self.speeds.down, "slots": self.speed_base.slots},
            "ratio": {"up": self.ratio.up, "down": self.ratio.down, "slots": self.ratio_base.slots},
        }

    def from_dict(self, given: dict[str, Any]) -> None:
        """Takes up what `to_dict` gave; ValueError, KeyError or TypeError where it is damaged."""
        split = None if given["split"] is None else float(given["split"])
        parts = []
        for name in ("speeds", "ratio"):
            up, down = float(given[name]["up"]), float(given[name]["down"])
            slots = {str(k): [float(v) for v in values] for k, values in given[name]["slots"].items()}
            if not all(map(math.isfinite, (up, down, *(v for values in slots.values() for v in values)))):
                raise ValueError(f"{name} holds numbers that are not finite")
            parts.append((up, down, slots))
        self.split, self.vehicles = split, int(given["vehicles"])
        for (up, down, slots), cusum, base in zip(
            parts, (self.speeds, self.ratio), (self.speed_base, self.ratio_base), strict=True
        ):
            cusum.up, cusum.down, base.slots = up, down, slots
            base.debounce(False)


def _groups(now: datetime, way: str) -> list[list[str]]:
    """Slots to compare with, the closest first: this hour of this weekday, this hour of such days.

    Other hours and other kinds of days are no measure: nights are faster than days without a fault.
    """
    alike = range(5) if now.weekday() < 5 else range(5, 7)
    return [
        [f"{now.weekday()} {now.hour} {way}"],
        [f"{day} {now.hour} {way}" for day in alike],
    ]


def _way(heading: float) -> str:
    """Away from the camera or towards it, as far as the plane's y axis tells."""
    return "towards" if math.sin(math.radians(heading if math.isfinite(heading) else 90.0)) < 0 else "away"


def _changed(what: str, way: str, change: float, usual: str) -> str:
    more = {"up": "higher", "down": "lower"}[way]
    return f"{what} lastingly {more} than {usual} (by {100 * change:.0f} % or more)"


def _median(values: Array) -> float:
    return float(np.median(values))
