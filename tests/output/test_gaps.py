"""Gaps of tracks in a finished record: which are filled, with what, and what stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgevid import cli
from edgevid.evaluate.boxes import read_boxes
from edgevid.output.gaps import fill_gaps
from edgevid.output.records import SCHEMA, json_line, read_lines


def row(number: int, left: float, age: float, detected: bool = True) -> dict[str, Any]:
    box = [left, 10.0, left + 20, 50.0]
    return {"id": number, "box": box, "class": "person", "score": 0.5, "detected": detected, "age_s": age}


def record(path: Path, *frames: list[dict[str, Any]], every_s: float = 0.1) -> Path:
    """A record of a header and frames `every_s` apart."""
    lines = [{"schema": "edgevid.header/1", "source": "gate.mp4"}]
    lines += [{"schema": SCHEMA, "frame": n, "time_s": n * every_s, "objects": one} for n, one in enumerate(frames)]
    path.write_text("".join(map(json_line, lines)))
    return path


def objects(path: Path) -> list[list[dict[str, Any]]]:
    return [one["objects"] for _, one in read_lines(path) if one["schema"] == SCHEMA]


def test_boxes_between_two_detections_lie_on_the_line_between_both(tmp_path: Path) -> None:
    # Detected at 100 and, 0.4 s later, at 140; one frame has a prediction that went astray, two have nothing. The other
    # object is detected throughout.
    astray = row(1, 300.0, 0.1, detected=False) | {"speed": {"mps": 3.0}}
    others = [row(2, 500.0, 0.1 * n) for n in range(5)]
    frames = [
        [row(1, 100.0, 0.0), others[0]],
        [astray, others[1]],
        [others[2]],
        [others[3]],
        [row(1, 140.0, 0.4), others[4]],
    ]
    path = record(tmp_path / "gate.jsonl", *frames)
    assert fill_gaps(path, 0.5) == 3
    found = objects(path)
    assert [[one["id"] for one in frame] for frame in found] == [[1, 2]] * 5
    assert [frame[0]["box"] for frame in found] == [[x, 10, x + 20, 50] for x in (100, 110, 120, 130, 140)]
    assert [frame[0].get("interpolated", False) for frame in found] == [False, True, True, True, False]
    assert [frame[0]["detected"] for frame in found] == [True, False, False, False, True]
    assert [frame[0]["age_s"] for frame in found] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert found[1][0]["speed"] == {"mps": 3.0}
    assert [frame[1] for frame in found] == others
    assert next(read_lines(path))[1] == {"schema": "edgevid.header/1", "source": "gate.mp4"}


def test_longer_gaps_and_the_ends_of_tracks_stay_as_they_are(tmp_path: Path) -> None:
    frames = [[row(1, 100.0, 0.0)], [], [], [], [row(1, 140.0, 0.4)], [row(1, 150.0, 0.5, detected=False)]]
    path = record(tmp_path / "gate.jsonl", *frames)
    before = objects(path)
    assert fill_gaps(path, 0.3) == 0
    assert objects(path) == before
    assert fill_gaps(path, 0.4) == 3  # the last, predicted row has no detection after it


def test_interpolated_boxes_are_evaluated_and_predicted_ones_are_not(tmp_path: Path) -> None:
    path = record(tmp_path / "gate.jsonl", [row(1, 100.0, 0.0)], [row(1, 100.0, 0.1, False)], [row(1, 140.0, 0.2)])
    assert read_boxes(path)[0].boxes[:, 0].tolist() == [100, 140]
    fill_gaps(path, 1.0)
    assert read_boxes(path)[0].boxes[:, 0].tolist() == [100, 120, 140]


@pytest.mark.parametrize("more", [[], ["--jsonl", "-"], ["--jsonl", "a.jsonl", "--segment-s", "60"]])
def test_the_option_names_the_record_that_it_needs(
    more: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gate.mp4").write_bytes(b"no video")
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "gate.mp4", "--smooth-tracks", "0.5", *more])
    assert ended.value.code == 2
    assert "--smooth-tracks completes a record: give --jsonl FILE" in capsys.readouterr().err.replace("\n", " ")
