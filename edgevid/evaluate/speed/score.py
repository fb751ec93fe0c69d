"""Accuracy of speeds: errors, bias, interval coverage, abstention, variation, and delay."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgevid.evaluate.speed.files import KINDS, Measured, TrueTrack
from edgevid.types import KMH

SIGMAS = {"within_68": 1.0, "within_95": 1.96}


@dataclass(slots=True)
class Score:
    """Errors in km/h of one kind of value, of one track or of all; NaN where undefined."""

    values: int = 0
    """Emitted speeds that have a truth."""
    mean: float = math.nan
    """Mean absolute error."""
    median: float = math.nan
    p95: float = math.nan
    bias: float = math.nan
    """Mean of measured minus true."""
    within_68: float = math.nan
    """Share of values whose truth lies within one stated standard error: 0.68 is calibrated."""
    within_95: float = math.nan
    """The same within 1.96 of them: 0.95 is calibrated."""
    abstained: float = math.nan
    """Share of rows without a speed."""
    reasons: dict[str, float] = field(default_factory=dict)
    """Share of rows of each reason for abstaining."""
    variation: float = math.nan
    """Root mean square of the change of the error from one value of a track to the next."""
    first_s: float = math.nan
    """Seconds from a track's first row to its first speed (of all tracks: the median)."""
    without_truth: int = 0
    """Speeds at times without a truth: not scored."""


@dataclass(slots=True)
class Evaluation:
    """Scores of results against the truth."""

    overall: dict[str, Score]
    """By kind: live, smoothed, track speed."""
    tracks: dict[str, dict[str, Score]]
    """By kind and id."""
    unmatched: list[str]
    """Ids of results that are not in the truth."""
    missed: list[str]
    """Ids of the truth that are not in the results."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; undefined ones are null."""
        return {
            "schema": "edgevid.speed/2",
            "unit": "km/h",
            "overall": {kind: _plain(score) for kind, score in self.overall.items()},
            "tracks": {
                kind: {name: _plain(score) for name, score in scores.items()} for kind, scores in self.tracks.items()
            },
            "unmatched": self.unmatched,
            "missed": self.missed,
        }


def evaluate(truth: Mapping[str, TrueTrack], results: list[Measured]) -> Evaluation:
    """Compares results with the truth by id; a track speed with the mean true speed of its track."""
    overall: dict[str, Score] = {}
    tracks: dict[str, dict[str, Score]] = {}
    for kind in KINDS:
        rows: dict[str, list[Measured]] = {}
        for row in results:
            if row.kind == kind and row.id in truth:
                rows.setdefault(row.id, []).append(row)
        if not rows:
            continue
        scored = {name: _Track(truth[name], sorted(some, key=lambda r: r.time)) for name, some in rows.items()}
        tracks[kind] = {name: _score([one]) for name, one in scored.items()}
        overall[kind] = _score(list(scored.values()))
    known = {row.id for row in results}
    return Evaluation(overall, tracks, sorted(known - set(truth)), sorted(set(truth) - known))


class _Track:
    """The errors of one track's rows of one kind."""

    def __init__(self, truth: TrueTrack, rows: list[Measured]) -> None:
        self.rows = rows
        emitted = [row for row in rows if row.reason == "OK"]
        times = np.array([row.time for row in emitted])
        true = np.array([truth.mean()] * len(emitted)) if rows[0].kind == "track speed" else truth.at(times)
        error = KMH * (np.array([row.mps for row in emitted]) - true)
        known = np.isfinite(error)
        self.error = error[known]
        self.sigma = KMH * np.array([row.sigma for row in emitted])[known]
        self.without_truth = int((~known).sum())
        self.change = np.diff(self.error)
        self.first_s = emitted[0].time - rows[0].time if emitted else math.nan


def _score(tracks: list[_Track]) -> Score:
    error = np.concatenate([t.error for t in tracks])
    sigma = np.concatenate([t.sigma for t in tracks])
    change = np.concatenate([t.change for t in tracks])
    rows = [row for t in tracks for row in t.rows]
    reasons = Counter(row.reason for row in rows if row.reason != "OK")
    firsts = [t.first_s for t in tracks if math.isfinite(t.first_s)]
    score = Score(
        values=len(error),
        abstained=sum(reasons.values()) / len(rows),
        reasons={name: count / len(rows) for name, count in sorted(reasons.items())},
        variation=float(np.sqrt((change**2).mean())) if len(change) else math.nan,
        first_s=float(np.median(firsts)) if firsts else math.nan,
        without_truth=sum(t.without_truth for t in tracks),
    )
    if len(error):
        off = np.abs(error)
        score.mean, score.median = float(off.mean()), float(np.median(off))
        score.p95, score.bias = float(np.percentile(off, 95)), float(error.mean())
        stated = np.isfinite(sigma)
        for name, width in SIGMAS.items() if stated.any() else ():
            setattr(score, name, float((off[stated] <= width * sigma[stated]).mean()))
    return score


def _plain(score: Score) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(score).items()
    }
