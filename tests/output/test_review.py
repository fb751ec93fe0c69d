"""What is saved for review: which objects, what of them, and how much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevid.errors import InputError, SourceError
from edgevid.output.review import ReviewSink
from edgevid.types import Detections, Frame, Header, Reason, Result, Scores, SpeedReport, Tracks, Verdicts


def frame(time: float = 0.0, red: int = 200) -> Frame:
    image = np.zeros((120, 160, 3), np.uint8)
    image[..., 0] = red
    return Frame(image, time, int(time * 10))


def result(ids: list[int], reasons: list[Reason], sides: list[float], confidence: float = 0.4) -> Result:
    n = len(ids)
    zero = np.zeros(n)
    boxes = [[10, 20, 10 + s, 20 + s] for s in sides]
    verdicts = Verdicts.of(
        ids=ids, labels=[0 if r == Reason.OK else -1 for r in reasons], confidence=[confidence] * n,
        reason=reasons,
    )  # fmt: skip
    return Result(
        0, 0.0, (160, 120), Detections.empty(),
        Tracks.of(ids=ids, boxes=boxes, scores=zero, labels=zero, match=zero, age=zero, unseen=zero),
        SpeedReport(), {"action": Scores.of(ids=ids, values=[[0.4, 0.6]] * n, times=zero)},
        {"action": verdicts}, {"action": ("walk", "run")}, {},
    )  # fmt: skip


LOW, OK = Reason.LOW_CONFIDENCE, Reason.OK


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def test_the_largest_view_of_an_abstained_track_is_saved_once(tmp_path: Path) -> None:
    with ReviewSink(tmp_path, model_sha256={"action": "ab"}, source="gate") as sink:
        for time, side in ((0.0, 20), (0.1, 50), (0.2, 30)):
            sink.write(frame(time), result([7], [LOW], [side]))
        assert read(tmp_path) == []  # not before the track ends
        sink.write(frame(0.3), result([], [], []))
    (about,) = read(tmp_path)
    assert (about["time_s"], about["frame"], about["track"], about["reason"]) == (0.1, 1, 7, "LOW_CONFIDENCE")
    assert about["scores"] == [0.4, 0.6]
    assert (about["model_sha256"], about["source"], about["names"]) == ("ab", "gate", ["walk", "run"])
    crop = cv2.imread(str(tmp_path / about["crop"]))
    assert crop.shape == (50, 50, 3)
    assert crop[25, 25, 2] == pytest.approx(200, abs=4)  # red stayed red
    assert sink.saved == 1


def test_what_was_emitted_in_the_end_is_not_saved(tmp_path: Path) -> None:
    with ReviewSink(tmp_path) as sink:
        sink.write(frame(), result([1, 2, 3], [LOW, OK, Reason.TOO_SMALL], [20, 20, 20]))
        sink.write(frame(), result([1, 2, 3], [OK, OK, Reason.TOO_SMALL], [20, 20, 20]))
    assert read(tmp_path) == []


def test_low_confidence_verdicts_and_selected_tasks(tmp_path: Path) -> None:
    with ReviewSink(tmp_path / "a", min_confidence=0.5) as sink:
        sink.write(frame(), result([1], [OK], [20], confidence=0.45))
    assert [about["label"] for about in read(tmp_path / "a")] == [0]
    with ReviewSink(tmp_path / "b", tasks=["class"]) as sink:
        sink.write(frame(), result([1], [LOW], [20]))
    assert read(tmp_path / "b") == []


def test_disk_use_is_bounded_also_over_runs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noisy = Frame(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8), 0.0, 0)
    foreign = tmp_path / "mine.txt"
    foreign.write_text("stays")
    for first in (1, 100):
        with ReviewSink(tmp_path, max_disk_bytes=40_000) as sink:
            for number in range(first, first + 30):
                sink.write(noisy, result([number], [LOW], [90]))
        assert sink.saved == 30
        assert sink.removed > 0
        size = sum(path.stat().st_size for path in tmp_path.iterdir() if path != foreign)
        assert size <= 40_000
    assert foreign.exists()
    assert read(tmp_path)[-1]["track"] == 129  # the newest stays
    assert len(list(tmp_path.glob("*.jpg"))) == len(list(tmp_path.glob("*.json")))


def test_crops_are_cut_at_the_edge_and_shrunk(tmp_path: Path) -> None:
    with ReviewSink(tmp_path, max_side_px=32) as sink:
        sink.write(frame(), result([1], [LOW], [500]))
    (about,) = read(tmp_path)
    assert cv2.imread(str(tmp_path / about["crop"])).shape == (21, 32, 3)  # 150 x 100 in the frame
    with ReviewSink(tmp_path / "none") as sink:
        sink.write(frame(), result([1], [LOW], [0.5]))
    assert read(tmp_path / "none") == []


def test_invalid_arguments_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max_disk_bytes"):
        ReviewSink(tmp_path, 0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(SourceError, match="it is a file; choose a folder"):
        ReviewSink(tmp_path / "file")


def test_the_audit_sample_is_drawn_without_a_look_at_the_verdict(tmp_path: Path) -> None:
    with ReviewSink(tmp_path, audit=0.3) as sink:
        for number in range(200):
            sink.write(frame(), result([number], [OK], [20], confidence=0.1 + 0.004 * number))
    kept = read(tmp_path)
    assert {about["reason"] for about in kept} == {"OK"}
    assert all(about["audit"]["rate"] == 0.3 and about["audit"]["draw"] < 0.3 for about in kept)
    assert 35 < len(kept) < 85  # 60 expected, standard deviation 6.5
    with pytest.raises(InputError, match="audit 0 to 1"):
        ReviewSink(tmp_path, audit=1.5)


def test_a_track_that_abstained_in_the_end_is_in_no_audit_sample(tmp_path: Path) -> None:
    with ReviewSink(tmp_path, audit=1.0) as sink:
        sink.write(frame(), result([1, 2], [OK, OK], [20, 20]))
        sink.write(frame(), result([1, 2], [OK, LOW], [20, 20]))
    assert [(about["track"], about["reason"]) for about in read(tmp_path)] == [(1, "OK"), (2, "LOW_CONFIDENCE")]


def test_a_film_has_up_to_twelve_images_over_the_whole_track(tmp_path: Path) -> None:
    with ReviewSink(tmp_path, source="gate") as sink:
        sink.open(Header(camera="gate", start=1_780_000_000.0, run="r1"))
        for n in range(400):
            sink.write(frame(0.1 * n, red=55 + n // 2), result([7], [LOW], [40]))
    (about,) = read(tmp_path)
    times = about["film_times_s"]
    assert 6 <= len(times) <= 12
    assert (times[0], times[-1] > 30) == (0.0, True)
    film = cv2.imread(str(tmp_path / about["film"]))
    assert film.shape == (128, 128 * len(times), 3)
    reds = [int(film[64, 128 * n + 64, 2]) for n in range(len(times))]
    assert reds == pytest.approx([55 + round(10 * time) // 2 for time in times], abs=6)
    assert (about["camera"], about["run"], about["utc"][:16]) == ("gate", "r1", "2026-05-28T20:26")
