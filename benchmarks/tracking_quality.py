"""HOTA, IDF1 and switches of trackers on public detections and rendered crowds, all given the same boxes.

    python benchmarks/tracking_quality.py DATA --cache FOLDER     (tracking_data.py says what DATA holds)

Conditions: every frame; every second, third and fifth one; 30 % of the frames dropped at random, several
patterns; sudden pans; three and one frame per second. Every tracker has its package's defaults and gets the
time of a frame, its rate or the number of frames since the last, where its package takes one. What a peer
reported is kept in the cache, so that a second run only scores. Plus and minus: ahead of ours or behind by
more than the 95 % interval of a paired bootstrap over segments of ten seconds.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
from bench import conditions, save, table
from tracker_peers import TRACKERS, available, version
from tracking_data import CONDITIONS, GROUPS, TUNED, Sequence, condition, everything, noisy

from edgevid import kernels
from edgevid.evaluate.boxes import overlaps
from edgevid.evaluate.tracking import TrackCounts, count_tracks

OURS = "edgevid Tracker (default)"
OUR_OTHERS = ("edgevid ByteTracker", "edgevid OCSortTracker")
SEGMENT_S = 10.0
ENOUGH = 5
"""Fewer segments make no interval: those of MOT17-11 and TUD-Campus, which last 15 and 3 seconds."""
NONE = np.zeros((0, 7))
SHORT = ("MOT17-11", "TUD-Campus")
NEAREST = (
    "roboflow BoT-SORT",
    "roboflow C-BIoU",
    "ultralytics TrackTrack",
    "ultralytics BoT-SORT",
    "roboflow ByteTrack",
)
WORDS = {
    "full": "every frame", "every2": "every 2nd frame", "every3": "every 3rd frame, from each of three on",
    "every5": "every 5th frame", "drop": "30 % of the frames dropped, 8 patterns",
    "jump1": "a pan of 30 to 80 px at once, every 2 s", "noise1": "a poorer detector",
    "fps3": "3 frames per second", "fps2": "2 frames per second", "fps1": "1 frame per second",
}  # fmt: skip


def track(make, s: Sequence, kind: str) -> np.ndarray:
    """Rows (position, id, x1, y1, x2, y2) of what a tracker reports in the frames that a condition leaves."""
    tracker, rows = make(s.fps), [np.zeros((0, 6))]
    if kind.startswith("noise"):
        s = noisy(s, int(kind[5:]))
    for n, (at, shift) in enumerate(zip(*condition(s, kind), strict=True)):
        found = s.found.get(s.frames[at], NONE)
        boxes = (found[:, 1:5] + np.tile(shift, 2)).astype(np.float32)
        scores, labels = found[:, 5].astype(np.float32), np.zeros(len(found), np.int32)
        got = tracker.rows(tracker.update(boxes, scores, labels, (at + 1) / s.fps))
        got = np.asarray(got, float).reshape(-1, 5)
        rows.append(np.column_stack([np.full(len(got), n), got[:, 4], got[:, :4]]))
    return np.concatenate(rows)


def reported(name: str, make, chosen: list[Sequence], kind: str, cache: Path | None) -> dict[str, np.ndarray]:
    """The rows of each sequence, from the cache where they are in it."""
    path = cache / f"{name.replace(' ', '_')}.{kind}.npz" if cache else None
    if path and path.exists() and not name.startswith("edgevid"):
        return dict(np.load(path))
    begin = time.perf_counter()
    rows = {s.name: track(make, s, kind) for s in chosen}
    print(f"{name}, {kind}: {time.perf_counter() - begin:.0f} s", flush=True)
    if path and not name.startswith("edgevid"):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **rows)
    return rows


def frames_of(s: Sequence, kind: str, rows: np.ndarray) -> tuple[list, list, np.ndarray]:
    """Truth and tracks of each frame as (ids, boxes), and the times of the frames."""
    kept, shift = condition(s, kind)
    starts = np.searchsorted(rows[:, 0], np.arange(len(kept) + 1))
    truth, found = [], []
    for n, at in enumerate(kept):
        true, move = s.truth.get(s.frames[at], NONE), np.tile(shift[n], 2)
        ignored = s.ignored.get(s.frames[at], NONE)
        mine = rows[starts[n] : starts[n + 1]]
        true_boxes = true[:, 1:5] + move
        free = ~on_ignored(mine[:, 2:6], true_boxes, ignored[:, 1:5] + move)
        truth.append((true[:, 0], true_boxes))
        found.append((mine[free, 1], mine[free, 2:6]))
    return truth, found, kept / s.fps


def on_ignored(mine: np.ndarray, true: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Boxes that match no true object but lie on something that counts neither way."""
    if not len(mine) or not len(ignored):
        return np.zeros(len(mine), bool)
    on, similar = overlaps(mine, ignored, of_first=True).max(1) > 0.5, overlaps(true, mine)
    for r, c in kernels.max_weight_matching(np.ascontiguousarray(similar)):
        on[c] &= similar[r, c] < 0.5
    return on


