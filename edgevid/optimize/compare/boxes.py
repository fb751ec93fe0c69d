"""Two detectors on the same frames: matched, missed and extra boxes, and threshold crossings."""

from __future__ import annotations

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.errors import ModelError
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
        self._boxes = BoxAgreement()
        self._exact = self._threshold_crossings = self._class_changes = 0
        self._ious, self._scores = list[Array](), list[Array]()

    def answer(self, side: int, frame: NamedFrame) -> Detections:
        """Boxes of the reference (0) or the candidate (1), those just below the threshold too.

        None of a candidate that gives NaN: its raw outputs reject it.
        """
        try:
            return self._detectors[side].detect([frame.frame])[0]
        except ModelError as error:
            if side == 0 or "NaN" not in str(error):
                raise
            return Detections.empty()

    def pair(self, frame: NamedFrame, faint_a: Detections, faint_b: Detections) -> FramePair:
        """Matches both models' answers to one frame."""
        a = above_threshold(faint_a, self._thresholds[0])
        b = above_threshold(faint_b, self._thresholds[1])
        rows, ious = self._boxes.add(a, b)
        scores = np.stack((a.scores[rows[:, 0]], b.scores[rows[:, 1]]), axis=1)
        self._exact += int((ious >= EXACT_IOU).sum())
        self._ious.append(ious)
        self._scores.append(scores)
        missed, extra = (d[np.setdiff1d(np.arange(len(d)), rows[:, k])] for k, d in enumerate((a, b)))
        below_a = faint_a[faint_a.scores <= np.float32(self._thresholds[0])]
        below_b = faint_b[faint_b.scores <= np.float32(self._thresholds[1])]
        self._threshold_crossings += len(match_boxes(missed, below_b)[0])
        self._threshold_crossings += len(match_boxes(extra, below_a)[0])
        self._class_changes += _class_changes(missed, extra)
        drift = float(np.abs(scores[:, 1] - scores[:, 0]).max(initial=0.0))
        text = f"{len(missed)} missed, {len(extra)} extra, {len(rows)} matched, score drift up to {drift:.2f}"
        return FramePair(frame, 2.0 * len(rows), float(len(a) + len(b)), drift, text, a, b, rows)

    def metrics(self) -> TaskMetrics:
        """The sums over all frames."""
        boxes = self._boxes
        ious = np.concatenate([np.zeros(0, np.float32), *self._ious])
        scores = np.concatenate([np.zeros((0, 2), np.float32), *self._scores])
        drift = scores[:, 1] - scores[:, 0]
        details = {
            "boxes of the reference": boxes.reference,
            "boxes of the candidate": boxes.candidate,
            "matched at IoU 0.5": boxes.matched,
            "matched at IoU 0.9": self._exact,
            "recall of the reference's boxes": _ratio(boxes.matched, boxes.reference),
            "precision of the candidate's boxes": _ratio(boxes.matched, boxes.candidate),
            "agreement at IoU 0.9": _ratio(2 * self._exact, boxes.total),
            "mean IoU of matches": float(ious.mean()) if len(ious) else 0.0,
            "score drift, mean": float(drift.mean()) if len(drift) else 0.0,
            "score drift, mean absolute": float(np.abs(drift).mean()) if len(drift) else 0.0,
            "score drift, largest": float(np.abs(drift).max(initial=0.0)),
            "threshold crossings": self._threshold_crossings,
            "class changes": self._class_changes,
        }
        return TaskMetrics(
            "detect", boxes.share, float(boxes.total), boxes.total, "boxes", " at IoU 0.5", DEFINITION,
            details, scores,
        )  # fmt: skip


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _class_changes(missed: Detections, extra: Detections) -> int:
    """How many unmatched boxes match one of another class."""
    a, b = (Detections(d.boxes, d.scores, np.zeros_like(d.labels)) for d in (missed, extra))
    return len(match_boxes(a, b)[0])
