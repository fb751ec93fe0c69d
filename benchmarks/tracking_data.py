"""Sequences for the tracking benchmarks: public detections with truth, crowds, and harder conditions.

DATA/tracks holds DanceTrack val with YOLOX-X detections, KITTI tracking with PermaTrack detections, the
second half of MOT17-11, and TUD-Campus. `crowd` makes people on a plane before a camera that stands or turns,
with the misses, jitter and false boxes of a detector; its truth is exact.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

GROUPS = ("DanceTrack", "KITTI", "MOT17-11", "TUD-Campus", "Crowd")
TUNED = (
    "dancetrack0004", "dancetrack0007", "dancetrack0014", "dancetrack0019",
    "kitti 0000", "kitti 0001", "kitti 0002",
)  # fmt: skip
"""Sequences on which 0.1.0 was tuned; "held out" leaves them out, as before."""
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
        rows.setdefault(w[2], {}).setdefault(int(w[0]), []).append([float(w[1]), *map(float, w[6:10]), score, 1])
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
    moved = {f - first + half + 1: r for f, r in found.items()} if first <= 1 and max(found) <= half + 1 else found
    yield Sequence("MOT17-11", "MOT17-11 second half", 30.0, range(half + 1, max(truth) + 1), moved, people, others)
    found, truth = mot(data / "mot15/TUD-Campus/det.txt"), mot(data / "mot15/TUD-Campus/gt.txt")
    yield Sequence("TUD-Campus", "TUD-Campus", 25.0, range(1, max(truth) + 1), found, truth, {})


def merged(a: Rows, b: Rows) -> Rows:
    """The rows of both."""
    return {f: np.concatenate([r[f] for r in (a, b) if f in r]) for f in {*a, *b}}


def crowd(seed: int, people: int, seconds: int, turning: float = 0.0, fps: int = 25) -> Sequence:
    """People who walk, stop and hide one another; `turning` is the unrest of the camera's turn."""
    random, frames, focal = np.random.default_rng(seed), seconds * fps, 1400.0
    x, z = random.uniform(-14, 14, people), random.uniform(5, 30, people)
    height, heading = random.normal(1.72, 0.09, people), random.uniform(0, 2 * np.pi, people)
    pace, phase = random.uniform(0.5, 1.8, people), np.arange(people)
    yaw = pitch = turn = nod = 0.0
    bias = random.normal(0, 1, (people, 4))
    truth: Rows = {}
    found: Rows = {}
    for t in range(frames):
        heading += random.normal(0, 0.5, people) / np.sqrt(fps) * 0.8
        step = np.where(np.sin(t / fps * 0.5 + phase) > 0.8, 0, pace) / fps
        x, z = x + step * np.cos(heading), z + step * np.sin(heading)
        heading = np.where(np.abs(x) > 15, np.arctan2(np.sin(heading), -np.sign(x) * np.abs(np.cos(heading))), heading)
        x = np.clip(x, -15, 15)
        beyond = (z < 4.5) | (z > 31)
        heading = np.where(beyond, np.arctan2(-np.sign(z - 18) * np.abs(np.sin(heading)), np.cos(heading)), heading)
        z = np.clip(z, 4.5, 31)
        if turning:
            turn, nod = 0.97 * turn + random.normal(0, turning), 0.95 * nod + random.normal(0, turning / 2)
            yaw, pitch = 0.995 * yaw + turn / fps, 0.98 * pitch + nod / fps
        middle = 960 + focal * x / z + yaw * focal
        foot = 540 + focal * 2.5 / z - 150 + pitch * focal
        head = 540 + focal * (2.5 - height) / z - 150 + pitch * focal
        wide = (foot - head) * 0.38 * (1 + 0.15 * np.sin(t / fps * 6 * pace + phase))
        boxes = np.stack([middle - wide / 2, head, middle + wide / 2, foot], 1)
        inside = (boxes[:, 2] > 20) & (boxes[:, 0] < 1900) & (boxes[:, 3] > 20) & (boxes[:, 1] < 1060)
        visible = np.array([_visible(i, boxes, z, inside) if inside[i] else 1.0 for i in range(people)])
        truth[t] = np.array([[i, *boxes[i], 1, 1] for i in range(people) if inside[i] and visible[i] > 0.1]).reshape(
            -1, 7
        )
        bias = 0.9 * bias + random.normal(0, 0.44, (people, 4))
        found[t] = _detected(random, boxes, wide, foot - head, visible, inside, bias)
    name = f"crowd of {people}" + (", turning camera" if turning else "")
    return Sequence("Crowd", name, float(fps), range(frames), found, truth, {})


