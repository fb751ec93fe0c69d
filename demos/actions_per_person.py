"""Draws what each person in a video is doing.

python demos/actions_per_person.py VIDEO --head runs/actions/recipe.toml --out actions.mp4
"""

from __future__ import annotations

import argparse

import numpy as np

from edgevid import Detector, Overlay, Pipeline, RecognitionTask, Tracker
from edgevid.actions import ClipBuffer, load_recognizer
from edgevid.types import Reason, Scores, Tracks, Verdicts
from edgevid.video import VideoWriter, open_video


class Threshold:
    """A policy: the latest class of each person where its confidence is high enough, else a reason."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.latest: dict[int, np.ndarray] = {}

    def update(self, scores: Scores, tracks: Tracks, time: float) -> Verdicts:
        self.latest |= dict(zip(scores.ids.tolist(), scores.values, strict=True))
        known = [self.latest.get(i, np.zeros(1)) for i in tracks.ids.tolist()]
        best = np.array([v.max() for v in known], np.float32)
        low = np.where(best < self.threshold, Reason.LOW_CONFIDENCE, Reason.OK)
        reason = np.where(best == 0, Reason.TOO_SHORT, low)
        labels = np.where(reason == Reason.OK, [int(v.argmax()) for v in known], -1)
        return Verdicts.of(ids=tracks.ids, labels=labels, confidence=best, reason=reason)

    def reset(self) -> None:
        self.latest.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video")
    parser.add_argument("--head", default="runs/actions/recipe.toml")
    parser.add_argument("--model", default=None, help="detector")
    parser.add_argument("--out", default="actions.mp4")
    parser.add_argument("--threshold", type=float, default=0.5, help="least confidence that is emitted")
    options = parser.parse_args()
    recognizer = load_recognizer(options.head)
    action = RecognitionTask(ClipBuffer(recognizer.spec), recognizer, Threshold(options.threshold))
    detector = Detector.load(options.model, classes=["person"])
    pipeline, overlay = Pipeline(detector, Tracker(), recognitions={"action": action}), Overlay()
    with open_video(options.video) as video, VideoWriter(options.out, fps=video.fps or 25) as writer:
        for frame, result in pipeline.run(video):
            writer.write(overlay.draw(frame, result), frame.time)


if __name__ == "__main__":
    main()
