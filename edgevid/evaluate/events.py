"""Events of runs against true ones: counts, alarms, and two runs of one camera against each other."""

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.evaluate.evaluation import Evaluation, Plot, Table, clopper_pearson, poisson_interval
from edgevid.output.records import read_events
from edgevid.output.tables import read_database
from edgevid.types import Array, Event
from edgevid.types.event import utc_seconds

DAY = 86400.0
FIELDS = {"class": "class_name"}  # Names of columns that differ from those of an event
BEST = 50  # Events that a difference lists


def read_any(path: Path) -> list[Event]:
    """The events of JSON lines or of a SQLite database; InputError without any."""
    if path.is_file() and path.open("rb").read(6) == b"SQLite":
        rows = ({k: v for k, v in row.items() if v is not None and "box" not in k} for row in read_database(path))
        found = [Event.of(row) for row in rows]
    else:
        found = list(read_events(path))
    if not found:
        raise InputError(f"{path}: expected events, got none; `edgevid run` with --events or --sqlite writes them")
    return found


def _truth(path: Path, needed: str, known: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from None
    head = list(rows[0]) if rows else []
    if needed not in head or set(head) - {needed, *known}:
        raise FileFormatError(path, "header", expected=f"{needed}, and of {', '.join(known)} what there is", got=head)
    return rows


def _number(path: Path, line: int, key: str, text: str) -> float:
    """A number, or the seconds since 1970 of a UTC time."""
    try:
        return utc_seconds(text) if "T" in text else float(text)
    except ValueError:
        raise FileFormatError(path, f"line {line}: {key}", expected="a number or a UTC time", got=text) from None


def evaluate_counts(results: Path, truth: Path) -> Evaluation:
    """Crossings against a CSV of true counts: count, and some of camera, place, class, direction and hour.

    A row is compared with the crossings that have its values; `hour` is the beginning of a UTC time. A group is
    an hour, else a camera or place. The interval of a count is exact (Poisson).
    """
    rows = _truth(truth, "count", ("camera", "place", "class", "direction", "hour"))
    keys = [key for key in rows[0] if key != "count"]
    crossings = [one for one in read_any(results) if one.kind == "cross"]
    found = Counter(
        tuple(one.utc[: len(rows[0]["hour"])] if key == "hour" else getattr(one, FIELDS.get(key, key)) for key in keys)
        for one in crossings
    )
    true = Counter[tuple[str, ...]]()
    for line, row in enumerate(rows, 2):
        true[tuple(row[key] for key in keys)] += int(_number(truth, line, "count", row["count"]))
    own = next((keys.index(key) for key in ("hour", "camera", "place") if key in keys), None)
    outside = sum(count for cell, count in found.items() if cell not in true)
    cells = list(true)
    groups = list(dict.fromkeys(cell[own] for cell in cells)) if own is not None else ["all"]
    place = np.array([groups.index(cell[own]) if own is not None else 0 for cell in cells])
    made, known = (np.array([some[cell] for cell in cells], float) for some in (found, true))

    def measure(counts: Array) -> dict[str, float]:
        weight = counts[place]
        whole = max(float(weight @ known), 1e-9)
        return {"count error": float(weight @ (made - known)) / whole,
                "absolute error": float(weight @ np.abs(made - known)) / whole}  # fmt: skip

    kinds = [n for n, key in enumerate(keys) if n != own or len(keys) == 1]
    totals: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for cell, counted, expected in zip(cells, made, known, strict=True):
        for n, value in enumerate((counted, expected)):
            totals[tuple(cell[k] for k in kinds)][n] += value
    table = []
    for cell, (counted, expected) in sorted(totals.items()):
        low, high = poisson_interval(int(counted))
        error = (counted - expected) / expected if expected else math.nan
        inside = "yes" if low <= expected <= high else "no"
        table.append((*cell, int(counted), f"{low:.1f} to {high:.1f}", int(expected), error, inside))
    heads = (*(keys[k] for k in kinds), "counted", "95 % interval", "true", "error %", "true inside")
    total = max(float(known.sum()), 1e-9)
    low, high = (value / total - 1 for value in poisson_interval(int(made.sum())))
    notes = [f"{outside} crossings have no row in the truth: not scored"] if outside else []
    return Evaluation("counting", groups, keys[own] if own is not None else "total", measure, notes=notes,
                      exact={"count error": (low, high)}, tables={"Totals": Table(heads, table)})  # fmt: skip


def evaluate_alarms(
    results: Path, truth: Path, *, kinds: Sequence[str] = (), tolerance_s: float = 10.0, camera_days: float = 0.0,
    per_day: float = 1.0,
) -> Evaluation:  # fmt: skip
    """Alarms against a CSV of true times: time (UTC, or seconds on the stream's clock), and some of end, camera, kind.

    An alarm is right within `tolerance_s` of the time from `time` to `end`, on that camera and of that kind; more
    of them in it are repetitions. A group is an hour of a camera. `camera_days` 0: from the first to the last event
    of each run. Intervals of recall (Clopper-Pearson) and of false alarms (Garwood) are exact.
    """
    rows, events = _truth(truth, "time", ("end", "camera", "kind")), read_any(results)
    kinds = list(kinds or dict.fromkeys(row.get("kind", "") for row in rows))
    if "" in kinds:
        raise InputError("alarms: expected the kinds of events that are alarms, by --kinds or a column kind, got none")
    utc = "T" in rows[0]["time"]
    alarms = [one for one in events if one.kind in kinds]
    times = np.array([utc_seconds(one.utc) if utc else one.time_s for one in alarms])
    spans = [
        [_number(truth, n, key, row.get(key) or row["time"]) for key in ("time", "end")]
        for n, row in enumerate(rows, 2)
    ]
    right, first = np.zeros(len(alarms), bool), np.full(len(rows), math.nan)
    score = np.array([one.label_confidence if one.confidence is None else one.confidence for one in alarms], float)
    best = np.full(len(rows), -math.inf)
    for n, (row, (start, end)) in enumerate(zip(rows, spans, strict=True)):
        fits = np.array(
            [row.get("camera") in (None, "", a.camera) and row.get("kind") in (None, "", a.kind) for a in alarms], bool
        )
        fits &= (times >= start - tolerance_s) & (times <= end + tolerance_s)
        right |= fits
        if fits.any():
            first[n], best[n] = times[fits].min() - start, score[fits].max()
    days = camera_days or _observed(events) / DAY
    names = [(row.get("camera") or "", math.floor(start / 3600)) for row, (start, _) in zip(rows, spans, strict=True)]
    mine = [(a.camera if "camera" in rows[0] else "", math.floor(t / 3600)) for a, t in zip(alarms, times, strict=True)]
    groups = sorted({*names, *mine})
    at, of = (np.array([groups.index(name) for name in some], int) for some in (names, mine))
    detected, false = np.isfinite(first), ~right

    def measure(counts: Array) -> dict[str, float]:
        delays = np.repeat(first, counts[at])
        delays = delays[np.isfinite(delays)]
        median, late = np.quantile(delays, [0.5, 0.9]) if len(delays) else (math.nan, math.nan)
        wrong = float(counts[of] @ false)
        return {"recall": float(counts[at] @ detected) / max(counts[at].sum(), 1e-9),
                "false alarms per camera-day": wrong / days, "delay median": float(median),
                "delay p90": float(late)}  # fmt: skip

    hits, wrong = int(detected.sum()), int(false.sum())
    low, high = poisson_interval(wrong)
    exact = {"recall": clopper_pearson(hits, len(rows)), "false alarms per camera-day": (low / days, high / days)}
    notes = [f"{int(right.sum()) - hits} more alarms repeat one"] if right.sum() > hits else []
    notes += (
        [] if camera_days else [f"observed for {days:.3g} camera-days, from the first to the last event of each run"]
    )
    plots = {}
    if np.isfinite(score).all() and len(alarms):
        limits = np.unique(score)[::-1]
        rates = np.array([(false & (score >= limit)).sum() for limit in limits]) / days
        recalls = np.array([(best >= limit).mean() for limit in limits])
        plots["By least confidence"] = Plot("false alarms per camera-day", "recall", {"recall": (rates, recalls)})
        reached = recalls[rates <= per_day].max(initial=0.0)
        notes.append(f"recall at {per_day:g} false alarms per camera-day: {reached:.1%}, by a least confidence")
    units = {"false alarms per camera-day": "a day", "delay median": "s", "delay p90": "s"}
    lines = [
        (row["time"], row.get("camera", ""), row.get("kind", ""), delay) for row, delay in zip(rows, first, strict=True)
    ]
    table = Table(("time", "camera", "kind", "delay, s"), lines, detail=True)
    return Evaluation("alarms", [f"{camera} {hour:d}" for camera, hour in groups], "hour", measure, units, exact,
                      {"True events": table}, plots, notes)  # fmt: skip


def _observed(events: Iterable[Event]) -> float:
    """Seconds from the first to the last event of each run, summed."""
    times = defaultdict[str, list[float]](list)
    for one in events:
        times[one.run].append(one.time_s)
    return max(sum(max(some) - min(some) for some in times.values()), 1.0)


def differ(a: Path, b: Path, *, tolerance_s: float = 1.0) -> Evaluation:
    """Two runs by events: those only in A, only in B and in both, of one camera, kind, place, class and label.

    Times are those of the clock, UTC or the stream's, by which more events are in both.
    """
    one, two = read_any(a), read_any(b)
    clock, pairs = max(
        ((name, _pairs(one, two, tolerance_s, utc=name == "UTC")) for name in ("the stream's clock", "UTC")),
        key=lambda found: len(found[1]),
    )
    both = {i for i, _ in pairs}, {j for _, j in pairs}
    left = [[e for n, e in enumerate(some) if n not in ours] for some, ours in zip((one, two), both, strict=True)]
    kinds = sorted({e.kind for e in [*one, *two]})
    counts = [(kind, sum(one[i].kind == kind for i in both[0]), *(sum(e.kind == kind for e in some) for some in left))
              for kind in kinds]  # fmt: skip
    rows = [(side, e.kind, f"{e.time_s:.2f}", e.place, e.class_name, e.label or e.direction)
            for side, some in zip("AB", left, strict=True) for e in some[:BEST]]  # fmt: skip
    total = {"in both": len(pairs), "only in A": len(left[0]), "only in B": len(left[1])}
    share = len(pairs) / max(sum(total.values()), 1)
    tables = {"By kind": Table(("kind", *total), counts),
              "Only in one": Table(("in", "kind", "time, s", "place", "class", "label"), rows)}  # fmt: skip
    return Evaluation("compare events", ["all"], "pair of runs", lambda _: {"events in both": share, **total},
                      dict.fromkeys(total, ""), tables=tables,
                      notes=[f"matched within {tolerance_s:g} s by {clock}"])  # fmt: skip


def _pairs(a: list[Event], b: list[Event], tolerance_s: float, *, utc: bool) -> list[tuple[int, int]]:
    """Pairs of as many events as possible, by their order in time."""

    def sorted_times(some: list[Event]) -> Mapping[Any, list[tuple[float, int]]]:
        found = defaultdict[Any, list[tuple[float, int]]](list)
        for n, e in enumerate(some):
            found[e.camera, e.kind, e.place, e.class_name, e.direction, e.label].append(
                (utc_seconds(e.utc) if utc else e.time_s, n)
            )
        return {key: sorted(rows) for key, rows in found.items()}

    pairs, others = [], sorted_times(b)
    for key, mine in sorted_times(a).items():
        theirs, j = others.get(key, []), 0
        for time, i in mine:
            while j < len(theirs) and theirs[j][0] < time - tolerance_s:
                j += 1
            if j < len(theirs) and theirs[j][0] <= time + tolerance_s:
                pairs.append((i, theirs[j][1]))
                j += 1
    return pairs
