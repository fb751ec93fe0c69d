"""The frames of a calibration, spread evenly and held out."""

from __future__ import annotations

from pathlib import Path

from edgevid.optimize.frames import select_frames


def test_frames_are_spread_evenly_and_held_out(video: Path) -> None:
    selection = select_frames(video, max_frames=10)
    assert [f.index for f in selection.held_out] == [5, 15]
    assert [f.index for f in selection.calibration] == [1, 3, 7, 9, 11, 13, 17, 19]
    twice = select_frames([video, video], max_frames=30)
    assert len(twice.calibration) + len(twice.held_out) == 30
    two, one = (select_frames(video, max_frames=count) for count in (2, 1))
    assert ([f.index for f in two.calibration], [f.index for f in two.held_out]) == ([5], [15])
    assert (len(one.calibration), one.held_out) == (1, ())
