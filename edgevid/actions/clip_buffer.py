"""A ring of crops for every track, and the clips of the objects that are due for recognition.

Time is a grid of moments k / rate_hz on the stream's clock, shared by all objects. A moment gets the frame
nearest to it, within half a step, or stays empty. It closes at the first frame at or after it, because every
later frame is farther; until then the last frame before it is kept, and only the nearer one is cropped. So
clips do not depend on the frame rate, and all objects come due together, in one batch."""

from collections.abc import Sequence

import numpy as np

from edgevid.actions.clip_spec import ClipSpec, crop_rectangles, scaled, to_aspect, union_box, with_context
from edgevid.detect.preprocess import crop
from edgevid.errors import InputError
from edgevid.types import Array, Clips, Frame, Scores, Tracks

WIDE = 2.0  # Under the union policy each step keeps this many times the rectangle, to crop the union later
THUMB = 8  # Side of the thumbnail from which novelty is computed
NEVER = np.iinfo(np.int64).min
EPS = 1e-6  # Tolerance of comparisons of moments, seconds
NEW, UNCERTAINTY, AGE, NOVELTY = 2.0, 1.0, 0.5, 2.0  # Weights of urgency; each multiplies a value from 0 to about 1
AGE_S = 5.0  # Seconds since the last recognition that count as an age of 1


def urgency(never: Array, uncertainty: Array, age_s: Array, novelty: Array) -> Array:
    """(N,) urgency of objects. Whether each was `never` recognized so far; the entropy of its last scores over that of
    a uniform answer (1 before any); seconds since its last recognition; mean change of its image since, 0 to 1."""
    age = np.minimum(age_s / AGE_S, 4.0)
    return np.asarray(NEW * never + UNCERTAINTY * uncertainty + AGE * age + NOVELTY * novelty)


class TokenBucket:
    """Limits recognitions per second, with bursts of at most one engine batch."""

    def __init__(self, per_second: float | None, burst: int) -> None:
        """None gives no limit but `burst` at a time."""
        if per_second is not None and not per_second > 0:
            raise InputError(f"budget: expected recognitions per second above 0 or None, got {per_second}")
        if burst < 1:
            raise InputError(f"burst: expected at least 1, got {burst}")
        self.per_second, self.burst = per_second, burst
        self.reset()

    def reset(self) -> None:
        """A full bucket."""
        self._tokens, self._time = float(self.burst), np.nan

    def take(self, wanted: int, time: float) -> int:
        """How many of `wanted` may run now; they are taken from the bucket."""
        if self.per_second is None:
            return min(wanted, self.burst)
        if not np.isnan(self._time):
            self._tokens = min(self._tokens + (time - self._time) * self.per_second, float(self.burst))
        self._time = time
        taken = min(wanted, int(self._tokens + 1e-9))
        self._tokens -= taken
        return taken


def entropy_share(values: Array) -> Array:
    """(N,) entropy of probabilities (N, C) over ln C: 0 certain, 1 uniform.

    >>> entropy_share(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [0.0, 1.0]
    """
    if values.shape[1] < 2:
        return np.zeros(len(values))
    p = np.clip(values.astype(np.float64), 0.0, 1.0)
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    return np.asarray(np.abs(terms.sum(1)) / np.log(values.shape[1]))


