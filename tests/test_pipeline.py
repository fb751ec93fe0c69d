"""The loop hands each stage what it needs, in order, and returns one result."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgevid.abstain import Policy, Settings
from edgevid.errors import InputError
from edgevid.pipeline import Pipeline, RecognitionTask
from edgevid.types import Clips, Detections, Frame, Reason, Scores, SpeedReport, Speeds, Tracks, Verdicts


class OneBox:
    names = ("person", "car")

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [Detections.of(boxes=[[f.index, 0, f.index + 4, 8]], scores=[0.9], labels=[1]) for f in frames]


class Follow:
    def __init__(self) -> None:
        self.resets = 0

    def update(self, detections: Detections, time: float) -> Tracks:
        n = len(detections)
        zero = np.zeros(n, np.float32)
        ids = np.arange(1, n + 1)
        return Tracks.of(
            ids=ids, boxes=detections.boxes, scores=detections.scores, labels=detections.labels,
            match=np.arange(n), age=zero + time, unseen=zero,
        )  # fmt: skip

    def reset(self) -> None:
        self.resets += 1


class Meter(Follow):
    def update(self, tracks: Tracks, time: float) -> SpeedReport:  # type: ignore[override]
        n = len(tracks)
        live = Speeds.of(
            ids=tracks.ids, mps=np.full(n, 5.0), sigma=np.ones(n), heading=np.zeros(n),
            time=np.full(n, time), reason=np.full(n, Reason.OK),
        )  # fmt: skip
        return SpeedReport(live)


class Cut(Follow):
    heeded = 0

    def update_confidence(self, scores: Scores) -> None:
        self.heeded += len(scores)

    def update(self, frame: Frame, tracks: Tracks) -> Clips:  # type: ignore[override]
        n = len(tracks)
        return Clips.of(
            ids=tracks.ids,
            pixels=np.zeros((n, 1, 2, 2, 3), np.uint8),
            times=np.full((n, 1), frame.time),
            boxes=np.zeros((n, 1, 4)),
        )


class Recognize(Follow):
    names = ("walk", "run")

    def recognize(self, clips: Clips) -> Scores:
        return Scores.of(ids=clips.ids, values=[[0.2, 0.8]] * len(clips), times=clips.times[:, -1])


class Judge(Follow):
    def update(self, scores: Scores, tracks: Tracks, time: float) -> Verdicts:  # type: ignore[override]
        return Verdicts.of(
            ids=tracks.ids, labels=scores.values.argmax(1), confidence=scores.values.max(1),
            reason=np.full(len(tracks), Reason.OK),
        )  # fmt: skip


def frame(index: int) -> Frame:
    return Frame(np.zeros((8, 16, 3), np.uint8), index / 10, index)


def test_one_frame_through_every_stage() -> None:
    cut = Cut()
    recognition = RecognitionTask(cut, Recognize(), Judge())
    pipeline = Pipeline(OneBox(), Follow(), speed_estimator=Meter(), recognitions={"action": recognition})
    result = pipeline.process(frame(3))
    assert (result.frame_index, result.time, result.size) == (3, 0.3, (16, 8))
    assert result.tracks.boxes.tolist() == [[3, 0, 7, 8]]
    assert result.speeds.live.mps.tolist() == [5.0]
    assert result.verdicts["action"].labels.tolist() == [1]
    assert result.scores["action"].values.tolist() == [[np.float32(0.2), np.float32(0.8)]]
    assert cut.heeded == 1
    assert result.names == {"class": ("person", "car"), "action": ("walk", "run")}
    assert set(result.timings) == {"detect", "track", "recognize", "speed", "health", "policy"}
    assert all(seconds >= 0 for seconds in result.timings.values())


def test_without_a_calibration_and_recognizers_the_tables_are_empty() -> None:
    result = Pipeline(OneBox(), Follow()).process(frame(0))
    assert (len(result.speeds.live), len(result.speeds.smoothed), len(result.speeds.track_speeds)) == (0, 0, 0)
    assert result.verdicts == {}


def test_run_keeps_frames_and_results_together_and_reset_reaches_every_part() -> None:
    tracker, speed_estimator, cut, judge, recognizer = Follow(), Meter(), Cut(), Judge(), Recognize()
    pipeline = Pipeline(
        OneBox(),
        tracker,
        speed_estimator=speed_estimator,
        recognitions={"action": RecognitionTask(cut, recognizer, judge)},
    )
    pairs = list(pipeline.run(frame(i) for i in range(3)))
    assert [f.index for f, _ in pairs] == [r.frame_index for _, r in pairs] == [0, 1, 2]
    pipeline.reset()
    assert [part.resets for part in (tracker, speed_estimator, cut, recognizer, judge)] == [1] * 5


def test_a_task_may_not_take_the_detector_s_name() -> None:
    with pytest.raises(InputError, match="'class'"):
        Pipeline(OneBox(), Follow(), recognitions={"class": RecognitionTask(Cut(), Recognize(), Judge())})


class Unsure(Judge):
    """A class policy that abstains on everything, and keeps the scores it was given."""

    scores: Scores

    def update(self, scores: Scores, tracks: Tracks, time: float) -> Verdicts:  # type: ignore[override]
        self.scores, n = scores, len(tracks)
        return Verdicts.of(ids=tracks.ids, labels=[-1] * n, confidence=[0.4] * n, reason=[Reason.LOW_CONFIDENCE] * n)


def test_the_detector_s_classes_have_a_policy_too() -> None:
    policy = Unsure()
    pipeline = Pipeline(OneBox(), Follow(), class_policy=policy)
    result = pipeline.process(frame(0))
    assert result.verdicts["class"].labels.tolist() == [-1]
    assert policy.scores.values.tolist() == [pytest.approx([0.1, 0.9])]  # the detector's: car, 0.9
    pipeline.reset()
    assert policy.resets == 1


class Moved:
    """A camera monitor that trusts nothing, and counts what it is asked to do."""

    resets = closed = 0

    def update(self, frame: Frame, tracks: Tracks, speeds: SpeedReport) -> SpeedReport:
        return SpeedReport()

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closed += 1


def test_health_has_the_last_word_on_speeds() -> None:
    health = Moved()
    pipeline = Pipeline(OneBox(), Follow(), speed_estimator=Meter(), health=health)
    assert len(pipeline.process(frame(0)).speeds.live) == 0
    pipeline.reset()
    pipeline.close()
    assert (health.resets, health.closed) == (1, 1)


class Resizable(Follow):
    size: tuple[int, int] | None = None

    def resize(self, size: tuple[int, int]) -> None:
        self.size = size


def test_another_frame_size_reaches_every_part_and_leaves_health_alone() -> None:
    tracker, meter, cut, health = Resizable(), Meter(), Cut(), Moved()
    task = RecognitionTask(cut, Recognize(), Judge())
    pipeline = Pipeline(OneBox(), tracker, speed_estimator=meter, health=health, recognitions={"action": task})
    pipeline.resize((32, 24))
    assert (tracker.size, tracker.resets) == ((32, 24), 0)
    assert (meter.resets, cut.resets, health.resets) == (1, 1, 0)


def test_a_part_without_a_method_is_refused_at_the_door() -> None:
    with pytest.raises(InputError, match=r"a detector: .*detect\(frames.* got Follow without 'names' and 'detect'"):
        Pipeline(Follow(), Follow())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a tracker: expected .*update\(detections.* got OneBox"):
        Pipeline(OneBox(), OneBox())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a speed estimator: .* got str without 'update' and 'reset'"):
        Pipeline(OneBox(), Follow(), speed_estimator="fast")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a camera monitor: .* got Follow without 'close'"):
        Pipeline(OneBox(), Follow(), health=Follow())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a policy: .* got OneBox"):
        Pipeline(OneBox(), Follow(), class_policy=OneBox())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a clip sampler: .* got Follow without 'update_confidence'"):
        RecognitionTask(Follow(), Recognize(), Judge())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a recognizer: .* without 'names' and 'recognize'"):
        RecognitionTask(Cut(), Follow(), Judge())  # type: ignore[arg-type]


def test_a_class_in_the_place_of_an_object_is_rejected() -> None:
    with pytest.raises(InputError, match=r"a tracker: expected an object, got the class Follow; write Follow\(\)"):
        Pipeline(OneBox(), Follow)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tasks", "got"),
    [({"action": Recognize()}, r"recognitions\['action'\].*got Recognize"), ([Recognize()], "got .Recognize")],
)
def test_recognitions_are_a_mapping_of_tasks(tasks: Any, got: str) -> None:
    with pytest.raises(InputError, match=f"(?s){got}") as raised:
        Pipeline(OneBox(), Follow(), recognitions=tasks)
    assert "expected a mapping of names to RecognitionTask" in str(raised.value)


def returning(part: Any, method: str, value: object) -> Any:
    """The part with a method that returns `value`, whatever it gets."""
    setattr(part, method, lambda *_: value)
    return part


@pytest.mark.parametrize("value", [None, [], [None], [[]], Detections.empty(), [Detections.empty()] * 2])
def test_a_detector_that_returns_something_else_is_named(value: object) -> None:
    pipeline = Pipeline(returning(OneBox(), "detect", value), Follow())
    with pytest.raises(
        InputError, match=r"detector\.detect of OneBox: expected a list with one Detections per frame, got "
    ):
        pipeline.process(frame(0))


def test_every_other_part_that_returns_something_else_is_named() -> None:
    def rejects(method: str, kind: str, **parts: Any) -> None:
        pipeline = Pipeline(OneBox(), parts.pop("tracker", Follow()), **parts)
        with pytest.raises(InputError, match=rf"^{method} of \w+: expected {kind}, got 5$"):
            pipeline.process(frame(0))

    rejects("tracker.update", "Tracks", tracker=returning(Follow(), "update", 5))
    rejects("speed_estimator.update", "SpeedReport", speed_estimator=returning(Meter(), "update", 5))
    rejects("health.update", "SpeedReport", health=returning(Moved(), "update", 5))
    rejects("class_policy.update", "Verdicts", class_policy=returning(Judge(), "update", 5))
    for method, kind, task in (
        ("clips.update", "Clips", RecognitionTask(returning(Cut(), "update", 5), Recognize(), Judge())),
        ("recognizer.recognize", "Scores", RecognitionTask(Cut(), returning(Recognize(), "recognize", 5), Judge())),
        ("policy.update", "Verdicts", RecognitionTask(Cut(), Recognize(), returning(Judge(), "update", 5))),
    ):
        rejects(method, kind, recognitions={"action": task})


def test_a_bare_array_is_bgr_and_needs_a_time_or_a_rate() -> None:
    image = np.zeros((8, 16, 3), np.uint8)
    with pytest.raises(InputError, match=r"pipeline time: expected seconds, got None; pass timestamp="):
        Pipeline(OneBox(), Follow()).process(image)
    seen: list[Frame] = []

    def whole(frame: Frame) -> Detections:
        seen.append(frame)
        return Detections.of(boxes=[[0, 0, 16, 8]], scores=[0.9], labels=[0])

    pipeline = Pipeline(whole, frame_rate=4)
    image[..., 0] = 200  # blue, as OpenCV has it
    results = [pipeline(image), pipeline(image), pipeline(image, timestamp=2.0)]
    assert [(r.frame_index, r.time) for r in results] == [(0, 0.0), (1, 0.25), (2, 2.0)]
    assert seen[0].image[0, 0].tolist() == [0, 0, 200]
    assert [len(r) for r in results] == [1, 1, 1]
    pipeline.reset()
    assert pipeline(image).time == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        np.array([[2, 2, 8, 6, 0.9, 1]]),
        [np.array([[2, 2, 8, 6, 0.9, 1]], np.float32)],
        SimpleNamespace(xyxy=np.array([[2, 2, 8, 6]]), confidence=np.array([0.9]), class_id=np.array([1])),
        Detections.of(boxes=[[2, 2, 8, 6]], scores=[0.9], labels=[1]),
        [SimpleNamespace(boxes=SimpleNamespace(data=np.array([[2, 2, 8, 6, 0.9, 1]]), conf=0))],
    ],
)
def test_a_function_of_a_bgr_image_is_a_detector(answer: Any) -> None:
    shapes = []

    def find(image: Any) -> Any:
        shapes.append(image.shape)
        return answer

    find.names = {0: "person", 1: "car"}  # type: ignore[attr-defined]
    pipeline = Pipeline(find)
    for n in range(2):
        result = pipeline.process(Frame(np.zeros((8, 16, 3), np.uint8), n / 10, n))
    assert shapes == [(8, 16, 3)] * 2
    assert result.tracks.boxes.tolist() == [[2, 2, 8, 6]]
    assert result.class_name(int(result.tracks.labels[0])) == "car"


def test_a_function_that_finds_something_else_is_named() -> None:
    def find(image: Any) -> Any:
        return "boxes"

    with pytest.raises(InputError, match=r"detector find: expected Detections, .* got 'boxes'"):
        Pipeline(find).process(np.zeros((8, 16, 3), np.uint8), 0.0)


def test_a_function_is_a_recognizer() -> None:
    clips = Clips.of(ids=[7], pixels=np.zeros((1, 2, 4, 4, 3)), times=[[0.0, 0.5]], boxes=np.zeros((1, 2, 4)))
    task = RecognitionTask(Cut(), lambda clips: [[0.25, 0.75]], Judge(), names=("walk", "run"))
    scores = task.recognizer.recognize(clips)
    assert (scores.ids.tolist(), scores.values.tolist(), scores.times.tolist()) == ([7], [[0.25, 0.75]], [0.5])
    assert len(task.recognizer.recognize(Clips.empty())) == 0
    with pytest.raises(InputError, match=r"expected the classes of the function: .*names="):
        RecognitionTask(Cut(), lambda clips: [[0.25, 0.75]], Judge())
    wrong = RecognitionTask(Cut(), lambda clips: [0.5], Judge(), names=("walk", "run"))
    with pytest.raises(InputError, match=r"expected probabilities of shape \(1, 2\).*got \(1,\)"):
        wrong.recognizer.recognize(clips)


class Gloomy(Follow):
    def update(self, frame: Frame) -> Reason:  # type: ignore[override]
        return Reason.DARK if frame.index else Reason.OK


def test_nothing_is_recognized_in_an_image_that_shows_nothing() -> None:
    task = RecognitionTask(Cut(), Recognize(), Policy(Recognize.names))
    pipeline = Pipeline(OneBox(), Follow(), quality=Gloomy(), recognitions={"action": task})
    sound, dark = pipeline.process(frame(0)), pipeline.process(frame(1))
    assert sound.image is Reason.OK
    assert len(sound.scores["action"]) == 1
    assert dark.image is Reason.DARK
    assert len(dark.scores["action"]) == 0
    assert len(dark.tracks) == len(dark.verdicts["action"]) == 1
    assert dark.verdicts["action"].labels.tolist() == [-1]
    assert Reason.OK not in dark.verdicts["action"].reason


@pytest.mark.parametrize(("limit", "label"), [(0.6, 1), (0.99, -1)])
def test_a_policy_may_decide_in_the_dark(limit: float, label: int) -> None:
    policy = Policy(Recognize.names, Settings(0.5, per_band={"dark": limit}))
    task = RecognitionTask(Cut(), Recognize(), policy)
    pipeline = Pipeline(OneBox(), Follow(), quality=Gloomy(), recognitions={"action": task})
    pipeline.process(frame(0))
    dark = pipeline.process(frame(1))
    assert (dark.image, len(dark.scores["action"])) == (Reason.DARK, 1)
    assert dark.verdicts["action"].labels.tolist() == [label]
    assert dark.verdicts["action"].reason[0] == (Reason.OK if label >= 0 else Reason.DARK)


def test_only_what_was_emitted_is_withheld() -> None:
    found = Verdicts.of(ids=[1, 2], labels=[0, -1], confidence=[0.9, 0.2], reason=[Reason.OK, Reason.TOO_SMALL])
    rows = [(row.label, row.reason, round(row.confidence, 1)) for row in found.withheld(Reason.BLURRED)]
    assert rows == [(-1, Reason.BLURRED, 0.9), (-1, Reason.TOO_SMALL, 0.2)]
