"""The frame loop: from an image to everything that was learned from it.

`Pipeline.process` reads like the program's one-sentence description. A new feature is a new stage or
a new value, not a new branch in the loop.
"""

from __future__ import annotations

import time as clock
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from edgevid.errors import InputError
from edgevid.types import Clips, Detections, Frame, Result, Scores, SpeedReport, Speeds, Tracks, Verdicts


class DetectorLike(Protocol):
    """A detector: boxes, scores and labels of each frame, in frame pixels."""

    @property
    def names(self) -> tuple[str, ...]: ...
    def detect(self, frames: Sequence[Frame]) -> list[Detections]: ...


class TrackerLike(Protocol):
    """A tracker: objects with ids that last, from the detections of one moment after another."""

    def update(self, detections: Detections, time: float) -> Tracks: ...
    def reset(self) -> None: ...


class SpeedEstimatorLike(Protocol):
    """A speed estimator: live, smoothed and track speed over the ground."""

    def update(self, tracks: Tracks, time: float) -> SpeedReport: ...
    def reset(self) -> None: ...


class ClipSamplerLike(Protocol):
    """A clip buffer: the clips of the objects that are due for recognition."""

    def update(self, frame: Frame, tracks: Tracks) -> Clips: ...
    def update_confidence(self, scores: Scores) -> None: ...
    def reset(self) -> None: ...


class RecognizerLike(Protocol):
    """A recognizer: class probabilities of clips, one engine batch for all."""

    @property
    def names(self) -> tuple[str, ...]: ...
    def recognize(self, clips: Clips) -> Scores: ...
    def reset(self) -> None: ...


class PolicyLike(Protocol):
    """An abstain policy: verdicts from scores, one row a track."""

    def update(self, scores: Scores, tracks: Tracks, time: float) -> Verdicts: ...
    def reset(self) -> None: ...


class ClassPolicyLike(Protocol):
    """A policy for the detector's own classes, from what each track was taken for over time."""

    def update(self, tracks: Tracks, time: float) -> Verdicts: ...
    def reset(self) -> None: ...


class SpeedPolicyLike(Protocol):
    """A policy that silences speeds which are too uncertain for its user."""

    def update(self, speeds: Speeds) -> Speeds: ...


class CameraMonitorLike(Protocol):
    """Camera health: gives the speeds back, silent where the camera no longer stands as calibrated."""

    def update(self, frame: Frame, tracks: Tracks, speeds: SpeedReport) -> SpeedReport: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RecognitionTask:
    """One thing to recognize of each object: how it is cut, what is asked, what may be said."""

    clips: ClipSamplerLike
    recognizer: RecognizerLike
    policy: PolicyLike


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent in each named stage of one frame."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = clock.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + clock.perf_counter() - start


class Pipeline:
    """Detection, tracking, recognition, speed and the abstain policy, one frame at a time.

    The parts keep their own state; the pipeline keeps none, so any part can be replaced by an object
    with the same methods.
    """

    def __init__(
        self,
        detector: DetectorLike,
        tracker: TrackerLike,
        *,
        speed_estimator: SpeedEstimatorLike | None = None,
        health: CameraMonitorLike | None = None,
        recognitions: Mapping[str, RecognitionTask] | None = None,
        class_policy: ClassPolicyLike | None = None,
        speed_policy: SpeedPolicyLike | None = None,
    ) -> None:
        """`speed_estimator` adds speeds over the ground; without it the three tables of speeds stay empty.

        `recognitions` by task name, as it will stand in `Result.verdicts` ("action", ...).

        With a `class_policy`, `Result.verdicts["class"]` says what each object is, or why not.
        With `health`, speeds are silent once the camera no longer stands as it was calibrated.
        """
        self.detector, self.tracker, self.speed_estimator = detector, tracker, speed_estimator
        self.health = health
        self.class_policy, self.speed_policy = class_policy, speed_policy
        self.recognitions = dict(recognitions or {})
        if "class" in self.recognitions:
            raise InputError("recognitions: 'class' names the detector's labels, choose another task name")
        self.names = {"class": tuple(detector.names)} | {
            task: tuple(part.recognizer.names) for task, part in self.recognitions.items()
        }

    def process(self, frame: Frame) -> Result:
        """All that is learned from `frame`; frames must come in the order of their times (else InputError)."""
        watch = Stopwatch()
        with watch("detect"):
            detections = self.detector.detect([frame])[0]
        with watch("track"):
            tracks = self.tracker.update(detections, frame.time)
        with watch("recognize"):
            scores = self._recognize(frame, tracks)
        with watch("judge"):
            verdicts = self._judge(scores, tracks, frame.time)
        with watch("speed"):
            speeds = self._measure(tracks, frame.time)
        with watch("health"):
            speeds = self._trusted(frame, tracks, speeds)
        return Result(
            frame_index=frame.index,
            time=frame.time,
            size=frame.size,
            detections=detections,
            tracks=tracks,
            speeds=speeds,
            scores=scores,
            verdicts=verdicts,
            names=self.names,
            timings=watch.seconds,
        )

    def run(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Result]]:
        """Each frame with its result, as they come."""
        for frame in frames:
            yield frame, self.process(frame)

    def reset(self) -> None:
        """Forgets every object: call it when the source changes."""
        self.tracker.reset()
        if self.speed_estimator is not None:
            self.speed_estimator.reset()
        for part in self.recognitions.values():
            part.clips.reset()
            part.recognizer.reset()
            part.policy.reset()
        if self.health is not None:
            self.health.reset()
        if self.class_policy is not None:
            self.class_policy.reset()

    def close(self) -> None:
        """Writes what the camera's watch has learned; the other parts have nothing to write."""
        if self.health is not None:
            self.health.close()

    def _recognize(self, frame: Frame, tracks: Tracks) -> dict[str, Scores]:
        scores = {}
        for task, part in self.recognitions.items():
            scores[task] = part.recognizer.recognize(part.clips.update(frame, tracks))
            part.clips.update_confidence(scores[task])  # what is uncertain is due again sooner
        return scores

    def _measure(self, tracks: Tracks, time: float) -> SpeedReport:
        if self.speed_estimator is None:
            return SpeedReport()
        return self.speed_estimator.update(tracks, time)

    def _trusted(
        self, frame: Frame, tracks: Tracks, speeds: SpeedReport
    ) -> SpeedReport:
        """The speeds that the camera's health and the user's policy leave."""
        if self.health is not None:
            speeds = self.health.update(frame, tracks, speeds)
        if self.speed_policy is None:
            return speeds
        return speeds.map(self.speed_policy.update)

    def _judge(self, scores: Mapping[str, Scores], tracks: Tracks, time: float) -> dict[str, Verdicts]:
        verdicts = {
            task: part.policy.update(scores[task], tracks, time) for task, part in self.recognitions.items()
        }
        if self.class_policy is not None:
            verdicts["class"] = self.class_policy.update(tracks, time)
        return verdicts
