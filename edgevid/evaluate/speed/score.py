"""Accuracy of speeds: errors, bias, interval coverage, abstention, variation, and delay."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.evaluate.evaluation import Evaluation, Table
from edgevid.evaluate.speed.files import KINDS, Measured, TrueTrack, check_ids, read_pairs, read_results, read_truth
from edgevid.types import KMH, Array

HEADLINE = ("mean", "p95", "bias", "within 95 %", "abstained")
UNITS = {"mean": "km/h", "median": "km/h", "p95": "km/h", "bias": "km/h", "variation": "km/h", "first after": "s"}


def evaluate(truth: Mapping[str, TrueTrack], results: list[Measured]) -> Evaluation:
    """Compares results with the truth by id; a track speed with the mean true speed of its track.

    For live, smoothed and track speeds: mean, median and 95th percentile of the absolute error, bias (measured less
    true), the share of values whose truth lies within 1 and 1.96 stated standard errors, the share of rows that
    abstained, the root mean square of the change of the error from one value of a track to the next, and the median
    of the seconds to a track's first speed. A group is a track."""
    known = {row.id for row in results}
    tracks = sorted(known & set(truth))
    rows: dict[str, dict[str, list[Measured]]] = {}
    for row in results:
        if row.id in truth:
            rows.setdefault(row.kind, {}).setdefault(row.id, []).append(row)
    kinds = [kind for kind in KINDS if kind in rows]
    made = {kind: {name: _Track(truth[name], sorted(some, key=lambda r: r.time)) for name, some in rows[kind].items()}
            for kind in kinds}  # fmt: skip

    def measure(counts: Array) -> dict[str, float]:
        found: dict[str, float] = {}
        for kind, own in made.items():
            drawn = [own[name] for name, count in zip(tracks, counts, strict=True) if name in own for _ in range(count)]
            scored = _score(drawn)
            found |= {f"{kind} {name}": scored[name] for name in HEADLINE}
        return found

    whole = {kind: _score(list(own.values())) for kind, own in made.items()}
    measures = list(whole[kinds[0]]) if kinds else []
    table = [(name, *(_cell(name, whole[kind][name]) for kind in kinds)) for name in measures]
    notes = []
    for kind, own in made.items():
        reasons = Counter(row.reason for one in own.values() for row in one.rows if row.reason != "OK")
        total = sum(len(one.rows) for one in own.values())
        shares = ", ".join(f"{name} {count / total:.1%}" for name, count in sorted(reasons.items()))
        notes += [f"{kind}: abstained because of {shares}"] if shares else []
        outside = sum(one.without_truth for one in own.values())
        notes += [f"{kind}: {outside} values at times without a truth, not scored"] if outside else []
    for some, words in ((set(truth) - known, "true objects have no result"), (known - set(truth), "ids have no truth")):
        notes += [f"{len(some)} {words}: {', '.join(sorted(some)[:8])}"] if some else []
    units = {f"{kind} {name}": unit for kind in kinds for name, unit in UNITS.items()}
    return Evaluation("speed", tracks, "track", measure, units,
                      tables={"Errors": Table(("measure", *kinds), table)}, notes=notes)  # fmt: skip


def evaluate_files(results: Path, truth: Path, *, pairs: Path | None = None, kind: str = "") -> Evaluation:
    """The files of docs/speed.md; InputError where no id is in both, and without speeds."""
    if kind and kind not in KINDS:
        raise InputError(f"--kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    known, rows = read_truth(truth), read_results(results)
    if not rows:
        raise InputError(f"{results}: it has no speeds; run with --calibration to measure them")
    if pairs is not None:
        named = read_pairs(pairs)
        known = {named[name]: track for name, track in known.items() if name in named}
    rows = [row for row in rows if not kind or row.kind == kind]
    check_ids(known, rows)
    return evaluate(known, rows)


def _cell(name: str, value: float) -> Any:
    unit = UNITS.get(name)
    return "-" if value != value else f"{value:.2f} {unit}" if unit else value if name == "values" else f"{value:.1%}"


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
        self.without_truth, self.abstained = int((~known).sum()), len(rows) - len(emitted)
        self.change = np.diff(self.error)
        self.first_s = emitted[0].time - rows[0].time if emitted else math.nan


def _score(tracks: list[_Track]) -> dict[str, float]:
    """The measures of some tracks in km/h, shares and seconds; NaN where undefined."""
    error, sigma, change = (np.concatenate([np.zeros(0), *(getattr(t, name) for t in tracks)])
                            for name in ("error", "sigma", "change"))  # fmt: skip
    rows, off, stated = sum(len(t.rows) for t in tracks), np.abs(error), np.isfinite(sigma)
    firsts = [t.first_s for t in tracks if math.isfinite(t.first_s)]
    quantiles = np.quantile(off, [0.5, 0.95]).tolist() if len(off) else [math.nan] * 2
    inside = [
        float((off[stated] <= width * sigma[stated]).mean()) if stated.any() else math.nan for width in (1.0, 1.96)
    ]
    return {
        "values": len(error), "mean": float(off.mean()) if len(off) else math.nan, "median": quantiles[0],
        "p95": quantiles[1], "bias": float(error.mean()) if len(off) else math.nan, "within 68 %": inside[0],
        "within 95 %": inside[1], "abstained": sum(t.abstained for t in tracks) / rows if rows else math.nan,
        "variation": float(np.sqrt((change**2).mean())) if len(change) else math.nan,
        "first after": float(np.median(firsts)) if firsts else math.nan,
    }  # fmt: skip
