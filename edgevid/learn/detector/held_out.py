"""What a detector finds in labeled images of clips that it was not trained on."""

from collections.abc import Sequence

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.evaluate.boxes import AREA, TRUE, Box, BoxTable, aligned
from edgevid.evaluate.detection import match
from edgevid.learn.detector.data import Sample
from edgevid.learn.detector.network import CLASSES
from edgevid.types import Frame


def draw_clips(clips: Sequence[str], share: float, seed: int) -> tuple[str, ...]:
    """A share of the different `clips`, drawn by `seed`; at least one of several, none of one."""
    names = np.random.default_rng(seed).permutation(sorted(set(clips)))
    return tuple(names[: min(max(1, round(share * len(names))), len(names) - 1)].tolist())


def average_precisions(detector: Detector, samples: Sequence[Sample]) -> dict[str, float]:
    """AP50 of each class that `samples` have; what is found in ignored regions counts neither way."""
    true, found = list[Box](), list[Box]()
    for n, one in enumerate(samples):
        for box, label, weight in zip(one.boxes, one.labels, one.weights, strict=True):
            true.append(Box("", n, CLASSES[label], tuple(box), role=TRUE if weight > 0 else AREA))
        for row in detector.detect([Frame(np.ascontiguousarray(one.image), 0.0, n)])[0]:
            found.append(Box("", n, detector.names[row.label], tuple(row.box), row.score))
    frames = [("", n) for n in range(len(samples))]
    truth, given, _ = aligned(BoxTable.of(true, frames), BoxTable.of(found, frames))
    made = match(truth, given, np.zeros(len(frames), int), 1)
    ones = np.ones(1, int)
    return {name: float(m.metrics(ones, 0.5)[1]) for name, m in zip(truth.names, made, strict=True) if m.truth.any()}
