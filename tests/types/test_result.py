"""The speed to display: live, or smoothed where that is surer."""

from __future__ import annotations

import numpy as np

from edgevid.types import (
    Detections,
    Reason,
    Result,
    SpeedReport,
    Speeds,
    Tracks,
)


def test_where_only_the_live_speed_is_uncertain_the_smoothed_one_is_displayed() -> None:
    def speeds(*rows: tuple[int, float, float, Reason]) -> Speeds:
        ids, mps, time, reason = zip(*rows, strict=True)
        steady = [0.5] * len(rows)
        return Speeds.of(ids=ids, mps=mps, sigma=steady, heading=steady, time=time, reason=reason)

    live = speeds(
        (1, 10, 5, Reason.OK), (2, np.nan, 5, Reason.UNCERTAIN), (3, np.nan, 5, Reason.CAMERA_MOVED),
        (4, np.nan, 5, Reason.UNCERTAIN),
    )  # fmt: skip
    smoothed = speeds(
        (1, 11, 4.5, Reason.OK), (2, 12, 4.5, Reason.OK), (3, 13, 4.5, Reason.OK),
        (4, np.nan, 4.5, Reason.UNCERTAIN),
    )  # fmt: skip
    empty = Detections.empty(), Tracks.empty()
    result = Result(7, 5.0, (64, 48), *empty, SpeedReport(live, smoothed))
    shown = {i: (s.kind, s.mps, s.age_s, s.reason) for i, s in result.display_speeds().items()}
    assert shown[1] == ("live", 10, 0, Reason.OK)
    assert shown[2] == ("smoothed", 12, 0.5, Reason.OK)
    assert [shown[i][0] for i in (3, 4)] == ["live", "live"]
    assert [shown[i][3] for i in (3, 4)] == [Reason.CAMERA_MOVED, Reason.UNCERTAIN]
