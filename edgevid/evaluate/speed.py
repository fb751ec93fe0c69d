"""Accuracy of speeds: errors, bias, interval coverage, abstention, variation, and delay. Files of speeds are CSV, JSON
lines, and records of `edgevid run --jsonl`: docs/speed.md describes them. Every error names its line."""

import csv
import io
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from edgevid.errors import FileFormatError, InputError, SourceError, check_choice
from edgevid.evaluate.evaluation import Evaluation, Table, shown
from edgevid.output.records import SCHEMA, read_events, read_jsonl
from edgevid.types import KMH, Array, Reason

KINDS = ("live", "smoothed", "track speed")
HEADLINE = ("mean", "p95", "bias", "within 95 %", "abstained")
UNITS = {"mean": "km/h", "median": "km/h", "p95": "km/h", "bias": "km/h", "variation": "km/h", "first after": "s"}


@dataclass(frozen=True, slots=True)
class TrueTrack:
    """The truth of one object."""

    times: Array  # (n,) seconds, rising; empty where the speed holds for all times
    mps: Array  # (n,) or (1,) m/s

    def at(self, times: Array) -> Array:
        """(m,) m/s at `times`, linear between the samples; NaN outside of them."""
        if not len(self.times):
            return np.full(len(times), self.mps[0])
        found = np.interp(times, self.times, self.mps)
        outside = (times < self.times[0] - 1e-6) | (times > self.times[-1] + 1e-6)
        return np.where(outside, np.nan, found)

    def mean(self) -> float:
        """Mean speed over the time that the truth covers."""
        if len(self.times) < 2:
            return float(self.mps[0])
        steps = np.diff(self.times)
        return float(((self.mps[1:] + self.mps[:-1]) / 2 * steps).sum() / steps.sum())


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured value, or one abstention."""

    kind: str
    id: str
    time: float
    mps: float  # NaN where abstained
    sigma: float  # Standard error, NaN where none is stated
    reason: str  # "OK" where a speed is emitted


class _Row(NamedTuple):
    """The values of one line; errors name it."""

    path: Path
    line: int
    values: Mapping[str, Any]

    def fail(self, key: str, expected: str, got: object) -> NoReturn:
        raise FileFormatError(self.path, f"line {self.line}: {key}", expected=expected, got=got)

    def text(self, key: str) -> str:
        """An id."""
        if (given := self.values.get(key)) in (None, ""):
            self.fail(key, "an object's id", given)
        return str(given)

    def number(self, key: str) -> float:
        """NaN where there is none."""
        given, value = self.values.get(key), math.nan
        if given in (None, ""):
            return value
        with suppress(TypeError, ValueError):
            value = float(given)
        if not math.isfinite(value) or isinstance(given, bool):
            self.fail(key, "a finite number", given)
        return value

    def speed(self, prefix: str = "") -> float:
        """m/s of mps or kmh; NaN without either."""
        mps = self.number(f"{prefix}mps")
        return self.number(f"{prefix}kmh") / KMH if math.isnan(mps) else mps


def read_truth(path: str | Path) -> dict[str, TrueTrack]:
    """True speeds by id from CSV or JSON lines with id, time_s (optional) and mps or kmh."""
    rows = defaultdict[str, list[tuple[float, float]]](list)
    for row in _rows(Path(path)):
        if not (speed := row.speed()) >= 0:
            row.fail("mps or kmh", "a true speed of at least 0 in every row (direction is not scored)", row.values)
        rows[row.text("id")].append((row.number("time_s"), speed))
    if not rows:
        raise FileFormatError(path, "file", expected="at least one row of truth", got="none")
    return {name: _true_track(path, name, values) for name, values in rows.items()}


def _true_track(path: str | Path, name: str, values: list[tuple[float, float]]) -> TrueTrack:
    times = np.array([t for t, _ in values])
    if np.isnan(times).all() and len(values) == 1:
        return TrueTrack(np.zeros(0), np.array([values[0][1]]))
    if np.isnan(times).any():
        given = f"{len(values)} rows, {int(np.isnan(times).sum())} without a time"
        raise FileFormatError(path, f"id {name}", expected="time_s in every row, or a single row", got=given)
    order = np.argsort(times, kind="stable")
    times = times[order]
    if (np.diff(times) <= 0).any():
        again = float(times[1:][np.diff(times) <= 0][0])
        raise FileFormatError(path, f"id {name}", expected="one row per time", got=f"two at {again:g} s")
    return TrueTrack(times, np.array([values[k][1] for k in order]))


def read_results(path: str | Path) -> list[Measured]:
    """Measured speeds from a record of `edgevid run`, from CSV, or from other JSON lines."""
    path = Path(path)
    if path.suffix.lower() != ".csv":
        with _open(path) as file:
            if re.search(rb'"schema": *"edgevid\.', file.readline()):
                return list(_of_record(path))
    return [_measured(row) for row in _rows(path)]


def _of_record(path: Path) -> Iterator[Measured]:
    number, ended = 0, set()
    try:
        for number, frame in enumerate(read_jsonl(path), 1):  # noqa: B007 (the error names the line)
            for one in frame["objects"]:
                if "speed" in one:
                    smoothed = one["speed"].get("kind") == "smoothed"  # displayed where the live one is UNCERTAIN
                    speed = {"reason": Reason.UNCERTAIN.name} if smoothed else one["speed"]
                    yield _recorded("live", one["id"], frame["time_s"] - speed.get("age_s", 0.0), speed)
            for kind, key in (("smoothed", "smoothed"), ("track speed", "track_speeds")):
                for row in frame.get(key, ()):
                    yield _recorded(kind, row["id"], row["time_s"], row)
            ended |= {(row["id"], row["time_s"]) for row in frame.get("track_speeds", ())}
        for event in read_events(path):  # of tracks that ended with the last frame
            if event.kind == "track-speed" and (event.track, event.time_s) not in ended:
                values = {"mps": event.speed_mps, "sigma_mps": event.speed_sigma_mps, "reason": event.speed_reason}
                yield _recorded("track speed", event.track, event.time_s, values)
    except (KeyError, TypeError) as error:
        expected = f"a record of {SCHEMA}"
        raise FileFormatError(path, f"line {number}", expected=expected, got=f"one without {error}") from None


def _recorded(kind: str, name: Any, time: float, row: Mapping[str, Any]) -> Measured:
    mps, sigma = (math.nan if (v := row.get(key)) is None else float(v) for key in ("mps", "sigma_mps"))
    return Measured(kind, str(name), float(time), mps, sigma, str(row.get("reason") or Reason.OK.name))


def _measured(row: _Row) -> Measured:
    kind, reason = (str(row.values.get(key) or usual) for key, usual in (("kind", "live"), ("reason", "OK")))
    for key, word, words in (("kind", kind, KINDS), ("reason", reason, tuple(Reason.__members__))):
        if word not in words:
            row.fail(key, f"one of {', '.join(words)}", word)
    speed, sigma, time = row.speed(), row.speed("sigma_"), row.number("time_s")
    if math.isnan(speed) == (reason == "OK"):
        row.fail("mps or kmh", "a speed where the reason is OK or missing, and none otherwise", row.values)
    if sigma < 0:
        row.fail("sigma_mps", "a standard error of at least 0", sigma)
    if math.isnan(time) and kind != "track speed":
        row.fail("time_s", "a number", row.values.get("time_s"))
    return Measured(kind, row.text("id"), time, speed, sigma, reason)


def read_pairs(path: str | Path) -> dict[str, str]:
    """Ids of results by ids of the truth: CSV or JSON lines with `truth` and `result`."""
    return {row.text("truth"): row.text("result") for row in _rows(Path(path))}


def _rows(path: Path) -> Iterator[_Row]:
    """The rows of CSV with a header, of JSON lines, or of a JSON list."""
    text = _text(path)
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        heads = list(reader.fieldnames or ())
        if not {"id", "truth"} & set(heads):
            expected = "a first line that names the columns (id, time_s, mps, ...)"
            raise FileFormatError(path, "line 1", expected=expected, got=",".join(heads))
        for values in reader:
            row = _Row(path, reader.line_num, values)
            if None in values or None in values.values():
                row.fail("columns", f"{len(heads)} values", values)
            yield row
        return
    whole = text.lstrip().startswith("[")
    for line, part in enumerate([text] if whole else text.splitlines(), 1):
        if not part.strip():
            continue
        try:
            found = json.loads(part)
        except (ValueError, RecursionError) as error:
            expected = "JSON, or a file ending in .csv"
            raise FileFormatError(path, f"line {line}", expected=expected, got=str(error)) from None
        for number, values in enumerate(found if whole else [found], line):
            row = _Row(path, number, values)
            if not isinstance(values, dict):
                row.fail("row", "an object with id, time_s and mps or kmh", values)
            yield row


def _open(path: Path) -> Any:
    try:
        return open(path, "rb")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None


def _text(path: Path) -> str:
    try:
        with _open(path) as file:
            text = str(file.read(), "utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        expected, got = "records (JSON lines), CSV or JSON", "a binary file"
        raise FileFormatError(path, "the whole file", expected=expected, got=got, text=f"got {got}")
    return text


def check_ids(truth: Mapping[str, TrueTrack], results: list[Measured]) -> None:
    """Raises InputError where no id of the results is an id of the truth."""
    if not set(truth) & {row.id for row in results}:
        true, found = (", ".join(sorted(ids)[:4]) or "none" for ids in (truth, {row.id for row in results}))
        raise InputError(f"evaluate speed: no id is in both files (truth: {true}; results: {found}); name the pairs in "
                         "a file and give it as --pairs")  # fmt: skip


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
    table = [(name, *(one[name] if name == "values" else shown(one[name], UNITS.get(name)) for one in whole.values()))
             for name in measures]  # fmt: skip
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
    if kind:
        check_choice(kind, KINDS, "--kind")
    known, rows = read_truth(truth), read_results(results)
    if not rows:
        raise InputError(f"{results}: it has no speeds; run with --calibration to measure them")
    if pairs is not None:
        named = read_pairs(pairs)
        known = {named[name]: track for name, track in known.items() if name in named}
    rows = [row for row in rows if not kind or row.kind == kind]
    check_ids(known, rows)
    return evaluate(known, rows)


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
    firsts = np.array([t.first_s for t in tracks if math.isfinite(t.first_s)])

    def of(measure: Callable[..., Any], values: Array, *share: float) -> float:
        return float(measure(values, *share)) if len(values) else math.nan

    inside = [of(np.mean, off[stated] <= width * sigma[stated]) for width in (1.0, 1.96)]
    return {
        "values": len(error), "mean": of(np.mean, off), "median": of(np.median, off),
        "p95": of(np.quantile, off, 0.95), "bias": of(np.mean, error), "within 68 %": inside[0],
        "within 95 %": inside[1], "abstained": sum(t.abstained for t in tracks) / rows if rows else math.nan,
        "variation": math.sqrt(of(np.mean, change**2)), "first after": of(np.median, firsts),
    }  # fmt: skip
