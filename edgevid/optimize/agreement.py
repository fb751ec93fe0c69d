"""The agreement of two models, and the minimum agreement that passes: one for quantize, build and compare.

Agreement of detectors: in each frame and class, pairs of boxes (one of each model) are matched in order of decreasing
IoU, each box at most once, down to IoU 0.5. With M matches, A boxes of the reference and B of the candidate, summed
over all frames, the agreement is 2 M / (A + B), the F1 score of one against the other. A box counts where its score is
greater than the score threshold, as in `Detector`. The other tasks have their own definitions in compare/tasks.py."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError, check_choice
from edgevid.optimize.frames import NamedFrame
from edgevid.runtime import Engine, Precision, Recipe, TensorSpec
from edgevid.types import Array, Detections

FLOORS: Mapping[Precision, float] = MappingProxyType({"fp32": 0.99, "fp16": 0.99, "int8": 0.97})
"""Minimum agreement by precision where neither the caller nor the recipe states one."""
MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Floor:
    """The minimum agreement that passes."""

    value: float  # 0 to 1
    source: str  # Who set it: --min-agreement, the recipe, or the default of the precision


def floor_of(recipe: Recipe, precision: Precision, min_agreement: float | None = None) -> Floor:
    """`min_agreement` where given, else the recipe's floor where its metric is "agreement", else FLOORS. InputError for
    another precision or a value outside 0 to 1."""
    check_choice(precision, FLOORS, "precision")
    if min_agreement is not None:
        if not 0 <= min_agreement <= 1:
            raise InputError(f"--min-agreement: expected 0 to 1 (0.97 is 97 %), got {min_agreement}")
        return Floor(min_agreement, "--min-agreement")
    stated = recipe.precisions.get(precision)
    if stated is not None and stated.metric == "agreement":  # the floor of another metric needs labels
        return Floor(stated.floor, f"the recipe of {recipe.name}")
    return Floor(FLOORS[precision], f"the default for {precision}")


def match_boxes(a: Detections, b: Detections, min_iou: float = MATCH_IOU) -> tuple[Array, Array]:
    """(M, 2) rows of `a` and `b` that match one to one, and their IoU (M,), greatest first.

    >>> one = Detections.of(boxes=[[0, 0, 10, 10]], scores=[0.9], labels=[0])
    >>> two = Detections.of(boxes=[[0, 0, 10, 9], [0, 0, 10, 10]], scores=[0.5, 0.6], labels=[0, 1])
    >>> match_boxes(one, two)[0].tolist()
    [[0, 0]]
    """
    overlap = kernels.iou(a.boxes, b.boxes) * (a.labels[:, None] == b.labels[None])
    candidates = np.argwhere(overlap >= np.float32(min_iou))
    matches, free = dict[int, int](), set(range(len(b)))
    for i, j in candidates[np.argsort(-overlap[tuple(candidates.T)], kind="stable")].tolist():
        if i not in matches and j in free:
            matches[i] = j
            free.remove(j)
    pairs = np.array([*matches.items()], np.int64).reshape(-1, 2)
    return pairs, np.asarray(overlap[tuple(pairs.T)], np.float32)


@dataclass(frozen=True, slots=True)
class TopClass:
    """The most probable class of one frame."""

    label: int  # Index of the class, -1 where the answer is not finite
    name: str
    probability: float

    @classmethod
    def of(cls, row: Array, names: tuple[str, ...]) -> "TopClass":
        """The argmax of (C,) probabilities.

        >>> TopClass.of(np.array([0.2, 0.8]), ("walk", "run")).name
        'run'
        """
        if not np.isfinite(row).all():
            return cls(-1, "not finite", float("nan"))
        best = int(row.argmax())
        return cls(best, names[best], float(row[best]))


@dataclass(frozen=True, slots=True, eq=False)
class FramePair:
    """The answers of both models to one frame."""

    frame: NamedFrame
    agreeing: float  # How much of `total` agrees
    total: float  # What can agree: boxes of both, joints, or 1 for a class
    drift: float  # Largest difference of a score
    difference: str  # The differences as text
    reference: Any  # Detections, TopClass, or (K, 3) joints as x, y, score in frame pixels; None for features
    candidate: Any
    rows: Array | None = None  # (M, 2) rows of matches: boxes, or joints that agree

    @property
    def severity(self) -> tuple[float, float]:
        """Sorts the worst frames: what disagrees, then the drift of scores."""
        return self.total - self.agreeing, self.drift

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values: dict[str, Any] = {"frame": self.frame.name, "differing": round(self.total - self.agreeing, 4),
                                  "of": round(self.total, 4), "drift": round(self.drift, 4),
                                  "difference": self.difference}  # fmt: skip
        if isinstance(self.reference, Detections):
            values["reference"], values["candidate"] = map(_plain, (self.reference, self.candidate))
        elif isinstance(self.reference, TopClass):
            values["reference"], values["candidate"] = self.reference.name, self.candidate.name
        return values


@dataclass(frozen=True, slots=True)
class TaskMetrics:
    """The agreement of both models' answers over all frames."""

    task: str  # The recipe's task
    agreement: float  # 0 to 1, defined by `definition`
    total: float  # What could agree; 0 where neither model found anything, which verifies nothing
    count: int
    unit: str  # What was counted: "boxes", "frames", "joints"
    condition: str  # The condition of a match, for the summary
    definition: str  # The definition of the agreement
    details: Mapping[str, Any]  # Further metrics by name
    scores: Array | None = None  # (M, 2) scores that the reference and the candidate give to the same box

    def figures(self) -> list[tuple[str, str]]:
        """The details as text."""
        return [(key, f"{v:.4f}" if isinstance(v, float) else str(v)) for key, v in self.details.items()]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        details = {k: round(v, 6) if isinstance(v, float) else v for k, v in self.details.items()}
        head = {"task": self.task, "agreement": round(self.agreement, 6), "definition": self.definition}
        return {**head, "compared": self.count, "unit": self.unit, **details}


