"""HOTA, IDF1 and MOTA of trackers on public detections, by the trackeval package, all in one run.

    python benchmarks/tracking_quality.py DATA     (DATA holds tracks/: DanceTrack val with YOLOX-X
                                                    detections, KITTI tracking with PermaTrack detections,
                                                    MOT17-11 second half, TUD-Campus)

Every tracker has its package's defaults. Settings of ours were chosen on the sequences named in TUNED.
"""

from __future__ import annotations

import argparse
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
from bench import conditions, save, table
from scipy.optimize import linear_sum_assignment
from tracker_peers import TRACKERS, available, version

TUNED = (
    "dancetrack0004",
    "dancetrack0007",
    "dancetrack0014",
    "dancetrack0019",
    "kitti 0000",
    "kitti 0001",
    "kitti 0002",
)
Rows = dict[int, np.ndarray]
"""Frame: rows of (id, x1, y1, x2, y2, score, kind)."""


class Sequence(NamedTuple):
    """One sequence: what a tracker gets, what is true, what counts neither way."""

    group: str
    name: str
    fps: float
    frames: range
    found: Rows
    truth: Rows
    ignored: Rows


def lines(path: Path) -> Iterator[str]:
    """The lines of a file, gzipped or not."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
        yield from file


def mot(path: Path) -> Rows:
    """Rows of a MOTChallenge file; kind is the eighth column where there is one."""
    rows: dict[int, list[list[float]]] = {}
    for line in lines(path):
        v = [float(x) for x in line.split(",")]
        kind = v[7] if len(v) > 7 else 1
        rows.setdefault(int(v[0]), []).append([v[1], v[2], v[3], v[2] + v[4], v[3] + v[5], v[6], kind])
    return {frame: np.array(r) for frame, r in rows.items()}


def kitti(path: Path) -> dict[str, Rows]:
    """Rows of a KITTI tracking file, by class."""
    rows: dict[str, dict[int, list[list[float]]]] = {}
    for line in lines(path):
        w = line.split()
        score = float(w[17]) if len(w) > 17 else 1.0
        rows.setdefault(w[2], {}).setdefault(int(w[0]), []).append(
            [float(w[1]), *map(float, w[6:10]), score, 1]
        )
    return {kind: {f: np.array(r) for f, r in by.items()} for kind, by in rows.items()}


def sequences(data: Path) -> Iterator[Sequence]:
    """Every sequence with detections and truth."""
    for path in sorted((data / "dancetrack/val_gt").glob("*.txt.gz")):
        found, truth = mot(data / "dancetrack/val_yolox_x_det" / path.name), mot(path)
        yield Sequence("DanceTrack", path.name[:-7], 20.0, range(1, max(truth) + 1), found, truth, {})
    for path in sorted((data / "kitti/label_02").glob("*.txt.gz")):
        truth, found = kitti(path), kitti(data / "kitti/permatrack_det_train" / path.name)
        last = max(max(rows) for rows in (*truth.values(), *found.values()))
        for kind, alike in (("Car", "Van"), ("Pedestrian", "Person_sitting")):
            if kind not in truth:
                continue
            ignored = merged(truth.get("DontCare", {}), truth.get(alike, {}))
            name = f"kitti {path.name[:4]} {kind}"
            yield Sequence("KITTI", name, 10.0, range(last + 1), found.get(kind, {}), truth[kind], ignored)
    truth = mot(data / "mot16/MOT16-11/gt.txt.gz")
    people = {f: r[(r[:, 6] == 1) & (r[:, 5] == 1)] for f, r in truth.items()}
    others = {f: r[np.isin(r[:, 6], (2, 7, 8, 12))] for f, r in truth.items()}
    found = mot(data / "mot17/yolox_x_ablation_val_half_det/MOT17-11-SDP.txt.gz")
    half = (max(truth) + 1) // 2
    first = min(found)
    moved = (
        {f - first + half + 1: r for f, r in found.items()}
        if first <= 1 and max(found) <= half + 1
        else found
    )
    yield Sequence(
        "MOT17-11", "MOT17-11 second half", 30.0, range(half + 1, max(truth) + 1), moved, people, others
    )
    found, truth = mot(data / "mot15/TUD-Campus/det.txt"), mot(data / "mot15/TUD-Campus/gt.txt")
    yield Sequence("TUD-Campus", "TUD-Campus", 25.0, range(1, max(truth) + 1), found, truth, {})


def merged(a: Rows, b: Rows) -> Rows:
    """The rows of both."""
    return {f: np.concatenate([r[f] for r in (a, b) if f in r]) for f in {*a, *b}}


def overlaps(a: np.ndarray, b: np.ndarray, over: str = "union") -> np.ndarray:
    """(N, M) intersection over union, or over the first box's own area."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (high - low).clip(0).prod(-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(1) for x in (a, b))
    whole = area_a[:, None] + (area_b - inter if over == "union" else 0 * inter)
    return inter / np.maximum(whole, 1e-9)


