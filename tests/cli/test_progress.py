"""The progress bar of a run, and its summary."""

from __future__ import annotations

from collections import Counter

import pytest

from edgevid.cli.console import advance, progress_bar, set_verbosity
from edgevid.cli.run_outputs import print_summary
from edgevid.run.loop import Summary
from edgevid.types import Reason


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    set_verbosity()


def printed(capsys: pytest.CaptureFixture[str], summary: Summary, **more: object) -> dict[str, str]:
    """The first word of each line of the summary, and the rest."""
    given = {"seconds": 2.0, "written": (), **more}
    print_summary(summary, ("person", "car"), **given)  # type: ignore[arg-type]
    lines = [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    return {first.strip(): " ".join(rest).strip() for first, *rest in lines}


def test_objects_abstentions_times_and_files_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = {Reason.OK: 6, Reason.TOO_SHORT: 3, Reason.STALE: 1}
    summary = Summary(
        frames=50, ids={1: 0, 2: 0, 3: 7}, ended=Counter({1: 5}), seconds={"detect": 0.5, "track": 0.0001},
        reasons=Counter({("action", reason): n for reason, n in reasons.items()}),
        track_speeds=Counter({Reason.OK: 2, Reason.STALE: 1}), event_counts=Counter({("stopped", "gate"): 4}),
    )  # fmt: skip
    lines = printed(capsys, summary, seconds=0.5, written=["seen.mp4", "a[1].jsonl"], notes=["no speeds"])
    assert "done: 50 frames in 0.5 s (100 fps)" in lines
    assert lines["objects"] == "5 car, 2 person, 1 7"
    too_short, stale = Reason.TOO_SHORT.description, Reason.STALE.description
    assert lines["action"] == f"emitted 6, abstained 4 ({too_short} 3, {stale} 1)"
    assert lines["track speeds"] == "2 of 3 ended tracks (--events, --sqlite)"
    assert lines["ms/frame"] == "detect 10.00"  # less than a hundredth is left out
    assert lines["events"] == "4 x stopped gate"
    assert lines["note"] == "no speeds"
    assert lines["written"] == "a[1].jsonl"  # the last of two


def test_lines_and_zones_are_counted_by_class(capsys: pytest.CaptureFixture[str]) -> None:
    summary = Summary(
        crossings={"gate": {"forward": Counter(car=11, bus=1), "backward": Counter()}},
        stays={"yard": {"car": (1, 2.0), "person": (3, 8.0)}},
        event_counts=Counter({("cross", "gate"): 12, ("enter", "yard"): 4, ("leave", "yard"): 4}),
    )  # fmt: skip
    lines = printed(capsys, summary)
    assert lines["line"] == "gate: 12 forward (11 car, 1 bus), 0 backward, net 12"
    assert lines["zone"] == "yard: 4 stays (3 person, 1 car), 2.5 s on average"
    assert "events" not in lines  # each has a line of its own


def test_a_run_without_frames_has_no_figures(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, Summary(interrupted=True), seconds=0.0)
    assert "interrupted after 0 frames in 0.0 s (0 fps)" in lines
    assert lines["objects"] == "none"
    assert not {"track speeds", "events", "written"} & set(lines)


def test_the_bar_counts_frames_and_prints_nothing_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("[timing]", 3) as bar:
        for _ in range(2):
            advance(bar)
        (task,) = bar.tasks
        assert (task.completed, task.total, task.finished) == (2, 3, False)
        advance(bar)
        assert task.finished
    assert capsys.readouterr().out == ""
