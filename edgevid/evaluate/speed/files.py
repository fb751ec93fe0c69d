"""Files of true and of measured speeds: CSV, JSON lines, and the records that `edgevid run --jsonl` writes.
docs/speed.md describes them. Every error names its line."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.output.records import SCHEMA, read_events, read_jsonl
from edgevid.types import KMH, Array, Event, Reason

KINDS = ("live", "smoothed", "track speed")


@dataclass(frozen=True, slots=True)
class TrueTrack:
    """The truth of one object."""

    times: Array
    """(n,) seconds, rising; empty where the speed holds for all times."""
    mps: Array
    """(n,) or (1,) m/s."""

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
    mps: float
    """NaN where abstained."""
    sigma: float
    """Standard error, NaN where none is stated."""
    reason: str
    """"OK" where a speed is emitted."""


def read_truth(path: str | Path) -> dict[str, TrueTrack]:
    """True speeds by id from CSV or JSON lines with id, time_s (optional) and mps or kmh."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for line, row in _rows(Path(path)):
        name, time = _id(path, line, row), _number(path, line, row, "time_s", optional=True)
        speed = _speed(path, line, row)
        if speed is None:
            _fail(path, line, "mps or kmh", "a true speed in every row", row)
        if not speed >= 0:
            _fail(path, line, "mps", "a speed of at least 0 (direction is not scored)", speed)
        rows.setdefault(name, []).append((time, speed))
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
    if path.suffix.lower() != ".csv" and _is_record(path):
        return list(_of_record(path))
    return [_measured(path, line, row) for line, row in _rows(path)]


def _is_record(path: Path) -> bool:
    with _open(path) as file:
        first = file.readline()
    try:
        given = json.loads(first)
    except (ValueError, RecursionError):  # no JSON, no UTF-8
        return False
    return isinstance(given, dict) and str(given.get("schema")).startswith("edgevid.")


def _of_record(path: Path) -> Iterator[Measured]:
    number, seen = 0, set()
    try:
        for number, frame in enumerate(read_jsonl(path), 1):  # noqa: B007 (the error names the line)
            for one in frame["objects"]:
                if "speed" in one:
                    yield _live(one["id"], frame["time_s"], one["speed"])
            for kind, key in (("smoothed", "smoothed"), ("track speed", "track_speeds")):
                for row in frame.get(key, ()):
                    seen.add((kind, row["id"], row["time_s"]))
                    yield _record_row(kind, row["id"], row["time_s"], row)
        for one in read_events(path):  # of tracks that ended with the last frame
            if one.kind == "track-speed" and ("track speed", one.track, one.time_s) not in seen:
                yield _of_event(one)
    except (KeyError, TypeError) as error:
        raise FileFormatError(
            path, f"line {number}", expected=f"a record of {SCHEMA}", got=f"one without {error}"
        ) from None


def _of_event(one: Event) -> Measured:
    mps, sigma = (math.nan if v is None else v for v in (one.speed_mps, one.speed_sigma_mps))
    reason = one.speed_reason or Reason.OK.name
    return Measured("track speed", str(one.track), one.time_s, mps, sigma, reason)


def _live(name: Any, time: float, speed: Mapping[str, Any]) -> Measured:
    """The live speed of an object: where a smoothed one is displayed, the live one was UNCERTAIN."""
    if speed.get("kind") == "smoothed":
        return _record_row("live", name, time, {"reason": Reason.UNCERTAIN.name})
    return _record_row("live", name, time - speed.get("age_s", 0.0), speed)


def _record_row(kind: str, name: Any, time: float, row: Mapping[str, Any]) -> Measured:
    reason = str(row.get("reason", "OK"))
    mps, sigma = float(row.get("mps", math.nan)), float(row.get("sigma_mps", math.nan))
    return Measured(kind, str(name), float(time), mps, sigma, reason)


