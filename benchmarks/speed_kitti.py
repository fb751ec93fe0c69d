"""Speeds of cars, cyclists and pedestrians against KITTI's 3-D tracks, while the camera car is stationary.

python benchmarks/speed_kitti.py ../shared/data/tracks/kitti

A stretch counts as stationary where at least two labeled vehicles keep their place within 0.5 m/s for two
seconds or more. The calibration comes from KITTI's intrinsics alone (focal length, principal point, a camera
1.65 m over a level road), taken as exact. Boxes are PermaTrack's detections tracked by our tracker, and, for
comparison, the labeled boxes with their own ids. The truth is the slope of the labeled places over half a
second.

A camera at the height of a car's roof sees a meter of road 30 m away in little more than one pixel: most rows
abstain here, as they should.

KITTI is CC BY-NC-SA 3.0 (Geiger et al. 2012).
"""

from __future__ import annotations

import argparse
import gzip
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from bench import conditions, save, table

from edgevid.evaluate.speed import Measured, TrueTrack, evaluate
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.track import Tracker
from edgevid.types import Detections, Tracks

FPS, SIZE, ABOVE = 10.0, (1242, 375), 1.65
MOVING_MPS = 0.8
"""Mean true speed from which an object counts as one that moves."""
LIMITS = (2, 10)
"""Limits of uncertainty in km/h: the default, and a wide one."""
MEASURES = ("mean", "median", "p95", "within 95 %", "abstained", "values")
KINDS = {"Car": 0, "Van": 0, "Truck": 0, "Pedestrian": 1, "Cyclist": 2}


