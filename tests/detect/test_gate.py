"""The gate: frames of a still scene need no detection, any change does at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevid.abstain import Policy
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.actions.clip_spec import ClipSpec
from edgevid.detect.gate import HOLD_S, Gate
from edgevid.errors import InputError
from edgevid.pipeline import Pipeline, RecognitionTask
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.scene import Camera, Scene, drive
from edgevid.track import Tracker
from edgevid.types import Clips, Detections, Frame, Result, Tracks
from edgevid.viewer.config import rendered_calibration
from edgevid.zones import Line, ZoneMonitor

STEP = 0.125
"""Seconds between frames, exact in binary."""
NOBODY = Detections.empty()


def frame(n: int, *, x: int | None = None, gray: int = 90, bright: int = 200) -> Frame:
    """A gray image, with a bright object of 16x40 pixels at `x`."""
    image = np.full((180, 320, 3), gray, np.uint8)
    if x is not None:
        image[60:100, x : x + 16] = bright
    return Frame(image, n * STEP, n)


def boxes(*columns: int) -> Detections:
    rows = [[x, 60, x + 16, 100] for x in columns]
    return Detections.of(boxes=np.array(rows, float).reshape(-1, 4), scores=[0.9] * len(rows), labels=[0] * len(rows))


def dues(gate: Gate, frames: list[Frame], *, tracks: Tracks | None = None) -> list[int]:
    """The indices of the frames that are due, where nothing is found in any."""
    found = []
    for one in frames:
        due = gate.due(one)
        gate.update(one, Tracks.empty() if tracks is None else tracks, NOBODY if due else None, 0.5)
        if due:
            found.append(one.index)
    return found


def test_a_still_scene_is_looked_at_every_half_second() -> None:
    """Frames 0, 4, 8, ... are 0.5 s apart."""
    assert dues(Gate(), [frame(n) for n in range(13)]) == [0, 4, 8, 12]
    assert dues(Gate(max_gap_s=1.0), [frame(n) for n in range(17)]) == [0, 8, 16]


def test_any_change_is_looked_at_at_once_and_at_the_full_rate_for_a_while() -> None:
    """An object appears in frame 2 and leaves in frame 6; 0.3 s are two frames."""
    found = dues(Gate(max_gap_s=2.0), [frame(n, x=100 if 2 <= n < 6 else None) for n in range(12)])
    assert found == [0, 2, 3, 4, 6, 7, 8]
    assert 2 * STEP <= HOLD_S < 3 * STEP


def test_what_moves_slowly_adds_up() -> None:
    """A pixel a frame is below the threshold in one frame, and above it in some: the change is that since the last
    detected frame, not since the last frame."""
    found = dues(Gate(max_gap_s=60.0, threshold=20), [frame(n, x=100 + n // 2) for n in range(40)])
    assert 3 <= len(found) < 40


def test_light_that_changes_everywhere_is_no_motion() -> None:
    assert dues(Gate(max_gap_s=60.0), [frame(n, gray=90 + 4 * n) for n in range(12)]) == [0]


def test_what_always_flickers_becomes_usual() -> None:
    """A leaf that moves by 60 gray levels: due in every frame at first, 20 seconds later only once a second. A lamp of
    110 gray levels stays a change."""
    for bright, last in ((150, 8), (200, 1)):
        frames = [frame(n, x=100 if n % 2 else None, bright=bright) for n in range(160)]
        found = dues(Gate(max_gap_s=1.0), frames)
        assert found[:10] == list(range(10))
        assert np.diff(found)[-5:].tolist() == [last] * 5


def test_noise_is_no_motion() -> None:
    random = np.random.default_rng(0)
    noisy = [Frame(random.normal(90, 4, (360, 640, 3)).astype(np.uint8), n * STEP, n) for n in range(24)]
    assert dues(Gate(max_gap_s=60.0), noisy) == [0]


@pytest.mark.parametrize(("every", "expected"), [
    (3, [0, 3, 6, 9]), ("3", [0, 3, 6, 9]), (0.25, [0, 2, 4, 6, 8, 10]), ("0.5s", [0, 4, 8]), (1, list(range(12))),
])  # fmt: skip
def test_every_counts_frames_or_seconds(every: int | float | str, expected: list[int]) -> None:
    assert dues(Gate(every), [frame(n, x=8 * n) for n in range(12)]) == expected


@pytest.mark.parametrize("every", ["0", 0, -1, "often", "", float("nan"), True])
def test_other_values_are_named(every: int | float | str) -> None:
    with pytest.raises(InputError, match="detect_every: expected auto, a whole number of frames"):
        Gate(every)


def test_limits_are_positive() -> None:
    with pytest.raises(InputError, match="threshold and max_gap_s above 0, got 0 and"):
        Gate(threshold=0)


def test_a_source_that_starts_again_is_looked_at() -> None:
    gate = Gate(max_gap_s=60.0)
    assert dues(gate, [frame(n) for n in range(5, 9)]) == [5]
    assert dues(gate, [frame(n) for n in range(3)]) == [0]


class Still:
    """A detector of the given boxes, which counts its calls."""

    names = ("person",)

    def __init__(self, *found: Detections) -> None:
        self.found, self.calls = found, list[int]()

    def detect(self, frames: list[Frame]) -> list[Detections]:
        self.calls.append(frames[0].index)
        return [self.found[min(frames[0].index, len(self.found) - 1)]]


def process(detector: Still, frames: list[Frame], **options: object) -> list[Result]:
    pipeline = Pipeline(detector, Tracker(), detect_every=options.pop("detect_every", "auto"), **options)  # type: ignore[arg-type]
    return [pipeline.process(one) for one in frames]


def test_objects_are_predicted_and_keep_their_ids() -> None:
    """A person who stands: full rate for the 0.3 s in which the track is young, then a look every 0.5 s."""
    detector = Still(boxes(100))
    results = process(detector, [frame(n, x=100) for n in range(20)])
    assert detector.calls == [0, 1, 2, 3, 7, 11, 15, 19]
    assert [n for n, one in enumerate(results) if not one.gated] == detector.calls
    for one in results:
        (row,) = one.tracks
        assert row.id == 1
        assert (row.match < 0) == one.gated
        assert row.unseen == pytest.approx(one.time - max(STEP * n for n in detector.calls if n <= one.frame_index))
        assert np.abs(np.array(row.box) - [100, 60, 116, 100]).max() < 0.01
        assert len(one.detections) == (not one.gated)


def test_an_object_that_left_is_not_reported_in_gated_frames() -> None:
    """Found in frames 0 to 7, then gone from the image: reported for 0.3 s as without a gate, and no longer, though the
    tracker keeps its id for a second."""
    frames = [frame(n, x=100 if n < 8 else None) for n in range(20)]
    gated, plain = (process(Still(*[boxes(100)] * 8, NOBODY), frames, detect_every=e) for e in ("auto", 1))
    assert any(one.gated for one in gated[10:15])
    assert [len(one.tracks) for one in gated] == [len(one.tracks) for one in plain] == [1] * 10 + [0] * 10


def test_a_detection_that_is_no_object_yet_is_looked_at_in_the_next_frame() -> None:
    """An object of frame 1 is confirmed in frame 2, with a detection every fifth frame too."""
    detector = Still(NOBODY, NOBODY, NOBODY, NOBODY, NOBODY, boxes(100))
    results = process(detector, [frame(n, x=100) for n in range(12)], detect_every=5)
    assert detector.calls[:4] == [0, 5, 6, 7]
    assert [len(one.tracks) for one in results[5:8]] == [0, 1, 1]


def test_an_object_that_was_not_found_again_is_looked_for_in_every_frame() -> None:
    """Not found in frame 8, where it is due again: for 0.3 s every frame is due."""
    detector = Still(*[boxes(100)] * 8, NOBODY, NOBODY, boxes(100))
    results = process(detector, [frame(n, x=100) for n in range(16)], detect_every=5)
    assert detector.calls == [0, 1, 2, 3, 8, 9, 10, 15]
    assert {row.id for one in results for row in one.tracks} == {1}


def test_a_tracker_without_coast_gets_an_empty_frame() -> None:
    class Plain:
        def update(self, detections: Detections, time: float) -> Tracks:
            n, found = len(detections), detections
            return Tracks(np.arange(n) + 1, found.boxes, found.scores, found.labels, np.arange(n, dtype=np.int32),
                          np.full(n, 9, np.float32), np.zeros(n, np.float32))  # fmt: skip

        def reset(self) -> None: ...

    pipeline = Pipeline(Still(boxes(100)), Plain(), detect_every=2)
    results = [pipeline.process(frame(n)) for n in range(4)]
    assert [len(one.tracks) for one in results] == [1, 0, 1, 0]


def test_key_points_keep_their_shape() -> None:
    found = Detections.of(boxes=[[100, 60, 116, 100]], scores=[0.9], labels=[0], keypoints=np.ones((1, 17, 3)))
    results = process(Still(found), [frame(n, x=100) for n in range(8)])
    assert [one.gated for one in results][4:] == [True, True, True, False]
    assert {one.tracks.keypoints.shape for one in results} == {(1, 17, 3)}
    assert np.isnan(results[5].tracks.keypoints).all()


def test_a_new_size_is_looked_at() -> None:
    detector = Still(NOBODY)
    pipeline = Pipeline(detector, detect_every=Gate(max_gap_s=60.0))
    pipeline.process(frame(0))
    pipeline.process(frame(1))
    pipeline.resize((640, 360))
    pipeline.process(Frame(np.zeros((360, 640, 3), np.uint8), 2 * STEP, 2))
    assert detector.calls == [0, 2]


class Astray(Tracker):
    """A tracker whose predictions are 60 pixels too far to the right."""

    def coast(self, timestamp: float | None = None) -> Tracks:
        tracks = super().coast(timestamp)
        return replace(tracks, boxes=tracks.boxes + np.float32([60, 0, 60, 0]))


def drive_past(tracker: Tracker, every: int) -> tuple[float, dict[str, list[float]], list[str]]:
    """The share of gated frames, the speeds of a car at 50 km/h by kind, and events of a line along its side."""
    camera, times = Camera(640, 360, 465.0, 6.5, 14.0), [n / 25 for n in range(100)]
    found = [one for _, one, _ in Scene([drive(1, 50, towards=True, lane=-1.75)], camera).simulate(times)]
    estimator, events = SpeedEstimator(rendered_calibration(camera), lost_after_s=1.0), list[str]()
    zones = ZoneMonitor(lines=[Line("side", (330, 0), (330, 360))])
    pipeline = Pipeline(Still(*found), tracker, detect_every=every, speed_estimator=estimator)
    results = []
    for n, time in enumerate(times):
        results.append(pipeline.process(Frame(np.zeros((360, 640, 3), np.uint8), time, n)))
        events += [event.kind for event in zones.update(results[-1].tracks, time)]
    reports = [*(one.speeds for one in results), pipeline.flush()]
    speeds = {kind: [row.mps for one in reports for row in getattr(one, kind)] for kind in ("smoothed", "track_speeds")}
    return float(np.mean([one.gated for one in results])), speeds, events


def test_only_detections_are_measured_and_counted() -> None:
    """Wrong predictions in two of three frames change no speed, and cross no line. Speeds are those of detections in
    each frame within 3 %."""
    _, plain, _ = drive_past(Tracker(), 1)
    share, right, events = drive_past(Tracker(), 3)
    assert 0.5 < share < 0.67
    _, astray, others = drive_past(Astray(), 3)
    np.testing.assert_equal(astray, right)
    assert events == others == []
    assert plain["track_speeds"] == pytest.approx([50 / 3.6], rel=0.01)
    assert right["track_speeds"] == pytest.approx(plain["track_speeds"], rel=0.01)
    both = [(a, b) for a, b in zip(plain["smoothed"], right["smoothed"], strict=False) if a == a and b == b]
    assert len(both) > 20
    assert max(abs(b / a - 1) for a, b in both) < 0.03


def test_actions_go_on_in_gated_frames() -> None:
    """A person who stands is cut out in every frame: clips have no holes, though detections are a second apart."""
    clips = list[Clips]()

    def recognize(given: Clips) -> np.ndarray:
        clips.append(replace(given, pixels=given.pixels.copy()))
        return np.full((len(given), 2), 0.5)

    spec = ClipSpec(steps=8, rate_hz=8.0, width=16, height=32, stride_s=0.5, min_side=8)
    task = RecognitionTask(ClipBuffer(spec), recognize, Policy(["stand", "sit"]), names=("stand", "sit"))  # type: ignore[arg-type]
    results = process(Still(boxes(100)), [frame(n, x=100) for n in range(40)], detect_every=Gate(max_gap_s=1.0),
                      recognitions={"action": task})  # fmt: skip
    assert np.mean([one.gated for one in results]) > 0.7
    late = [one for one in clips if len(one) and one.times[0, -1] > 2]
    assert len(late) >= 4
    for one in late:
        assert np.isfinite(one.times).all()
        assert one.pixels.min(axis=(0, 2, 3, 4)).min() >= 85  # the person, or the road: no step is black
