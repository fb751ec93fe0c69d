"""The tracker's step in NumPy, and what its assignment means.

Assignment is maximum-weight matching. The weight of an object and a detection is their similarity minus
the stage's threshold; only pairs of positive weight match, each object and each detection at most once, and
the sum of the weights is the largest possible. (With costs 1 - similarity and a limit of 1 - threshold that
is the minimum cost where an unmatched object costs half the limit.) Ties may be broken either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevid.types import F32, F64, I32, I64

REFERENCE_RATE = 30.0
"""The noise shares are stated for one frame at this rate."""
LABEL_MEMORY_S = 2.0
"""Seconds in which an observation's vote on the class falls to 1/e."""


def max_weight_matching(weights: F64) -> list[tuple[int, int]]:
    """The (row, column) pairs of the maximum-weight matching of `weights` (R, C) float64.

    Weights that are not finite or not positive never match.

    >>> max_weight_matching(np.array([[0.9, 0.8], [0.7, 0.0]]))
    [(0, 1), (1, 0)]
    """
    import lap  # here, because the native kernels need none

    weights = np.where(np.isfinite(weights), weights, 0.0)
    if weights.size == 0 or weights.max() <= 0:
        return []
    most = float(weights.max())
    costs = np.where(weights > 0, most - weights, 3 * most)
    _, columns, _ = lap.lapjv(costs, extend_cost=True, cost_limit=most)
    return [(r, int(c)) for r, c in enumerate(columns) if c >= 0 and weights[r, c] > 0]


@dataclass
class Settings:
    """Thresholds and noise of the step; the native twin has the same names."""

    track_high_thresh: float = 0.5
    track_low_thresh: float = 0.1
    new_track_thresh: float = 0.6
    match_thresh: float = 0.2
    second_match_thresh: float = 0.5
    new_match_thresh: float = 0.3
    lost_after_s: float = 1.0
    confirm_after_s: float = 0.0
    position_noise: float = 0.05
    velocity_noise: float = 0.00625
    measure_noise: float = 0.05
    momentum: float = 0.0
    re_update: bool = False
    recover: bool = False
    class_aware: bool = False
    height_overlap: bool = False
    observed_boxes: bool = False


class Motion:
    """Four independent filters (center x, center y, width, height), each a position and a velocity."""

    def __init__(self, box: F32, s: Settings) -> None:
        self.x, self.v = measured(box), np.zeros(4)
        size = np.tile(self.x[2:], 2)
        self.pxx = 4 * (s.position_noise * size) ** 2
        self.pxv = np.zeros(4)
        self.pvv = 100 * (s.velocity_noise * size * REFERENCE_RATE) ** 2

    def copy(self) -> Motion:
        """An independent copy."""
        made = Motion.__new__(Motion)
        for name, value in vars(self).items():
            setattr(made, name, value.copy())
        return made

    def predict(self, dt: float, observed: bool, s: Settings) -> None:
        """Predicts `dt` seconds ahead; a coasting box neither grows nor shrinks."""
        if not observed:
            self.v[2:] = 0
        size = np.tile(np.maximum(self.x[2:], 1), 2)
        frames = dt * REFERENCE_RATE
        self.x = self.x + self.v * dt
        self.pxx = self.pxx + dt * (2 * self.pxv + dt * self.pvv) + (s.position_noise * size) ** 2 * frames
        self.pxv = self.pxv + dt * self.pvv
        self.pvv = self.pvv + (s.velocity_noise * size * REFERENCE_RATE) ** 2 * frames
        self.x[2:] = np.maximum(self.x[2:], 1)

    def update(self, box: F32, s: Settings) -> None:
        """Corrects with an observed box (4,)."""
        size = np.tile(np.maximum(self.x[2:], 1), 2)
        total = self.pxx + (s.measure_noise * size) ** 2
        k, m, e = self.pxx / total, self.pxv / total, measured(box) - self.x
        self.x, self.v = self.x + k * e, self.v + m * e
        self.pvv = self.pvv - m * self.pxv
        self.pxv = self.pxv - k * self.pxv
        self.pxx = self.pxx - k * self.pxx
        self.x[2:] = np.maximum(self.x[2:], 1)

    def box(self) -> F32:
        """x1, y1, x2, y2 as float32."""
        half = self.x[2:] / 2
        return np.concatenate([self.x[:2] - half, self.x[:2] + half]).astype(np.float32)


