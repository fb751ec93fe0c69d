"""Boxes in NumPy: overlap, suppression, and the decoding of detector outputs.

Boxes are x1, y1, x2, y2 float32. Every decoder takes a model's output for one image and returns ``(boxes (K, 4)
float32, scores (K,) float32, labels (K,) int32)`` in pixels of the model's input, in anchor order: the anchors whose
best class is above `score_threshold`. Boxes that are NaN, infinite, empty or inside out are dropped; a NaN class
never wins."""

from collections.abc import Sequence

import numpy as np

from edgevid.types import F32, F64, I32, Array

Candidates = tuple[F32, F32, I32]


def iou(a: F32, b: F32) -> F32:
    """(N, M) float32 intersection over union of boxes (N, 4) and (M, 4); 0 where either is empty."""
    size = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inter = np.where((size > 0).all(axis=2), size[..., 0] * size[..., 1], np.float32(0))
    area_a, area_b = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b))
    both = area_a[:, None] + area_b[None, :]
    found: F32 = np.where(inter > 0, inter / np.where(inter > 0, both - inter, 1), 0).astype(np.float32)
    return found


def is_occluded(boxes: F64) -> Array:
    """(N,) whether a nearer box (its bottom is lower in the image) hides over a fifth of the bottom edge, of (N, 4)."""
    left, top, right, bottom = boxes.T
    over = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    hidden = over > 0.2 * np.maximum(right - left, 1e-6)[:, None]
    return np.asarray((hidden & (bottom > bottom[:, None] + 2) & (top < bottom[:, None])).any(1))


def nms(
    boxes: F32, scores: F32, labels: I32, iou_threshold: float, class_aware: bool = True, max_detections: int = 300
) -> I32:
    """(K,) int32 rows that stay, best score first (the earlier row on a tie), at most `max_detections`. Greedy: a box
    stays unless one that already stayed overlaps it by more than `iou_threshold`; with `class_aware` only boxes of the
    same label compete. Rows with NaN in score or box are dropped."""
    rows = np.flatnonzero(~np.isnan(scores) & (boxes[:, 0] <= boxes[:, 2]) & (boxes[:, 1] <= boxes[:, 3]))
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    kept: list[int] = []
    while len(rows) and len(kept) < max_detections:
        best, rows = rows[0], rows[1:]
        kept.append(int(best))
        rivals = labels[rows] == labels[best] if class_aware else np.True_
        covered = iou(boxes[best][None], boxes[rows])[0] > np.float32(iou_threshold)
        rows = rows[~(covered & rivals)]
    return np.array(kept, np.int32)


def _sigmoid(x: F32) -> F32:
    with np.errstate(over="ignore"):
        found: F32 = np.float32(1) / (np.float32(1) + np.exp(-x))
    return found


def _raw_threshold(score_threshold: float, logits: bool) -> np.float32:
    if not logits:
        return np.float32(score_threshold)
    if score_threshold <= 0 or score_threshold >= 1:
        return np.float32(-np.inf if score_threshold <= 0 else np.inf)
    s = np.float32(score_threshold)
    return np.float32(np.log(s / (np.float32(1) - s)))


def _best(scores: F32) -> tuple[F32, I32]:
    """The largest class value of each row (N, C), ignoring NaN, and its first index."""
    safe = np.where(np.isnan(scores), np.float32(-np.inf), scores)
    labels = safe.argmax(axis=1).astype(np.int32)
    return safe[np.arange(len(safe)), labels], labels


def _valid(boxes: F32, scores: F32, labels: I32) -> Candidates:
    """The candidates whose boxes are finite and have an area."""
    with np.errstate(invalid="ignore"):
        size = boxes[:, 2:] - boxes[:, :2]
        keep = (np.isfinite(size) & (size > 0)).all(axis=1)
    return np.ascontiguousarray(boxes[keep], np.float32), scores[keep].astype(np.float32), labels[keep].astype(np.int32)


def _corners(boxes: F32) -> F32:
    """Center and size to corners."""
    half = boxes[:, 2:] * np.float32(0.5)
    with np.errstate(invalid="ignore"):
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def decode_columns(
    boxes: F32, scores: F32, score_threshold: float, xyxy: bool = False, logits: bool = False
) -> Candidates:
    """Anchors along the columns, as YOLOv8 and YOLO11 have them: boxes (4, N), scores (C, N). `xyxy` says that boxes
    are corners and not center and size; `logits` that class values need a sigmoid."""
    return decode_rows(boxes.T, scores.T, score_threshold, None, xyxy, logits)


