"""The abstain policy in NumPy: evidence of each track, and its verdict or the reason for abstaining."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgevid.types import F32, F64, I32, I64, U8, Reason

DEFAULTS: dict[str, float] = {
    "aggregate": 0, "temperature": 1, "correlation": 0.35, "memory_s": math.inf, "margin": 0,
    "min_agreement": 0, "min_observations": 1, "min_seconds": 0, "min_side_px": 0, "stale_s": math.inf,
    "gap": math.log(19), "step": 0.35, "take": 0.55, "drop": 0.35, "ema_s": 1,
}  # fmt: skip
MEAN, VOTE, SEQUENTIAL = 0, 1, 2
SMALLEST = np.float32(1e-12)


@dataclass
class Evidence:
    """The observations of one track: sums of log p, votes and running means by class."""

    sums: F64
    votes: F64
    ema: F64
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    weight: float = 0.0
    small: bool = False
    decided: int = -1
    decided_once: bool = False
    concluded: tuple[int, np.float32, np.float32, np.float32] = (-1, np.float32(0), np.float32(0), np.float32(0))
    """Best class, its confidence, the runner-up's, and the share of votes for the best."""


class PolicyCore:
    """Verdicts of tracks from their class probabilities; `policy.hpp` is its fast copy."""

    def __init__(self, settings: Mapping[str, float], thresholds: F32) -> None:
        """`settings` overrides DEFAULTS; `thresholds` (C,) float32, one per class."""
        if unknown := set(settings) - set(DEFAULTS):
            raise ValueError(f"policy setting: there is no {sorted(unknown)[0]}")
        self._s = {**DEFAULTS, **settings}
        self._thresholds = thresholds
        self._tracks: dict[int, Evidence] = {}
        self.rejected = 0

    def reset(self) -> None:
        """Forgets every track."""
        self._tracks.clear()
        self.rejected = 0

    def update(self, ids: I64, boxes: F32, score_ids: I64, values: F32, times: F64, time: float) -> tuple[I32, F32, U8]:
        """Labels (N,) int32, confidences (N,) float32 and reasons (N,) uint8 of the tracks `ids`. `values` (M, C)
        float32 rows of probabilities of `score_ids` at `times`; rows that are not finite are counted in `rejected`.
        ValueError where a row does not sum to 1 within 0.01."""
        self._check(len(ids), len(boxes), len(score_ids), values, times)
        classes = len(self._thresholds)
        self._tracks = {int(n): self._tracks.get(int(n)) or Evidence(*np.zeros((3, classes))) for n in ids}
        sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        for number, side in zip(ids, sides, strict=True):
            self._tracks[int(number)].small = bool(side < np.float32(self._s["min_side_px"]))
        for number, p, moment in zip(score_ids, values, times, strict=True):
            track = self._tracks.get(int(number))
            if not np.isfinite(p).all():
                self.rejected += 1
            elif track is not None and not track.small:
                self._observe(track, p, float(moment))
        tracks = [self._tracks[int(n)] for n in ids]
        reasons = np.array([self._verdict(t, time) for t in tracks], np.uint8)
        labels = np.array([t.concluded[0] for t in tracks], np.int32)
        labels[reasons != Reason.OK] = -1
        return labels, np.array([t.concluded[1] for t in tracks], np.float32), reasons

    def probabilities(self, ids: I64) -> F64:
        """(N, C) class probabilities that the gathered evidence gives; NaN for a track without any."""
        out = np.full((len(ids), len(self._thresholds)), np.nan)
        for row, number in enumerate(ids):
            track = self._tracks.get(int(number))
            if track is not None and track.count:
                out[row] = self._posterior(track)
        return out

    def _check(self, ids: int, boxes: int, score_ids: int, values: F32, times: F64) -> None:
        if boxes != ids or len(values) != score_ids or len(times) != score_ids:
            raise ValueError("update: expected as many boxes as ids, and as many values and times as score ids")
        if score_ids and values.shape[1] != len(self._thresholds):
            raise ValueError("update: expected one value per class")
        rows = values[np.isfinite(values).all(1)]
        if (rows < -1e-4).any() or (np.abs(rows.sum(1) - 1) > 1e-2).any():
            raise ValueError("expected probabilities that sum to 1")

    def _temper(self, p: F32) -> F64:
        log = np.log(np.maximum(p, SMALLEST)).astype(np.float64) / self._s["temperature"]
        return log if self._s["temperature"] == 1 else log - np.log(np.exp(log).sum())

    def _observe(self, t: Evidence, p: F32, time: float) -> None:
        if t.count == 0:
            t.first = time
        elif time > t.last and math.isfinite(self._s["memory_s"]):
            keep = math.exp(-(time - t.last) / self._s["memory_s"])
            t.weight *= keep
            t.votes *= keep
            t.sums *= 1 if self._s["aggregate"] == SEQUENTIAL else keep
        log = self._temper(p)
        t.votes[int(p.argmax())] += 1
        t.weight += 1
        if self._s["aggregate"] == SEQUENTIAL:
            self._test(t, log, time)
        else:
            t.sums += log
        t.last = max(t.last, time) if t.count else time
        t.count += 1
        self._conclude(t)

    def _test(self, t: Evidence, log: F64, time: float) -> None:
        """Wald's sequential test with a damped step; a decided class is left only when contradicted."""
        rate = 1.0 if t.count == 0 else 1 - math.exp(-max(0.0, time - t.last) / self._s["ema_s"])
        t.ema += rate * (np.exp(log) - t.ema)
        if t.decided >= 0 and t.ema[t.decided] < self._s["drop"]:
            t.decided = -1
            t.sums = self._s["step"] * np.log(np.maximum(t.ema, 1e-12))
        elif t.decided < 0:
            t.sums += self._s["step"] * log
        if t.decided >= 0:
            return
        best = int(t.sums.argmax())
        second = np.delete(t.sums, best).max(initial=-math.inf)
        sure = t.sums[best] - second >= self._s["gap"]
        if sure and (not t.decided_once or t.ema[best] > self._s["take"]):
            t.decided, t.decided_once = best, True

    def _posterior(self, t: Evidence) -> F64:
        if self._s["aggregate"] == VOTE:
            return t.votes / t.weight
        sequential = self._s["aggregate"] == SEQUENTIAL
        x = (t.sums - t.sums.max()) * (1 if sequential else 1 / (1 + max(0.0, t.weight - 1) * self._s["correlation"]))
        p = np.where(x < -30, 0, np.exp(x))
        return np.asarray(p / p.sum())

    def _conclude(self, t: Evidence) -> None:
        p = self._posterior(t)
        best = t.decided if self._s["aggregate"] == SEQUENTIAL and t.decided >= 0 else int(p.argmax())
        second = np.delete(p, best).max(initial=0)
        t.concluded = (best, np.float32(p[best]), np.float32(second), np.float32(t.votes[best] / t.weight))

    def _verdict(self, t: Evidence, time: float) -> Reason:
        s = self._s
        best, confidence, second, agreement = t.concluded
        rules = (
            (t.small, Reason.TOO_SMALL),
            (t.count == 0, Reason.NOT_MEASURED),
            (t.count < s["min_observations"] or t.last - t.first < s["min_seconds"], Reason.TOO_SHORT),
            (time - t.last > s["stale_s"], Reason.STALE),
            (agreement < np.float32(s["min_agreement"]), Reason.DISAGREEMENT),
            (s["aggregate"] == SEQUENTIAL and t.decided < 0, Reason.LOW_MARGIN),
            (confidence < self._thresholds[best], Reason.LOW_CONFIDENCE),
            (confidence - second < np.float32(s["margin"]), Reason.LOW_MARGIN),
        )
        return next((reason for broken, reason in rules if broken), Reason.OK)
