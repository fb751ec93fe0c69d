"""The speed to display: live, or smoothed where that is surer."""

from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from result_samples import sample_result
from supervision_samples import TheirDetections, theirs

from edgevid.errors import InputError, MissingExtraError
from edgevid.types import Detections, Mask, Reason, Result, SpeedReport, Speeds, Tracks, with_speeds


@pytest.fixture
def supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    """supervision, or a stand-in."""
    try:
        import supervision  # noqa: F401
    except ImportError:
        monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=TheirDetections))


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


def test_supervision_gets_the_tracks_with_speeds_verdicts_and_reasons(supervision: None) -> None:
    result = sample_result()[1]
    found = result.to_supervision()
    assert found.tracker_id.tolist() == [1, 2]
    assert found.xyxy.tolist() == result.tracks.boxes.tolist()
    assert found.data["class_name"].tolist() == ["person", "person"]
    assert found.data["speed_mps"][0] == 10.0
    assert found.data["speed_sigma_mps"][0] == 0.5
    assert np.isnan(found.data["speed_mps"][1])
    assert found.data["speed_reason"].tolist() == ["", "OFF_PLANE"]
    assert found.data["action"].tolist() == ["run", ""]
    assert found.data["action_reason"].tolist() == ["", "TOO_SMALL"]
    assert found.data["detected"].tolist() == [True, True]
    assert found.metadata == {"frame": 4, "time_s": 0.16, "size": (640, 360)}
    assert found[found.data["speed_reason"] == ""].tracker_id.tolist() == [1]


def test_supervision_gets_masks_and_key_points(supervision: None) -> None:
    """A mask of a detection goes with its track; a track that coasts has none."""
    masks = np.empty(1, object)
    masks[0] = Mask(1, 2, np.ones((2, 3), np.uint8))
    points = np.full((1, 17, 3), 0.5, np.float32)
    found = Detections.of(boxes=[[1, 2, 4, 4]], scores=[0.9], labels=[0], masks=masks, keypoints=points)
    theirs = found.to_supervision(size=(8, 6))
    assert theirs.mask.shape == (1, 6, 8)
    assert theirs.mask.sum() == theirs.mask[0, 2:4, 1:4].sum() == 6
    assert theirs.data["keypoints"].tolist() == points.tolist()
    assert found.to_supervision().mask is None
    tracks = Tracks.of(
        ids=[1, 2], boxes=[[1, 2, 4, 4]] * 2, scores=[0.9] * 2, labels=[0] * 2, match=[0, -1], age=[1] * 2,
        unseen=[0, 1], keypoints=np.repeat(points, 2, axis=0),
    )  # fmt: skip
    whole = Result(0, 0.0, (8, 6), found, tracks).to_supervision()
    assert whole.mask.sum(axis=(1, 2)).tolist() == [6, 0]
    assert whole.data["keypoints"].shape == (2, 17, 3)


def test_a_frame_without_tracks_has_the_same_columns(supervision: None) -> None:
    result = sample_result()[1]
    none = Result(4, 0.16, (640, 360), Detections.empty(), Tracks.empty(), verdicts=result.verdicts)
    assert set(none.to_supervision().data) == set(result.to_supervision().data)
    assert (len(none), bool(none), none.to_dicts()) == (0, True, [])


def test_supervisions_rows_get_the_speeds_of_their_ids() -> None:
    ids = [1, 2]
    live = Speeds.of(
        ids=ids, mps=[5.0, np.nan], sigma=[0.25, np.nan], heading=[90, np.nan], time=[1.0, 1.0],
        reason=[Reason.OK, Reason.TOO_SHORT],
    )  # fmt: skip
    given = theirs([[0, 0, 4, 4], [9, 9, 14, 14], [20, 20, 24, 24]], tracker_id=np.array([2, -1, 1]))
    given.data["camera"] = np.array(["a", "a", "a"])
    found = with_speeds(given, Tracks.from_supervision(given), SpeedReport(live), 1.0)
    assert found.data["speed_mps"][2] == 5.0
    assert found.data["speed_sigma_mps"][2] == 0.25
    assert np.isnan(found.data["speed_mps"][:2]).all()
    assert found.data["speed_reason"].tolist() == ["TOO_SHORT", "", ""]
    assert found.data["camera"].tolist() == ["a", "a", "a"]
    assert set(given.data) == {"camera"}


def test_rows_become_tables_where_the_package_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    result = sample_result()[1]
    for name in ("pandas", "polars", "supervision"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtraError, match=rf"edgevid\[{name}\]"):
            getattr(result, f"to_{name}")()


def test_polars_has_null_where_there_is_no_value() -> None:
    pytest.importorskip("polars")
    frame = sample_result()[1].to_polars()
    assert frame["speed_mps"].to_list() == [10.0, None]
    assert frame["tracker_id"].to_list() == [1, 2]


def test_pandas_has_the_columns_of_the_rows() -> None:
    pytest.importorskip("pandas")
    result = sample_result()[1]
    frame = result.to_pandas()
    assert list(frame.columns) == list(result.to_dicts()[0])
    assert frame["speed_mps"].isna().tolist() == [False, True]


def test_columns_keep_their_types_in_frames_without_values() -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    result = sample_result()[1]
    other = dataclasses.replace(result, speeds=SpeedReport(), tracks=result.tracks[:0])
    for frame in (result.to_pandas(), other.to_pandas()):
        kinds = [frame[name].dtype.kind for name in ("tracker_id", "speed_mps", "confidence", "detected")]
        assert kinds == ["i", "f", "f", "b"]
    assert polars.concat([result.to_polars(), other.to_polars()])["speed_mps"].to_list() == [10, None]
    assert pandas.concat([result.to_pandas(), other.to_pandas()])["speed_mps"].mean() == 10


def test_a_result_is_that_of_one_frame() -> None:
    result = sample_result()[1]
    with pytest.raises(InputError, match=r"Result\[0\]: a result is that of one frame"):
        result[0]
    with pytest.raises(InputError, match=r"one frame"):
        list(result)
