"""Results made by hand, for tests of outputs."""

from __future__ import annotations

import numpy as np

from edgevid.types import Detections, Frame, Reason, Result, Scores, SpeedReport, Speeds, Tracks, Verdicts


def sample_result(n: int = 2, size: tuple[int, int] = (640, 360)) -> tuple[Frame, Result]:
    """`n` objects in a row: all is emitted of every other one, the rest abstain."""
    x = np.linspace(0.1, 0.8, n) * size[0]
    high = 0.5 * size[1]
    boxes = np.stack([x, np.full(n, 0.3 * size[1]), x + 0.1 * size[0], np.full(n, 0.3 * size[1] + high)], 1)
    zero, ids = np.zeros(n), np.arange(1, n + 1)
    tracks = Tracks.of(
        ids=ids, boxes=boxes, scores=zero + 0.9, labels=zero, match=np.arange(n), age=zero + 1, unseen=zero
    )
    silent = np.arange(n) % 2 == 1
    verdicts = Verdicts.of(
        ids=ids, labels=np.where(silent, -1, 1), confidence=zero + 0.8,
        reason=np.where(silent, Reason.TOO_SMALL, Reason.OK),
    )  # fmt: skip
    speeds = Speeds.of(
        ids=ids, mps=np.where(silent, np.nan, 10.0), sigma=np.where(silent, np.nan, 0.5), heading=zero + 90,
        time=zero + 0.16, reason=np.where(silent, Reason.OFF_PLANE, Reason.OK),
    )  # fmt: skip
    result = Result(
        frame_index=4, time=0.16, size=size, detections=Detections.empty(), tracks=tracks,
        speeds=SpeedReport(speeds, track_speeds=speeds[:1]), scores={"action": Scores.empty()},
        verdicts={"action": verdicts}, names={"class": ("person",), "action": ("walk", "run")},
        timings={"detect": 0.01},
    )  # fmt: skip
    return Frame(np.full((size[1], size[0], 3), 90, np.uint8), 0.16, 4), result
