"""HOTA, IDF1 and CLEAR MOT: worked by hand, and equal to trackeval on random tracks and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.boxes import overlaps, read_boxes
from edgevid.evaluate.tracking import TrackCounts, count_tracks, evaluate

Frame = tuple[np.ndarray, np.ndarray]
BOX = np.array([[0.0, 0.0, 10.0, 10.0]])
EMPTY = np.zeros(0), np.zeros((0, 4))


def frames(ids: list[int | None], box: np.ndarray = BOX) -> list[Frame]:
    """One object a frame with these ids; None: nothing."""
    return [EMPTY if i is None else (np.array([i]), box) for i in ids]


def test_perfect_tracks_are_1() -> None:
    found = count_tracks(frames([7] * 5), frames([3] * 5))
    assert (found.hota, found.idf1, found.mota, found.switches) == (1.0, 1.0, 1.0, 0.0)


def test_one_switch_halfway() -> None:
    # All found: DetA 1. Each half agrees with the true track in 2 of 4 boxes: A = 2 / (4 + 2 - 2) = 0.5,
    # HOTA sqrt(0.5). One id at best holds 2 of 4 boxes: IDF1 2 / 4. One switch of four boxes: MOTA 3/4.
    found = count_tracks(frames([1] * 4), frames([5, 5, 6, 6]))
    assert found.hota == pytest.approx(np.sqrt(0.5))
    assert (found.idf1, found.mota, found.switches) == (0.5, 0.75, 1.0)


def test_misses_and_false_boxes() -> None:
    # Two of four found, and one false box elsewhere: DetA 2 / (4 + 3 - 2) = 0.4; the track that matches has
    # A = 2 / (4 + 3 - 2) as well. IDF1 2 / 3.5, MOTA (2 - 1) / 4.
    found = [*frames([5, 5]), EMPTY, (np.array([5]), BOX + 50)]
    counted = count_tracks(frames([1] * 4), found)
    assert counted.hota == pytest.approx(0.4)
    assert counted.idf1 == pytest.approx(2 / 3.5)
    assert counted.mota == pytest.approx(0.25)


def test_localization_is_a_share_of_the_thresholds() -> None:
    # An overlap of 2/3: found at 0.05 to 0.65, 13 of 19 thresholds.
    aside = BOX + np.array([2, 0, 2, 0])
    found = count_tracks(frames([1] * 3), frames([1] * 3, aside))
    assert overlaps(BOX, aside)[0, 0] == pytest.approx(2 / 3)
    assert found.hota == pytest.approx(13 / 19)


def test_a_switch_across_a_gap_is_counted_and_a_kept_id_is_not() -> None:
    truth = frames([1] * 5)
    assert count_tracks(truth, frames([4, 4, None, 5, 5])).switches == 1
    assert count_tracks(truth, frames([4, 4, None, 4, 4])).switches == 0


def test_the_sum_of_two_sequences_is_that_of_both() -> None:
    one, two = (count_tracks(frames([1] * 4), frames(ids)) for ids in ([5, 5, 6, 6], [5, None, None, None]))
    both = one + two
    assert isinstance(both, TrackCounts)
    assert (both.truth, both.found, both.switches) == (8, 5, 1)
    # TP 5 of 8 true and no false one: DetA 5/8; AssA (4 * 0.5 + 1 * 1/4) / 5.
    assert both.hota == pytest.approx(np.sqrt(5 / 8 * 2.25 / 5))


def test_nothing_at_all_is_0_and_no_error() -> None:
    assert count_tracks([EMPTY], [EMPTY]).hota == 0
    assert count_tracks(frames([1]), [EMPTY]).mota == 0


def test_the_share_of_the_first_box() -> None:
    assert overlaps(BOX, np.array([[0.0, 0.0, 100.0, 5.0]]), of_first=True).tolist() == [[0.5]]


def random_tracks(seed: int, frames: int = 40) -> tuple[list[Frame], list[Frame]]:
    """Objects that come and go, and what a poor tracker makes of them: misses, false boxes, switched ids."""
    rng = np.random.default_rng(seed)
    start, way = rng.uniform(0, 300, (8, 2)), rng.normal(0, 4, (8, 2))
    lives = np.sort(rng.integers(0, frames, (8, 2)), 1)
    names, truth, found = np.arange(8) + 50, [], []
    for t in range(frames):
        alive = np.flatnonzero((lives[:, 0] <= t) & (t <= lives[:, 1]))
        corner = start[alive] + t * way[alive]
        boxes = np.hstack([corner, corner + np.array([60, 90])])
        truth.append((alive + 1, boxes))
        if rng.random() < 0.15:
            a, b = rng.choice(8, 2, replace=False)
            names[[a, b]] = names[[b, a]]
        kept = rng.random(len(alive)) < (0.0 if rng.random() < 0.1 else 0.8)
        false = rng.random() < 0.3
        ids = [*names[alive][kept], *([int(rng.integers(90, 95))] if false else [])]
        more = [[*(c := rng.uniform(0, 300, 2)), *(c + 50)]] if false else np.zeros((0, 4))
        found.append((np.array(ids, int), np.vstack([boxes[kept] + rng.normal(0, 6, (kept.sum(), 4)), more])))
    return truth, found


def data_of(truth: list[Frame], found: list[Frame]) -> dict[str, Any]:
    """What trackeval's metrics take."""
    numbers = [
        {i: n for n, i in enumerate(dict.fromkeys(int(i) for ids, _ in part for i in ids))} for part in (truth, found)
    ]
    ids = [[np.array([number[int(i)] for i in one], int) for one, _ in part]
           for number, part in zip(numbers, (truth, found), strict=True)]  # fmt: skip
    return {
        "gt_ids": ids[0], "tracker_ids": ids[1], "num_timesteps": len(truth),
        "similarity_scores": [overlaps(a, b) for (_, a), (_, b) in zip(truth, found, strict=True)],
        "num_gt_ids": len(numbers[0]), "num_tracker_ids": len(numbers[1]),
        "num_gt_dets": sum(map(len, ids[0])), "num_tracker_dets": sum(map(len, ids[1])),
    }  # fmt: skip


