"""Two detectors on the same frames: matched, missed and extra boxes, and threshold crossings."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.optimize.agreement import BoxAgreement, above_threshold, match_boxes
from edgevid.optimize.compare.pair import FramePair, FrameTask, TaskMetrics
from edgevid.optimize.frames import NamedFrame
from edgevid.runtime import DetectorRecipe, Engine, Recipe
from edgevid.types import Array, Detections

EXACT_IOU = 0.9
MARGIN = 0.1
"""An unmatched box whose partner's score is less than this below the threshold only crossed the threshold."""
DEFINITION = (
    "share of both models' boxes that match one to one, same class, at IoU 0.5 or more: 2 M / (A + B)"
)


@dataclass(slots=True)
class _Sums:
    exact: int = 0
    threshold_crossings: int = 0
    class_changes: int = 0
    ious: list[Array] = field(default_factory=list)
    scores: list[Array] = field(default_factory=list)


class BoxTask(FrameTask):
    """Matches the boxes of two detectors frame by frame."""

    notes: tuple[str, ...] = ()

    def __init__(
        self, a: Engine, b: Engine, recipe: Recipe, other: Recipe, threshold: float | None = None
    ) -> None:
        self._thresholds: list[float] = []
        self._detectors: list[Detector] = []
        for engine, how in ((a, recipe), (b, other)):
            stated = DetectorRecipe.of(how).decode.score_threshold
            limit = stated if threshold is None else threshold
            # Boxes below the threshold are decoded too, to distinguish a missed box from one just below it;
            # suppression goes from the highest score down, so they change nothing above it.
            self._detectors.append(Detector(engine, how, score_threshold=max(limit - MARGIN, 0.0)))
            self._thresholds.append(limit)
        self._boxes, self._sums = BoxAgreement(), _Sums()

    def answer(self, side: int, frame: NamedFrame) -> Detections:
        """Boxes of the reference (0) or the candidate (1), those just below the threshold too."""
        return self._detectors[side].detect([frame.frame])[0]

    def pair(self, frame: NamedFrame, faint_a: Detections, faint_b: Detections) -> FramePair:
        """Matches both models' answers to one frame."""
        a = above_threshold(faint_a, self._thresholds[0])
        b = above_threshold(faint_b, self._thresholds[1])
        rows, ious = self._boxes.add(a, b)
        scores = np.stack((a.scores[rows[:, 0]], b.scores[rows[:, 1]]), axis=1)
        sums = self._sums
        sums.exact += int((ious >= EXACT_IOU).sum())
        sums.ious.append(ious)
        sums.scores.append(scores)
        missed, extra = _unmatched(a, rows[:, 0]), _unmatched(b, rows[:, 1])
        below_a = faint_a[faint_a.scores <= np.float32(self._thresholds[0])]
        below_b = faint_b[faint_b.scores <= np.float32(self._thresholds[1])]
        sums.threshold_crossings += len(match_boxes(missed, below_b)[0]) + len(match_boxes(extra, below_a)[0])
        sums.class_changes += _class_changes(missed, extra)
        drift = float(np.abs(scores[:, 1] - scores[:, 0]).max(initial=0.0))
        text = f"{len(missed)} missed, {len(extra)} extra, {len(rows)} matched, score drift up to {drift:.2f}"
        return FramePair(frame, 2.0 * len(rows), float(len(a) + len(b)), drift, text, a, b, rows)

    def metrics(self) -> TaskMetrics:
        """The sums over all frames."""
        boxes, sums = self._boxes, self._sums
        ious = np.concatenate([np.zeros(0, np.float32), *sums.ious])
        scores = np.concatenate([np.zeros((0, 2), np.float32), *sums.scores])
        drift = scores[:, 1] - scores[:, 0]
        details = {
            "boxes of the reference": boxes.reference,
            "boxes of the candidate": boxes.candidate,
            "matched at IoU 0.5": boxes.matched,
            "matched at IoU 0.9": sums.exact,
            "recall of the reference's boxes": _ratio(boxes.matched, boxes.reference),
            "precision of the candidate's boxes": _ratio(boxes.matched, boxes.candidate),
            "agreement at IoU 0.9": _ratio(2 * sums.exact, boxes.total),
            "mean IoU of matches": float(ious.mean()) if len(ious) else 0.0,
            "score drift, mean": float(drift.mean()) if len(drift) else 0.0,
            "score drift, mean absolute": float(np.abs(drift).mean()) if len(drift) else 0.0,
            "score drift, largest": float(np.abs(drift).max(initial=0.0)),
            "threshold crossings": sums.threshold_crossings,
            "class changes": sums.class_changes,
        }
        total = boxes.total
        return TaskMetrics(
            "detect", boxes.share, float(total), total, "boxes", " at IoU 0.5", DEFINITION, details, scores
        )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _unmatched(table: Detections, matched: Array) -> Detections:
    keep = np.ones(len(table), bool)
    keep[matched] = False
    return table[keep]


def _class_changes(missed: Detections, extra: Detections) -> int:
    """How many unmatched boxes match one of another class."""
    a, b = (Detections(d.boxes, d.scores, np.zeros_like(d.labels)) for d in (missed, extra))
    return len(match_boxes(a, b)[0])
