"""The tracker's step in NumPy: how boxes move, how well two of them agree, and what the assignment means.

Assignment is maximum-weight matching. The weight of an object and a detection is their similarity minus the stage's
threshold; only pairs of positive weight match, each object and each detection at most once, and the sum of the
weights is the largest possible. (With costs 1 - similarity and a limit of 1 - threshold that is the minimum cost
where an unmatched object costs half the limit.) Ties may be broken either way."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from statistics import median_high
from typing import Any

import numpy as np

from edgevid.types import F32, F64, I32, I64

REFERENCE_RATE = 30.0  # The noise shares are stated for one frame at this rate
MEASURE_NOISE = 0.05  # Of an observation, as a share of the size
VELOCITY_SHARE = 0.125  # The velocity's noise next to the position's, in one frame at the reference rate (ByteTrack's)


class Motion:
    """Four independent filters (center x, center y, width, height), each a position and a velocity."""

    def __init__(self, box: F32, position_noise: float) -> None:
        self.x, self.v = measured(box), np.zeros(4)
        size = np.tile(self.x[2:], 2)
        self.pxx = 4 * (position_noise * size) ** 2
        self.pxv = np.zeros(4)
        self.pvv = 100 * (VELOCITY_SHARE * position_noise * size * REFERENCE_RATE) ** 2

    def predict(self, dt: float, observed: bool, position_noise: float) -> None:
        """Predicts `dt` seconds ahead; a coasting box neither grows nor shrinks."""
        if not observed:
            self.v[2:] = 0
        size = np.tile(np.maximum(self.x[2:], 1), 2)
        frames = dt * REFERENCE_RATE
        self.x = self.x + self.v * dt
        self.pxx = self.pxx + dt * (2 * self.pxv + dt * self.pvv) + (position_noise * size) ** 2 * frames
        self.pxv = self.pxv + dt * self.pvv
        self.pvv = self.pvv + (VELOCITY_SHARE * position_noise * size * REFERENCE_RATE) ** 2 * frames
        self.x[2:] = np.maximum(self.x[2:], 1)

    def update(self, box: F32) -> None:
        """Corrects with an observed box (4,)."""
        size = np.tile(np.maximum(self.x[2:], 1), 2)
        total = self.pxx + (MEASURE_NOISE * size) ** 2
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


def overlap(a: F32, b: F32, gx: float = 0.0, gy: float = 0.0) -> float:
    """Intersection over union of both boxes grown by gx and gy to every side."""
    p, q = a.astype(np.float64), b.astype(np.float64)
    w, h = min(p[2], q[2]) - max(p[0], q[0]) + 2 * gx, min(p[3], q[3]) - max(p[1], q[1]) + 2 * gy
    if w <= 0 or h <= 0:
        return 0.0
    areas = [(c[2] - c[0] + 2 * gx) * (c[3] - c[1] + 2 * gy) for c in (p, q)]
    return float(w * h / (areas[0] + areas[1] - w * h))


def height_overlap(a: F32, b: F32, gy: float = 0.0) -> float:
    """The same of the vertical extents (Hybrid-SORT, Yang 2024, arXiv 2308.00783)."""
    p, q = a.astype(np.float64), b.astype(np.float64)
    h = min(p[3], q[3]) - max(p[1], q[1]) + 2 * gy
    return float(h / (max(p[3], q[3]) - min(p[1], q[1]) + 2 * gy)) if h > 0 else 0.0


def alike(a: float, b: float) -> bool:
    """Whether two sizes may be those of one object."""
    return min(a, b) >= 0.78 * max(a, b)


LABEL_MEMORY_S = 2.0  # Seconds in which an observation's vote on the class falls to 1/e
FARTHEST = 1.5  # No box is grown by more sizes than this
CERTAIN = 5.6  # A common shift is this many median deviations / sqrt(n) from none: three standard errors of a median
VOTERS = 32  # So many objects at most vote on a sudden shift
FOOT_WEIGHT, FOOT_S = 0.5, 0.1  # Weight lost for a foot one height away; half as much for frames 0.1 s apart
LEAST_SHARE = 0.01  # Of its weight that a pair keeps, however far its foot


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
    reach: float = 0.0
    score_weight: float = 0.0
    momentum: float = 0.0
    observation_centric: bool = False
    common_shift: bool = False
    class_aware: bool = False
    height_overlap: bool = False
    observed_boxes: bool = False


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

    def shift(self, x: float, y: float, vx: float, vy: float) -> None:
        """Moves all that is known in pixels: the camera moved."""
        for motion in (self.motion, self.at_observation):
            if motion is not None:
                motion.x, motion.v = motion.x + np.array([x, y, 0, 0]), motion.v + np.array([vx, vy, 0, 0])
        self.box, step = self.motion.box(), np.array([x, y, x, y], np.float32)
        self.last_box = self.last_box + step
        self.recent = [(box + step, time) for box, time in self.recent]


def direction_consistency(o: TrackedObject, box: F32) -> float:
    """How far the step to the detection keeps to the object's direction of travel (OC-SORT's OCM). 1/2 along it, 0
    across, -1/2 against it."""
    if len(o.recent) < 2:
        return 0.0
    first, last, here = (measured(b)[:2] for b in (o.recent[0][0], o.recent[-1][0], box))
    a, b = last - first, here - last
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return 0.5 - math.acos(min(max(float(a @ b) / norm, -1.0), 1.0)) / math.pi if norm > 1e-9 else 0.0


Similarity = Callable[[TrackedObject, int], float]
Frame = tuple[F32, F32, I32, float]  # Boxes, scores, labels, time
TrackColumns = tuple[I64, F32, F32, I32, I32, F32, F32]  # In the order of types.Tracks


class TrackerCore:
    """The tracker's step; `update` returns the columns of Tracks."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if unknown := set(settings) - set(vars(Settings())):
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
        """One step, boxes (N, 4) in pixels: predict, match high then low scores, remove stale objects, spawn new."""
        s, first = self.s, math.isnan(self._time)
        dt = 0.0 if first else time - self._time
        grown, tracked = min(s.reach * dt, FARTHEST), set()
        for o in self.objects:
            o.motion.predict(dt, o.match >= 0, s.position_noise)
            o.box = o.motion.box()
            if o.confirmed and o.match >= 0:
                tracked.add(o.id)
            o.match = -1
        self._foot = FOOT_WEIGHT / (1 + dt / FOOT_S) if s.height_overlap else 0.0
        valid = np.isfinite(boxes).all(1) & np.isfinite(scores)
        valid &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        self.rejected += int((~valid).sum())
        candidates = np.flatnonzero(valid).tolist()
        high = [d for d in candidates if scores[d] >= s.track_high_thresh]
        low = [d for d in candidates if s.track_low_thresh <= scores[d] < s.track_high_thresh]

        def plain(o: TrackedObject, d: int) -> float:
            gx, gy = grown * o.motion.x[2], grown * o.motion.x[3]
            value = overlap(o.box, boxes[d], gx, gy)
            return value * height_overlap(o.box, boxes[d], gy) if s.height_overlap else value

        def fused(o: TrackedObject, d: int) -> float:
            value = plain(o, d) * float(scores[d])
            if value == 0:
                return 0.0  # boxes that do not touch never match
            if s.score_weight:
                value -= s.score_weight * abs(o.score - float(scores[d]))
            if s.momentum:
                value += s.momentum * direction_consistency(o, boxes[d]) * float(scores[d])
            return value

        def last(o: TrackedObject, d: int) -> float:
            return overlap(o.last_box, boxes[d]) * float(scores[d])

        frame = (boxes, scores, labels, time)
        known = [o for o in self.objects if o.confirmed]
        found = self._associate(known, high, fused, s.match_thresh, frame)
        if s.common_shift and self._lost_sight(tracked, found, boxes) and self._shift_suddenly(tracked, high, boxes):
            found = self._associate(known, high, fused, s.match_thresh, frame)
        before = [(o, o.motion.x[:2], o.motion.v[:2]) for o, _ in found if o.id in tracked]
        self._apply(found, frame)
        if s.common_shift:
            self._shift_unseen([np.append(o.motion.x[:2] - x, o.motion.v[:2] - v) for o, x, v in before])
        self._apply(self._associate(known, low, plain, s.second_match_thresh, frame), frame)
        if s.observation_centric:
            self._apply(self._associate(known, high, last, s.match_thresh, frame), frame)
        new = [o for o in self.objects if not o.confirmed]
        self._apply(self._associate(new, high, fused, s.new_match_thresh, frame), frame)
        self.objects = [
            o for o in self.objects if o.match >= 0 or (o.confirmed and time - o.last_time <= s.lost_after_s)
        ]
        self._spawn(high, frame, first)
        self._time = time
        return self._report(time, coast_s)

    def _associate(
        self, objects: list[TrackedObject], pool: list[int], similarity: Similarity, min_similarity: float, frame: Frame
    ) -> list[tuple[TrackedObject, int]]:
        """Objects without a detection and their detections of `pool` that no object has yet. The foot only ranks the
        pairs that are similar enough."""
        boxes, _, labels, _ = frame
        taken = {o.match for o in self.objects}
        rows, free = [o for o in objects if o.match < 0], [d for d in pool if d not in taken]
        weights = np.zeros((len(rows), len(free)))
        for r, o in enumerate(rows):
            for c, d in enumerate(free):
                weight = similarity(o, d) - min_similarity
                if weight > 0 and not (self.s.class_aware and labels[d] != o.label):
                    step = abs(float(o.box[3]) - float(boxes[d, 3])) / o.motion.x[3]
                    weights[r, c] = max(weight - self._foot * step, LEAST_SHARE * weight)
        return [(rows[r], free[c]) for r, c in max_weight_matching(weights)]

    def _apply(self, found: list[tuple[TrackedObject, int]], frame: Frame) -> None:
        (boxes, scores, labels, time), s = frame, self.s
        for o, d in found:
            box, score = boxes[d].copy(), float(scores[d])
            if s.observation_centric and time - o.last_time > 1.5 / REFERENCE_RATE and o.last_time < self._time:
                self._re_update(o, box, time)
            o.motion.update(box)
            o.box = box if s.observed_boxes else o.motion.box()
            o.last_box = box
            o.recent.append((box, time))
            while len(o.recent) > 2 and time - o.recent[1][1] >= 0.25:
                o.recent.pop(0)
            # A majority vote (Boyer and Moore) on the class, weighted by confidence and forgetting slowly.
            o.label_votes *= math.exp(-(time - o.last_time) / LABEL_MEMORY_S)
            o.label_votes += score if labels[d] == o.label else -score
            if o.label_votes < 0:
                o.label, o.label_votes = int(labels[d]), -o.label_votes
            o.score, o.match, o.last_time = score, d, time
            o.confirmed = o.confirmed or time - o.start_time >= s.confirm_after_s
            if s.observation_centric:
                o.at_observation = deepcopy(o.motion)

    @staticmethod
    def _lost_sight(tracked: set[int], found: list[tuple[TrackedObject, int]], boxes: F32) -> bool:
        """Whether less than half of the tracked objects, three at least, are near their prediction."""
        near = sum(o.id in tracked and overlap(o.box, boxes[d]) >= 0.3 for o, d in found)
        return len(tracked) >= 3 and 2 * near < len(tracked)

    def _shift_suddenly(self, tracked: set[int], high: list[int], boxes: F32) -> bool:
        """Moves all objects by the step to detections of like size that most tracked ones have in common."""
        voters = [o for o in self.objects if o.id in tracked][:VOTERS]
        cell, steps = median_high([float(o.motion.x[3]) for o in voters]) / 4, []
        for o in voters:
            for z in (measured(boxes[d]) for d in high):
                if alike(o.motion.x[2], z[2]) and alike(o.motion.x[3], z[3]):
                    x, y = (z[:2] - o.motion.x[:2]).tolist()
                    steps.append((x, y, math.floor(x / cell + 0.5), math.floor(y / cell + 0.5)))
        counts = Counter((i, j) for _, _, i, j in steps)

        def around(i: int, j: int) -> int:
            return sum(counts[i + a, j + b] for a in (-1, 0, 1) for b in (-1, 0, 1))

        best = max([(0, 0), *sorted(counts)], key=lambda at: around(*at))
        if 2 * around(*best) < len(voters) or best == (0, 0):
            return False
        near = [(x, y) for x, y, i, j in steps if abs(i - best[0]) <= 1 and abs(j - best[1]) <= 1]
        shift_x, shift_y = median_high([x for x, _ in near]), median_high([y for _, y in near])
        for o in self.objects:
            o.shift(shift_x, shift_y, 0, 0)
        return True

    def _shift_unseen(self, surprises: list[F64]) -> None:
        """Objects without a detection follow what surprised most others, if three agree beyond chance. `surprises`:
        what the update changed of x, y and their velocities, of tracked objects that matched."""
        if len(surprises) < 3:
            return
        columns = np.array(surprises).T.tolist()
        middle = [median_high(column) for column in columns]
        spread = [median_high([abs(v - m) for v in c]) for c, m in zip(columns[:2], middle, strict=False)]
        sure = [abs(m) >= CERTAIN * d / math.sqrt(len(surprises)) for m, d in zip(middle, spread, strict=False)]
        x, y, vx, vy = (m if sure[n % 2] else 0.0 for n, m in enumerate(middle))
        for o in self.objects:
            if o.match < 0 and any(sure):
                o.shift(x, y, vx, vy)

    def _re_update(self, o: TrackedObject, box: F32, time: float) -> None:
        """Observation-centric re-update: the filter walks the straight line between two observations."""
        steps = min(max(int((time - o.last_time) * REFERENCE_RATE), 1), 60)
        dt = (time - o.last_time) / steps
        assert o.at_observation is not None
        o.motion = deepcopy(o.at_observation)
        for k in range(1, steps):
            o.motion.predict(dt, True, self.s.position_noise)
            o.motion.update(o.last_box + np.float32(k / steps) * (box - o.last_box))
        o.motion.predict(dt, True, self.s.position_noise)

    def _spawn(self, high: list[int], frame: Frame, first: bool) -> None:
        boxes, scores, labels, time = frame
        taken = {o.match for o in self.objects}
        for d in high:
            if d in taken or scores[d] < self.s.new_track_thresh:
                continue
            motion, box, score = Motion(boxes[d], self.s.position_noise), boxes[d].copy(), float(scores[d])
            made = TrackedObject(self._next, motion, box, box, score, int(labels[d]), d, time, time, first)
            made.recent, made.at_observation, made.label_votes = [(box, time)], deepcopy(motion), score
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