def measured(box: F32) -> F64:
    """Center and size of a box."""
    b = box.astype(np.float64)
    return np.array([(b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]])


@dataclass
class TrackedObject:
    """One object and its observations."""

    id: int
    motion: Motion
    box: F32
    last_box: F32
    score: float
    label: int
    match: int
    start_time: float
    last_time: float
    confirmed: bool
    recent: list[tuple[F32, float]] = field(default_factory=list)
    at_observation: Motion | None = None
    label_votes: float = 0.0


def overlap(a: F32, b: F32) -> float:
    """Intersection over union of two boxes."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    return float(w * h / whole) if whole > 0 else 0.0


def height_overlap(a: F32, b: F32) -> float:
    """Intersection over union of the vertical extents (Hybrid-SORT, Yang 2024, arXiv 2308.00783)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    h = min(a[3], b[3]) - max(a[1], b[1])
    return float(h / (max(a[3], b[3]) - min(a[1], b[1]))) if h > 0 else 0.0


def direction_consistency(o: TrackedObject, box: F32) -> float:
    """Cosine between the object's direction of travel and the step to the detection (OC-SORT's OCM)."""
    if len(o.recent) < 2:
        return 0.0
    first, last, here = (measured(b)[:2] for b in (o.recent[0][0], o.recent[-1][0], box))
    a, b = last - first, here - last
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 1e-9 else 0.0


Similarity = Callable[[TrackedObject, int], float]
TrackColumns = tuple[I64, F32, F32, I32, I32, F32, F32]
"""In the order of types.Tracks."""


