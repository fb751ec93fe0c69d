"""Label errors: a joint worked by hand, planted errors, duplicates and outliers, every kind of data."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from edgevid.cli.command_line import run_program
from edgevid.errors import InputError
from edgevid.insight.label_errors import find_label_errors, out_of_fold, read_labeled
from edgevid.insight.review import Review

pytest.importorskip("sklearn")


def blobs(count: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three groups of points, their true classes, and labels of which each twelfth is another class."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 3
    points = rng.normal(0, 1, (count, 4)) + 6 * np.eye(4)[truth]
    given = np.where(np.arange(count) % 12 == 5, (truth + 1) % 3, truth)
    return points, truth, given


def test_a_joint_worked_by_hand():
    """Means of the own class: a (.9+.8+.1)/3 = .6, b (.7+.9)/2 = .8. Row 2 reaches b's .8 under label a; row 3 none."""
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9]])
    found = find_label_errors(shares, np.array([0, 0, 0, 1, 1]))
    assert found.rows.tolist() == [2]
    assert found.kinds == ("label",)
    assert found.suggested.tolist() == [1]
    assert found.margin == pytest.approx([-0.8])
    assert found.noise == pytest.approx(1 / 5)  # a: 2 of 3 confident stay, of 3 labels; b: all of 2


def test_planted_errors_are_listed_with_their_true_class():
    points, truth, given = blobs()
    found = find_label_errors(out_of_fold(points, given), given, points)
    wrong = np.flatnonzero(given != truth)
    listed = [row for row, kind in zip(found.rows.tolist(), found.kinds, strict=True) if "label" in kind]
    assert set(listed) <= set(wrong.tolist())
    assert len(listed) > len(wrong) / 2
    assert (found.suggested[: len(listed)] == truth[listed]).all()
    assert 0.03 < found.noise < 0.12


def test_a_contradictory_duplicate_and_an_outlier_have_their_kinds():
    points, truth, _ = blobs()
    points = np.concatenate([points, points[:1] + 1e-4, [[40, 40, 40, 40]]])
    labels = np.append(truth, [1, 0])
    found = find_label_errors(out_of_fold(points, labels), labels, points)
    kinds = dict(zip(found.rows.tolist(), found.kinds, strict=True))
    assert "duplicate" in kinds[0]
    assert "duplicate" in kinds[240]
    assert kinds[241].endswith("outlier")
    mere = [kind == "outlier" for kind in found.kinds]
    assert mere == sorted(mere)  # they come last