def percent(share: float) -> str:
    """A share as a percentage that never rounds up to a floor above it.

    >>> percent(0.96999), percent(0.97), percent(1.0)
    ('96.9 %', '97.0 %', '100.0 %')
    """
    return f"{int(share * 1000 + 1e-6) / 10:.1f} %"


def shortfall(name: str, found: TaskMetrics | None, floor: Floor, remedy: str) -> str:
    """Why a file does not pass, with what to do; empty where it does, and where nothing was measured."""
    if found is None or (found.total and found.agreement >= floor.value):
        return ""
    if not found.total:
        what = f"neither it nor the model found any {found.unit} in these frames"
        return f"{name} is unverified: {what}; give frames that show what the model detects"
    return f"{name} agrees on {percent(found.agreement)}, below the floor of {percent(floor.value)}: {remedy}"


def _plain(found: Detections) -> list[list[float]]:
    columns = (found.boxes.round(1), found.scores[:, None].round(4), found.labels[:, None])
    return np.concatenate(columns, axis=1).astype(float).round(4).tolist() if len(found) else []


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output of two engines over all frames; values that are not finite in either are left out."""

    name: str
    max_abs: float  # Largest |a - b|, in the output's own unit
    mean_abs: float  # Mean |a - b|
    scale: float  # Root mean square of the reference, to compare the errors with
    cosine: float  # Mean over the frames of cos(a, b) of the flattened output; 1 where both are zero
    min_cosine: float  # That of the frame with the least
    non_finite: int  # Values finite in the reference and NaN or infinite in the candidate
    HEADS: ClassVar = ("output", "max |a-b|", "mean |a-b|", "rms of a", "mean cosine", "min cosine", "NaN or inf")

    def cells(self) -> tuple[str, ...]:
        """The row of a table under HEADS."""
        errors = (f"{value:.4g}" for value in (self.max_abs, self.mean_abs, self.scale))
        return (self.name, *errors, f"{self.cosine:.6f}", f"{self.min_cosine:.6f}", str(self.non_finite))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rounded to six significant digits."""
        return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in asdict(self).items()}


class RecordingEngine:
    """An engine that keeps its last outputs, and when it was called and returned them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.last: dict[str, Array] = {}  # The arrays of the last run, valid until the next
        self.called = self.returned = 0.0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The engine's outputs."""
        self.called = time.perf_counter()
        self.last = self._engine.run(inputs)
        self.returned = time.perf_counter()
        return self.last

    def close(self) -> None:
        """Does nothing: the engine belongs to the caller."""


class OutputTally:
    """Sums up differences frame by frame."""

    def __init__(self, specs: tuple[TensorSpec, ...]) -> None:
        self._rows: dict[str, list[tuple[float, ...]]] = {spec.name: [] for spec in specs}
        self.uncompared = 0  # Frames on which the shapes of an output differed

    def add(self, a: Mapping[str, Array], b: Mapping[str, Array]) -> None:
        """One more frame; where the batches differ, the first image's rows are compared."""
        compared = True
        for name, rows in self._rows.items():
            left, right = np.asarray(a[name]), np.asarray(b[name])
            if left.shape != right.shape and left.ndim == right.ndim and left.ndim:
                left, right = left[:1], right[:1]
            compared &= left.shape == right.shape
            if left.shape == right.shape:
                rows.append(_differences(left, right))
        self.uncompared += not compared

    def metrics(self) -> tuple[OutputParity, ...]:
        """One row per output that was compared at least once."""
        made = []
        for name, rows in self._rows.items():
            if rows:
                high, total, squares, counts, non_finite, cosines = np.array(rows).T
                count = max(counts.sum(), 1)
                means = float(total.sum() / count), float(np.sqrt(squares.sum() / count)), float(cosines.mean())
                made.append(OutputParity(name, float(high.max()), *means, float(cosines.min()), int(non_finite.sum())))
        return tuple(made)


def _differences(left: Array, right: Array) -> tuple[float, ...]:
    """Of one frame: largest and summed |a - b|, sum of a^2, their count, values not finite in b alone, and cosine."""
    a, b = (np.asarray(x, np.float64).ravel() for x in (left, right))
    finite = np.isfinite(a)
    both = finite & np.isfinite(b)
    non_finite = int((finite & ~both).sum())
    if not both.all():
        a, b = a[both], b[both]
    off, similarity = np.abs(a - b), 0.0 if non_finite and not len(a) else cosine(a, b)
    return float(off.max(initial=0.0)), float(off.sum()), float(a @ a), len(a), non_finite, similarity


def cosine(a: Array, b: Array) -> float:
    """Cosine similarity of two vectors; 1 where both are zero, 0 where one is or a value is not finite."""
    norm = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    if norm == 0 or not math.isfinite(norm):
        return float(not a.any() and not b.any())
    return min(1.0, float(a @ b) / norm)
