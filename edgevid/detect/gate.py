"""Gate: which frames need the detector. In the others the tracker predicts, which costs next to nothing."""

from typing import Literal

import numpy as np

from edgevid._opencv import cv2
from edgevid.errors import InputError, shown
from edgevid.types import F32, Detections, Frame, Tracks

Every = Literal["auto"] | int | float | str  # "auto", each so many frames, or seconds such as "0.2s"
EXPECTED = 'auto, a whole number of frames such as 3, or seconds such as "0.2s"'
THRESHOLD, MAX_GAP_S = 12.0, 0.5
SIDE = 180  # Luma is sampled to about so many rows, or columns where there are fewer
HOLD_S = 0.3  # Every frame is due for so long after a change, and while an object is younger
USUAL, LEARN_S = (2.0, 6.0), 30.0  # Limits of a place's usual change in gray levels, and the time to learn it
AROUND = np.array([-0.2, -0.2, 0.2, 0.2])  # Of an object, to where nothing is learned, in shares of its box
EPS = 1e-3  # Seconds by which stamps and sums of them may differ


class Gate:
    """Decides frame by frame whether the detector runs: `due`, then `update` with what was found."""

    def __init__(self, every: Every = "auto", *, threshold: float = THRESHOLD, max_gap_s: float = MAX_GAP_S) -> None:
        """`every`: a whole number of frames, seconds (a float, or a text such as "0.2s"), or "auto": a frame is due
        where the luma of some place differs from that of the last detected frame by `threshold` times what is usual
        there, and every `max_gap_s`. While an object is new or was not detected again, each frame is due.

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
        self._luma: F32 = np.zeros((0, 0), np.float32)
        self._reference, self._usual = self._luma, self._luma
        self._time = self._detected_at = self._changed_at = -np.inf
        self._skipped, self._unsure, self._tracks = 0, True, Tracks.empty()

    def due(self, frame: Frame) -> bool:
        """Whether the detector has to run on `frame`."""
        if frame.time < self._detected_at:  # the source starts again
            self.reset()
        wait_s = self.max_gap_s if self.every == "auto" else self.every
        if self.every == "auto" and self._change(frame) > self.threshold:
            self._changed_at = frame.time
        counted = isinstance(self.every, int)
        over = self._skipped + 1 >= wait_s if counted else frame.time - self._detected_at >= wait_s - EPS
        return over or self._unsure or frame.time - self._changed_at <= HOLD_S

    def update(self, frame: Frame, tracks: Tracks, detections: Detections | None, start_score: float) -> float:
        """Takes the tracks of a frame, and its detections, None where it was not due. A detection of `start_score`
        that is no track's may be an object that starts. Returns the seconds since the last detected frame."""
        if detections is None:
            self._skipped += 1
            return frame.time - self._detected_at
        self._detected_at, self._skipped, self._reference = frame.time, 0, self._luma
        before, self._tracks = self._tracks, tracks[tracks.match >= 0]
        starting = detections.scores >= start_score
        starting[self._tracks.match] = False
        self._unsure = bool(starting.any() or (tracks.age < HOLD_S).any())
        if not np.isin(before.ids, self._tracks.ids).all():  # one was not detected again
            self._changed_at = frame.time
        return 0.0

    def _change(self, frame: Frame) -> float:
        """The largest change of a place since the last detected frame, in units of what is usual there, which is
        learned where there is no object."""
        step = max(1, min(frame.size) // SIDE)
        self._luma = frame.luma(slice(None, None, step), slice(None, None, step))
        rate, self._time = min(1.0, (frame.time - self._time) / LEARN_S), frame.time
        if self._reference.shape != self._luma.shape:
            self._usual, self._unsure = np.full(self._luma.shape, USUAL[0], np.float32), True
            return 0.0
        change = self._luma - self._reference
        change -= np.median(change[::4, ::4])  # the exposure
        change = np.abs(cv2.blur(change, (3, 3)))
        largest = float((change / self._usual).max())
        boxes = self._tracks.boxes + np.tile(self._tracks.boxes[:, 2:] - self._tracks.boxes[:, :2], 2) * AROUND
        for x1, y1, x2, y2 in np.clip(boxes / step, 0, 1e6).astype(int).tolist():
            change[y1 : y2 + 1, x1 : x2 + 1] = self._usual[y1 : y2 + 1, x1 : x2 + 1]
        self._usual = np.clip(self._usual + rate * (change - self._usual), *USUAL)
        return largest


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