class TrackerCore:
    """The tracker's step; `update` returns the columns of Tracks."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        unknown = set(settings) - set(vars(Settings()))
        if unknown:
            raise ValueError(f"tracker setting: there is no {sorted(unknown)[0]}")
        self.s = Settings(**settings)
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self.forget()
        self._next = 1
        self.rejected = 0

    def forget(self) -> None:
        """Forgets every object; ids go on."""
        self.objects: list[TrackedObject] = []
        self._time = math.nan

    def update(self, boxes: F32, scores: F32, labels: I32, time: float, coast_s: float) -> TrackColumns:
        """One step: predict, match high then low scores, remove stale objects, spawn new ones."""
        s, first = self.s, math.isnan(self._time)
        dt = 0.0 if first else time - self._time
        tracked = set()
        for o in self.objects:
            o.motion.predict(dt, o.match >= 0, s)
            o.box = o.motion.box()
            if o.match >= 0:
                tracked.add(o.id)
            o.match = -1
        valid = np.isfinite(boxes).all(1) & np.isfinite(scores)
        valid &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        self.rejected += int((~valid).sum())
        candidates = np.flatnonzero(valid).tolist()
        high = [d for d in candidates if scores[d] >= s.track_high_thresh]
        low = [d for d in candidates if s.track_low_thresh <= scores[d] < s.track_high_thresh]

        def fused(o: TrackedObject, d: int) -> float:
            value = overlap(o.box, boxes[d]) * float(scores[d])
            if s.height_overlap:
                value *= height_overlap(o.box, boxes[d])
            if s.momentum:
                value += s.momentum * direction_consistency(o, boxes[d]) * float(scores[d])
            return value

        frame = (boxes, scores, labels, time)
        known = [o for o in self.objects if o.confirmed]
        self._stage(known, high, fused, s.match_thresh, frame)
        recent = [o for o in known if o.id in tracked]
        self._stage(recent, low, lambda o, d: overlap(o.box, boxes[d]), s.second_match_thresh, frame)
        if s.recover:
            again: Similarity = lambda o, d: overlap(o.last_box, boxes[d]) * float(scores[d])  # noqa: E731
            self._stage(known, high, again, s.match_thresh, frame, where="last_box")
        self._stage([o for o in self.objects if not o.confirmed], high, fused, s.new_match_thresh, frame)
        self._remove_stale(time)
        self._spawn(high, frame, first)
        self._time = time
        return self._report(time, coast_s)

    def _stage(
        self,
        objects: list[TrackedObject],
        pool: list[int],
        similarity: Similarity,
        min_similarity: float,
        frame: tuple[F32, F32, I32, float],
        where: str = "box",
    ) -> None:
        boxes, scores, labels, time = frame
        taken = {o.match for o in self.objects}
        rows, free = [o for o in objects if o.match < 0], [d for d in pool if d not in taken]
        weights = np.zeros((len(rows), len(free)))
        for r, o in enumerate(rows):
            for c, d in enumerate(free):
                if overlap(getattr(o, where), boxes[d]) > 0 and not (
                    self.s.class_aware and labels[d] != o.label
                ):
                    weights[r, c] = similarity(o, d) - min_similarity
        for r, c in max_weight_matching(weights):
            self._update_object(
                rows[r], boxes[free[c]], float(scores[free[c]]), int(labels[free[c]]), free[c], time
            )

    def _update_object(
        self, o: TrackedObject, box: F32, score: float, label: int, d: int, time: float
    ) -> None:
        s = self.s
        if s.re_update and time - o.last_time > 1.5 / REFERENCE_RATE and o.last_time < self._time:
            self._re_update(o, box, time)
        o.motion.update(box, s)
        o.box = box.copy() if s.observed_boxes else o.motion.box()
        o.last_box = box.copy()
        o.recent.append((box.copy(), time))
        while len(o.recent) > 2 and time - o.recent[1][1] >= 0.25:
            o.recent.pop(0)
        self._vote(o, label, score, time - o.last_time)
        o.score, o.match, o.last_time = score, d, time
        o.confirmed = o.confirmed or time - o.start_time >= s.confirm_after_s
        if s.re_update:
            o.at_observation = o.motion.copy()

    @staticmethod
    def _vote(o: TrackedObject, label: int, score: float, elapsed: float) -> None:
        """Majority vote (Boyer and Moore) on the class, weighted by confidence and forgetting slowly."""
        o.label_votes *= math.exp(-elapsed / LABEL_MEMORY_S)
        o.label_votes += score if label == o.label else -score
        if o.label_votes < 0:
            o.label, o.label_votes = label, -o.label_votes

    def _re_update(self, o: TrackedObject, box: F32, time: float) -> None:
        """Observation-centric re-update: the filter walks the straight line between two observations."""
        steps = min(max(int((time - o.last_time) * REFERENCE_RATE), 1), 60)
        dt = (time - o.last_time) / steps
        assert o.at_observation is not None
        o.motion = o.at_observation.copy()
        for k in range(1, steps):
            o.motion.predict(dt, True, self.s)
            o.motion.update(o.last_box + np.float32(k / steps) * (box - o.last_box), self.s)
        o.motion.predict(dt, True, self.s)

    def _remove_stale(self, time: float) -> None:
        """Removes objects without a detection for too long, and new ones that were not detected again."""
        self.objects = [
            o
            for o in self.objects
            if o.match >= 0 or (o.confirmed and time - o.last_time <= self.s.lost_after_s)
        ]

    def _spawn(self, high: list[int], frame: tuple[F32, F32, I32, float], first: bool) -> None:
        boxes, scores, labels, time = frame
        taken = {o.match for o in self.objects}
        for d in high:
            if d in taken or scores[d] < self.s.new_track_thresh:
                continue
            motion, box, score = Motion(boxes[d], self.s), boxes[d].copy(), float(scores[d])
            made = TrackedObject(self._next, motion, box, box, score, int(labels[d]), d, time, time, first)
            made.recent, made.at_observation, made.label_votes = [(box, time)], motion.copy(), score
            self.objects.append(made)
            self._next += 1

    def _report(self, time: float, coast_s: float) -> TrackColumns:
        shown = [o for o in self.objects if o.confirmed and (o.match >= 0 or time - o.last_time <= coast_s)]
        return (
            np.array([o.id for o in shown], np.int64),
            np.array([o.box for o in shown], np.float32).reshape(-1, 4),
            np.array([o.score for o in shown], np.float32),
            np.array([o.label for o in shown], np.int32),
            np.array([o.match for o in shown], np.int32),
            np.array([time - o.start_time for o in shown], np.float32),
            np.array([time - o.last_time for o in shown], np.float32),
        )
