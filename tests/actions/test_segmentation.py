"""Online segments."""

from __future__ import annotations

from edgevid.actions import OnlineSegments
from edgevid.types import Scores


def scored(values: list[float], time: float) -> Scores:
    return Scores.of(ids=[1], values=[values], times=[time])


def test_segments_do_not_flicker() -> None:
    segments = OnlineSegments(confident=0.9, min_s=1.0)
    weak = [[0.6, 0.4], [0.4, 0.6], [0.6, 0.4], [0.4, 0.6]]
    labels = [int(segments.update(scored(v, i / 10))[0][0]) for i, v in enumerate(weak)]
    assert labels == [0, 0, 0, 0]
    assert segments.update(scored([0.05, 0.95], 0.5))[0].tolist() == [1]  # confident: at once
    _, ended = segments.update(scored([0.6, 0.4], 1.6))  # weak, but the segment lasted long enough
    assert ended == [(1, 1, 0.5, 1.6)]
    assert segments.finish() == [(1, 0, 1.6, 1.6)]


def test_an_object_without_scores_ends_its_segment() -> None:
    segments = OnlineSegments(forget_after_s=2.0)
    segments.update(scored([0.9, 0.1], 0.0))
    _, ended = segments.update(Scores.of(ids=[2], values=[[0.9, 0.1]], times=[3.0]))
    assert ended == [(1, 0, 0.0, 0.0)]