class ClipBuffer:
    """Crops of every track, in memory that is allocated once, and the clips that are due."""

    def __init__(self, spec: ClipSpec | None = None, *, capacity: int = 64, budget: float | None = None,
                 burst: int = 16, labels: Sequence[int] = ()) -> None:  # fmt: skip
        """`capacity` objects are held at a time (more are counted in `rejected` and wait); `budget` is
        the number of recognitions per second (None: no limit), `burst` the most clips of one frame. `labels`
        are the classes of the objects that get clips; all without."""
        if capacity < 1:
            raise InputError(f"capacity: expected at least 1 object, got {capacity}")
        self.spec, self.capacity, self._labels = spec or ClipSpec(), capacity, np.array(labels, np.int32)
        self._budget = TokenBucket(budget, burst)
        s, ring = self.spec, self.spec.steps + 1  # one cell more: the moment that is still open
        scale = WIDE if s.policy == "union" else 1.0
        self._size = (round(s.width * scale), round(s.height * scale))
        self._pixels = np.zeros((capacity, ring, self._size[1], self._size[0], 3), np.uint8)
        self._work = np.zeros((capacity, self._size[1], self._size[0], 3), np.uint8)
        self._out = np.zeros((burst, s.steps, s.height, s.width, 3), np.uint8)
        self._step = np.empty((capacity, ring), np.int64)  # the moment that each cell holds
        self._time = np.empty((capacity, ring))
        self._stored = np.empty((capacity, ring, 4), np.float32)  # rectangle of the stored image
        self._shown = np.empty((capacity, ring, 4), np.float32)  # rectangle that a clip would show
        self._box = np.empty((capacity, 4), np.float32)  # smoothed
        self._box_time = np.empty(capacity)
        self._pending = np.zeros(capacity, bool)  # whether the waiting frame shows the object
        self._pending_box = np.empty((capacity, 4), np.float32)
        self._last = np.empty(capacity)  # seconds of the last recognition, NaN before
        self._last_step = np.empty(capacity, np.int64)
        self._uncertain = np.empty(capacity)
        self._thumb, self._newest_thumb = np.empty((2, capacity, THUMB, THUMB), np.int16)
        self._points = np.empty((capacity, ring, 0, 3), np.float32)  # key points, where the detector gives some
        self._newest_points, self._pending_points = np.empty((2, capacity, 0, 3), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forgets every object and the clock; the memory stays."""
        self._slot_of: dict[int, int] = {}
        self._free = list(range(self.capacity))[::-1]
        self._budget.reset()
        self._now, self._closed = -np.inf, NEVER
        self._waiting: Frame | None = None
        self._pending[:] = False
        self.rejected = 0  # Objects of the last frame beyond the capacity

    def __len__(self) -> int:
        """Number of objects held."""
        return len(self._slot_of)

    def update(self, frame: Frame, tracks: Tracks) -> Clips:
        """Crops the objects of `frame` and returns the clips that are due. `pixels` of the clips is the
        buffer's own memory, valid until the next update. Objects absent from `tracks` are forgotten. InputError
        where time runs backwards: call `reset` when the source changes."""
        if not frame.time >= self._now:  # also a NaN
            raise InputError(f"frame.time: expected {self._now} s or later, got {frame.time}; call reset() when the "
                             "source changes")  # fmt: skip
        self._now = frame.time
        if len(self._labels):
            tracks = tracks[np.isin(tracks.labels, self._labels)]
        rows, slots = self._admit(tracks)
        self._smooth_boxes(tracks, rows, slots, frame.time)
        points = tracks.keypoints
        if points.shape[1] != self._newest_points.shape[1]:  # memory is made when the first ones come
            for name in ("_points", "_newest_points", "_pending_points"):
                shape = (*getattr(self, name).shape[:-2], points.shape[1], 3)
                setattr(self, name, np.full(shape, np.nan, np.float32))
        self._newest_points[slots] = points[rows]
        self._sample(frame, tracks, rows, slots)
        moment = self._closed = self._moment(frame.time)
        return self._emit(self._due(slots, moment), moment)

    def update_confidence(self, scores: Scores) -> None:
        """Updates each object's uncertainty from its scores: uncertain objects are due sooner."""
        for id_, share in zip(scores.ids.tolist(), entropy_share(scores.values), strict=True):
            slot = self._slot_of.get(id_)
            if slot is not None:
                self._uncertain[slot] = share

    def _admit(self, tracks: Tracks) -> tuple[Array, Array]:
        """Rows of `tracks` that have a slot, and their slots; ended tracks free theirs first."""
        ids = tracks.ids.tolist()
        for id_ in self._slot_of.keys() - set(ids):
            self._free.append(self._slot_of.pop(id_))
        rows, slots = [], []
        for row, id_ in enumerate(ids):
            slot = self._slot_of.get(id_)
            if slot is None and self._free:
                slot = self._slot_of[id_] = self._free.pop()
                self._step[slot], self._time[slot] = NEVER, np.nan
                self._pending[slot] = False
                self._box_time[slot] = self._last[slot] = np.nan
                self._last_step[slot], self._uncertain[slot] = NEVER, 1.0
                self._thumb[slot] = 0
            if slot is not None:
                rows.append(row)
                slots.append(slot)
        self.rejected = len(ids) - len(rows)
        return np.array(rows, np.intp), np.array(slots, np.intp)

    def _smooth_boxes(self, tracks: Tracks, rows: Array, slots: Array, time: float) -> None:
        """Smooths boxes over real seconds, so that crops do not jitter with the detector."""
        given, old = tracks.boxes[rows], self._box[slots]
        elapsed = time - self._box_time[slots]
        tau = self.spec.smoothing_s
        fresh = np.isnan(elapsed) | (tau == 0)
        weight = np.where(fresh, 1.0, 1.0 - np.exp(-np.where(fresh, 0.0, elapsed) / max(tau, 1e-9)))
        blend = np.where(fresh[:, None], 0, old) * (1 - weight[:, None]) + given * weight[:, None]
        self._box[slots] = blend.astype(np.float32)
        self._box_time[slots] = time

    def _sample(self, frame: Frame, tracks: Tracks, rows: Array, slots: Array) -> None:
        """Crops for the moments that close now: from this frame, or the one before where it is nearer."""
        box = self._box[slots]
        observed = tracks.unseen[rows] <= self.spec.max_unseen_s
        observed &= (box[:, 2:] - box[:, :2]).min(axis=1, initial=np.inf) >= self.spec.min_side
        observed &= np.isfinite(box).all(axis=1)
        now = self._nearest(frame.time)
        if self._waiting is not None:
            before = self._nearest(self._waiting.time)
            if self._closed < before <= self._moment(frame.time):
                here = np.zeros(self.capacity, bool)
                nearer = self._distance(frame.time) < self._distance(self._waiting.time)
                here[slots[observed]] = before == now and nearer
                held = slots[self._pending[slots] & ~here[slots]]
                self._crop_at(self._waiting, held, before, self._pending_box, self._pending_points)
                if before == now:
                    observed &= ~self._pending[slots] | here[slots]
        self._pending[:] = False
        if now <= self._moment(frame.time):
            self._waiting = None
            if now > self._closed:
                self._crop_at(frame, slots[observed], now, self._box, self._newest_points)
        else:  # a later frame may be nearer: keep this one until the moment closes
            self._waiting = frame
            self._pending[slots[observed]] = True
            self._pending_box[slots] = self._box[slots]
            self._pending_points[slots] = self._newest_points[slots]

    def _moment(self, time: float) -> int:
        """The newest moment at or before `time`."""
        return int(np.floor(time * self.spec.rate_hz + EPS))

    def _nearest(self, time: float) -> int:
        return int(np.floor(time * self.spec.rate_hz + 0.5))

    def _distance(self, time: float) -> float:
        return abs(time - self._nearest(time) / self.spec.rate_hz)

    def _crop_at(self, frame: Frame, slots: Array, moment: int, boxes: Array, points: Array) -> None:
        if not len(slots):
            return
        cell, box = moment % self._step.shape[1], boxes[slots]
        shown = crop_rectangles(box, self.spec)
        stored = shown if self.spec.policy == "box" else scaled(shown, WIDE)
        self._step[slots, cell], self._time[slots, cell] = moment, frame.time
        self._shown[slots, cell], self._stored[slots, cell] = shown, stored
        self._points[slots, cell] = points[slots]
        pixels = crop(frame, stored, self._size, fill=self.spec.pad, out=self._work[: len(slots)])
        if self.spec.fit == "letterbox":
            for image, rectangle, inner in zip(pixels, stored, with_context(box, self.spec), strict=True):
                _blank_outside(image, rectangle, inner, self.spec.pad)
        self._pixels[slots, cell] = pixels
        height, width = pixels.shape[1:3]
        rows, columns = _centers(height), _centers(width)
        self._newest_thumb[slots] = pixels[:, rows[:, None], columns, 1]

    def _due(self, slots: Array, moment: int) -> Array:
        """Slots to recognize now, most urgent first, within the budget."""
        if not len(slots):
            return slots
        inside = (self._step[slots] > moment - self.spec.steps) & (self._step[slots] <= moment)
        newest = np.where(inside, self._step[slots], NEVER).max(axis=1)
        enough = inside.sum(axis=1) >= self.spec.min_steps
        never = np.isnan(self._last[slots])
        age = np.where(never, 0.0, self._now - self._last[slots])
        ready = enough & (newest > self._last_step[slots])
        ready &= never | (age >= self.spec.stride_s - 0.5 / self.spec.rate_hz)
        slots, never, age, newest = slots[ready], never[ready], age[ready], newest[ready]
        count = self._budget.take(len(slots), self._now)
        if count < len(slots):
            novelty = np.abs(self._newest_thumb[slots] - self._thumb[slots]).mean(axis=(1, 2)) / 255.0
            urgent = urgency(never, self._uncertain[slots], age, np.where(never, 0.0, novelty))
            best = np.argsort(-urgent, kind="stable")[:count]
            slots, newest = slots[best], newest[best]
        self._last[slots], self._last_step[slots] = self._now, newest
        self._thumb[slots] = self._newest_thumb[slots]
        return slots

    def _emit(self, slots: Array, moment: int) -> Clips:
        """The windows of `slots` that end at `moment`, oldest step first."""
        expected = np.arange(moment - self.spec.steps + 1, moment + 1)
        cells = expected % self._step.shape[1]
        held = self._step[slots[:, None], cells] == expected
        times = np.where(held, self._time[slots[:, None], cells], np.nan)
        shown = np.where(held[..., None], self._shown[slots[:, None], cells], 0).astype(np.float32)
        out = self._out[: len(slots)]
        for clip, slot, mask, rectangles in zip(out, slots, held, shown, strict=True):
            self._copy_clip(clip, int(slot), cells, mask, rectangles)
        slot_ids = {slot: id_ for id_, slot in self._slot_of.items()} if len(slots) else {}
        ids = np.array([slot_ids[int(slot)] for slot in slots], np.int64)
        points = np.where(held[..., None, None], self._points[slots[:, None], cells], np.float32(np.nan))
        return Clips(ids, out, times, shown, points)

    def _copy_clip(self, out: Array, slot: int, cells: Array, held: Array, shown: Array) -> None:
        """Writes one clip (T, h, w, 3); `shown` (T, 4) becomes the union's rectangle where it has one."""
        if self.spec.policy == "union" and held.any():
            union = union_box(shown[held])
            if union is not None:
                shown[held] = to_aspect(union[None], self.spec)
            for step in np.flatnonzero(held):
                image, stored = self._pixels[slot, cells[step]], self._stored[slot, cells[step]]
                scale = np.array((image.shape[1], image.shape[0])) / (stored[2:] - stored[:2])
                inside = ((shown[step].reshape(2, 2) - stored[:2]) * scale).reshape(1, 4).astype(np.float32)
                size = (self.spec.width, self.spec.height)
                out[step] = crop(Frame(image, 0.0, 0), inside, size, fill=self.spec.pad)[0]
        else:
            # The ring in two runs of memory: faster than gathering cells one by one.
            start, ring = int(cells[0]), self._step.shape[1]
            head = min(ring - start, len(cells))
            out[:head] = self._pixels[slot, start : start + head]
            out[head:] = self._pixels[slot, : len(cells) - head]
        out[~held] = 0


def _centers(length: int) -> Array:
    """Pixel indices of the centers of THUMB equal parts."""
    return np.asarray(((np.arange(THUMB) + 0.5) * length / THUMB).astype(np.intp))


def _blank_outside(image: Array, rectangle: Array, box: Array, pad: int) -> None:
    """Pads the part of a crop of `rectangle` that lies outside `box`."""
    height, width = image.shape[:2]
    scale = np.array((width, height)) / (rectangle[2:] - rectangle[:2])
    left, top = np.round((box[:2] - rectangle[:2]) * scale).astype(int)
    right, bottom = np.round((box[2:] - rectangle[:2]) * scale).astype(int)
    image[: max(top, 0)], image[max(bottom, 0) :] = pad, pad
    image[:, : max(left, 0)], image[:, max(right, 0) :] = pad, pad
