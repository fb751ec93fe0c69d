"""Online temporal action segmentation without flicker.

After OnlineTAS (Zhong et al., NeurIPS 2024): a new label begins only where its score is confident, or where
the current segment has lasted long enough; otherwise the old label continues.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edgevid.errors import InputError
from edgevid.types import Array, Scores


class Segment(NamedTuple):
    """One activity of one object, [start, end) in seconds."""

    id: int
    label: int
    start: float
    end: float


@dataclass(slots=True)
class _Open:
    label: int
    start: float
    newest: float


class OnlineSegments:
    """Stable labels of every object, and its segments as they end."""

    def __init__(self, *, confident: float = 0.9, min_s: float = 0.5, forget_after_s: float = 5.0) -> None:
        """`confident` is the probability that changes a label at once, `min_s` how long a segment must
        have lasted to be ended by less; an object without scores for `forget_after_s` is ended.
        """
        if not 0 <= confident <= 1 or not min_s >= 0:
            raise InputError(f"OnlineSegments: expected confident 0 to 1 and min_s >= 0, got {confident}, {min_s}")
        self.confident, self.min_s, self.forget_after_s = confident, min_s, forget_after_s
        self._open: dict[int, _Open] = {}

    def update(self, scores: Scores) -> tuple[Array, list[Segment]]:
        """(M,) int32 stable label of each row, and the segments that ended now."""
        labels = np.empty(len(scores), np.int32)
        ended: list[Segment] = []
        for row, (id_, values, time) in enumerate(scores):
            best = int(values.argmax())
            held = self._open.get(int(id_))
            if held is None:
                held = self._open[int(id_)] = _Open(best, float(time), float(time))
            elif best != held.label and (values[best] >= self.confident or time - held.start >= self.min_s):
                ended.append(Segment(int(id_), held.label, held.start, float(time)))
                held.label, held.start = best, float(time)
            held.newest = float(time)
            labels[row] = held.label
        now = float(scores.times.max(initial=-np.inf))
        old = [i for i, s in self._open.items() if now - s.newest > self.forget_after_s]
        ended += [Segment(i, s.label, s.start, s.newest) for i in old if (s := self._open.pop(i))]
        return labels, ended

    def finish(self) -> list[Segment]:
        """Ends every open segment, at its last observation."""
        ended = [Segment(i, s.label, s.start, s.newest) for i, s in self._open.items()]
        self._open.clear()
        return ended

    def reset(self) -> None:
        """Forgets every object."""
        self._open.clear()
