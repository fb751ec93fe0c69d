"""What is drawn over the frames of a comparison: matched, missed and extra boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgevid.optimize.compare.pair import FramePair
from edgevid.optimize.compare.tasks import MIN_JOINT_SCORE
from edgevid.types import Array, Detections

MIN_DRIFT = 0.1
"""A score that changed by at least this much is written next to its box."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One box or joint on one model's image."""

    kind: Literal["matched", "missed", "extra", "absent"]
    """missed: only the reference has it; extra: only the candidate; absent: the other model has it."""
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in frame pixels; a joint is a small square around its position."""
    label: str
    """Written next to it; may be empty."""
    tooltip: str
    """Shown when the pointer rests on it."""


def marks(pair: FramePair, names: tuple[str, ...]) -> tuple[list[Mark], list[Mark]]:
    """The marks on the reference's image and on the candidate's."""
    if isinstance(pair.reference, Detections):
        return _of_boxes(pair, names)
    if isinstance(pair.reference, np.ndarray):
        return _of_joints(pair)
    return [], []


def _of_boxes(pair: FramePair, names: tuple[str, ...]) -> tuple[list[Mark], list[Mark]]:
    a, b, rows = pair.reference, pair.candidate, pair.rows
    assert rows is not None
    left, right = list[Mark](), list[Mark]()
    for i, j in rows:
        before, after = float(a.scores[i]), float(b.scores[j])
        name = _name(names, int(a.labels[i]))
        tooltip = f"{name}: {before:.2f} and {after:.2f}"
        drifted = abs(after - before) >= MIN_DRIFT
        left.append(Mark("matched", _box(a.boxes[i]), f"{before:.2f}" if drifted else "", tooltip))
        right.append(Mark("matched", _box(b.boxes[j]), f"{after:.2f}" if drifted else "", tooltip))
    sides: tuple[tuple[Detections, Array, Literal["missed", "extra"], list[Mark], list[Mark]], ...]
    sides = ((a, rows[:, 0], "missed", left, right), (b, rows[:, 1], "extra", right, left))
    for table, matched, kind, here, there in sides:
        for k in np.setdiff1d(np.arange(len(table)), matched):
            label = f"{_name(names, int(table.labels[k]))} {float(table.scores[k]):.2f}"
            here.append(Mark(kind, _box(table.boxes[k]), label, f"{kind}: {label}"))
            there.append(Mark("absent", _box(table.boxes[k]), "", f"absent here: {label}"))
    return left, right


def _of_joints(pair: FramePair) -> tuple[list[Mark], list[Mark]]:
    assert pair.rows is not None
    side = max(pair.frame.frame.size) / 120
    matched = set(pair.rows[:, 0].tolist())

    def made(points: Array, kind: Literal["missed", "extra"]) -> list[Mark]:
        return [
            Mark("matched" if k in matched else kind, (x - side, y - side, x + side, y + side), "",
                 f"joint {k}: {s:.2f}")
            for k, (x, y, s) in enumerate(points.tolist())
            if k in matched or s >= MIN_JOINT_SCORE
        ]  # fmt: skip

    return made(pair.reference, "missed"), made(pair.candidate, "extra")


def _box(row: Array) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(v) for v in row)
    return x1, y1, x2, y2


def _name(names: tuple[str, ...], label: int) -> str:
    return names[label] if 0 <= label < len(names) else f"class {label}"