def reported_counts(s: Sequence, kind: str, rows: np.ndarray) -> TrackCounts:
    """Of the whole sequence."""
    return count_tracks(*frames_of(s, kind, rows)[:2])


def counts(s: Sequence, kind: str, rows: np.ndarray) -> tuple[TrackCounts, list[TrackCounts]]:
    """Of the whole sequence, and of its segments as if each was one."""
    truth, found, times = frames_of(s, kind, rows)
    cuts = np.searchsorted(times, np.arange(0, times[-1] + SEGMENT_S, SEGMENT_S))
    ends = [*cuts[1:-1], len(times)] if len(cuts) > 2 else [len(times)]
    parts = [count_tracks(truth[a:b], found[a:b]) for a, b in zip([0, *ends], ends, strict=False) if b > a]
    return count_tracks(truth, found), parts


def interval(ours: list[TrackCounts], theirs: list[TrackCounts], draws: int = 1000) -> tuple[float, float]:
    """The 95 % interval of their HOTA less ours, in percent, over resampled segments."""
    weights = np.random.default_rng(0).multinomial(len(ours), [1 / len(ours)] * len(ours), draws)

    def drawn(parts: list[TrackCounts]) -> np.ndarray:
        tp, association = (weights @ np.array([getattr(p, n) for p in parts]) for n in ("tp", "association"))
        boxes = weights @ np.array([p.truth + p.found for p in parts])
        return np.sqrt(tp / np.maximum(boxes[:, None] - tp, 1) * association / np.maximum(tp, 1)).mean(1)

    low, high = np.percentile(100 * (drawn(theirs) - drawn(ours)), [2.5, 97.5])
    return float(low), float(high)


def evaluate(makers: dict, chosen: list[Sequence], kinds: list[str], cache: Path | None) -> dict:
    """{condition: {group: {tracker: (counts, counts without TUNED, segments)}}}."""
    results: dict = {}
    for kind in kinds:
        for name, make in makers.items():
            cached = cache and (cache / f"{name.replace(' ', '_')}.{kind}.npz").exists()
            if (make is None and not cached) or (name in OUR_OTHERS and kind != "full"):
                continue
            rows = reported(name, make, chosen, kind, cache)
            for s in chosen:
                group = results.setdefault(kind, {}).setdefault(s.group, {}).setdefault(name, ([], [], []))
                whole, parts = counts(s, kind, rows[s.name])
                group[0].append(whole)
                group[2].extend(parts)
                if not s.name.startswith(TUNED):
                    group[1].append(whole)
    return results


def summary(results: dict) -> dict:
    """The same in percent, with the interval of the difference to ours; drop patterns are put together."""
    merged: dict = {}
    for kind, groups in results.items():
        for group, by in groups.items():
            for name, (whole, held, parts) in by.items():
                every, apart = sum(whole[1:], whole[0]), sum(held[1:], held[0])
                place = merged.setdefault("drop" if kind.startswith("drop") else kind, {}).setdefault(group, {})
                one = place.setdefault(
                    name, {"HOTA": [], "IDF1": [], "MOTA": [], "switches": [], "held out": [], "parts": []}
                )
                for key, value in (
                    ("HOTA", 100 * every.hota),
                    ("IDF1", 100 * every.idf1),
                    ("MOTA", 100 * every.mota),
                    ("switches", every.switches),
                    ("held out", 100 * apart.hota),
                ):
                    one[key].append(value)
                one["parts"].append(parts)
    for groups in merged.values():
        for by in groups.values():
            for name, one in by.items():
                patterns = min(len(one["parts"]), len(by[OURS]["parts"]))
                ours, theirs = ([p for part in by[n]["parts"][:patterns] for p in part] for n in (OURS, name))
                one["ahead"] = interval(ours, theirs) if len(ours) >= ENOUGH else None
            for one in by.values():
                del one["parts"]
                one["patterns"], one["spread"] = len(one["HOTA"]), float(np.std(one["HOTA"]))
                one |= {k: float(np.mean(one[k])) for k in ("HOTA", "IDF1", "MOTA", "switches", "held out")}
    return merged


