"""Labeled images: real frames with the boxes of an ensemble, rendered ones with exact boxes.

Real frames: each detector gets the whole frame, its mirror image and four overlapping tiles; weighted box fusion gives
one set of boxes whose score is the share of views that agree. In a clip the boxes are tracked: objects detected in
several frames keep their score, boxes that flicker become ignored regions.

Rendered frames: scenes of `edgevid.synthetic.render` from cameras of many heights, tilts and focal lengths. Occluded
and too small objects are ignored regions."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from edgevid import kernels
from edgevid.detect.detector import Detector
from edgevid.learn.detector.data import label_line, write_image
from edgevid.synthetic import CLASSES, Camera, RenderedStreet, Truth, street
from edgevid.track import Tracker
from edgevid.types import Array, Detections, Frame

LABEL_SCORE, IGNORE_SCORE = 0.40, 0.15  # Fused scores from which a box is a label, and an ignored region
COLUMNS = ("boxes", "scores", "labels")
OVERLAP = 0.55  # IoU from which boxes of one class are one object
ONE_OBJECT = 0.75  # IoU from which boxes of any classes are one object, of the class with the highest score


def detect_classes(detector: Detector, image: Array) -> Detections:
    """Detections in `image` (H, W, 3) uint8 RGB with labels of CLASSES, matched by name."""
    found = detector.detect([Frame(np.ascontiguousarray(image), 0.0, 0)])[0]
    index = [CLASSES.index(name) if name in CLASSES else -1 for name in detector.names]
    labels = np.array(index, np.int32)[found.labels]
    return Detections(boxes=found.boxes, scores=found.scores, labels=labels)[labels >= 0]


def detect_fused(detectors: Sequence[Detector], image: Array) -> Detections:
    """The fused detections of `image` (H, W, 3) uint8 RGB in CLASSES; detectors should keep low scores (0.05)."""
    whole = []
    for detector in detectors:
        mirrored = detect_classes(detector, image[:, ::-1])
        boxes = mirrored.boxes.copy()
        boxes[:, [0, 2]] = image.shape[1] - mirrored.boxes[:, [2, 0]]
        whole += [detect_classes(detector, image), replace(mirrored, boxes=boxes)]
    found = _suppress([fuse(whole), fuse([_tiled(detector, image) for detector in detectors])])
    return found[kernels.nms(found.boxes, found.scores, found.labels, ONE_OBJECT, False, len(found))]


def _tiled(detector: Detector, image: Array) -> Detections:
    """One view of four tiles; boxes at an inner tile edge are dropped for those of the other tiles."""
    high, wide = image.shape[:2]
    tall, broad = int(high * 0.6), int(wide * 0.6)
    parts = []
    for top, left in product((0, high - tall), (0, wide - broad)):
        found = detect_classes(detector, image[top : top + tall, left : left + broad])
        inner = [left > 0, top > 0, left == 0, top == 0]  # the sides of the tile that are not the image's
        cut = ((np.abs(found.boxes - [0, 0, broad, tall]) < 4) & inner).any(1)
        moved = found.boxes + np.array([left, top, left, top], np.float32)
        parts.append(replace(found, boxes=moved)[~cut])
    return _suppress(parts)


def _suppress(parts: Sequence[Detections]) -> Detections:
    """All detections without the lower-scoring ones of a class that overlap."""
    boxes, scores, labels = (np.concatenate([getattr(p, c) for p in parts]) for c in COLUMNS)
    kept = kernels.nms(boxes, scores, labels, OVERLAP, max_detections=len(boxes))
    return Detections(boxes=boxes, scores=scores, labels=labels)[kept]


def fuse(views: Sequence[Detections]) -> Detections:
    """Weighted box fusion of the detections in each view of an image; scores in 0..1.

    Solovyev 2021 (arXiv 1910.13302): boxes of one class that overlap are averaged with their scores as
    weights; the score is the summed score of the best box of each agreeing view over the number of views.

    >>> one = Detections.of(boxes=[[0, 0, 10, 10]], scores=[0.9], labels=[0])
    >>> other = Detections.of(boxes=[[0, 0, 10, 12]], scores=[0.3], labels=[0])
    >>> [round(float(x), 2) for x in fuse([one, other]).boxes[0]]
    [0.0, 0.0, 10.0, 10.5]
    """
    boxes, scores, labels = (np.concatenate([getattr(v, c) for v in views]) for c in COLUMNS)
    origin = np.concatenate([np.full(len(view), n) for n, view in enumerate(views)])
    fused_boxes, fused_scores, fused_labels = [], [], []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        for cluster in _clusters(boxes[rows], scores[rows]):
            members = rows[cluster]
            weights = scores[members][:, None]
            fused_boxes.append((boxes[members] * weights).sum(0) / weights.sum())
            best = np.zeros(len(views), np.float32)
            np.maximum.at(best, origin[members], scores[members])
            fused_scores.append(best.sum() / len(views))
            fused_labels.append(label)
    return Detections.of(boxes=fused_boxes, scores=fused_scores, labels=fused_labels)


def _clusters(boxes: np.ndarray, scores: np.ndarray) -> list[list[int]]:
    """Rows of one object each, in order of score; a row joins the fused box that it overlaps most."""
    clusters: list[list[int]] = []
    centers = np.zeros((0, 4), np.float32)
    for n in range(len(boxes)):
        shared = kernels.iou(boxes[n : n + 1], centers)[0] if clusters else np.zeros(0)
        if len(shared) and shared.max() > OVERLAP:
            k = int(shared.argmax())
            clusters[k].append(n)
            weights = scores[clusters[k]][:, None]
            centers[k] = (boxes[clusters[k]] * weights).sum(0) / weights.sum()
        else:
            clusters.append([n])
            centers = np.concatenate([centers, boxes[n : n + 1]])
    return clusters


def smooth_scores(labeled: Sequence[tuple[float, Detections]]) -> list[Detections]:
    """Scores averaged along each track; the score of a box without a track of 3 frames is halved. `labeled` are (time,
    detections) of one clip in order."""
    tracker = Tracker()
    members: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for n, (time, detections) in enumerate(labeled):
        tracks = tracker.update(detections, time)
        for i, row in zip(tracks.ids, tracks.match, strict=True):
            if row >= 0:
                members[int(i)].append((n, int(row)))
    scores = [detections.scores * 0.5 for _, detections in labeled]
    for places in members.values():
        if len(places) >= 3:
            mean = float(np.mean([labeled[n][1].scores[row] for n, row in places]))
            for n, row in places:
                scores[n][row] = 0.5 * (mean + labeled[n][1].scores[row])
    return [replace(d, scores=s.astype(np.float32)) for (_, d), s in zip(labeled, scores, strict=True)]


def label_lines(detections: Detections) -> str:
    """The label file of one image: confident boxes with their weight, others as ignored regions."""
    rows = [row for row in detections if row.score >= IGNORE_SCORE]
    weights = [min(1.0, 0.4 + row.score) if row.score >= LABEL_SCORE else -1.0 for row in rows]
    return "".join(label_line(CLASSES[r.label], r.box, weight) for r, weight in zip(rows, weights, strict=True))


def write_clip(clip: str, frames: Iterable[Frame], detectors: Sequence[Detector], folder: Path, *,
               every_s: float) -> Mapping[str, int]:  # fmt: skip
    """Labels one clip's frames, `every_s` seconds apart, into a data folder; counts labels by class."""
    kept: list[Array] = []
    labeled: list[tuple[float, Detections]] = []
    due = -np.inf
    for frame in frames:
        if frame.time >= due:
            due = frame.time + every_s - 1e-6
            kept.append(frame.image.copy())
            labeled.append((frame.time, detect_fused(detectors, frame.image)))
    smoothed = smooth_scores(labeled) if len(labeled) > 2 else [d for _, d in labeled]
    counts = Counter[str]()
    for n, (image, detections) in enumerate(zip(kept, smoothed, strict=True)):
        text = label_lines(detections)
        write_image(folder, f"{clip}_{n:05d}", image, text)
        counts.update(line.split()[0] for line in text.splitlines() if not line.endswith("-1.00"))
    return counts


