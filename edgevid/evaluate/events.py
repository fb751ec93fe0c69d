"""Events of runs against true ones: counts, alarms, and two runs of one camera against each other."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.evaluation import Evaluation, Plot, Table, clopper_pearson, poisson_interval, shown
from edgevid.evaluate.items import read_table
from edgevid.output import read_database, read_events
from edgevid.types import Array, Event, utc_seconds

DAY, LISTED = 86400.0, 50  # Seconds; events of a run that a difference lists


def read_any(path: Path) -> list[Event]:
    """The events of JSON lines or of a SQLite database; InputError without any."""
    if path.is_file() and path.open("rb").read(6) == b"SQLite":
        rows = ({k: v for k, v in row.items() if v is not None and "box" not in k} for row in read_database(path))
        found = list(map(Event.of, rows))
    else:
        found = list(read_events(path))
    if not found:
        raise InputError(f"{path}: expected events, got none; `edgevid run` with --events or --sqlite writes them")
    return found


def _truth(path: Path, needed: str, *known: str) -> list[dict[str, str]]:
    rows = read_table(path)
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
    """Crossings against a CSV of true counts: count, and some of camera, place, class, direction and hour. A row is
    compared with the crossings that have its values; `hour` is the beginning of a UTC time. A group is an hour, else a
    camera or place. The interval of a count is exact (Poisson)."""
    rows = _truth(truth, "count", "camera", "place", "class", "direction", "hour")
    keys = [key for key in rows[0] if key != "count"]
    found, true = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for one in read_any(results):
        values = {"hour": one.utc[: len(rows[0].get("hour", ""))], "class": one.class_name}
        found[tuple(values.get(key) or getattr(one, key) for key in keys)] += one.kind == "cross"
    for line, row in enumerate(rows, 2):
        true[tuple(row[key] for key in keys)] += int(_number(truth, line, "count", row["count"]))
    cells, outside = list(true), sum(count for cell, count in found.items() if cell not in true)
    unit = next((key for key in ("hour", "camera", "place") if key in keys), "")
    owners = [cell[keys.index(unit)] if unit else "all" for cell in cells]
    groups = list(dict.fromkeys(owners))
    place = np.array([groups.index(owner) for owner in owners])
    made, known = (np.array([some[cell] for cell in cells], float) for some in (found, true))

    def measure(counts: Array) -> dict[str, float]:
        weight = counts[place]
        errors = weight @ (made - known), weight @ np.abs(made - known)
        return {
            name: float(e / max(weight @ known, 1e-9))
            for name, e in zip(("count error", "absolute error"), errors, strict=True)
        }

    kinds = [n for n, key in enumerate(keys) if key != unit or len(keys) == 1]
    totals: dict[tuple[str, ...], Array] = defaultdict(lambda: np.zeros(2, int))
    for cell in cells:
        totals[tuple(cell[k] for k in kinds)] += found[cell], true[cell]
    table = []
    for cell, (counted, expected) in sorted(totals.items()):
        low, high = poisson_interval(int(counted))
        error = (counted - expected) / expected if expected else math.nan
        inside = "yes" if low <= expected <= high else "no"
        table.append((*cell, int(counted), f"{low:.1f} to {high:.1f}", int(expected), float(error), inside))
    heads = (*(keys[k] for k in kinds), "counted", "95 % interval", "true", "error %", "true inside")
    low, high = (value / max(float(known.sum()), 1e-9) - 1 for value in poisson_interval(int(made.sum())))
    notes = [f"{outside} crossings have no row in the truth: not scored"] * bool(outside)
    return Evaluation("counting", groups, unit or "total", measure, notes=notes, exact={"count error": (low, high)},
                      tables={"Totals": Table(heads, table)})  # fmt: skip


def evaluate_alarms(results: Path, truth: Path, *, kinds: Sequence[str] = (), tolerance_s: float = 10.0,
                    camera_days: float = 0.0) -> Evaluation:  # fmt: skip
    """Alarms against a CSV of true times: time (UTC, or seconds on the stream's clock), and some of end, camera, kind.

    An alarm is right within `tolerance_s` of the time from `time` to `end`, on that camera and of that kind; more of
    them in it are repetitions. A group is an hour of a camera. `camera_days` 0: from the first to the last event of
    each run. Intervals of recall (Clopper-Pearson) and of false alarms (Garwood) are exact."""
    rows, events = _truth(truth, "time", "end", "camera", "kind"), read_any(results)
    kinds = kinds or list(dict.fromkeys(row.get("kind", "") for row in rows))
    if "" in kinds:
        raise InputError("alarms: expected the kinds of events that are alarms, by --kinds or a column kind, got none")
    alarms, cameras = [one for one in events if one.kind in kinds], "camera" in rows[0]
    times = np.array([utc_seconds(a.utc) if "T" in rows[0]["time"] else a.time_s for a in alarms])
    sure = np.array([a.label_confidence if a.confidence is None else a.confidence for a in alarms], float)
    right, first, best = np.zeros(len(alarms), bool), np.full(len(rows), math.nan), np.full(len(rows), -math.inf)
    hours = []
    for n, row in enumerate(rows):
        start, end = (_number(truth, n + 2, key, row.get(key) or row["time"]) for key in ("time", "end"))
        hours.append((row.get("camera", ""), start // 3600))
        fits = (times >= start - tolerance_s) & (times <= end + tolerance_s)
        same = [all(row.get(key) in (None, "", getattr(a, key)) for key in ("camera", "kind")) for a in alarms]
        fits &= np.array(same, bool)
        right |= fits
        if fits.any():
            first[n], best[n] = times[fits].min() - start, sure[fits].max()
    mine = [(a.camera * cameras, t // 3600) for a, t in zip(alarms, times.tolist(), strict=True)]
    groups = sorted({*hours, *mine})
    at, of = (np.array([groups.index(hour) for hour in some], int) for some in (hours, mine))
    runs = defaultdict[str, list[float]](list)
    for one in events:
        runs[one.run].append(one.time_s)
    days = camera_days or max(sum(max(some) - min(some) for some in runs.values()), 1.0) / DAY

    def measure(counts: Array) -> dict[str, float]:
        delays = np.repeat(first, counts[at])
        delays = delays[np.isfinite(delays)]
        median, late = np.quantile(delays, [0.5, 0.9]).tolist() if len(delays) else (math.nan, math.nan)
        return {"recall": float(counts[at] @ np.isfinite(first) / max(counts[at].sum(), 1e-9)),
                RATE: float(counts[of] @ ~right / days), "delay median": median, "delay p90": late}  # fmt: skip

    hits, false = int(np.isfinite(first).sum()), int((~right).sum())
    low, high = poisson_interval(false)
    notes = [f"{int(right.sum()) - hits} more alarms repeat one"] * bool(right.sum() > hits)
    notes += [f"observed for {days:.3g} camera-days, from the first to the last event of each run"] * (not camera_days)
    plots = {}
    if np.isfinite(sure).all() and len(alarms):
        limits = np.unique(sure)[::-1, None]
        rates, recalls = (~right & (sure >= limits)).sum(1) / days, (best >= limits).mean(1)
        plots["By least confidence"] = Plot(RATE, "recall", {"recall": (rates, recalls)})
        notes.append(f"recall at 1 {RATE}, by a least confidence: {shown(recalls[rates <= 1].max(initial=0))}")
    table = [(row["time"], row.get("camera", ""), row.get("kind", ""), d) for row, d in zip(rows, first, strict=True)]
    return Evaluation(
        "alarms", [f"{camera} {hour:.0f}" for camera, hour in groups], "hour", measure,
        {RATE: "a day", "delay median": "s", "delay p90": "s"},
        {"recall": clopper_pearson(hits, len(rows)), RATE: (low / days, high / days)},
        {"True events": Table(("time", "camera", "kind", "delay, s"), table, detail=True)}, plots, notes=notes,
    )  # fmt: skip


RATE = "false alarms per camera-day"


def differ(a: Path, b: Path, *, tolerance_s: float = 1.0) -> Evaluation:
    """Two runs by events: those only in A, only in B and in both, of one camera, kind, place, class and label. Times
    are those of the clock, UTC or the stream's, by which more events are in both."""
    one, two = read_any(a), read_any(b)
    found = {utc: same_events(one, two, tolerance_s, utc) for utc in (False, True)}
    utc = len(found[True]) > len(found[False])
    both = [set(rows) for rows in zip(*found[utc], strict=True)] or [set(), set()]
    left = [[e for n, e in enumerate(some) if n not in ours] for some, ours in zip((one, two), both, strict=True)]
    counts = [(kind, sum(one[i].kind == kind for i in both[0]), *(sum(e.kind == kind for e in some) for some in left))
              for kind in sorted({e.kind for e in [*one, *two]})]  # fmt: skip
    rows = [(side, e.kind, f"{e.time_s:.2f}", e.place, e.class_name, e.label or e.direction)
            for side, some in zip("AB", left, strict=True) for e in some[:LISTED]]  # fmt: skip
    total = {"in both": len(both[0]), "only in A": len(left[0]), "only in B": len(left[1])}
    share = len(both[0]) / max(sum(total.values()), 1)
    tables = {"By kind": Table(("kind", *total), counts),
              "Only in one": Table(("in", "kind", "time, s", "place", "class", "label"), rows)}  # fmt: skip
    notes = [f"matched within {tolerance_s:g} s by {'UTC' if utc else 'the clock of the stream'}"]
    return Evaluation("compare events", ["all"], "pair of runs", lambda _: {"events in both": share, **total},
                      dict.fromkeys(total, ""), tables=tables, notes=notes)  # fmt: skip


def same_events(a: list[Event], b: list[Event], tolerance_s: float, utc: bool) -> list[tuple[int, int]]:
    """Pairs of as many events as possible, by their order in time."""
    sides = []
    for some in (a, b):
        sides.append(defaultdict[tuple[str, ...], list[tuple[float, int]]](list))
        for n, e in enumerate(some):
            same = e.camera, e.kind, e.place, e.class_name, e.direction, e.label
            sides[-1][same].append((utc_seconds(e.utc) if utc else e.time_s, n))
    pairs = []
    for key, mine in sides[0].items():
        theirs, j = sorted(sides[1].get(key, [])), 0
        for time, i in sorted(mine):
            while j < len(theirs) and theirs[j][0] < time - tolerance_s:
                j += 1
            if j < len(theirs) and theirs[j][0] <= time + tolerance_s:
                pairs.append((i, theirs[j][1]))
                j += 1
    return pairs