def test_a_group_is_never_on_both_sides_and_too_few_are_an_error():
    points, truth, _ = blobs(60)
    groups = np.arange(60) // 6
    found = out_of_fold(points, truth, groups)
    assert found.sum(1) == pytest.approx(np.ones(60))
    points[:, :] = np.arange(60)[:, None] // 6  # only the group tells: of it nothing is known in its fold
    labels = np.arange(10)[groups] % 2
    assert (out_of_fold(points, labels, groups).argmax(1) == labels).mean() < 0.9
    with pytest.raises(InputError, match=r"5 or more groups \(scenes\) each, got \[2, 2, 2\]"):
        out_of_fold(points, truth, groups // 5)


def test_two_classes_of_which_one_is_missing_in_a_fold():
    points, truth, _ = blobs(60)
    labels = (truth == 2).astype(int)
    assert (out_of_fold(points, labels).argmax(1) == labels).mean() > 0.95


def test_scores_features_skeletons_and_folders_are_read(tmp_path):
    (tmp_path / "s.csv").write_text("track,label,a,b\nx,a,0.8,0.2\nx,a,0.6,0.4\ny,b,0.1,0.9\n")
    scores = read_labeled(tmp_path / "s.csv")
    assert scores.items == ("x", "y")
    assert scores.probabilities == pytest.approx(np.array([[0.7, 0.3], [0.1, 0.9]]), abs=1e-6)
    np.savez(
        tmp_path / "f.npz", features=np.eye(3), labels=np.array(["u", "v", "u"]), images=np.arange(12).reshape(3, 2, 2)
    )
    features = read_labeled(tmp_path / "f.npz")
    assert (features.names, features.labels.tolist()) == (("u", "v"), [0, 1, 0])
    assert features.image(2)[1, 1].tolist() == [255, 255, 255]
    joints = np.random.default_rng(0).normal(size=(30, 15, 2)).astype(np.float32)
    np.savez(tmp_path / "k.npz", joints=joints, offsets=np.array([0, 12, 30]), label=np.array(["run", "walk"]))
    skeletons = read_labeled(tmp_path / "k.npz")
    assert len(skeletons.features) == 2
    assert np.isfinite(skeletons.features).all()
    for name, level in (("dark/one_1.png", 20), ("light/one_2.png", 220)):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        Image.fromarray(np.full((20, 30, 3), level, np.uint8)).save(tmp_path / "images" / name)
    folder = read_labeled(tmp_path / "images")
    assert folder.names == ("dark", "light")
    assert folder.features[:, 0] == pytest.approx([20 / 255, 220 / 255], abs=0.01)
    assert folder.image(1).shape == (20, 30, 3)
    (tmp_path / "images/dark/clip.mp4").touch()
    with pytest.raises(InputError, match="--extractor"):
        read_labeled(tmp_path / "images")


def test_the_command_ranks_writes_a_page_and_a_folder_for_review(tmp_path, capsys):
    points, truth, given = blobs()
    names, images = np.array(["<i>", "b", "c"]), np.zeros((len(points), 8, 8))
    np.savez(tmp_path / "x.npz", features=points, labels=names[given], images=images)
    command = ["data", "errors", str(tmp_path / "x.npz"), "--out", str(tmp_path / "out")]
    assert run_program("edgevid", [*command, "--to-review", str(tmp_path / "review")]) == 0
    assert "No label was changed" in capsys.readouterr().out.replace("\n", " ")
    rows = list(csv.DictReader((tmp_path / "out/label_errors.csv").open()))
    wrong = {str(row) for row in np.flatnonzero(given != truth)}
    assert {row["item"] for row in rows if "label" in row["kind"]} < wrong
    text = (tmp_path / "out/label_errors.html").read_text()
    assert "<i>" not in text
    cards = json.loads(text.split('id="data">')[1].split("</script>")[0])["cards"]
    assert [card["item"] for card in cards] == [row["item"] for row in rows]
    about = json.loads(next((tmp_path / "review").glob("*-000001.json")).read_text())
    assert about["source"] == rows[0]["item"]
    with Review(tmp_path / "review") as review:
        assert len(review.rows("SELECT * FROM items")) == len(rows)
        assert review.rows("SELECT label FROM items ORDER BY track LIMIT 1")[0]["label"] == rows[0]["label"]
    assert run_program("edgevid", command) == 2  # exists
    np.savez(tmp_path / "y.npz", features=points, labels=names[given])
    command = ["data", "errors", str(tmp_path / "y.npz"), "--out", str(tmp_path / "out2"), "--to-review", str(tmp_path)]
    assert run_program("edgevid", command) == 2
    assert "expected an image to review" in " ".join(capsys.readouterr().err.split())


def test_old_and_blind_new_labels_are_compared(tmp_path, capsys):
    """By hand: 6 of 8 agree; chance (4 x 4 + 4 x 4) / 64 = 0.5, kappa 0.5. One was not blind."""
    old = [*"aaaabbbb", "a"]
    new = [*"baaaabbb", "b"]
    kinds = ["label", "", "outlier", "", "duplicate", "", "", "", "label"]
    flagged = [f"{n}.jpg,{label}\n" for n, label in enumerate(old) if kinds[n]]
    (tmp_path / "old.csv").write_text("path,label\n" + "".join(f"{n}.jpg,{label}\n" for n, label in enumerate(old)))
    (tmp_path / "listed.csv").write_text("item,label,kind\n" + "".join(one.replace("\n", ",x\n") for one in flagged))
    rows = [f"x,{label},{tmp_path / str(n)}.jpg,{int(n < 8)}\n" for n, label in enumerate(new)]
    (tmp_path / "new.csv").write_text("path,label,source,blind\n" + "".join(rows))
    command = ["data", "errors", "--compare"]
    assert run_program("edgevid", [*command, str(tmp_path / "old.csv"), str(tmp_path / "new.csv")]) == 0
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["a", "4", "75.0", "0.5", "0", "0"] in lines
    assert ["b", "4", "75.0", "0.5", "0", "0"] in lines
    assert ["all", "8", "75.0", "0.5", "0", "0"] in lines
    assert run_program("edgevid", [*command, str(tmp_path / "listed.csv"), str(tmp_path / "new.csv")]) == 0
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["all", "3", "33.3", "-0.5", "3", "2"] in lines  # chance (2 x 1 + 1 x 2) / 9 = 4/9
    (tmp_path / "other.csv").write_text("path,label\nz.jpg,a\n")
    assert run_program("edgevid", [*command, str(tmp_path / "other.csv"), str(tmp_path / "new.csv")]) == 2
    assert "expected items of" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "other.csv").write_text("track\n1\n")
    assert run_program("edgevid", [*command, str(tmp_path / "other.csv"), str(tmp_path / "new.csv")]) == 2
    assert run_program("edgevid", [*command, str(tmp_path / "none.csv"), str(tmp_path / "new.csv")]) == 2
    assert run_program("edgevid", ["data", "errors"]) == 2
