"""The frame loop: from a frame to everything that was found in it. `Pipeline.process` reads like the program's
one-sentence description. A new feature is a new stage or a new value, not a new branch in the loop."""

import time as clock
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from edgevid.abstain.policy import Policy, class_scores
from edgevid.actions.recognizer import FunctionRecognizer, no_scores
from edgevid.detect import Detector, FunctionDetector
from edgevid.detect.gate import EPS, Every, Gate
from edgevid.errors import InputError, check_choice, check_part, check_type, shown
from edgevid.runtime.recipe import Recipe
from edgevid.track import BLIND_S, Tracker, in_frame
from edgevid.types import Clips, Detections, Hinted, Reason, Result, Scores, SpeedReport, Speeds, Tracks, Verdicts
from edgevid.types.frame import Frame, FrameClock, as_frame
from edgevid.video.open import open_video

Damaged = Literal["coast", "show"]  # In damaged frames objects are predicted, or looked for as in sound ones


class DetectorLike(Protocol):
    """A detector: boxes, scores and labels of each frame, in frame pixels."""

    @property
    def names(self) -> tuple[str, ...]: ...
    def detect(self, frames: Sequence[Frame]) -> list[Detections]: ...


class TrackerLike(Protocol):
    """A tracker: objects with persistent ids, from the detections of successive frames."""

    def update(self, detections: Detections, time: float, /) -> Tracks: ...
    def reset(self) -> None: ...


class SpeedEstimatorLike(Protocol):
    """A speed estimator: live, smoothed and track speeds over the ground."""

    def update(self, tracks: Tracks, time: float, /) -> SpeedReport: ...
    def reset(self) -> None: ...


class ClipSamplerLike(Protocol):
    """A clip sampler: the clips of the objects that are due for recognition."""

    def update(self, frame: Frame, tracks: Tracks) -> Clips: ...
    def update_confidence(self, scores: Scores) -> None: ...
    def reset(self) -> None: ...


class RecognizerLike(Protocol):
    """A recognizer: class probabilities of clips, one engine batch for all objects."""

    @property
    def names(self) -> tuple[str, ...]: ...
    def recognize(self, clips: Clips) -> Scores: ...
    def reset(self) -> None: ...


class PolicyLike(Protocol):
    """An abstain policy: verdicts from class scores, one row per track."""

    def update(self, scores: Scores, tracks: Tracks, time: float) -> Verdicts: ...
    def reset(self) -> None: ...


class CameraMonitorLike(Protocol):
    """A camera monitor: passes speeds on, or makes them CAMERA_MOVED while the calibration does not hold."""

    def update(self, frame: Frame, tracks: Tracks, speeds: SpeedReport) -> SpeedReport: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...


