"""The table [track] of a site and the options --tracker and --track: each setting reaches the tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgevid import kernels
from edgevid.errors import FileFormatError, InputError
from edgevid.site.file import read_site
from edgevid.site.tables import TrackTable
from edgevid.track import TUNING, ByteTracker, OCSortTracker, Tracker


def test_every_setting_of_the_trackers_is_a_key_of_the_table() -> None:
    keys = {name for name in TrackTable.__dataclass_fields__ if name != "tracker"}
    assert keys == {*TUNING, *(ByteTracker.__init__.__kwdefaults__ or {})} - {"frame_rate"}


def test_a_site_file_chooses_tracker_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text('source = "gate.mp4"\n[track]\ntracker = "oc-sort"\nlost_after_s = 2.5\nreach = 0.5\n')
    site = read_site(path)
    assert site.track == TrackTable(tracker="oc-sort", lost_after_s=2.5, reach=0.5)
    assert type(site.track.build(0.4)) is OCSortTracker
    path.write_text('source = "gate.mp4"\n[track]\ntracker = "sort"\nreech = 1\n')
    with pytest.raises(FileFormatError, match=r"tracker: expected .*default.*(\n.*)*reech"):
        read_site(path)


def test_settings_reach_the_core_and_the_score_is_the_high_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(kernels, "TrackerCore", given.append)
    assert type(TrackTable().build(0.4)) is Tracker
    TrackTable(track_high_thresh=0.3, common_shift=False, match_thresh=0.75).build(0.4)
    assert (given[0]["track_high_thresh"], given[0]["new_track_thresh"]) == (0.4, 0.5)
    assert (given[1]["track_high_thresh"], given[1]["common_shift"], given[1]["match_thresh"]) == (0.3, False, 0.25)


def test_options_replace_the_keys_of_the_table() -> None:
    table = TrackTable(reach=3.0, coast_s=0.1)
    assert table.replaced("bytetrack", ["reach=0.5", "class_aware=true"]) == TrackTable(
        tracker="bytetrack", reach=0.5, coast_s=0.1, class_aware=True
    )
    assert table.replaced(None, []) == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reech=1", "did you mean 'reach'"),
        ("reach", "--track: reach: expected a number of at least 0, got ''"),
        ("reach=fast", "--track: reach: expected a number of at least 0, got 'fast'"),
        ("match_thresh=2", "--track: match_thresh: expected a number from 0 to 1, got 2"),
        ("common_shift=1", "--track: common_shift: expected true or false, got 1"),
    ],
)
def test_a_mistake_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrackTable().replaced(None, [text])


def test_another_tracker_is_named() -> None:
    with pytest.raises(InputError, match="tracker: expected one of 'default', 'bytetrack', 'oc-sort', got 'sort'"):
        TrackTable().replaced("sort", [])
