"""Gate: which frames need the detector. Between detections the tracker predicts, which costs next to nothing."""

from typing import Literal

import numpy as np

from edgevid._opencv import cv2
from edgevid.errors import InputError, shown
from edgevid.types import F32, Array, Detections, Frame, Tracks

Every = Literal["auto"] | int | float | str
EXPECTED = 'auto, a whole number of frames such as 3, or seconds such as "0.2s"'
THRESHOLD, MAX_GAP_S = 8.0, 0.5
SIDE = 180  # Luma is sampled to about so many rows, or columns where there are fewer
HOLD_S = 0.3  # Detection stays at the full rate for so long after a change, and while an object is younger
USUAL, LEARN_S = (2.0, 6.0), 30.0
"""Limits of the usual change of a place in gray levels, and the time in which it is learned."""
AROUND = 0.2  # Share of a box by which it is grown where nothing is learned
EPS = 1e-3  # Seconds by which stamps and sums of them may differ


class Gate:
    """Decides frame by frame whether the detector runs: `due`, then `update` with what was found."""

    def __init__(self, every: Every = "auto", *, threshold: float = THRESHOLD, max_gap_s: float = MAX_GAP_S) -> None:
        """`every`: a whole number of frames, seconds (a float, or a text such as "0.2s"), or "auto": where the luma
        of some place differs from that of the last detected frame by `threshold` times what is usual there, and at
        least every `max_gap_s`. In all three, every frame is due while an object is new or was not detected again.

        InputError for other values."""
        try:
            self.every, self.threshold, self.max_gap_s = parse_every(every), threshold, max_gap_s
        except ValueError:
            raise InputError(f"detect_every: expected {EXPECTED}, got {shown(every)}") from None
        if not (threshold > 0 and max_gap_s > 0):
            raise InputError(f"gate: expected threshold and max_gap_s above 0, got {threshold} and {max_gap_s}")
        self.reset()

    def reset(self) -> None:
        """The next frame is due; what is usual is forgotten."""
        self._small: Array = np.zeros((0, 0), np.float32)
        self._reference, self._usual = self._small, self._small
        self._time = self._detected_at = self._changed_at = -np.inf
        self._skipped, self._unsure, self._tracks = 0, True, Tracks.empty()

    def due(self, frame: Frame) -> bool:
        """Whether the detector has to run on `frame`."""
        time, elapsed = frame.time, frame.time - self._detected_at
        if not elapsed >= 0:  # the source starts again
            self.reset()
        if self.every == "auto":
            if self._change(frame) > self.threshold:
                self._changed_at = time
            waited = elapsed >= self.max_gap_s - EPS
        elif isinstance(self.every, int):
            waited = self._skipped + 1 >= self.every
        else:
            waited = elapsed >= self.every - EPS
        self._time = time
        return self._unsure or waited or time - self._changed_at <= HOLD_S

    def update(self, frame: Frame, tracks: Tracks, detections: Detections | None, start_score: float) -> float:
        """Takes the tracks of a frame, and its detections, None where it was not due. A detection of `start_score`
        that is no track's may be an object that starts. Returns the seconds since the last detected frame."""
        if detections is None:
            self._skipped += 1
            return frame.time - self._detected_at
        self._detected_at, self._skipped, self._reference = frame.time, 0, self._small
        before, self._tracks = self._tracks, tracks[tracks.match >= 0]
        starting = detections.scores >= start_score
        starting[self._tracks.match] = False
        self._unsure = bool(starting.any() or (tracks.age < HOLD_S).any())
        if not np.isin(before.ids, self._tracks.ids).all():  # one was not detected again
            self._changed_at = frame.time
        return 0.0

    def _change(self, frame: Frame) -> float:
        """The largest change of a place since the last detected frame, in units of what is usual there."""
        step = max(1, min(frame.size) // SIDE)
        self._small = frame.luma(slice(None, None, step), slice(None, None, step))
        if self._reference.shape != self._small.shape:
            self._usual, self._unsure = np.full(self._small.shape, USUAL[0], np.float32), True
            return 0.0
        change = self._small - self._reference
        change -= np.median(change[::4, ::4])  # the exposure
        change = np.abs(cv2.blur(change, (3, 3)))
        found = float((change / self._usual).max())
        self._learn(change, min(1.0, (frame.time - self._time) / LEARN_S), step)
        return found

    def _learn(self, change: F32, rate: float, step: int) -> None:
        """What is usual: the mean change where there is no object."""
        boxes = self._tracks.boxes
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2) * np.array([-AROUND, -AROUND, AROUND, AROUND])
        for x1, y1, x2, y2 in np.clip((boxes + sides) / step, 0, 1e6).astype(int).tolist():
            inside = slice(y1, y2 + 1), slice(x1, x2 + 1)
            change[inside] = self._usual[inside]
        self._usual = np.clip(self._usual + rate * (change - self._usual), *USUAL)


def parse_every(every: Every) -> Literal["auto"] | int | float:
    """ "auto", frames or seconds; ValueError for another value.

    >>> parse_every("3"), parse_every("0.2s"), parse_every(0.2), parse_every("auto")
    (3, 0.2, 0.2, 'auto')
    """
    text = str(every).strip()
    if text == "auto":
        return "auto"
    try:
        found = int(text) if text.isdecimal() else float(text.removesuffix("s"))
    except ValueError:
        found = 0
    if not 0 < found < np.inf:
        raise ValueError
    return found
