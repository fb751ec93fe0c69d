"""The values of a comparison: the answers of two models to one frame, and the metrics over all frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgevid.optimize.frames import NamedFrame
from edgevid.types import Array, Detections


@dataclass(frozen=True, slots=True)
class TopClass:
    """The most probable class of one frame."""

    label: int
    """Index of the class, -1 where the answer is not finite."""
    name: str
    probability: float

    @classmethod
    def of(cls, row: Array, names: tuple[str, ...]) -> TopClass:
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
    agreeing: float
    """How much of `total` agrees."""
    total: float
    """What can agree: boxes of both, joints, or 1 for a class."""
    drift: float
    """Largest difference of a score."""
    difference: str
    """The differences as text."""
    reference: Any
    """Detections, TopClass, or (K, 3) joints as x, y, score in frame pixels; None for features."""
    candidate: Any
    rows: Array | None = None
    """(M, 2) rows of matches: boxes, or joints that agree."""

    @property
    def name(self) -> str:
        """The frame's name."""
        return self.frame.name

    @property
    def severity(self) -> tuple[float, float]:
        """Sorts the worst frames: what disagrees, then the drift of scores."""
        return self.total - self.agreeing, self.drift

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values: dict[str, Any] = {
            "frame": self.name, "differing": round(self.total - self.agreeing, 4), "of": round(self.total, 4),
            "drift": round(self.drift, 4), "difference": self.difference,
        }  # fmt: skip
        if isinstance(self.reference, Detections):
            values["reference"], values["candidate"] = map(_plain, (self.reference, self.candidate))
        elif isinstance(self.reference, TopClass):
            values["reference"], values["candidate"] = self.reference.name, self.candidate.name
        return values


@dataclass(frozen=True, slots=True)
class TaskMetrics:
    """The agreement of both models' answers over all frames."""

    task: str
    """The recipe's task."""
    agreement: float
    """0 to 1, defined by `definition`."""
    total: float
    """What could agree; 0 where neither model found anything, which verifies nothing."""
    count: int
    unit: str
    """What was counted: "boxes", "frames", "joints"."""
    condition: str
    """The condition of a match, for the summary."""
    definition: str
    """The definition of the agreement."""
    details: Mapping[str, Any]
    """Further metrics by name."""
    scores: Array | None = None
    """(M, 2) scores that the reference and the candidate give to the same box."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        details = {k: round(v, 6) if isinstance(v, float) else v for k, v in self.details.items()}
        head = {"task": self.task, "agreement": round(self.agreement, 6), "definition": self.definition}
        return {**head, "compared": self.count, "unit": self.unit, **details}


class Task(Protocol):
    """Compares two models frame by frame."""

    @property
    def notes(self) -> tuple[str, ...]: ...
    def compare(self, frame: NamedFrame) -> FramePair: ...
    def metrics(self) -> TaskMetrics: ...


class FrameTask(Task, Protocol):
    """A task whose frames are independent, so that one model's answers can be stored.

    `answer` is that of the reference (0) or the candidate (1), `pair` compares both and counts them.
    """

    def answer(self, side: int, frame: NamedFrame) -> Any: ...
    def pair(self, frame: NamedFrame, a: Any, b: Any) -> FramePair: ...

    def compare(self, frame: NamedFrame) -> FramePair:
        """Both models' answers to one frame."""
        return self.pair(frame, self.answer(0, frame), self.answer(1, frame))


def _plain(found: Detections) -> list[list[float]]:
    columns = (found.boxes.round(1), found.scores[:, None].round(4), found.labels[:, None])
    return np.concatenate(columns, axis=1).astype(float).round(4).tolist() if len(found) else []