def rows_of(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt") as file:
        return [line.split() for line in file if line.split()[2] in KINDS]


def standing(labels: list[list[str]]) -> list[tuple[int, int]]:
    """Stretches of frames in which at least two vehicles keep their place."""
    places: dict[int, dict[int, np.ndarray]] = {}
    for row in labels:
        if KINDS[row[2]] == 0:
            places.setdefault(int(row[0]), {})[int(row[1])] = np.array([float(row[13]), float(row[15])])
    found: list[list[int]] = []
    for frame in sorted(places):
        before = places.get(frame - 1, {})
        steps = [np.hypot(*(p - before[i])) * FPS for i, p in places[frame].items() if i in before]
        if sum(s < 0.5 for s in steps) >= 2 and np.mean(np.array(steps) < 0.5) >= 0.4:
            if found and frame - found[-1][1] <= 3:
                found[-1][1] = frame
            else:
                found.append([frame, frame])
    return [(a, b) for a, b in found if b - a >= 2 * FPS]


def calibration_of(path: Path) -> CameraCalibration:
    """The calibration of KITTI's intrinsics: meters right of and before the camera."""
    row = next(line for line in path.read_text().splitlines() if line.startswith("P2:")).split()[1:]
    f, cx, cy = float(row[0]), float(row[2]), float(row[6])
    meters = np.array([[-10, 5], [10, 5], [15, 60], [-15, 60]], float)
    pixels = np.column_stack([f * meters[:, 0] / meters[:, 1] + cx, f * ABOVE / meters[:, 1] + cy])
    return make_calibration(pixels, meters, SIZE, region=shapely.box(0, cy + f * ABOVE / 60, *SIZE))


def truth_of(labels: list[list[str]], first: int, last: int) -> dict[str, TrueTrack]:
    """Speeds from the labeled places: the slope over half a second around each frame."""
    places: dict[str, list[tuple[int, float, float]]] = {}
    for row in labels:
        if first <= int(row[0]) <= last:
            places.setdefault(row[1], []).append((int(row[0]), float(row[13]), float(row[15])))
    made = {}
    for name, rows in places.items():
        r = np.array(rows)
        speeds = []
        for frame in r[:, 0]:
            near = r[np.abs(r[:, 0] - frame) <= 3]
            if len(near) >= 4:
                vx, vz = (np.polyfit(near[:, 0] / FPS, near[:, k], 1)[0] for k in (1, 2))
                speeds.append((frame / FPS, np.hypot(vx, vz)))
        if len(speeds) >= 5:
            t, v = np.array(speeds).T
            made[name] = TrueTrack(t, v)
    return made


def boxes_at(rows: list[list[str]], frame: int, start: int) -> tuple[list[list[str]], np.ndarray]:
    """Rows of a frame and their boxes; `start` is the column of the box."""
    here = [row for row in rows if int(row[0]) == frame]
    return here, np.array([[float(v) for v in row[start : start + 4]] for row in here]).reshape(-1, 4)


def run(
    calibration: CameraCalibration,
    labels: list[list[str]],
    given: list[list[str]] | None,
    first: int,
    last: int,
    **how: Any,
) -> list[Measured]:
    """Measured speeds under the labels' ids; `given` None takes the labeled boxes and ids."""
    speed_estimator, tracker, found = SpeedEstimator(calibration, SIZE, **how), Tracker(), []
    owner: dict[int, str] = {}
    for frame in range(first, last + 2):
        true, there = boxes_at(labels, frame, 6)
        if frame > last:
            tracks = Tracks.empty()
        elif given is None:
            zero = np.zeros(len(true))
            tracks = Tracks.of(ids=[int(r[1]) + 1 for r in true], boxes=there, scores=zero + 1, labels=zero,
                               match=np.arange(len(true)), age=zero, unseen=zero)  # fmt: skip
            owner |= {int(r[1]) + 1: r[1] for r in true}
        else:
            here, boxes = boxes_at(given, frame, 6)
            seen = Detections.of(boxes=boxes, scores=[float(r[-1]) for r in here],
                                 labels=[KINDS[r[2]] for r in here])  # fmt: skip
            tracks = tracker.update(seen, frame / FPS)
            for i, box in zip(tracks.ids.tolist(), tracks.boxes, strict=True):
                overlap = iou(box, there)
                if len(overlap) and overlap.max() > 0.5 and i not in owner:
                    owner[i] = true[int(overlap.argmax())][1]
        report = speed_estimator.update(tracks, frame / FPS)
        kinds = {"live": report.live, "smoothed": report.smoothed, "track speed": report.track_speeds}
        for kind, rows in kinds.items():
            found += [Measured(kind, owner[r.id], r.time, r.mps, r.sigma, r.reason.name)
                      for r in rows if r.id in owner]  # fmt: skip
    return found


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = np.clip(high - low, 0, None).prod(1)
    return both / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - both)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    chosen = options.parse_args()
    head = ["absolute error, km/h", "mean", "median", "95th percentile", "within 95 %", "abstained", "values"]
    rows, kept = [], {}
    for path in sorted(chosen.data.glob("label_02/*.txt.gz")):
        labels, name = rows_of(path), path.name.partition(".")[0]
        for first, last in standing(labels):
            calibration = calibration_of(chosen.data / "calib" / f"{name}.txt")
            truth = truth_of(labels, first, last)
            given = rows_of(chosen.data / "permatrack_det_train" / path.name)
            driving = {i: track for i, track in truth.items() if track.mean() > MOVING_MPS}
            for (label, boxes), limit in product((("detections", given), ("labeled boxes", None)), LIMITS):
                measured = run(calibration, labels, boxes, first, last, click_px=0.0, sigma_limit_mps=limit / 3.6)
                found, moving = evaluate(truth, measured), evaluate(driving, measured)
                for which, scores in (("all", found), ("moving", moving)):
                    errors = scores.tables["Errors"]
                    cells = {row[0]: dict(zip(errors.heads[1:], row[1:], strict=True)) for row in errors.rows}
                    for kind in errors.heads[1:]:
                        if kind == "track speed" or boxes is None:
                            continue  # in the file, not in the table
                        title = f"{name}[{first}..{last}], {kind}, {which}, limit {limit} km/h"
                        rows.append([title, *(str(cells[key][kind]).replace(" km/h", "") for key in MEASURES)])
                kept[f"{name} {first}-{last} {label}, limit {limit} km/h"] = {
                    key: None if value != value else round(value, 4) for key, value in found.values.items()
                }
    print(table(head, rows))
    where = conditions()
    where["command"] = "python benchmarks/speed_kitti.py ../shared/data/tracks/kitti"
    save("speed_kitti", {"head": head, "rows": rows, "scores": kept}, where)


if __name__ == "__main__":
    main()