def decode_rows(
    boxes: F32, scores: F32, score_threshold: float, objectness: F32 | None = None, xyxy: bool = False,
    logits: bool = False,
) -> Candidates:  # fmt: skip
    """Anchors along the rows: boxes (N, 4), scores (N, C); `objectness` (N,) multiplies the scores."""
    floor = _raw_threshold(score_threshold, logits)
    best, labels = _best(scores)
    keep = best > floor
    value = _sigmoid(best) if logits else best
    if objectness is not None:
        with np.errstate(invalid="ignore"):
            value = value * (_sigmoid(objectness) if logits else objectness)
            keep &= (objectness > floor) & (value > np.float32(score_threshold))
    chosen = boxes[keep]
    return _valid(chosen if xyxy else _corners(chosen), value[keep], labels[keep])


def decode_yolox(output: F32, width: int, height: int, strides: Sequence[int], score_threshold: float) -> Candidates:
    """YOLOX: output (N, 5 + C) rows x, y, w, h, objectness, classes, one for each cell of each stride. x and y count
    cells from the anchor's cell, w and h are logarithms of cells (Z. Ge et al., "YOLOX: Exceeding YOLO Series in 2021",
    arXiv:2107.08430)."""
    cells = []
    for stride in strides:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride]
        cells.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
    grid = np.concatenate(cells).astype(np.float32)
    best, labels = _best(output[:, 5:])
    with np.errstate(invalid="ignore"):
        value = output[:, 4] * best
        keep = (output[:, 4] > np.float32(score_threshold)) & (value > np.float32(score_threshold))
    rows, grid = output[keep], grid[keep]
    with np.errstate(over="ignore"):
        sizes = np.exp(rows[:, 2:4]) * grid[:, 2:]
    centers = (rows[:, :2] + grid[:, :2]) * grid[:, 2:]
    return _valid(_corners(np.concatenate([centers, sizes], axis=1)), value[keep], labels[keep])


def decode_dfl(
    scores: F32, distances: F32, columns: int, stride: float, offset: float, score_threshold: float,
    logits: bool = False,
) -> Candidates:  # fmt: skip
    """One level of a head that predicts each side's distance as a distribution (NanoDet, PicoDet). `scores` (N, C),
    `distances` (N, 4 * bins) logits for left, top, right, bottom in strides, `columns` cells a row, `offset` of the
    anchor within its cell (X. Li et al., "Generalized Focal Loss", arXiv:2006.04388)."""
    best, labels = _best(scores)
    keep = best > _raw_threshold(score_threshold, logits)
    value = (_sigmoid(best) if logits else best)[keep]
    bins = distances.shape[1] // 4
    raw = distances[keep].reshape(-1, 4, bins)
    weights = np.exp(raw - raw.max(axis=2, keepdims=True))
    mean = (weights * np.arange(bins, dtype=np.float32)).sum(axis=2) / weights.sum(axis=2)
    side = mean * np.float32(stride)
    cells = np.flatnonzero(keep)
    center = (np.stack([cells % columns, cells // columns], axis=1) + offset).astype(np.float32)
    center *= np.float32(stride)
    return _valid(np.concatenate([center - side[:, :2], center + side[:, 2:]], axis=1), value, labels[keep])


def decode_fastestdet(output: F32, columns: int, width: int, height: int, score_threshold: float) -> Candidates:
    """FastestDet: output (5 + C, cells) of objectness, x, y, w, h, classes over a grid of `columns`. Score is
    objectness^0.6 * class^0.4 (github.com/dog-qiuqiu/FastestDet, BSD-3-Clause: formulas only)."""
    best, labels = _best(output[5:].T)
    objectness = output[0]
    with np.errstate(invalid="ignore"):
        valid = (objectness > 0) & (best > 0)
        value = np.where(valid, np.abs(objectness) ** np.float32(0.6) * np.abs(best) ** np.float32(0.4), 0)
        keep = value > np.float32(score_threshold)
    cells = np.flatnonzero(keep)
    size = np.array([width, height], np.float32)
    grid = np.array([columns, output.shape[1] // columns], np.float32)
    cell = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    centers = (cell + np.tanh(output[1:3, keep].T)) / grid * size
    sizes = _sigmoid(output[3:5, keep].T) * size
    return _valid(_corners(np.concatenate([centers, sizes], axis=1)), value[keep], labels[keep])


def decode_end_to_end(output: F32, score_threshold: float) -> Candidates:
    """Rows x1, y1, x2, y2, score, label of a model that suppresses duplicates itself: output (N, 6)."""
    with np.errstate(invalid="ignore"):
        keep = (output[:, 4] > np.float32(score_threshold)) & (output[:, 5] >= 0) & (output[:, 5] < 1e6)
    rows = output[keep]
    return _valid(rows[:, :4], rows[:, 4], (rows[:, 5] + np.float32(0.5)).astype(np.int32))