class ImageMonitorLike(Protocol):
    """An image monitor: OK, or the reason why nothing can be recognized in the image."""

    def update(self, frame: Frame) -> Reason: ...
    def reset(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RecognitionTask:
    """One recognition task: the clips to cut, their recognizer, and the policy of its verdicts. The recognizer may be a
    function of Clips that returns an (M, C) array of probabilities; `names` are then those of its C classes."""

    clips: ClipSamplerLike
    recognizer: RecognizerLike
    policy: PolicyLike
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if callable(self.recognizer) and not hasattr(self.recognizer, "recognize"):
            if not self.names:
                raise InputError(
                    "a recognizer: expected the classes of the function: RecognitionTask(clips, function, "
                    "policy, names=('walk', 'run'))"
                )
            object.__setattr__(self, "recognizer", FunctionRecognizer(self.recognizer, self.names))
        check_part(self.clips, ClipSamplerLike, "a clip sampler")
        check_part(self.recognizer, RecognizerLike, "a recognizer")
        check_part(self.policy, PolicyLike, "a policy")


class Pipeline(Hinted):
    """Detection, tracking, recognition, speed and the abstain policy, one frame at a time. The parts keep their own
    state; the pipeline keeps none. Any object with a part's methods can take its place: docs/pipeline.md lists them."""

    def __init__(
        self, detector: DetectorLike | Callable[[Any], Any] | Recipe | str | Path | None = None,
        tracker: TrackerLike | None = None, *, speed_estimator: SpeedEstimatorLike | None = None,
        health: CameraMonitorLike | None = None, quality: ImageMonitorLike | None = None,
        recognitions: Mapping[str, RecognitionTask] | None = None, class_policy: PolicyLike | None = None,
        frame_rate: float | None = None, damaged: Damaged = "coast", detect_every: Every | Gate | None = None,
    ) -> None:  # fmt: skip
        """`detector`: a Detector, a model's name, file or recipe, or a function of a BGR image (see
        `FunctionDetector`); None: the default model. `tracker`: None takes Tracker().

        `speed_estimator` adds speeds over the ground; `health` abstains from them once the camera moved. `quality`
        (ImageQuality) abstains from verdicts in images that are dark, blurred, overexposed or damaged.

        `recognitions` by task name, the key in `Result.verdicts` ("action", ...). `class_policy` decides on the
        detector's own classes, in `Result.verdicts["class"]`. `frame_rate` is that of bare arrays without a time. In
        frames that are `damaged` nothing is detected: objects "coast" for a second, then all of theirs is
        Reason.DAMAGED; "show" treats such frames as sound. `detect_every` ("auto", frames, seconds or a Gate) skips
        the detector in frames that need none: objects are predicted there. InputError where a part lacks a method."""
        found, tracker = _detector(detector), Tracker() if tracker is None else tracker
        for part, kind, what in (
            (found, DetectorLike, "a detector"), (tracker, TrackerLike, "a tracker"),
            (speed_estimator, SpeedEstimatorLike, "a speed estimator"), (health, CameraMonitorLike, "a camera monitor"),
            (quality, ImageMonitorLike, "an image monitor"), (class_policy, PolicyLike, "a policy"),
        ):  # fmt: skip
            if part is not None:
                check_part(part, kind, what)
        self.detector: DetectorLike = found
        self.tracker, self.speed_estimator = tracker, speed_estimator
        self.health, self.quality, self.class_policy = health, quality, class_policy
        expected = "a mapping of names to RecognitionTask: {'action': RecognitionTask(clips, recognizer, policy)}"
        check_type({} if recognitions is None else recognitions, Mapping, "recognitions", expected)
        self.recognitions = dict(recognitions or {})
        for name, task in self.recognitions.items():
            check_type(task, RecognitionTask, f"recognitions[{name!r}]", expected)
        if "class" in self.recognitions:
            raise InputError("recognitions: 'class' names the detector's labels, choose another task name")
        check_choice(damaged, get_args(Damaged), "damaged")
        self._damaged = damaged
        self.gate = detect_every if detect_every is None or isinstance(detect_every, Gate) else Gate(detect_every)
        self._clock, self._count = FrameClock("pipeline", frame_rate), 0
        self.names = {"class": (*found.names, *_parents(class_policy))} | {
            task: (*part.recognizer.names, *_parents(part.policy)) for task, part in self.recognitions.items()
        }

    def __call__(self, frame: Any, timestamp: float | None = None) -> Result:
        """`process`."""
        return self.process(frame, timestamp)

    def process(self, frame: Any, timestamp: float | None = None) -> Result:
        """Everything that is found in `frame`: a Frame, or a BGR array or PIL image with its `timestamp`. Without one,
        such an image is one frame after the last, at the pipeline's `frame_rate`. InputError where it is not later than
        the one before, or where a part returns another type."""
        if not isinstance(frame, Frame):
            frame = Frame(as_frame(frame).image, self._clock.next(timestamp), self._count)
            self._count += 1
        if frame.damaged and self._damaged == "coast":
            return self._coast(frame)
        timings: dict[str, float] = {}
        detections = self._detect(frame, timings)
        with _timed(timings, "track"):
            tracks, cropped = self._track(frame, detections)
        quality = self.quality.update(frame) if self.quality is not None else Reason.OK
        with _timed(timings, "recognize"):
            scores = self._recognize(frame, cropped, quality)
        with _timed(timings, "speed"):
            estimator = self.speed_estimator
            speeds = estimator.update(tracks, frame.time) if estimator else SpeedReport()
            _check_returned("speed_estimator.update", estimator, speeds, SpeedReport)
        with _timed(timings, "health"):
            speeds = self.health.update(frame, tracks, speeds) if self.health else speeds
            _check_returned("health.update", self.health, speeds, SpeedReport)
        with _timed(timings, "policy"):
            verdicts = self._decide(scores, tracks, frame.time)
            if quality is not Reason.OK:
                verdicts = {task: self._withheld(task, found, quality) for task, found in verdicts.items()}
        return Result(
            frame_index=frame.index, time=frame.time, size=frame.size,
            detections=Detections.empty() if detections is None else detections, tracks=tracks, speeds=speeds,
            scores=scores, verdicts=verdicts, names=self.names, timings=timings, image=quality,
            gated=detections is None,
        )  # fmt: skip

    def run(self, frames: Iterable[Frame] | str | Path | int) -> Iterator[tuple[Frame, Result]]:
        """Each frame with its result, as they come; a path, an address or a camera is opened."""
        if isinstance(frames, (str, Path, int)):
            with open_video(frames) as video:
                yield from self.run(video)
            return
        for frame in frames:
            yield frame, self.process(frame)

    def flush(self) -> SpeedReport:
        """The speeds that are left after the last frame: one of each track, which ends. `run` calls it."""
        speeds: SpeedReport = getattr(self.speed_estimator, "flush", SpeedReport)()
        hide = getattr(self.health, "hide", None)
        return hide(speeds) if hide is not None else speeds

    def resize(self, size: tuple[int, int]) -> None:
        """The stream continues with frames of another (width, height): tracks end, new ids follow. A part that can
        continue has `resize(size)`; the others are reset. Camera health stays as it is: it compares images of any
        size."""
        for part in self._parts():
            resize = getattr(part, "resize", None)
            resize(size) if resize is not None else part.reset()

    def reset(self) -> None:
        """Forgets every object: call it when the source changes."""
        for part in self._parts():
            part.reset()
        self._clock.reset()
        if self.health is not None:
            self.health.reset()

    def close(self) -> None:
        """Saves what camera health has learned; the other parts have nothing to save."""
        if self.health is not None:
            self.health.close()

    def _parts(self) -> list[Any]:
        """The parts that keep state of objects."""
        parts: list[Any] = [self.gate, self.tracker, self.speed_estimator, self.quality, self.class_policy]
        for task in self.recognitions.values():
            parts += [task.clips, task.recognizer, task.policy]
        return [part for part in parts if part is not None]

    def _detect(self, frame: Frame, timings: dict[str, float]) -> Detections | None:
        """What the detector finds; None where the frame needs no detection."""
        if self.gate is not None:
            with _timed(timings, "gate"):
                due = self.gate.due(frame)
            if not due:
                return None
        with _timed(timings, "detect"):
            found = self.detector.detect([frame])
        if isinstance(found, (list, tuple)) and len(found) == 1 and isinstance(found[0], Detections):
            return found[0]
        raise InputError(
            f"detector.detect of {type(self.detector).__name__}: expected a list with one Detections per "
            f"frame, got {shown(found)}"
        )

    def _track(self, frame: Frame, found: Detections | None) -> tuple[Tracks, Tracks]:
        """The tracks, and those that clips are cut of: where nothing was looked for, no object is missing."""
        tracks = self._predict(frame.time) if found is None else self.tracker.update(found, frame.time)
        _check_returned("tracker.update", self.tracker, tracks, Tracks)
        tracks = in_frame(tracks, frame.size)
        if self.gate is None:
            return tracks, tracks
        gap = self.gate.update(frame, tracks, found, getattr(self.tracker, "new_track_thresh", 0.5))
        if found is not None:
            return tracks, tracks
        tracks = tracks[tracks.unseen <= gap + EPS]  # of others the tracker only keeps the id
        return tracks, replace(tracks, unseen=np.zeros(len(tracks), np.float32))

    def _predict(self, time: float) -> Tracks:
        coast = getattr(self.tracker, "coast", None)
        tracks: Tracks = coast(time) if coast else self.tracker.update(Detections.empty(), time)
        _check_returned("tracker.coast", self.tracker, tracks, Tracks)
        return tracks

    def _coast(self, frame: Frame) -> Result:
        """A damaged frame: objects are predicted for a second; from then on all rows are DAMAGED."""
        timings: dict[str, float] = {}
        with _timed(timings, "track"):
            tracks = self._predict(frame.time)
        blind, estimator, speeds = bool((tracks.unseen > BLIND_S).any()), self.speed_estimator, SpeedReport()
        with _timed(timings, "speed"):
            if estimator is not None and blind:
                speeds = SpeedReport(Speeds.abstained(tracks.ids, frame.time, Reason.DAMAGED))
            elif estimator is not None:
                speeds = estimator.update(tracks, frame.time)
        with _timed(timings, "policy"):
            if blind:
                tasks = [*self.recognitions, *(["class"] if self.class_policy is not None else [])]
                verdicts = {task: Verdicts.abstained(tracks.ids, Reason.DAMAGED) for task in tasks}
            else:
                verdicts = self._decide(self._no_scores(), tracks, frame.time)
        return Result(
            frame_index=frame.index, time=frame.time, size=frame.size, detections=Detections.empty(), tracks=tracks,
            speeds=speeds, verdicts=verdicts, names=self.names, timings=timings, damaged=True,
        )  # fmt: skip

    def _recognize(self, frame: Frame, tracks: Tracks, quality: Reason) -> dict[str, Scores]:
        scores = self._no_scores()
        for task, part in self.recognitions.items():
            if quality is not Reason.OK and not (isinstance(part.policy, Policy) and part.policy.decides(quality)):
                continue
            clips = part.clips.update(frame, tracks)
            _check_returned("clips.update", part.clips, clips, Clips)
            scores[task] = part.recognizer.recognize(clips)
            _check_returned("recognizer.recognize", part.recognizer, scores[task], Scores)
            part.clips.update_confidence(scores[task])  # what is uncertain is due again sooner
        return scores

    def _withheld(self, task: str, found: Verdicts, quality: Reason) -> Verdicts:
        """The verdicts in an image of poor quality: those that a threshold of their policy allows there."""
        policy = self.class_policy if task == "class" else self.recognitions[task].policy
        return policy.withheld(found, quality) if isinstance(policy, Policy) else found.withheld(quality)

    def _no_scores(self) -> dict[str, Scores]:
        return {task: no_scores(part.recognizer.names) for task, part in self.recognitions.items()}

    def _decide(self, scores: Mapping[str, Scores], tracks: Tracks, time: float) -> dict[str, Verdicts]:
        verdicts = {}
        for task, part in self.recognitions.items():
            verdicts[task] = part.policy.update(scores[task], tracks, time)
            _check_returned("policy.update", part.policy, verdicts[task], Verdicts)
        if self.class_policy is not None:
            of_class = class_scores(tracks, len(self.detector.names), time)
            verdicts["class"] = self.class_policy.update(of_class, tracks, time)
            _check_returned("class_policy.update", self.class_policy, verdicts["class"], Verdicts)
        return verdicts


def _detector(part: Any) -> Any:
    """The detector that `part` names; a function as one."""
    if part is None or isinstance(part, (str, Path, Recipe)):
        return Detector(part)  # type: ignore[arg-type]
    if callable(part) and not isinstance(part, type) and not hasattr(part, "detect"):
        return FunctionDetector(part)
    return part


def _parents(policy: object) -> tuple[str, ...]:
    """The coarser labels that a policy may emit: their indices follow those of the classes."""
    return tuple(getattr(policy, "parents", ()))


def _check_returned(method: str, part: object, value: object, kind: type) -> None:
    """InputError where a part's method returned something else."""
    check_type(value, kind, f"{method} of {type(part).__name__}", kind.__name__)


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Notes the seconds that the block takes."""
    start = clock.perf_counter()
    yield
    timings[stage] = clock.perf_counter() - start
