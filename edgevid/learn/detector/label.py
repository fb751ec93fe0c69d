"""Labels from teachers: several detectors, views and scales agree on what is in a real frame.

Each teacher sees the whole frame, its mirror image and four overlapping tiles; weighted box fusion makes
one set of boxes whose score is the share of views that agree. In a clip the boxes are followed over time:
what is seen again and again is trusted, what flickers becomes a place to leave out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from edgevid.detect.detector import Detector
from edgevid.kernels import iou
from edgevid.learn.detector.fusion import fuse
from edgevid.track import Tracker
from edgevid.types import Array, Detections, Frame

SURE, DOUBTFUL = 0.40, 0.15
"""Fused scores from which a box is a label, and a place to leave out."""


class Ensemble:
    """Teachers that answer together, in the classes of the detector to be trained."""

    def __init__(self, teachers: Sequence[Detector], classes: Sequence[str]) -> None:
        """`teachers` should keep low scores (0.05); their class names are matched to `classes` by name."""
        self.teachers, self.classes = list(teachers), list(classes)

    def look(self, image: Array) -> Detections:
        """What the teachers agree on in `image` (H, W, 3) uint8 RGB."""
        whole = [view for teacher in self.teachers for view in self._whole(teacher, image)]
        tiled = [self._tiled(teacher, image) for teacher in self.teachers]
        both = [fuse(whole), fuse(tiled)]
        return self._best_of(both)

    def _see(self, teacher: Detector, image: Array) -> Detections:
        found = teacher.detect([Frame(np.ascontiguousarray(image), 0.0, 0)])[0]
        names = teacher.names
        mapped = np.array([self.classes.index(n) if n in self.classes else -1 for n in names], np.int32)
        labels = mapped[found.labels]
        known = Detections(boxes=found.boxes, scores=found.scores, labels=labels)
        return known[labels >= 0]

    def _whole(self, teacher: Detector, image: Array) -> Iterator[Detections]:
        yield self._see(teacher, image)
        mirrored = self._see(teacher, image[:, ::-1])
        boxes = mirrored.boxes.copy()
        boxes[:, [0, 2]] = image.shape[1] - mirrored.boxes[:, [2, 0]]
        yield Detections(boxes=boxes, scores=mirrored.scores, labels=mirrored.labels)

    def _tiled(self, teacher: Detector, image: Array) -> Detections:
        """One view made of four tiles; boxes cut by an inner tile edge are left to the other tiles."""
        high, wide = image.shape[:2]
        tall, broad = int(high * 0.6), int(wide * 0.6)
        parts = []
        for top in (0, high - tall):
            for left in (0, wide - broad):
                found = self._see(teacher, image[top : top + tall, left : left + broad])
                inner = np.zeros(len(found), bool)
                for side, limit, outer in (
                    (0, 0, left == 0),
                    (1, 0, top == 0),
                    (2, broad, left > 0),
                    (3, tall, top > 0),
                ):
                    if not outer:
                        inner |= np.abs(found.boxes[:, side] - limit) < 4
                moved = found.boxes + np.array([left, top, left, top], np.float32)
                parts.append(Detections(boxes=moved, scores=found.scores, labels=found.labels)[~inner])
        return self._best_of(parts)

    @staticmethod
    def _best_of(parts: Sequence[Detections]) -> Detections:
        """Of boxes of one class that overlap, the one with the best score."""
        boxes = np.concatenate([p.boxes for p in parts])
        scores = np.concatenate([p.scores for p in parts])
        labels = np.concatenate([p.labels for p in parts])
        order = np.argsort(-scores, kind="stable")
        kept: list[int] = []
        for n in order:
            rivals = [k for k in kept if labels[k] == labels[n]]
            if not rivals or iou(boxes[n : n + 1], boxes[rivals]).max() < 0.55:
                kept.append(int(n))
        return Detections(boxes=boxes, scores=scores, labels=labels)[np.array(kept, int)]


def smooth(seen: Sequence[tuple[float, Detections]]) -> list[Detections]:
    """Scores averaged along each object's track; a box that belongs to no track of 3 is halved.

    `seen` are (time, detections) of one clip in order.
    """
    tracker = Tracker()
    members: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for n, (time, detections) in enumerate(seen):
        tracks = tracker.update(detections, time)
        for i, row in zip(tracks.ids, tracks.match, strict=True):
            if row >= 0:
                members[int(i)].append((n, int(row)))
    scores = [detections.scores * 0.5 for _, detections in seen]
    for places in members.values():
        if len(places) >= 3:
            mean = float(np.mean([seen[n][1].scores[row] for n, row in places]))
            for n, row in places:
                scores[n][row] = 0.5 * (mean + seen[n][1].scores[row])
    return [
        Detections(boxes=d.boxes, scores=s.astype(np.float32), labels=d.labels)
        for (_, d), s in zip(seen, scores, strict=True)
    ]


def label_lines(detections: Detections, classes: Sequence[str]) -> str:
    """The label file of one image: sure boxes with their weight, doubtful ones as places to leave out."""
    lines = []
    for row in detections:
        if row.score < DOUBTFUL:
            continue
        weight = min(1.0, 0.4 + row.score) if row.score >= SURE else -1.0
        corners = " ".join(f"{v:.1f}" for v in row.box)
        lines.append(f"{classes[row.label]} {corners} {weight:.2f}\n")
    return "".join(lines)


def write_clip(
    clip: str, frames: Iterable[Frame], ensemble: Ensemble, folder: Path, *, every_s: float
) -> Mapping[str, int]:
    """Labels one clip's frames, `every_s` seconds apart, into a data folder; counts labels by class."""
    kept: list[Array] = []
    seen: list[tuple[float, Detections]] = []
    due = -np.inf
    for frame in frames:
        if frame.time >= due:
            due = frame.time + every_s - 1e-6
            kept.append(frame.image.copy())
            seen.append((frame.time, ensemble.look(frame.image)))
    smoothed = smooth(seen) if len(seen) > 2 else [d for _, d in seen]
    counts: dict[str, int] = defaultdict(int)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for n, (image, detections) in enumerate(zip(kept, smoothed, strict=True)):
        cv2.imwrite(
            str(folder / "images" / f"{clip}_{n:05d}.jpg"), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92]
        )
        text = label_lines(detections, ensemble.classes)
        (folder / "labels" / f"{clip}_{n:05d}.txt").write_text(text)
        for line in text.splitlines():
            counts[line.split()[0]] += not line.endswith("-1.00")
    return counts
