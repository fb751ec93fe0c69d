"""Folders of verdicts to review, as `--save-abstained` writes them: drawn shapes whose class is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgevid.output.review import ReviewSink
from edgevid.types import Detections, Frame, Header, Reason, Result, Scores, SpeedReport, Tracks, Verdicts

NAMES = ("circle", "square", "cross")
RUN = "20260528T202640000"
START = 1_780_000_000.0


def drawn(label: int, seed: int) -> np.ndarray:
    """(96, 96, 3): a shape of a class, its place and color by the seed; three of a row are nearly the same."""
    rng = np.random.default_rng(seed // 3)
    image = np.full((96, 96, 3), rng.integers(20, 90), np.uint8)
    x, y = (int(v) for v in rng.integers(36, 60, 2))
    color = tuple(int(v) for v in rng.integers(130, 255, 3))
    if label == 0:
        cv2.circle(image, (x, y), 24, color, -1)
    elif label == 1:
        cv2.rectangle(image, (x - 22, y - 22), (x + 22, y + 22), color, -1)
    else:
        cv2.line(image, (x - 24, y - 24), (x + 24, y + 24), color, 9)
        cv2.line(image, (x - 24, y + 24), (x + 24, y - 24), color, 9)
    noise = np.random.default_rng(seed).integers(-4, 5, image.shape)
    return np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)


def result(track: int, time: float, reason: Reason, label: int, confidence: float) -> Result:
    scores = np.full(len(NAMES), (1 - confidence) / (len(NAMES) - 1))
    scores[label] = confidence
    emitted = reason is Reason.OK
    zero = np.zeros(1)
    tracks = Tracks.of(
        ids=[track], boxes=[[0, 0, 96, 96]], scores=[0.9], labels=zero, match=zero, age=zero, unseen=zero
    )
    verdicts = Verdicts.of(ids=[track], labels=[label if emitted else -1], confidence=[confidence], reason=[reason])
    return Result(
        0, time, (96, 96), Detections.empty(), tracks, SpeedReport(),
        {"shape": Scores.of(ids=[track], values=[scores], times=[time])}, {"shape": verdicts}, {"shape": NAMES}, {},
    )  # fmt: skip


def truth(track: int) -> int:
    """The class of a track: three in a row are the same."""
    return track // 3 % len(NAMES)


def write_folder(
    folder: Path,
    count: int = 24,
    *,
    wrong_every: int = 5,
    audit: float = 0.0,
    frames: int = 2,
    camera: str = "gate",
    below: float = 0.7,
) -> Path:
    """Every second track abstained, the others were emitted; each `wrong_every`-th answer of the model is wrong."""
    header = Header(camera=camera, source=f"{camera}.mp4", start=START, run=f"{camera}-1")
    with ReviewSink(folder, min_confidence=below, audit=audit, source=f"{camera}.mp4") as sink:
        sink._run = RUN  # the audit sample is drawn by it
        sink.open(header)
        for track in range(count):
            label = (truth(track) + (track % wrong_every == 0)) % len(NAMES)
            reason, confidence = (
                (Reason.LOW_CONFIDENCE, 0.45) if track % 2 == 0 else (Reason.OK, 0.6 + 0.02 * (track % 20))
            )
            for n in range(frames):
                time = 10.0 * track + 0.5 * n
                sink.write(
                    Frame(drawn(truth(track), track), time, int(25 * time)),
                    result(track, time, reason, label, confidence),
                )
    return folder
