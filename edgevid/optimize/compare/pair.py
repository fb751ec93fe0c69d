"""The values a comparison is made of: what two engines saw in one frame, and the figures over all frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevid.optimize.frames import NamedFrame
from edgevid.types import Array, Detections


@dataclass(frozen=True, slots=True)
class Top:
    """What a classifier says of one frame."""

    label: int
    """Index of the best class, -1 where the answer holds no numbers."""
    name: str
    probability: float

    @classmethod
    def of(cls, row: Array, names: tuple[str, ...]) -> Top:
        """The best of (C,) probabilities.

        >>> Top.of(np.array([0.2, 0.8]), ("walk", "run")).name
        'run'
        """
        if not np.isfinite(row).all():
            return cls(-1, "no numbers", float("nan"))
        best = int(row.argmax())
        return cls(best, names[best], float(row[best]))


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One frame seen by both engines."""

    given: NamedFrame
    agreeing: float
    """How much of `total` is alike."""
    total: float
    """What there was to agree on: boxes of both, joints, or 1 for a class."""
    drift: float
    """Largest difference of a score."""
    words: str
    """The differences in plain words."""
    reference: Any
    """Detections, Top, or (K, 3) joints as x, y, score in frame pixels; None for features."""
    candidate: Any
    rows: Array | None = None
    """(M, 2) rows of partners: boxes, or joints that agree."""

    @property
    def name(self) -> str:
        """The frame's name."""
        return self.given.name

    @property
    def severity(self) -> tuple[float, float]:
        """What the worst frames are sorted by: things that differ, then the drift of scores."""
        return self.total - self.agreeing, self.drift

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found: dict[str, Any] = {
            "frame": self.name, "differing": round(self.total - self.agreeing, 4), "of": round(self.total, 4),
            "drift": round(self.drift, 4), "words": self.words,
        }  # fmt: skip
        if isinstance(self.reference, Detections):
            found["reference"], found["candidate"] = _plain(self.reference), _plain(self.candidate)
        elif isinstance(self.reference, Top):
            found["reference"], found["candidate"] = self.reference.name, self.candidate.name
        return found


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """What a user gets from both engines, over all frames."""

    kind: str
    """The recipe's task."""
    agreement: float
    """0 to 1; `meaning` says of what."""
    total: float
    """What there was to agree on."""
    count: int
    things: str
    """What was counted: "boxes", "frames", "joints"."""
    how: str
    """The condition under which two are alike, for the sentence."""
    meaning: str
    """The definition of the agreement."""
    more: Mapping[str, Any]
    """Further figures by their names."""
    scores: Array | None = None
    """(M, 2) scores that the reference and the candidate give to the same box."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        more = {k: round(v, 6) if isinstance(v, float) else v for k, v in self.more.items()}
        return {
            "kind": self.kind,
            "definition": self.meaning,
            "compared": self.count,
            "unit": self.things,
            **more,
        }


def _plain(found: Detections) -> list[list[float]]:
    columns = (found.boxes.round(1), found.scores[:, None].round(4), found.labels[:, None])
    return np.concatenate(columns, axis=1).astype(float).round(4).tolist() if len(found) else []
