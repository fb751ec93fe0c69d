"""Damaged frames in a run: objects coast for a second, then all rows are DAMAGED; or frames are skipped."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.output.records import as_json
from edgevid.pipeline import Pipeline
from edgevid.run.loop import Summary, run
from edgevid.track import Tracker
from edgevid.types import Detections, Frame, Reason, Result, SpeedReport, Speeds, Tracks, Verdicts
from edgevid.types.tables import Scores

STEP = 0.125
"""Seconds between frames, exact in binary."""


class Walker:
    """A detector of one object that walks 8 px a frame; it sees a second one in damaged frames."""

    names = ("person",)

    def detect(self, frames: list[Frame]) -> list[Detections]:
        (frame,) = frames
        x = 8.0 * frame.index
        boxes = [[x, 20, x + 40, 120]] + [[400, 20, 440, 120]] * frame.damaged
        return [Detections.of(boxes=boxes, scores=[0.9] * len(boxes), labels=[0] * len(boxes))]


class Estimator:
    """Speeds of 8 px a frame, as m/s."""

    def update(self, tracks: Tracks, time: float) -> SpeedReport:
        n = len(tracks)
        moving = Speeds.of(ids=tracks.ids, mps=np.full(n, 64.0), sigma=np.ones(n), heading=np.zeros(n),
                           time=np.full(n, time), reason=np.zeros(n))  # fmt: skip
        return SpeedReport(moving)

    def reset(self) -> None:
        """Nothing is kept."""


class Policy:
    """Emits the class of every track."""

    def update(self, scores: Scores, tracks: Tracks, time: float) -> Verdicts:
        n = len(tracks)
        return Verdicts.of(ids=tracks.ids, labels=np.zeros(n), confidence=np.ones(n), reason=np.zeros(n))

    def reset(self) -> None:
        """Nothing is kept."""


def frames(damaged: range, count: int = 40) -> list[Frame]:
    made = [Frame(np.zeros((160, 480, 3), np.uint8), n * STEP, n) for n in range(count)]
    for frame in made:
        frame.damaged = frame.index in damaged
    return made


def results(
    damaged: range, how: Literal["coast", "show"] = "coast", *, skip: bool = False
) -> tuple[list[Result], Summary]:
    pipeline = Pipeline(Walker(), Tracker(), speed_estimator=Estimator(), class_policy=Policy(), damaged=how)
    found: list[Result] = []
    summary = run(pipeline, frames(damaged), on_result=lambda frame, result: found.append(result), skip_damaged=skip)
    return found, summary


def test_objects_coast_for_a_second_and_are_damaged_from_then_on() -> None:
    found, summary = results(range(10, 30))  # the last sound frame is at 9
    assert summary.damaged == 20
    for result in found:
        (track,) = result.tracks
        assert (track.id, result.damaged) == (1, 10 <= result.frame_index < 30)
        since = result.frame_index - 9
        late = 8 < since < 21  # 8 frames are a second
        reason = Reason.DAMAGED if late else Reason.OK
        assert [row.reason for row in result.speeds.live] == [reason]
        assert [row.reason for row in result.verdicts["class"]] == [reason]
        if result.damaged:
            expected = 8.0 * (result.frame_index if since <= 8 else 17)  # where it is last predicted
            assert track.box[0] == pytest.approx(expected, abs=6)
            assert track.match == -1
            assert track.unseen == pytest.approx(since * STEP)
            assert track.age == pytest.approx(result.frame_index * STEP)
    line = as_json(found[20])
    assert line["damaged"] is True
    assert line["objects"][0]["verdicts"]["class"]["reason"] == "DAMAGED"
    assert "damaged" not in as_json(found[0])


def test_a_short_damage_costs_no_id_and_no_new_object() -> None:
    found, _ = results(range(10, 14))
    assert {track.id for result in found for track in result.tracks} == {1}
    assert len(found[-1].tracks) == 1


def test_damaged_frames_are_shown_or_skipped_if_asked() -> None:
    found, summary = results(range(10, 14), "show")
    assert [len(result.tracks) for result in found[9:15]] == [1, 1, 2, 2, 2, 2]  # the smear becomes an object
    assert summary.damaged == 4
    found, summary = results(range(10, 14), skip=True)
    assert [result.frame_index for result in found[8:12]] == [8, 9, 14, 15]
    assert (summary.frames, summary.damaged) == (36, 4)
    with pytest.raises(InputError, match="damaged: expected one of coast, show, got "):
        results(range(0), "hide")  # type: ignore[arg-type]


def test_a_tracker_without_a_coast_gets_no_detections() -> None:
    class Plain:
        seen: list[int] = []  # noqa: RUF012

        def update(self, detections: Detections, time: float) -> Tracks:
            self.seen.append(len(detections))
            return Tracks.empty()

        def reset(self) -> None:
            """Nothing is kept."""

    tracker = Plain()
    for frame in frames(range(2, 4), 5):
        Pipeline(Walker(), tracker).process(frame)
    assert tracker.seen == [1, 1, 0, 0, 1]


class Photos(list[Frame]):
    """Unrelated images."""

    independent = True


@pytest.mark.parametrize("kind", [list, Photos])
def test_nothing_of_a_photo_is_written_into_the_next(kind: type[list[Frame]]) -> None:
    found: list[Result] = []
    given = frames(range(0), 4)
    given[2] = Frame(given[2].image, given[2].time, 90)  # the object is elsewhere
    summary = run(Pipeline(Walker(), Tracker()), kind(given), on_result=lambda frame, result: found.append(result))
    ids = [result.tracks.ids.tolist() for result in found]
    if kind is Photos:
        assert ids == [[1], [2], [3], [4]]
        assert all((result.tracks.match >= 0).all() for result in found)
    else:
        assert ids == [[1], [1], [1], [1]]
        assert found[2].tracks.match.tolist() == [-1]  # predicted from the frame before
    assert summary.size_changes == 0
