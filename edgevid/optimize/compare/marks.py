"""What is drawn over the frames of a comparison: which boxes agree, were lost or were added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgevid.optimize.compare.pair import Pair
from edgevid.types import Array, Detections

DRIFTED = 0.1
"""A partner's score that changed by this much is written beside its box."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One box or joint on one side's image."""

    kind: str
    """"alike", "lost" (only the reference's), "added" (only the candidate's), "ghost": not here."""
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in frame pixels; a joint is a small square around its place."""
    label: str
    """Written beside it; may be empty."""
    told: str
    """Told when the pointer rests on it."""


def marks(pair: Pair, names: tuple[str, ...]) -> tuple[list[Mark], list[Mark]]:
    """The marks on the reference's image and on the candidate's."""
    if isinstance(pair.reference, Detections):
        return _of_boxes(pair, names)
    if isinstance(pair.reference, np.ndarray):
        return _of_joints(pair)
    return [], []


def _of_boxes(pair: Pair, names: tuple[str, ...]) -> tuple[list[Mark], list[Mark]]:
    a, b, rows = pair.reference, pair.candidate, pair.rows
    assert rows is not None
    left, right = list[Mark](), list[Mark]()
    for i, j in rows:
        before, after = float(a.scores[i]), float(b.scores[j])
        name = _name(names, int(a.labels[i]))
        told = f"{name}: {before:.2f} and {after:.2f}"
        drifted = abs(after - before) >= DRIFTED
        left.append(Mark("alike", _box(a.boxes[i]), f"{before:.2f}" if drifted else "", told))
        right.append(Mark("alike", _box(b.boxes[j]), f"{after:.2f}" if drifted else "", told))
    for table, used, kind, here, there in (
        (a, rows[:, 0], "lost", left, right),
        (b, rows[:, 1], "added", right, left),
    ):
        for k in np.setdiff1d(np.arange(len(table)), used):
            label = f"{_name(names, int(table.labels[k]))} {float(table.scores[k]):.2f}"
            here.append(Mark(kind, _box(table.boxes[k]), label, f"{kind}: {label}"))
            there.append(Mark("ghost", _box(table.boxes[k]), "", f"not here: {label}"))
    return left, right


def _of_joints(pair: Pair) -> tuple[list[Mark], list[Mark]]:
    assert pair.rows is not None
    side = max(pair.given.frame.size) / 120
    alike = set(pair.rows[:, 0].tolist())

    def made(points: Array, kind: str) -> list[Mark]:
        return [
            Mark(
                "alike" if k in alike else kind,
                (x - side, y - side, x + side, y + side),
                "",
                f"joint {k}: {s:.2f}",
            )
            for k, (x, y, s) in enumerate(points.tolist())
            if k in alike or s >= 0.3
        ]  # fmt: skip

    return made(pair.reference, "lost"), made(pair.candidate, "added")


def _box(row: Array) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(v) for v in row)
    return x1, y1, x2, y2


def _name(names: tuple[str, ...], label: int) -> str:
    return names[label] if 0 <= label < len(names) else f"class {label}"