def track(make, sequence: Sequence) -> Rows:
    """The tracker's rows (id, x1, y1, x2, y2) of each frame."""
    tracker, results = make(sequence.fps), {}
    for frame in sequence.frames:
        rows = sequence.found.get(frame, np.zeros((0, 7)))
        boxes, scores = rows[:, 1:5].astype(np.float32), rows[:, 5].astype(np.float32)
        got = tracker.update(boxes, scores, np.zeros(len(rows), np.int32), frame / sequence.fps)
        results[frame] = np.asarray(tracker.rows(got), float).reshape(-1, 5)[:, [4, 0, 1, 2, 3]]
    return results


def scored(results: Rows, sequence: Sequence) -> dict:
    """What trackeval wants of one sequence."""
    data: dict = {key: [] for key in ("gt_ids", "tracker_ids", "similarity_scores")}
    numbers: tuple[dict, dict] = ({}, {})
    for frame in sequence.frames:
        true = sequence.truth.get(frame, np.zeros((0, 7)))
        mine = unignored(results[frame], true, sequence.ignored.get(frame, np.zeros((0, 7))))
        for key, rows, known in (("gt_ids", true, numbers[0]), ("tracker_ids", mine, numbers[1])):
            data[key].append(np.array([known.setdefault(i, len(known)) for i in rows[:, 0]], int))
        data["similarity_scores"].append(overlaps(true[:, 1:5], mine[:, 1:5]))
    data |= {
        "num_timesteps": len(sequence.frames),
        "num_gt_ids": len(numbers[0]),
        "num_tracker_ids": len(numbers[1]),
        "num_gt_dets": sum(map(len, data["gt_ids"])),
        "num_tracker_dets": sum(map(len, data["tracker_ids"])),
    }
    return data


def unignored(mine: np.ndarray, true: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Without boxes that match no true object but lie on something that counts neither way."""
    if not len(mine) or not len(ignored):
        return mine
    free = np.ones(len(mine), bool)
    if len(true):
        similar = overlaps(true[:, 1:5], mine[:, 1:5])
        rows, columns = linear_sum_assignment(-similar)
        free[columns[similar[rows, columns] >= 0.5]] = False
    on = overlaps(mine[:, 1:5], ignored[:, 1:5], over="own").max(1) > 0.5
    return mine[~(free & on)]


def evaluate(makers: dict, chosen: list[Sequence]) -> dict[str, dict[str, dict[str, float]]]:
    """{tracker: {group: {metric: percent}}}; "held out" leaves out what ours were tuned on."""
    from trackeval.metrics import CLEAR, HOTA, Identity

    quiet = {"PRINT_CONFIG": False}
    metrics = {"HOTA": HOTA(), "CLEAR": CLEAR(quiet), "Identity": Identity(quiet)}
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name, make in makers.items():
        parts: dict[str, list[dict]] = {}
        for sequence in chosen:
            data = scored(track(make, sequence), sequence)
            one = {key: metric.eval_sequence(data) for key, metric in metrics.items()}
            parts.setdefault(sequence.group, []).append(one)
            if not sequence.name.startswith(TUNED):
                parts.setdefault(sequence.group + ", held out", []).append(one)
        results[name] = {}
        for group, every in parts.items():
            whole = {
                key: metric.combine_sequences({str(n): one[key] for n, one in enumerate(every)})
                for key, metric in metrics.items()
            }
            results[name][group] = {
                "HOTA": 100 * float(np.mean(whole["HOTA"]["HOTA"])),
                "IDF1": 100 * float(whole["Identity"]["IDF1"]),
                "MOTA": 100 * float(whole["CLEAR"]["MOTA"]),
                "switches": float(whole["CLEAR"]["IDSW"]),
            }
        print(name, {g: round(v["HOTA"], 2) for g, v in results[name].items()}, flush=True)
    return results


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    options.add_argument("--only", nargs="*", help="names of trackers")
    asked = options.parse_args()
    makers, missing = available(asked.only)
    results = evaluate(makers, list(sequences(asked.data / "tracks")))
    groups = [g for g in next(iter(results.values())) if g.endswith("held out")]
    head = ["HOTA / IDF1 / MOTA", *(g.removesuffix(", held out") for g in groups)]
    rows = [
        [name, *(" / ".join(f"{by[g][m]:.1f}" for m in ("HOTA", "IDF1", "MOTA")) for g in groups)]
        for name, by in results.items()
    ]
    rows += [[name, *["not run"] * len(groups)] for name in missing]
    print(table(head, rows))
    versions = {package: version(package) for package, _ in TRACKERS.values()} | {
        "trackeval": version("trackeval")
    }
    where = conditions(versions) | {"command": "python benchmarks/tracking_quality.py DATA"}
    if not asked.only:
        save(
            "tracking_quality",
            {"head": head, "rows": rows, "percent": results, "tuned on": TUNED, "not run": missing},
            where,
        )


if __name__ == "__main__":
    main()
