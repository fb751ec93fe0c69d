"""How far a quantized model's answers are from the float model's, on real frames, at the level of the task.

Detectors: agreement is the share of boxes that both models find, 2 M / (A + B): A and B boxes at the score
threshold in use, M of them matched one to one, same class, greedily by overlap, at IoU 0.5 or more.
Classifiers: the share of images with the same best class. Anything else: the least cosine of an output.
Drift is a finer measure of the same, to rank layers by: 0 for equal answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.optimize.compare.boxes import pair_boxes
from edgevid.optimize.quantize.frames import Feed
from edgevid.runtime import Recipe
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.types import Array, Detections, Frame


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two models find alike."""

    share: float
    """0 to 1: see the module's text."""
    first: int
    """Boxes (or images) of the reference."""
    second: int
    both: int
    metric: str

    @property
    def proven(self) -> bool:
        """Whether anything was seen at all: two models that find nothing agree, and it proves nothing."""
        return self.first + self.second > 0


class Judge:
    """The float model's answers on some frames, to hold other models against."""

    def __init__(self, recipe: Recipe, frames: Sequence[Frame], reference: Path) -> None:
        self.recipe, self.frames = recipe, list(frames)
        self.detects = recipe.task == "detect"
        self._answers = self._run(reference)

    def agreement(self, model: Any, *, disable_optimizations: bool = False) -> Agreement:
        """The share that `model` (a path or an onnx ModelProto) finds alike.

        `disable_optimizations` for graphs that are meant for TensorRT: see OrtEngine.
        """
        answers = self._run(model, disable_optimizations)
        if not self.detects:
            return _outputs_agree(self.recipe.task, self._answers, answers)
        threshold = self.threshold
        pairs = [(a[a.scores >= threshold], b[b.scores >= threshold]) for a, b in self._paired(answers)]
        both = sum(len(pair_boxes(a, b)[0]) for a, b in pairs)
        first, second = sum(len(a) for a, _ in pairs), sum(len(b) for _, b in pairs)
        share = 2 * both / (first + second) if first + second else 1.0
        return Agreement(share, first, second, both, METRICS["detect"])

    def drift(self, model: Any, *, disable_optimizations: bool = False) -> float:
        """Mean difference of the answers: of scores and overlaps for boxes, of outputs for anything else.

        A box that one model alone finds counts with its score.
        """
        answers = self._run(model, disable_optimizations)
        if not self.detects:
            return max(_noise(a, b) for a, b in zip(self._answers, answers, strict=True))
        total, count = 0.0, 0
        for a, b in self._paired(answers):
            rows, ious = pair_boxes(a, b)
            total += float(np.abs(a.scores[rows[:, 0]] - b.scores[rows[:, 1]]).sum() + (1 - ious).sum() / 2)
            lone_a, lone_b = np.delete(a.scores, rows[:, 0]), np.delete(b.scores, rows[:, 1])
            total += float(lone_a.sum() + lone_b.sum()) / 2
            count += len(a)
        return total / max(count, 1)

    @property
    def threshold(self) -> float:
        """The score in use: the recipe's."""
        assert self.recipe.decode is not None
        return self.recipe.decode.score

    def busiest(self, count: int) -> Judge:
        """A judge of the `count` frames with the most boxes: what ranks layers soonest."""
        if not self.detects or count >= len(self.frames):
            return self
        order = sorted(range(len(self.frames)), key=lambda i: -len(self._answers[i]))[:count]
        made = object.__new__(Judge)
        made.recipe, made.detects = self.recipe, self.detects
        made.frames = [self.frames[i] for i in order]
        made._answers = [self._answers[i] for i in order]
        return made

    def _paired(self, answers: list[Any]) -> list[tuple[Detections, Detections]]:
        return list(zip(self._answers, answers, strict=True))

    def _run(self, model: Any, disable_optimizations: bool = False) -> list[Any]:
        """Detections at half the score in use, or output arrays, of each frame."""
        data = model.read_bytes() if isinstance(model, Path) else model.SerializeToString()
        with OrtEngine(data, device="cpu", threads=1, disable_optimizations=disable_optimizations) as engine:
            feed = Feed(self.recipe, engine, score=self.threshold / 2 if self.detects else None)
            return [feed.answer(frame) for frame in self.frames]


METRICS = {
    "detect": "box agreement at IoU 0.5",
    "classify": "same best class",
    "": "least cosine of an output",
}
"""What is measured, by task."""


def _outputs_agree(task: str, first: list[dict[str, Array]], second: list[dict[str, Array]]) -> Agreement:
    count = len(first)
    if task == "classify":
        both = sum(
            int(next(iter(a.values())).argmax() == next(iter(b.values())).argmax())
            for a, b in zip(first, second, strict=True)
        )
        return Agreement(both / count, count, count, both, METRICS["classify"])
    cosines = [_cosine(a[k], b[k]) for a, b in zip(first, second, strict=True) for k in a]
    return Agreement(min(cosines), count, count, count, METRICS[""])


def _cosine(a: Array, b: Array) -> float:
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else float(np.array_equal(a, b))


def _noise(a: dict[str, Array], b: dict[str, Array]) -> float:
    """The largest noise-to-signal ratio of an output."""
    ratios = []
    for name, expected in a.items():
        power = float((expected.astype(np.float64) ** 2).sum())
        ratios.append(float(((expected - b[name]).astype(np.float64) ** 2).sum()) / (power or 1.0))
    return max(ratios)
