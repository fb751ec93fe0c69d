"""What each person in a video is doing, drawn beside each of them.

python demos/actions_per_person.py VIDEO --head runs/actions/recipe.toml --out actions.mp4
"""

from __future__ import annotations

import argparse

import numpy as np

from edgevid.actions import load_recognizer
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.detect.detector import Detector
from edgevid.output.overlay import Overlay
from edgevid.pipeline import Pipeline, RecognitionTask
from edgevid.track import Tracker
from edgevid.types import Reason, Scores, Tracks, Verdicts
from edgevid.video.open import open_video
from edgevid.video.writer import VideoWriter


class Threshold:
    """Says the latest answer of each person where it is sure enough, and why it is silent otherwise."""

    def __init__(self, least: float) -> None:
        self.least = least
        self.latest: dict[int, np.ndarray] = {}

    def update(self, scores: Scores, tracks: Tracks, time: float) -> Verdicts:
        self.latest |= dict(zip(scores.ids.tolist(), scores.values, strict=True))
        known = [self.latest.get(i, np.zeros(1)) for i in tracks.ids.tolist()]
        best = np.array([v.max() for v in known], np.float32)
        reason = np.where(best == 0, Reason.TOO_SHORT, np.where(best < self.least, Reason.LOW_CONFIDENCE, 0))
        labels = np.where(reason == 0, [int(v.argmax()) for v in known], -1)
        return Verdicts.of(ids=tracks.ids, labels=labels, confidence=best, reason=reason)

    def reset(self) -> None:
        self.latest.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video")
    parser.add_argument("--head", default="runs/actions/recipe.toml")
    parser.add_argument("--model", default=None, help="detector")
    parser.add_argument("--out", default="actions.mp4")
    parser.add_argument("--least", type=float, default=0.5, help="least confidence that is said")
    asked = parser.parse_args()
    recognizer = load_recognizer(asked.head)
    action = RecognitionTask(ClipBuffer(recognizer.spec), recognizer, Threshold(asked.least))
    detector = Detector.load(asked.model, classes=["person"])
    pipeline, overlay = Pipeline(detector, Tracker(), recognitions={"action": action}), Overlay()
    with open_video(asked.video) as video, VideoWriter(asked.out, fps=video.fps or 25) as writer:
        for frame, result in pipeline.run(video):
            writer.write(overlay.draw(frame, result), frame.time)


if __name__ == "__main__":
    main()
