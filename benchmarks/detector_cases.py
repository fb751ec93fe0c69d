"""The held-out images and labels that the detector's benchmarks judge by, and average precision."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgevid.kernels import iou
from edgevid.learn.detector.data import Sample, load
from edgevid.learn.detector.network import CLASSES
from edgevid.types import Array, Detections, Frame
from edgevid.video.images import read_image
from edgevid.video.open import open_video

LABELS = Path(__file__).parent / "labels"
EYE = (("vehicle_counting_tf_input", "car"), ("intel_one-by-one-person-detection", "person"))
"""Clips with labels by eye, and the class that was labeled."""
NOTHING = np.zeros((0, 4), np.float32)


class Case(NamedTuple):
    """One image, its true boxes of one class, and the boxes that count neither way."""

    frame: Frame
    truth: Array
    neither: Array


def average_precision(cases: Sequence[tuple[Detections, Array, Array]]) -> float:
    """AP50, 101 recalls, of (detections of one class, true boxes, boxes that count neither way).

    A detection that matches nothing is left out where it overlaps a box of `neither` by IoU 0.3 or lies
    in one by half of its own area.
    """
    scored: list[tuple[float, bool]] = []
    total = 0
    for found, truth, neither in cases:
        total += len(truth)
        free = np.ones(len(truth), bool)
        for row in np.argsort(-found.scores, kind="stable"):
            box = found.boxes[row : row + 1]
            match = np.where(free, iou(box, truth)[0], 0.0) if len(truth) else np.zeros(0)
            if len(match) and match.max() >= 0.5:
                free[match.argmax()] = False
                scored.append((float(found.scores[row]), True))
            elif not _excused(box, neither):
                scored.append((float(found.scores[row]), False))
    if not total or not scored:
        return 0.0
    true_positives = np.cumsum([hit for _, hit in sorted(scored, key=lambda s: -s[0])])
    precision = np.maximum.accumulate((true_positives / np.arange(1, len(true_positives) + 1))[::-1])[::-1]
    recall = true_positives / total
    return float(np.mean([precision[recall >= r].max(initial=0) for r in np.linspace(0, 1, 101)]))


def at_default(detect: Callable[[Frame], Detections], cases: Sequence[Case]) -> tuple[int, int, int]:
    """Right and counted detections, and true boxes, at a detector's own scores."""
    right = given = 0
    for case in cases:
        found, free = detect(case.frame), np.ones(len(case.truth), bool)
        for row in np.argsort(-found.scores, kind="stable"):
            box = found.boxes[row : row + 1]
            match = np.where(free, iou(box, case.truth)[0], 0.0) if len(case.truth) else np.zeros(1)
            if hit := bool(match.max() >= 0.5):
                free[match.argmax()] = False
            right, given = right + hit, given + (hit or not _excused(box, case.neither))
    return right, given, sum(len(case.truth) for case in cases)


def only(found: Detections, names: Sequence[str], expected: str) -> Detections:
    """The detections of one class."""
    return found[found.labels == list(names).index(expected)]


def _excused(box: Array, neither: Array) -> bool:
    if not len(neither):
        return False
    low, high = np.maximum(box[:, :2], neither[:, :2]), np.minimum(box[:, 2:], neither[:, 2:])
    inside = (high - low).clip(0).prod(1) / max(float((box[0, 2:] - box[0, :2]).prod()), 1e-6)
    return bool(iou(box, neither).max() >= 0.3 or inside.max() >= 0.5)


def photos(data: Path, every: int = 2) -> list[Case]:
    """Photos with human person boxes: by default every second labeled COCO photo, by number, which are held out."""
    labels = sorted((data / "images" / "coco_val2017_100_person_kpt_labels").glob("*.txt"))[::every]
    cases = []
    for path in labels:
        image = read_image(data / "images" / "coco_val2017_100" / f"{path.stem}.jpg")
        if image is None:
            continue
        rows = np.array([[float(v) for v in line.split()[1:5]] for line in path.read_text().splitlines()])
        size = np.array([image.shape[1], image.shape[0]] * 2)
        rows = rows.reshape(-1, 4)
        boxes = np.concatenate([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2], 1) * size
        cases.append(Case(Frame(image, 0.0, 0), boxes.astype(np.float32), NOTHING))
    return cases


def roads(data: Path, expected: str) -> list[Case]:
    """The images of roads/val with the boxes of one class."""
    return cases_of(load(data / "roads" / "val", CLASSES), expected)


def cases_of(samples: list[Sample], expected: str) -> list[Case]:
    """Labeled images with the boxes of one class; ignored places count neither way."""
    cases = []
    for sample in samples:
        sure = sample.weights > 0
        truth = sample.boxes[sure & (sample.labels == CLASSES.index(expected))]
        cases.append(Case(Frame(np.ascontiguousarray(sample.image), 0.0, 0), truth, sample.boxes[~sure]))
    return cases


def read_eye(name: str) -> dict[int, tuple[Array, Array]]:
    """Frame number -> (true boxes, boxes that count neither way) of one clip labeled by eye."""
    rows: dict[int, tuple[list[list[float]], list[list[float]]]] = {}
    lines = (LABELS / f"{name}.csv").read_text().splitlines()
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        truth, neither = rows.setdefault(int(row["frame"]), ([], []))
        if row["class"] != "empty":
            box = [float(row[k]) for k in ("x1", "y1", "x2", "y2")]
            (neither if row["class"] == "neither" else truth).append(box)
    return {n: (_boxes(truth), _boxes(neither)) for n, (truth, neither) in rows.items()}


def _boxes(rows: list[list[float]]) -> Array:
    return np.asarray(rows, np.float32).reshape(-1, 4)


def eye(data: Path, name: str) -> list[Case]:
    """The frames of a clip that were labeled by eye."""
    labels = read_eye(name)
    with open_video(data / "videos" / f"{name}.mp4") as video:
        return [
            Case(Frame(frame.image.copy(), frame.time, frame.index), *labels[frame.index])
            for frame in video
            if frame.index in labels
        ]


def judge(detect: Callable[[Frame], Detections], cases: Sequence[Case]) -> float:
    """AP50 of a detector's answers, already of the one class wanted, on cases."""
    return average_precision([(detect(case.frame), case.truth, case.neither) for case in cases])
