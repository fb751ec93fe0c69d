"""The agreement of two models, and the minimum agreement that passes: one for quantize, build and compare.

Agreement of detectors: in each frame and class, pairs of boxes (one of each model) are matched in order of
decreasing IoU, each box at most once, down to IoU 0.5. With M matches, A boxes of the reference and B of the
candidate, summed over all frames, the agreement is 2 M / (A + B), the F1 score of one against the other.
A box counts where its score is greater than the score threshold, as in `Detector`.
The other tasks have their own definitions in compare/tasks.py and compare/clips.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError
from edgevid.runtime import Recipe
from edgevid.runtime.recipe import Precision
from edgevid.types import Array, Detections

METRIC = "agreement"
"""The `metric` of a recipe's [precision.*] whose floor is one of agreement; other metrics need labels."""
FLOORS: Mapping[Precision, float] = MappingProxyType({"fp32": 0.99, "fp16": 0.99, "int8": 0.97})
"""Minimum agreement by precision where neither the caller nor the recipe states one."""
MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Floor:
    """The minimum agreement that passes."""

    value: float
    """0 to 1."""
    source: str
    """Who set it: --min-agreement, the recipe, or the default of the precision."""


def floor_of(recipe: Recipe, precision: Precision, min_agreement: float | None = None) -> Floor:
    """`min_agreement` where given, else the recipe's floor where its metric is "agreement", else FLOORS.

    InputError for another precision or a value outside 0 to 1.
    """
    if precision not in FLOORS:
        raise InputError(f"precision: expected one of {', '.join(FLOORS)}, got {precision!r}")
    if min_agreement is not None:
        if not 0 <= min_agreement <= 1:
            raise InputError(f"--min-agreement: expected 0 to 1 (0.97 is 97 %), got {min_agreement}")
        return Floor(min_agreement, "--min-agreement")
    stated = recipe.precisions.get(precision)
    if stated is not None and stated.metric == METRIC:
        return Floor(stated.floor, f"the recipe of {recipe.name}")
    return Floor(FLOORS[precision], f"the default for {precision}")


def above_threshold(found: Detections, threshold: float) -> Detections:
    """The boxes that count: those whose score is greater than `threshold`."""
    return found[found.scores > np.float32(threshold)]


def match_boxes(a: Detections, b: Detections, min_iou: float = MATCH_IOU) -> tuple[Array, Array]:
    """(M, 2) rows of `a` and `b` that match one to one, and their IoU (M,), greatest first.

    >>> one = Detections.of(boxes=[[0, 0, 10, 10]], scores=[0.9], labels=[0])
    >>> two = Detections.of(boxes=[[0, 0, 10, 9], [0, 0, 10, 10]], scores=[0.5, 0.6], labels=[0, 1])
    >>> match_boxes(one, two)[0].tolist()
    [[0, 0]]
    """
    overlap = kernels.iou(a.boxes, b.boxes) * (a.labels[:, None] == b.labels[None])
    left, right = np.nonzero(overlap >= np.float32(min_iou))
    values = overlap[left, right]
    rows: list[tuple[int, int, float]] = []
    free_a, free_b = np.ones(len(a), bool), np.ones(len(b), bool)
    for k in np.argsort(-values, kind="stable"):
        i, j = int(left[k]), int(right[k])
        if free_a[i] and free_b[j]:
            free_a[i] = free_b[j] = False
            rows.append((i, j, float(values[k])))
    pairs = np.array([r[:2] for r in rows], np.int64).reshape(-1, 2)
    return pairs, np.array([r[2] for r in rows], np.float32)


@dataclass(slots=True)
class BoxAgreement:
    """The sum over frames: boxes of each model, and matched pairs."""

    reference: int = 0
    candidate: int = 0
    matched: int = 0

    def add(self, a: Detections, b: Detections) -> tuple[Array, Array]:
        """Counts one frame's boxes; returns `match_boxes`."""
        rows, ious = match_boxes(a, b)
        self.reference += len(a)
        self.candidate += len(b)
        self.matched += len(rows)
        return rows, ious

    @property
    def total(self) -> int:
        """Boxes of both models."""
        return self.reference + self.candidate

    @property
    def share(self) -> float:
        """2 M / (A + B); 0 where neither model found a box, which verifies nothing."""
        return 2 * self.matched / self.total if self.total else 0.0
