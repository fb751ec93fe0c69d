"""Review: decisions that are only added, votes, agreement and audit worked by hand, exports, the page's requests."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import review_samples as samples

from edgevid.cli.command_line import run_program
from edgevid.errors import InputError, SourceError
from edgevid.evaluate.actions.data import list_videos
from edgevid.evaluate.tune.risk import upper_bound
from edgevid.insight.review import Review, audit_text, export_labels
from edgevid.output.recordings import DATABASE
from edgevid.output.review import draw
from edgevid.output.tables import SqliteSink
from edgevid.report import Selection, forget
from edgevid.types import Event, Header
from edgevid.video.open import open_video


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return samples.write_folder(tmp_path / "kept", 24, audit=0.5)


def ids(review: Review) -> list[str]:
    return [row["id"] for row in review.rows("SELECT id FROM items ORDER BY track")]


def answers(review: Review) -> dict[str, str]:
    return {row["item"]: row["label"] for row in review.rows("SELECT * FROM answers")}


def test_items_have_the_model_s_answer_emitted_or_not(folder: Path) -> None:
    with Review(folder) as review:
        rows = {row["track"]: row for row in review.rows("SELECT * FROM items")}
    assert (rows[0]["label"], rows[0]["reason"]) == ("square", "LOW_CONFIDENCE")  # wrong, by its highest score
    assert (rows[2]["label"], rows[2]["camera"], rows[2]["utc"][:10]) == ("circle", "gate", "2026-05-28")
    assert rows[1]["label"] == "circle"
    assert {row["track"] for row in rows.values()} >= set(range(0, 24, 2))


def test_an_undo_restores_the_answer_before_and_one_that_is_sent_twice_undoes_one(folder: Path) -> None:
    with Review(folder) as review:
        a, b, *_ = ids(review)
        review.decide("1", "ann", {a: "circle", b: "circle"})
        review.decide("1", "ann", {a: "cross"})  # the same request again, changed or not, is there already
        review.decide("2", "ann", {a: "square"})
        review.decide("3", "bob", {b: "circle"})
        assert answers(review) == {a: "square", b: "circle"}
        assert review.undo("4", "ann") == [a]
        assert review.undo("4", "ann") == [a]
        assert answers(review) == {a: "circle", b: "circle"}
        assert sorted(review.undo("5", "ann")) == sorted([a, b])
        assert answers(review) == {b: "circle"}  # bob's
        assert review.undo("6", "ann") == []
        assert len(review.rows("SELECT * FROM decisions")) == 4 + 3  # nothing went away


def test_decisions_cannot_be_changed_or_deleted(folder: Path) -> None:
    with Review(folder) as review:
        review.decide("1", "ann", {ids(review)[0]: "circle"})
        for change in ("UPDATE decisions SET label = 'cross'", "DELETE FROM decisions"):
            with pytest.raises(SourceError, match="decisions are added, never"):
                review.rows(change)
    with Review(folder) as again:
        assert list(answers(again).values()) == ["circle"]


def test_what_reviewers_dispute_has_no_answer_until_most_agree(folder: Path) -> None:
    with Review(folder) as review, Review(folder) as other:  # two programs on the same folder
        item = ids(review)[0]
        review.decide("1", "ann", {item: "circle"})
        other.decide("2", "bob", {item: "square"})
        assert answers(review) == answers(other) == {}
        other.decide("3", "cyd", {item: "square"})
        assert answers(review) == {item: "square"}


def test_agreement_is_that_worked_by_hand(folder: Path) -> None:
    pairs = (
        [("circle", "circle")] * 4 + [("square", "square")] * 3 + [("circle", "square")] * 2 + [("square", "circle")]
    )
    with Review(folder) as review:
        for n, (item, (first, again)) in enumerate(zip(ids(review), pairs, strict=False)):
            review.decide(f"a{n}", "ann", {item: first})
            review.decide(f"b{n}", "ann", {item: again}, blind=True, second=True)
            review.decide(f"c{n}", "bob", {item: first})
        found = {row["kind"]: row for row in review.rows("SELECT * FROM agreement")}
    one = found["first and second pass"]
    # first: 6 circle, 4 square; second: 5 and 5; by chance 0.6 * 0.5 + 0.4 * 0.5 = 0.5
    assert (one["pairs"], one["share"], one["kappa"]) == (10, pytest.approx(0.7), pytest.approx(0.4))
    assert "10 items, agreement 70.0 %, Cohen's kappa 0.40" in one["text"]
    assert found["two reviewers"]["pairs"] == 20  # bob with each pass of ann


def test_the_second_pass_has_as_many_that_were_not_relabeled(folder: Path) -> None:
    with Review(folder) as review:
        for row in review.rows("SELECT * FROM items"):
            review.decide(row["id"], "ann", {row["id"]: samples.NAMES[samples.truth(row["track"])]})
        wrong = {row["id"] for row in review.rows("SELECT * FROM items") if row["track"] % 5 == 0}
        second = {row["id"] for row in review.rows("SELECT id FROM second_pass")}
    assert wrong < second
    assert len(second) == 2 * len(wrong)


def test_the_audit_counts_undecided_verdicts_as_wrong(folder: Path) -> None:
    with Review(folder) as review:
        rows = [row for row in review.rows("SELECT * FROM items") if row["reason"] == "OK" and row["draw"] < 0.5]
        n = len(rows)
        assert n >= 3
        assert audit_text(review).startswith("At most 100.0 % of the verdicts were wrong (95 %).")
        for row in rows[:-1]:
            review.decide(row["id"], "ann", {row["id"]: row["label"]}, blind=True)
        assert f"0 wrong, 1 undecided, {n - 1} decided without" in audit_text(review)
        assert f"At most {100 * upper_bound(1, n, 0.05):.1f}"[:11] in audit_text(review)
        review.decide("x", "ann", {rows[-1]["id"]: "(cannot tell)"})
        assert "0 wrong, 1 undecided" in audit_text(review)
        review.decide("y", "ann", {rows[-1]["id"]: "(none of these)"})
        assert "1 wrong, 0 undecided" in audit_text(review)
        assert "Undecided" not in audit_text(review)
        with pytest.raises(InputError, match="confidence"):
            audit_text(review, 1.0)


def test_five_errors_in_200_certify_5_2_percent(tmp_path: Path) -> None:
    """upper_bound(5, 200, 0.05) = 0.0518: the sentence states it rounded up."""
    write_verdicts(tmp_path, wrong=np.arange(200) < 5, rate=1.0)
    with Review(tmp_path) as review:
        decide_all(review)
        assert audit_text(review).startswith(
            "At most 5.2 % of the verdicts were wrong (95 %). Audited: 200 of about 200 "
        )


def test_runs_of_different_rates_are_thinned_to_the_lowest(tmp_path: Path) -> None:
    write_verdicts(tmp_path, wrong=np.zeros(400, bool), rate=0.5, run="20260101T000000000")
    write_verdicts(tmp_path, wrong=np.zeros(400, bool), rate=0.1, run="20260102T000000000")
    with Review(tmp_path) as review:
        (found,) = review.rows("SELECT * FROM audit")
        sample = review.rows("SELECT * FROM sample")
    assert found["rate"] == 0.1
    assert found["sampled"] == len(sample)
    assert all(row["draw"] < 0.1 for row in sample)
    assert {row["rate"] for row in sample} == {0.1, 0.5}


def test_the_bound_covers_the_truth_in_19_of_20_audits(tmp_path: Path) -> None:
    """40 audits of 400 verdicts; benchmarks/review_page.py runs 500 for each of several rates."""
    rng, covered = np.random.default_rng(7), 0
    for turn in range(40):
        wrong = rng.random(400) < 0.08
        place = tmp_path / str(turn)
        place.mkdir()
        write_verdicts(place, wrong=wrong, rate=0.25, run=f"202601{turn % 28 + 1:02d}T{turn:09d}")
        with Review(place) as review:
            decide_all(review)
            stated = float(audit_text(review).split()[2]) / 100
        covered += wrong.mean() <= stated
    assert covered >= 38


def write_verdicts(folder: Path, *, wrong: np.ndarray, rate: float, run: str = "20260101T000000000") -> None:
    """Emitted verdicts "a", of which those that are wrong show "b"; the sampled ones are written, without crops."""
    for track, error in enumerate(wrong.tolist()):
        if (number := draw(f"0 {run} t {track}")) < rate:
            about = {"task": "t", "track": track, "reason": "OK", "label": 0, "confidence": 0.9, "names": ["a", "b"],
                     "source": "b" if error else "a", "crop": "", "audit": {"rate": rate, "draw": number}}  # fmt: skip
            (folder / f"{run}-t-{track:06d}.json").write_text(json.dumps(about))


def decide_all(review: Review) -> None:
    review.decide("all", "ann", {row["id"]: row["source"] for row in review.rows("SELECT * FROM items")}, blind=True)


def test_look_alikes_are_grouped_and_the_audit_sample_is_not(folder: Path) -> None:
    with Review(folder) as review:
        review.group()
        rows = review.rows('SELECT *, coalesce("group", id) AS leader FROM items')
    groups: dict[str, set[int]] = {}
    for row in rows:
        if row["reason"] == "OK" and row["draw"] < row["rate"]:
            assert row["group"] is None
        groups.setdefault(row["leader"], set()).add(samples.truth(row["track"]))
    assert len(groups) < len(rows)
    assert all(len(classes) == 1 for classes in groups.values())


def test_exports_are_what_training_reads(folder: Path, tmp_path: Path) -> None:
    with Review(folder) as review:
        with pytest.raises(InputError, match="no label to export"):
            export_labels(review, tmp_path / "none.csv")
        for n, row in enumerate(review.rows("SELECT * FROM items ORDER BY track")):
            label = "(cannot tell)" if n == 0 else samples.NAMES[samples.truth(row["track"])]
            review.decide(row["id"], "ann", {row["id"]: label})
        counts = [export_labels(review, tmp_path / name) for name in ("labels.csv", "labels.json", "videos")]
        expected = len(ids(review)) - 1
    assert counts == [expected] * 3
    names, videos = list_videos(tmp_path / "labels.csv")
    assert (set(names), len(videos)) == (set(samples.NAMES), expected)
    assert {video.group for video in videos} == {"gate 2026-05-28T20"}
    with (tmp_path / "labels.csv").open() as file:
        assert all(row["votes"] == "1" for row in csv.DictReader(file))
    names, videos = list_videos(tmp_path / "videos")
    assert (set(names), len(videos)) == (set(samples.NAMES), expected)
    with open_video(str(videos[0].path)) as video:
        frames = list(video)
    assert [round(frame.time - frames[0].time, 2) for frame in frames] == [0.0, 0.5]
    assert frames[0].size == (128, 128)
    coco = json.loads((tmp_path / "labels.json").read_text())
    image, box = coco["images"][0], coco["annotations"][0]
    assert cv2.imread(str(folder / image["file_name"])).shape[:2] == (image["height"], image["width"])
    assert box["bbox"] == [0, 0, image["width"], image["height"]]
    assert {one["name"] for one in coco["categories"]} == set(samples.NAMES)


def test_a_database_has_verdicts_with_their_snapshots(tmp_path: Path) -> None:
    header = Header(camera="gate", run="r1", names={"action": ("walk", "run")})
    with SqliteSink(tmp_path / DATABASE) as sink:
        sink.open(header)
        about = {"time_s": 1.0, "camera": "gate", "run": "r1", "task": "action", "frame": 1}
        kinds = [("verdict", 1, "walk", ""), ("verdict-changed", 1, "run", "")]
        kinds += [("verdict-abstained", 2, "", "LOW_MARGIN"), ("verdict-abstained", 3, "", "TOO_SMALL")]
        sink.send([
            Event(f"e{n}", kind, f"2026-01-01T00:00:0{n}.000Z", track=track, label=label, reason=reason,
                  label_confidence=0.8, snapshot=f"gate/{track}.jpg", clip="gate/c.mp4", **about)
            for n, (kind, track, label, reason) in enumerate(kinds)
        ])  # fmt: skip
    with Review(tmp_path / DATABASE, rate=1.0) as review:
        rows = {row["track"]: row for row in review.rows("SELECT * FROM items")}
        assert review.path.name == "events-review.db"
        review.group()  # snapshots that are gone are no error
    assert rows.keys() == {1, 2}  # too small an object no person can tell either
    assert (rows[1]["label"], rows[1]["reason"], rows[1]["crop"], rows[1]["clip"]) == (
        "run",
        "OK",
        "gate/1.jpg",
        "gate/c.mp4",
    )
    assert json.loads(rows[2]["names"]) == ["walk", "run"]
    with Review(tmp_path / DATABASE, rate=0.0001) as review:
        assert [row["track"] for row in review.rows("SELECT * FROM items")] == [2]


def test_damaged_and_missing_input_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    (folder / "20260101T000000000-shape-000001.json").write_bytes(b'{"task": "sh\xc3')
    with Review(folder) as review:  # what a killed run left is passed over
        assert "20260101T000000000-shape-000001" not in ids(review)
        with pytest.raises(InputError, match="reviewer's name"):
            review.decide("1", "  ", {"a": "b"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found none"):
        Review(tmp_path / "empty")
    with pytest.raises(InputError, match="found none"):
        Review(folder, camera="another")
    with pytest.raises(SourceError, match="no such file"):
        Review(tmp_path / "nowhere.db")
    other = samples.write_folder(tmp_path / "plain", 4)
    with Review(other) as review, pytest.raises(InputError, match="no audit sample"):
        audit_text(review)


def test_the_command_exports_and_audits(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Review(folder) as review:
        for row in review.rows("SELECT * FROM items"):
            review.decide(row["id"], "ann", {row["id"]: row["label"]})
    out = tmp_path / "labels.csv"
    assert run_program("edgevid", ["review", str(folder), "--export", str(out), "--audit"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "of the verdicts were wrong (95 %)" in printed
    assert "labels" in printed
    assert out.is_file()
    assert run_program("edgevid", ["review", str(folder), "--export", str(out)]) == 2  # it exists
    assert run_program("edgevid", ["review", str(folder), "--audit", "--after", "1d"]) == 2  # all are older
    assert "found none" in " ".join(capsys.readouterr().err.split())


def test_the_example_of_the_page_runs(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "review.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(folder.parent)
    exec(compile(block, "review.md", "exec"), {})
    assert "of the verdicts were wrong" in capsys.readouterr().out
    assert len((folder.parent / "labels.csv").read_text().splitlines()) == 1 + 12  # the abstained ones


def test_forgetting_a_crop_deletes_its_film(folder: Path) -> None:
    before = len(list(folder.glob("*-film.jpg")))
    forget([folder], Selection(track=2), dry_run=False)
    assert len(list(folder.glob("*-film.jpg"))) == before - 1
    assert not list(folder.glob("*-000002*"))


# The page's requests.

starlette = pytest.importorskip("starlette.testclient", reason="the extra viewer is not installed")


@pytest.fixture
def client(folder: Path) -> Any:
    from edgevid.viewer.review import review_app

    with Review(folder) as review:
        yield starlette.TestClient(review_app(review))


def test_a_blind_reviewer_gets_no_answer(client: Any) -> None:
    rows = client.get("/api/review/items").json()
    assert rows[0]["label"]
    client.post("/api/review", json={"batch": "1", "reviewer": "ann", "labels": {rows[0]["id"]: "cross"}})
    blind = client.get("/api/review/items?blind=1")
    told = [blind.text, client.get("/api/review/decisions?after=0&blind=1").text]
    for name, row in (("items", blind.json()[0]), ("decisions", json.loads(told[1])[0])):
        assert row["label"] is None, name
    assert 'scores":"[' not in told[0].replace(" ", "")
    assert client.get("/api/review/decisions?after=0").json()[0]["label"] == "cross"


def test_wrong_requests_change_nothing(client: Any) -> None:
    item = client.get("/api/review/items").json()[0]["id"]
    for body in ({"reviewer": "ann", "labels": {item: "x"}}, {"batch": "1", "reviewer": "", "labels": {item: "x"}},
                 {"batch": "1", "reviewer": "ann", "labels": {}}, {"batch": "1", "labels": {item: "x"}, "more": 1},
                 {"batch": "1", "reviewer": "ann", "labels": [item]}, {"reviewer": "ann"}):  # fmt: skip
        answer = client.post("/api/review", json=body)
        assert (answer.status_code, "error" in answer.json()) == (422, True), body
    for content in (b"{", b"[]"):
        assert client.post("/api/review", content=content).status_code == 400
    assert client.get("/api/review/decisions?after=0").json() == []
    assert client.get("/api/review/nothing").json() == []


def test_only_files_of_the_folder_are_served(client: Any, folder: Path) -> None:
    item = client.get("/api/review/items").json()[0]["id"]
    assert client.get(f"/media/crop/{item}").headers["content-type"] == "image/jpeg"
    assert client.get(f"/media/film/{item}").status_code == 200
    for path in (f"clip/{item}", "crop/nothing", f"names/{item}", "crop/..%2F..%2Fetc%2Fpasswd"):
        assert client.get(f"/media/{path}").status_code == 404, path
    secret = folder.parent / "secret.txt"
    secret.write_text("secret")
    about = json.loads(next(folder.glob("*.json")).read_text()) | {"crop": "../secret.txt"}
    (folder / "20270101T000000000-shape-000001.json").write_text(json.dumps(about))
    from edgevid.viewer.review import review_app

    with Review(folder) as review:
        again = starlette.TestClient(review_app(review))
        assert again.get("/media/crop/20270101T000000000-shape-000001").status_code == 404


def test_a_killed_server_loses_no_decision_that_it_answered(folder: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "edgevid", "review", str(folder.resolve()), "--no-browser", "--port", "0"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as served:
        assert served.stdout is not None
        url = served.stdout.readline().split()[2]
        answered: list[str] = []

        def decide(reviewer: str) -> None:
            for n in range(10_000):
                body = json.dumps({"batch": f"{reviewer}{n}", "reviewer": reviewer, "labels": {f"item {n % 7}": "a"}})
                request = urllib.request.Request(f"{url}api/review", body.encode())
                try:
                    urllib.request.urlopen(request, timeout=10).read()
                except OSError:
                    return
                answered.append(f"{reviewer}{n}")
                if len(answered) == 60:
                    served.kill()

        threads = [threading.Thread(target=decide, args=(name,)) for name in ("ann", "bob")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    base = sqlite3.connect(folder / "review.db")
    stored = {row[0] for row in base.execute("SELECT batch FROM decisions")}
    base.close()
    assert len(answered) >= 60
    assert set(answered) <= stored
    with Review(folder) as review:
        assert review.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_a_scan_takes_new_verdicts_and_drops_deleted_ones(tmp_path: Path) -> None:
    written, kept = samples.write_folder(tmp_path / "written", 6), tmp_path / "kept"
    kept.mkdir()
    with Review(kept, later=True) as review:
        assert review.scan() == 0
        for file in written.iterdir():
            shutil.copy(file, kept)
        whole = sorted(kept.glob("*.json"))[-1]
        text = whole.read_text()
        whole.write_text(text[:40])  # it is being written
        count = review.scan()
        assert count == len(list(kept.glob("*.json"))) - 1 > 0
        whole.write_text(text)
        assert (review.scan(), review.scan()) == (1, 0)
        whole.unlink()
        assert review.scan() == 0
        assert len(review.rows("SELECT * FROM items")) == count