def _measured(path: Path, line: int, row: Mapping[str, Any]) -> Measured:
    kind = str(row.get("kind") or "live")
    if kind not in KINDS:
        _fail(path, line, "kind", f"one of {', '.join(KINDS)}", kind)
    reason = str(row.get("reason") or "OK")
    if reason not in Reason.__members__:
        _fail(path, line, "reason", f"one of {', '.join(Reason.__members__)}", reason)
    speed = _speed(path, line, row)
    if (speed is None) == (reason == "OK"):
        _fail(path, line, "mps or kmh", "a speed where the reason is OK or missing, and none otherwise", row)
    sigma = _number(path, line, row, "sigma_mps", optional=True)
    if math.isnan(sigma):
        sigma = _number(path, line, row, "sigma_kmh", optional=True) / KMH
    if sigma < 0:
        _fail(path, line, "sigma_mps", "a standard error of at least 0", sigma)
    time = _number(path, line, row, "time_s", optional=kind == "track speed")
    return Measured(kind, _id(path, line, row), time, math.nan if speed is None else speed, sigma, reason)


def read_pairs(path: str | Path) -> dict[str, str]:
    """Ids of results by ids of the truth: CSV or JSON lines with `truth` and `result`."""
    pairs: dict[str, str] = {}
    for line, row in _rows(Path(path)):
        for key in ("truth", "result"):
            if row.get(key) in (None, ""):
                _fail(path, line, key, "an id", row.get(key))
        pairs[str(row["truth"])] = str(row["result"])
    return pairs


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, row) of CSV with a header, of JSON lines, or of a JSON list."""
    text = _text(path)
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        if not {"id", "truth"} & set(reader.fieldnames or ()):
            expected = "a first line that names the columns (id, time_s, mps, ...)"
            raise FileFormatError(path, "line 1", expected=expected, got=",".join(reader.fieldnames or []))
        for row in reader:
            if None in row or any(value is None for value in row.values()):
                _fail(path, reader.line_num, "columns", f"{len(reader.fieldnames or ())} values", row)
            yield reader.line_num, row
        return
    if text.lstrip().startswith("["):
        yield from enumerate((_object(path, 1, one) for one in _json(path, 1, text)), 1)
        return
    for line, part in enumerate(text.splitlines(), 1):
        if part.strip():
            yield line, _object(path, line, _json(path, line, part))


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


def _json(path: Path, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FileFormatError(path, f"line {line}", expected="JSON, or a file ending in .csv",
                              got=str(error)) from None  # fmt: skip


def _object(path: Path, line: int, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        _fail(path, line, "row", "an object with id, time_s and mps or kmh", given)
    return dict(given)


def _id(path: str | Path, line: int, row: Mapping[str, Any]) -> str:
    if row.get("id") in (None, ""):
        _fail(path, line, "id", "the object's id", row.get("id"))
    return str(row["id"])


def _speed(path: str | Path, line: int, row: Mapping[str, Any]) -> float | None:
    """m/s of mps or kmh; None without either."""
    mps = _number(path, line, row, "mps", optional=True)
    if math.isnan(mps):
        mps = _number(path, line, row, "kmh", optional=True) / KMH
    return None if math.isnan(mps) else mps


def _number(path: str | Path, line: int, row: Mapping[str, Any], key: str, *, optional: bool) -> float:
    given = row.get(key)
    if given in (None, ""):
        if optional:
            return math.nan
        _fail(path, line, key, "a number", given)
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value) or isinstance(given, bool):
        _fail(path, line, key, "a finite number", given)
    return value


def _fail(path: str | Path, line: int, key: str, expected: str, given: object) -> NoReturn:
    raise FileFormatError(path, f"line {line}: {key}", expected=expected, got=given)


def check_ids(truth: Mapping[str, TrueTrack], results: list[Measured]) -> None:
    """Raises InputError where no id of the results is an id of the truth."""
    if not set(truth) & {row.id for row in results}:
        raise InputError(
            f"evaluate speed: no id is in both files (truth: {_some(truth)}; results: "
            f"{_some({row.id for row in results})}); name the pairs in a file and give it as --pairs"
        )


def _some(ids: Any) -> str:
    shown = sorted(ids)[:4]
    return (", ".join(shown) + (", ..." if len(ids) > 4 else "")) if shown else "none"
