"""The offline demo shows each kind of what edgevid tells: events, actions, speeds, abstentions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.run.loop import Summary, run
from edgevid.synthetic.render import WEIGHTS, RenderedStreet, features, motion_actions
from edgevid.synthetic.scene import ACTIONS
from edgevid.types import Clips, Event, Reason, Result
from edgevid.viewer.config import MOTION_CLIPS, PERSON, STREET_LIMIT_KMH, build_street


@pytest.fixture(scope="module")
def shown() -> tuple[list[Result], list[Event]]:
    """Results and events of the first nine seconds of the demo."""
    config = build_street(RenderedStreet(seconds=9))
    results: list[Result] = []
    events: list[Event] = []
    run(
        config.pipeline, config.source, [], zones=config.monitor, size=config.source.size,
        on_result=lambda _, result: results.append(result), on_event=events.append, summary=Summary(),
        speed_limit_kmh=config.speed_limit_kmh,
    )  # fmt: skip
    return results, events


def test_the_demo_has_events_of_every_kind(shown: tuple[list[Result], list[Event]]) -> None:
    kinds = Counter(event.kind for event in shown[1])
    assert {"cross", "enter", "leave", "dwell", "speed-limit"} <= set(kinds)
    assert {event.direction for event in shown[1] if event.kind == "cross"} == {"forward", "backward"}
    assert {event.place for event in shown[1] if event.place} == {"counting line", "crossing", "west sidewalk"}
    street = RenderedStreet(seconds=9)
    fast = [event for event in shown[1] if event.kind == "speed-limit"]
    for event in fast:  # no lane is accused that keeps the limit
        truth = street.scene.at(min(event.time_s, 8.9))
        assert (3.6 * truth.speeds > STREET_LIMIT_KMH).any()


def test_the_demo_has_actions_and_speeds_with_errors_and_abstentions(shown: tuple[list[Result], list[Event]]) -> None:
    results = shown[0]
    verdicts = [(row, result) for result in results for row in result.verdicts["action"]]
    emitted = Counter(ACTIONS[row.label] for row, _ in verdicts if row.reason is Reason.OK)
    assert {"stand", "walk", "run"} <= set(emitted)
    reasons = Counter(row.reason for row, _ in verdicts)
    assert reasons[Reason.LOW_CONFIDENCE] > 20
    assert reasons[Reason.TOO_SMALL] + reasons[Reason.TOO_SHORT] > 20
    assert reasons[Reason.NOT_MEASURED] == sum(int((r.tracks.labels != PERSON).sum()) for r in results)
    speeds = [row for result in results for row in result.speeds.live]
    told = [row for row in speeds if row.reason is Reason.OK]
    assert len(told) > 300
    assert all(0 < row.sigma < 5 for row in told)
    assert len({row.reason for row in speeds}) >= 4


def test_motion_tells_what_the_people_of_another_street_do() -> None:
    clips = Clips.of(
        ids=[1, 2], pixels=np.full((2, 10, 48, 24, 3), 90, np.uint8),
        times=np.arange(20).reshape(2, 10) * 0.08, boxes=np.tile([10, 20, 34, 92], (2, 10, 1)),
    )  # fmt: skip
    found = features(clips)
    assert np.allclose(found[:, :4], 0)  # nothing moves
    assert np.allclose(found[:, 4:], [np.log(72 / 80), 1])
    shares = motion_actions(clips)
    assert np.allclose(shares.sum(1), 1)
    assert (shares.argmax(1) == ACTIONS.index("stand")).all()
    clips.boxes[1] += np.arange(10)[:, None] * [12, 0, 12, 0]  # 2 heights a second
    assert motion_actions(clips)[1].argmax() == ACTIONS.index("run")
    assert WEIGHTS.shape == (found.shape[1], len(ACTIONS))


def test_clips_are_those_of_people(shown: tuple[list[Result], list[Event]]) -> None:
    street, buffer, every = (
        RenderedStreet(seconds=9),
        ClipBuffer(MOTION_CLIPS, labels=[PERSON]),
        ClipBuffer(MOTION_CLIPS),
    )
    counts = [0, 0]
    for result, frame in zip(shown[0][:60], street, strict=False):
        people = set(result.tracks.ids[result.tracks.labels == PERSON].tolist())
        mine = buffer.update(frame, result.tracks)
        assert set(mine.ids.tolist()) <= people
        counts = [counts[0] + len(mine), counts[1] + len(every.update(frame, result.tracks))]
    assert 0 < counts[0] < counts[1]