def of_trackeval(pairs: list[tuple[list[Frame], list[Frame]]]) -> dict[str, float]:
    """The same metrics of all sequences together, by the reference."""
    from trackeval import metrics

    made = {}
    for one in (metrics.HOTA(), metrics.CLEAR({"PRINT_CONFIG": False}), metrics.Identity({"PRINT_CONFIG": False})):
        each = {str(n): one.eval_sequence(data_of(*pair)) for n, pair in enumerate(pairs)}
        made |= one.combine_sequences(each)
    names = {"HOTA": "HOTA", "DetA": "DetA", "AssA": "AssA", "IDF1": "IDF1", "MOTA": "MOTA", "switches": "IDSW"}
    return {ours: float(np.mean(made[theirs])) for ours, theirs in names.items()}


@pytest.mark.parametrize("seed", range(8))
def test_the_values_are_those_of_trackeval(seed: int) -> None:
    pytest.importorskip("trackeval")
    pairs = [random_tracks(3 * seed + n) for n in range(3)]
    whole = sum((count_tracks(*pair) for pair in pairs[1:]), count_tracks(*pairs[0]))
    assert whole.metrics() == pytest.approx(of_trackeval(pairs), abs=1e-6)
    assert TrackCounts.of(whole.vector).metrics() == whole.metrics()


def mot(path: Path, frames: list[Frame], tail: str) -> Path:
    lines = [f"{n},{i},{x1},{y1},{x2 - x1},{y2 - y1},{tail}" for n, (ids, boxes) in enumerate(frames, 1)
             for i, (x1, y1, x2, y2) in zip(ids, boxes.tolist(), strict=True)]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def record(path: Path, frames: list[Frame]) -> Path:
    """The same as the record of a run."""
    head = {"schema": "edgevid.result/3", "size": [640, 480]}
    lines = [head | {"frame": n, "time_s": n / 10, "objects": [
        {"id": int(i), "box": b.tolist(), "class": "person", "score": 0.9, "detected": True}
        for i, b in zip(ids, boxes, strict=True)]} for n, (ids, boxes) in enumerate(frames)]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_folders_of_sequences_and_records_give_the_same(tmp_path: Path) -> None:
    pairs = [random_tracks(n) for n in range(3)]
    whole = sum((count_tracks(*pair) for pair in pairs[1:]), count_tracks(*pairs[0])).metrics()
    (tmp_path / "records").mkdir()
    for n, (truth, found) in enumerate(pairs):
        mot(tmp_path / f"truth/s{n}/gt/gt.txt", truth, "1,1,1")
        (tmp_path / f"truth/s{n}/seqinfo.ini").write_text(f"[Sequence]\nseqLength={len(truth)}\n")
        mot(tmp_path / f"tracks/s{n}.txt", found, "0.9,-1,-1,-1")
        record(tmp_path / f"records/s{n}.jsonl", found)
    for results in ("tracks", "records"):
        one = evaluate(tmp_path / results, tmp_path / "truth")
        figures = one.figures()
        assert {name: figure.value for name, figure in figures.items()} == pytest.approx(whole, abs=1e-6)
        assert list(one.groups) == ["s0", "s1", "s2"]
        assert figures["HOTA"].low <= whole["HOTA"] <= figures["HOTA"].high
        assert "3 sequences only" in " ".join(one.all_notes())
    alone = evaluate(tmp_path / "records/s1.jsonl", tmp_path / "truth/s1/gt/gt.txt")
    assert alone.figures()["HOTA"].value == pytest.approx(count_tracks(*pairs[1]).hota, abs=1e-6)
    assert alone.figures()["HOTA"].low != alone.figures()["HOTA"].low  # one sequence has no interval