def rows_of(groups: dict) -> list[list[str]]:
    """A table's rows of one condition: values, spread over the drop patterns, and who is ahead or behind."""
    rows = []
    for name in groups[GROUPS[0]]:
        cells = []
        for one in (groups[group][name] for group in GROUPS):
            spread = f" ±{one['spread']:.1f}" if one["patterns"] > 1 else ""
            low, high = one["ahead"] or (0.0, 0.0)
            sign = " +" if low > 0 else " -" if high < 0 else ""
            cells.append(f"{one['HOTA']:.1f}{spread} / {one['IDF1']:.1f} / {one['switches']:.0f}{sign}")
        rows.append([name, *cells])
    return rows


def by_condition(name: str, chosen: list[Sequence], kinds: tuple[str, ...]) -> dict[str, dict[str, list[TrackCounts]]]:
    """{condition: {group: counts of each pattern}} of one tracker."""
    found: dict[str, dict[str, list[TrackCounts]]] = {}
    for kind in kinds:
        by = found.setdefault("drop" if kind.startswith("drop") else kind.partition("+")[0], {})
        rows = reported(name, TRACKERS[name][1], chosen, kind, None)
        for group in dict.fromkeys(s.group for s in chosen):
            each = [reported_counts(s, kind, rows[s.name]) for s in chosen if s.group == group]
            by.setdefault(group, []).append(sum(each[1:], each[0]))
    return found


def cell(some: list[TrackCounts], *, whole: bool = True) -> str:
    """Mean HOTA of patterns, with its spread; with IDF1 and switches where `whole`."""
    hota = [100 * one.hota for one in some]
    text = f"{np.mean(hota):.1f}" + (f" ±{np.std(hota):.1f}" if len(some) > 1 else "")
    idf1, switches = (np.mean([getattr(one, key) for one in some]) for key in ("idf1", "switches"))
    return text + (f" / {100 * idf1:.1f} / {switches:.0f}" if whole else "")


def own(chosen: list[Sequence]) -> tuple[list[str], list[list[str]]]:
    """The default under every condition."""
    found = by_condition(OURS, chosen, CONDITIONS)
    return ["HOTA / IDF1 / switches", *GROUPS], [[WORDS[k], *map(cell, by.values())] for k, by in found.items()]


def short(chosen: list[Sequence]) -> tuple[list[str], list[list[str]]]:
    """Sequences too short for an interval, from every start and with all drop patterns, next to the nearest peers."""
    starts = [f"every{n}" + (f"+{first}" if first else "") for n in (2, 3, 5) for first in range(n)]
    kinds = ("full", *starts, *(kind for kind in CONDITIONS if kind.startswith("drop")))
    few = [s for s in chosen if s.group in SHORT]
    rows = []
    for name in (OURS, *NEAREST):
        found = by_condition(name, few, kinds)
        rows.append([name, *(cell(by[group], whole=False) for group in SHORT for by in found.values())])
    words = ("all", "2nd", "3rd", "5th", "30 % dropped")
    return ["HOTA", *(f"{group}, {word}" for group in SHORT for word in words)], rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    options.add_argument("--only", nargs="*", help="names of trackers")
    options.add_argument("--conditions", nargs="*", default=list(CONDITIONS))
    options.add_argument("--cache", type=Path, help="folder of what the peers reported")
    options.add_argument(
        "--own", action="store_true", help="only the default, under every condition, into a file of its own"
    )
    options.add_argument("--short", action="store_true", help="only MOT17-11 and TUD-Campus, next to the nearest peers")
    options.add_argument("--cached", action="store_true", help="run only ours; peers come from the cache")
    asked = options.parse_args()
    for asked_for, what, make in ((asked.own, "conditions", own), (asked.short, "short", short)):
        if asked_for:
            head, rows = make(everything(asked.data))
            print(table(head, rows))
            command = f"python benchmarks/tracking_quality.py DATA --{'own' if make is own else 'short'}"
            save(f"tracking_{what}", {"head": head, "rows": rows}, conditions() | {"command": command})
    if asked.own or asked.short:
        return
    mine = [name for name in TRACKERS if name.startswith("edgevid")]
    makers, missing = available(mine if asked.cached else asked.only)
    if asked.cached:
        makers |= {name: None for name in TRACKERS if name not in mine}
    results = summary(evaluate(makers, everything(asked.data), asked.conditions, asked.cache))
    head = ["HOTA / IDF1 / switches", *GROUPS]
    tables = {kind: rows_of(groups) for kind, groups in results.items()}
    for kind, rows in tables.items():
        print(kind, table(head, rows), sep="\n")
    versions = {package: version(package) for package, _ in TRACKERS.values()}
    if not asked.only:
        where = conditions(versions) | {"command": "python benchmarks/tracking_quality.py DATA --cache FOLDER"}
        done = {"head": head, "rows": tables.pop("full", []), "percent": results, "not run": missing}
        save("tracking_quality", done | {kind: [head, *rows] for kind, rows in tables.items()}, where)


if __name__ == "__main__":
    main()
