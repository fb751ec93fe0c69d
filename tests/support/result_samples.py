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


def random_result(n: int, seed: int = 0) -> Result:
    """`n` objects with every kind of speed and verdict in them, at random."""
    rng, ids = np.random.default_rng(seed), np.arange(1, n + 1)
    corner, now = rng.uniform(0, 1000, (n, 2)), rng.uniform(0, 1000)
    tracks = Tracks.of(
        ids=ids, boxes=np.concatenate([corner, corner + rng.uniform(10, 200, (n, 2))], 1),
        scores=rng.uniform(0, 1, n), labels=rng.integers(0, 4, n), match=rng.integers(-1, n, n),
        age=rng.uniform(0, 30, n), unseen=np.zeros(n),
    )  # fmt: skip

    def speeds(time: float, *reasons: Reason) -> Speeds:
        reason = rng.choice(reasons, n)
        values = rng.uniform((0.0, 0.0, 0.0), (40.0, 4.0, 360.0), (n, 3))
        values[reason != Reason.OK] = np.nan
        values[rng.random(n) < 0.2, 2] = np.nan  # at rest
        mps, sigma, heading = values.T.copy()
        return Speeds.of(ids=ids, mps=mps, sigma=sigma, heading=heading, time=np.full(n, time), reason=reason)

    live = speeds(now, Reason.OK, Reason.OK, Reason.OFF_PLANE, Reason.UNCERTAIN)
    smoothed = speeds(now - 0.5, Reason.OK, Reason.OK, Reason.TOO_SHORT)
    labels = rng.integers(-1, 2, n)
    verdicts = Verdicts.of(
        ids=ids, labels=labels, confidence=rng.uniform(0, 1, n),
        reason=np.where(labels < 0, Reason.LOW_CONFIDENCE, Reason.OK),
    )  # fmt: skip
    return Result(
        frame_index=5, time=now, size=(1920, 1080), detections=Detections.empty(), tracks=tracks,
        speeds=SpeedReport(live, smoothed, smoothed[:1]), verdicts={"action": verdicts},
        names={"class": ("person", "car"), "action": ("walk", "run")}, timings={"detect": 0.01},
    )  # fmt: skip