def test_what_matches_ignored_objects_counts_neither_way(tmp_path: Path) -> None:
    """MOTChallenge: a distractor (8) takes the box on it away, a car (3) and a person marked 0 are absent."""
    lines = ["1,1,0,0,10,20,1,1,1", "1,2,100,0,10,20,1,8,1", "1,3,200,0,10,20,1,3,1", "1,4,300,0,10,20,0,1,1"]
    truth, found = tmp_path / "gt.txt", tmp_path / "found.txt"
    truth.write_text("\n".join(lines))
    found.write_text("".join(f"1,{n},{100 * n},0,10,20,0.9,-1,-1,-1\n" for n in range(4)))
    whole = evaluate(found, truth).figures()
    assert whole["MOTA"].value == 1 - 2 / 1  # of four boxes one is right, one is taken away, two are false
    assert read_boxes(truth)[0].roles.tolist() == [0, 1, 2, 2]


def test_kitti_by_class_without_vans_areas_and_low_boxes(tmp_path: Path) -> None:
    row = "{frame} {id} {kind} {cut} {hidden} -10 {x} 100 {right} {bottom} -1 -1 -1 -1 -1 -1 -1 {score}"
    objects = [
        {"id": 1, "kind": "Car", "x": 0}, {"id": 2, "kind": "Van", "x": 100},
        {"id": 3, "kind": "Car", "x": 200, "cut": 1}, {"id": -1, "kind": "DontCare", "x": 290, "wide": 80},
        {"id": 4, "kind": "Pedestrian", "x": 500},
    ]  # fmt: skip

    def text(one: dict[str, Any], score: str = "") -> str:
        filled = {"frame": 0, "cut": 0, "hidden": 0, "score": score, "bottom": 140 + 20 * (one["id"] != 9)} | one
        return row.format(right=one["x"] + one.get("wide", 40), **filled).strip()

    found = [{"id": n, "kind": "car", "x": x} for n, x in enumerate((0, 100, 200, 300), 1)]
    found += [{"id": 9, "kind": "car", "x": 600, "bottom": 120}, {"id": 5, "kind": "car", "x": 700}]
    (tmp_path / "truth.txt").write_text("\n".join(map(text, objects)))
    (tmp_path / "found.txt").write_text("\n".join(text(one, "0.9") for one in found))
    one = evaluate(tmp_path / "found.txt", tmp_path / "truth.txt")
    by_class = {row[0]: row for row in one.tables["By class"].rows}
    assert by_class["car"][5] == 1 - 1 / 1  # the true car is found, one false box at 700 counts
    assert by_class["person"][5] == 0
    assert one.notes[-1] == "no result is of person: all of theirs are missed; --classes leaves them out"


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    truth, found = random_tracks(0)
    known, other = mot(tmp_path / "gt.txt", truth, "1,1,1"), record(tmp_path / "r.jsonl", found)
    late = [(np.zeros(0, int), np.zeros((0, 4)))] * 90 + found
    with pytest.raises(InputError, match="--classes: expected some of person, got dog"):
        evaluate(other, known, classes=("dog",))
    with pytest.raises(InputError, match="no frame has a truth"):
        evaluate(mot(tmp_path / "late.txt", late, "1,-1,-1,-1"), known)
    damaged = tmp_path / "damaged.txt"
    damaged.write_text("1,1,2,3\n")
    with pytest.raises(InputError, match="boxes of MOTChallenge, KITTI, YOLO, COCO or edgevid"):
        evaluate(damaged, known)


@pytest.mark.parametrize(("line", "got"), [
    ("1000000000000,1,10,10,20,20,1,1,1", "1,000,000,000,000 frames, expected 8,388,608 at most"),
    ("inf,1,10,10,20,20,1,1,1", "cannot convert float infinity to integer"),
    ("99999999999 1 Car 0 0 0 1 1 20 20 1 1 1 1 1 1 1", "100,000,000,000 frames, expected 8,388,608 at most"),
])  # fmt: skip
def test_a_frame_that_no_clip_has_is_a_mistake_of_the_file(tmp_path: Path, line: str, got: str) -> None:
    (tmp_path / "gt.txt").write_text(f"{line}\n")
    with pytest.raises(FileFormatError, match=got):
        read_boxes(tmp_path / "gt.txt")


def test_a_length_that_no_clip_has_is_a_mistake_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "gt").mkdir(parents=True)
    (tmp_path / "a" / "gt" / "gt.txt").write_text("1,1,10,10,20,20,1,1,1\n")
    (tmp_path / "a" / "seqinfo.ini").write_text("[Sequence]\nseqLength = 900000000000\n")
    with pytest.raises(FileFormatError, match="900,000,000,000 frames"):
        read_boxes(tmp_path)


@pytest.mark.parametrize("names", ["names:[" * 100_000, "names:\n" + "\n" * 400_000])
def test_names_of_a_hostile_file_are_read_in_linear_time(tmp_path: Path, names: str) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text(names)  # an hour, where the time is quadratic
    assert set(read_boxes(tmp_path)[0].names) == {"0"}


def test_boxes_that_are_nested_too_deeply_are_a_mistake_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a":' * 200_000)
    with pytest.raises(FileFormatError, match="recursion"):
        read_boxes(tmp_path / "a.json")