MAX_OCCLUDED = 0.6  # Share of a box behind nearer boxes above which it is an ignored region
MIN_SIDE_PX = 12.0  # Longer side of a box, in pixels, from which it is a label


def random_camera(random: np.random.Generator) -> Camera:
    """A plausible street camera of 1280x720."""
    focal, height, pitch = (float(random.uniform(*ends)) for ends in ((600, 1500), (4, 12), (6, 28)))
    return Camera(1280, 720, focal=focal, height_m=height, pitch=pitch)


def occluded_share(truth: Truth) -> Array:
    """(N,) share of each box that is covered by boxes of nearer objects."""
    order = np.argsort(truth.positions[:, 1], kind="stable")
    share = np.zeros(len(order))
    boxes = np.round(truth.boxes).astype(int)
    mask = np.zeros((boxes[:, 3].max(initial=0) + 1, boxes[:, 2].max(initial=0) + 1), bool)
    for row in order:
        x1, y1, x2, y2 = boxes[row]
        place = mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
        share[row] = place.mean() if place.size else 1.0
        place[:] = True
    return share


def label_text(truth: Truth) -> str:
    """The label file of one rendered frame."""
    occluded, longer = occluded_share(truth), (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(1, initial=0)
    weights = np.where((occluded > MAX_OCCLUDED) | (longer < MIN_SIDE_PX), -1.0, 1.0)
    rows = np.flatnonzero(occluded <= 0.95)
    return "".join(label_line(CLASSES[truth.labels[row]], truth.boxes[row], weights[row]) for row in rows)


def write_rendered(folder: Path, *, scenes: int = 60, frames: int = 6, seed: int = 100) -> int:
    """Writes frames of `scenes` rendered streets into a data folder; returns how many. Seeds count up from `seed`; seed
    8 is the street of `edgevid-demo`."""
    random = np.random.default_rng(seed)
    for scene in range(scenes):
        rendered = RenderedStreet(street(seed + scene, seconds=30, camera=random_camera(random)), seconds=30)
        for time in random.uniform(0, 30, frames):
            stem = f"rendered{scene:03d}_{int(time * 1000):05d}"  # a clip of its own
            write_image(folder, stem, rendered.render(float(time)), label_text(rendered.scene.at(float(time))))
    return scenes * frames