def _visible(i: int, boxes: np.ndarray, z: np.ndarray, inside: np.ndarray) -> float:
    """The share of a box that no nearer one covers."""
    across, down = np.linspace(boxes[i, 0], boxes[i, 2], 8), np.linspace(boxes[i, 1], boxes[i, 3], 8)
    covered = np.zeros((8, 8), bool)
    for b in boxes[(z < z[i]) & inside]:
        covered |= ((across > b[0]) & (across < b[2]))[None, :] & ((down > b[1]) & (down < b[3]))[:, None]
    return float(1 - covered.mean())


def _detected(
    random: np.random.Generator,
    boxes: np.ndarray,
    wide: np.ndarray,
    tall: np.ndarray,
    visible: np.ndarray,
    inside: np.ndarray,
    bias: np.ndarray,
) -> np.ndarray:
    """What a detector makes of them: lower scores for hidden people, misses, jitter, false boxes."""
    rows = []
    for i in np.flatnonzero(inside):
        score = 0.97 / (1 + np.exp(-(9 * (visible[i] - 0.38) + random.normal(0, 0.9))))
        if random.random() < 0.02 or score < 0.1:
            continue
        size = np.array([wide[i], tall[i]] * 2)
        jitter = (bias[i] * 0.012 + random.normal(0, 0.012, 4)) * size * (1 + 1.5 * (1 - visible[i]))
        rows.append([-1, *(boxes[i] + jitter), score, 1])
    for _ in range(random.poisson(0.35)):
        tall_one = random.uniform(40, 400)
        left, top = random.uniform(0, 1920), random.uniform(0, 1080)
        rows.append([-1, left, top, left + tall_one * 0.4, top + tall_one, random.beta(2, 4) * 0.95, 1])
    return np.array(rows).reshape(-1, 7)


def everything(data: Path) -> list[Sequence]:
    """The public sequences and four crowds."""
    crowds = [crowd(1, 30, 30), crowd(2, 60, 24), crowd(3, 30, 30, 0.05), crowd(4, 50, 24, 0.08)]
    return [*sequences(data / "tracks"), *crowds]


CONDITIONS = (
    "full", "every2", "every3", "every3+1", "every3+2", "every5", *(f"drop{n}" for n in range(1, 9)),
    "jump1", "noise1", "fps3", "fps2", "fps1",
)  # fmt: skip
"""Every frame; every second, third (from the first, second and third on) and fifth; 30 % of the frames dropped at
random, eight times; a pan of 30 to 80 px at once every two seconds; a poorer detector; 3 to 1 frames per second."""


def noisy(s: Sequence, seed: int) -> Sequence:
    """The same of a poorer detector: 10 % of its boxes are missing, the others tremble by 4 % of their size (standard
    deviation), and every second frame has a false box that looks like one of the true ones, elsewhere."""
    random, found = np.random.default_rng(seed), {}
    for frame, rows in s.found.items():
        rows = rows[random.random(len(rows)) >= 0.1].copy()
        size = np.tile(rows[:, 3:5] - rows[:, 1:3], 2)
        rows[:, 1:5] += random.normal(0, 0.04, (len(rows), 4)) * size
        if len(rows) and random.random() < 0.5:
            false = rows[random.integers(len(rows))].copy()
            false[1:5] += np.tile(random.uniform(-3, 3, 2) * (false[3:5] - false[1:3]), 2)
            false[5] *= random.uniform(0.3, 1)
            rows = np.vstack([rows, false])
        found[frame] = rows
    return s._replace(found=found)


def condition(s: Sequence, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the frames that are left, and how far each one is shifted (F, 2) in pixels."""
    count, kept = len(s.frames), np.arange(len(s.frames))
    shift = np.zeros((count, 2))
    if kind.startswith("every"):
        every, _, first = kind[5:].partition("+")
        kept = kept[int(first or 0) :: int(every)]
    if kind.startswith("fps"):
        kept = kept[:: max(1, round(s.fps / float(kind[3:])))]
    if kind.startswith("drop"):
        kept = kept[np.random.default_rng(1000 + int(kind[4:])).random(count) >= 0.3]
    if kind.startswith("jump"):
        random, every = np.random.default_rng(int(kind[4:])), int(s.fps * 2)
        for start in range(every, count, every):
            pixels, way = random.uniform(30, 80), random.uniform(0, 6.3)
            shift[start:] += pixels * np.array([np.cos(way), np.sin(way)])
    return kept, shift[kept]
