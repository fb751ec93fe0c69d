"""Whether a promise held: policies tuned on some tracks and judged on new ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from score_tables import csv_of, drawn

from edgevid.abstain.file import PolicyFile, write_policy
from edgevid.abstain.policy import Settings
from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.evaluation import clopper_pearson
from edgevid.evaluate.tune.scores import read_scores
from edgevid.evaluate.tune.search import Target, tune
from edgevid.evaluate.verdicts import compare, evaluate, read_tracks
from edgevid.types import Array


def tuned(path: Path, **how: float) -> Path:
    report = tune(read_scores(csv_of(path.with_suffix(".csv"), drawn(1500, seed=1, **how))), Target("max-risk", 0.15))
    write_policy(path, report.policy())
    return path


def promise(found: object) -> str:
    return dict(found.tables["Promise"].rows)["promise"]  # type: ignore[attr-defined]


def softmax(values: Array) -> Array:
    made = np.exp(values)
    return np.asarray(made / made.sum(1, keepdims=True))


def test_a_promise_is_held_on_data_like_the_tuning_s(tmp_path: Path) -> None:
    policy = tuned(tmp_path / "p.toml")
    found = evaluate(policy, csv_of(tmp_path / "new.csv", drawn(3000, seed=2)))
    assert promise(found) == "held"
    figures = found.figures()
    assert figures["risk"].value < 0.15
    errors, emitted = dict(found.tables["Promise"].rows)["errors of emitted"].split(" of ")
    assert figures["risk"][1:] == pytest.approx(clopper_pearson(int(errors), int(emitted)))
    assert figures["coverage"].value == pytest.approx(int(emitted) / 3000)


def test_a_promise_is_broken_where_labels_are_others_and_open_with_few_tracks(tmp_path: Path) -> None:
    policy, worse = tuned(tmp_path / "p.toml"), drawn(800, seed=3)
    worse["labels"] = np.where(np.arange(800) % 3 == 0, (worse["labels"] + 1) % 3, worse["labels"])
    found = evaluate(policy, csv_of(tmp_path / "worse.csv", worse))
    assert promise(found) == "broken"
    few = evaluate(policy, csv_of(tmp_path / "few.csv", drawn(12, seed=4)))
    assert promise(few) == "cannot tell"
    assert "at least 19 emitted ones" in " ".join(few.notes)


def test_scores_that_a_policy_was_tuned_on_prove_nothing(tmp_path: Path) -> None:
    policy = tuned(tmp_path / "p.toml")
    found = evaluate(policy, tmp_path / "p.csv")
    assert promise(found) == "cannot tell"
    assert "the policy was tuned on these scores: they say nothing about its risk on others" in found.notes


def marked(path: Path, columns: dict[str, Array], trained: object) -> Path:
    """The table as an NPZ, with what the model was trained on."""
    np.savez(path, **columns, trained=trained)  # type: ignore[arg-type]
    return path


def test_tracks_that_the_model_was_trained_on_are_left_out_and_named(tmp_path: Path) -> None:
    """Of 600 tracks every third was trained on, where the model is always right: what remains is as without them."""
    policy, new = tuned(tmp_path / "p.toml"), drawn(600, seed=5)
    seen = np.arange(600) % 3 == 0
    leaked = {**new, "values": np.where(seen[:, None], 0.98 * np.eye(3)[new["labels"]] + 0.01 / 1.5, new["values"])}
    leaked["values"] /= leaked["values"].sum(1, keepdims=True)
    split = marked(tmp_path / "split.npz", leaked, seen)
    rest = {name: column if name == "names" else column[~seen] for name, column in new.items()}
    alone = marked(tmp_path / "alone.npz", rest, np.zeros(400, int))
    words = "200 of 600 tracks were trained on, by their content or scene: they are left out"
    found, expected = evaluate(policy, split), evaluate(policy, alone)
    assert found.notes[0] == words
    assert "trained on" not in " ".join(expected.notes)
    assert found.figures() == expected.figures()
    report = tune(read_scores(split), Target("knee"))
    assert report.warnings[0] == words
    assert report.settings == tune(read_scores(alone), Target("knee")).settings
    with pytest.raises(InputError, match=r"600 of 600 tracks were trained on.*nothing remains"):
        evaluate(policy, marked(tmp_path / "all.npz", leaked, np.ones(600)))
    with pytest.raises(FileFormatError, match="1 where the model was trained on the row's clip"):
        evaluate(policy, marked(tmp_path / "odd.npz", leaked, np.full(600, 0.5)))


def test_one_row_of_a_track_tells_of_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("track,trained,label,a,b\nx,0,a,0.7,0.3\nx,1,a,0.7,0.3\ny,0,b,0.6,0.4\n")
    read = read_scores(path)
    assert read.values[0].tolist() == pytest.approx([0.6, 0.4])
    assert read.notes == ["1 of 2 tracks were trained on, by their content or scene: they are left out"]


def test_a_comparison_leaves_out_what_one_of_two_models_was_trained_on(tmp_path: Path) -> None:
    """B is right on all of 200 tracks, of which it was trained on a half: on the others A and B are alike."""
    new = drawn(200, seed=6)
    half = np.arange(200) < 100
    better = {**new, "values": np.where(half[:, None], np.eye(3)[new["labels"]], new["values"])}
    none = np.zeros(200, bool)
    a, b = (read_tracks(marked(tmp_path / name, columns, seen))
            for name, columns, seen in (("a.npz", new, none), ("b.npz", better, half)))  # fmt: skip
    found = compare(a, b)
    assert found.values["accuracy"] == 0
    assert len(found.groups) == 100
    assert found.notes == ["100 of 200 tracks were trained on, by their content or scene: they are left out"]
    np.savez(tmp_path / "c.npz", **better)  # type: ignore[arg-type]
    found = compare(a, read_tracks(tmp_path / "c.npz"))
    assert found.values["accuracy"] > 0.1
    assert "is not stated (column trained)" in found.notes[0]


def test_parents_of_a_tree_are_emitted_and_counted(tmp_path: Path) -> None:
    rows = ("0,a,0.9,0.05,0.05", "1,a,0.45,0.5,0.05", "2,c,0.5,0.45,0.05", "3,a,0.4,0.2,0.4")
    settings = Settings(0.8, tree={"vehicle": ("a", "b")}, parent_threshold=0.9)
    policy, table = tmp_path / "p.toml", tmp_path / "t.csv"
    write_policy(policy, PolicyFile(("a", "b", "c"), settings))
    table.write_text("\n".join(("track,label,a,b,c", *rows)) + "\n")
    found = evaluate(policy, table, values="probabilities")  # a class, its parent, a wrong parent, nothing
    levels = dict(found.tables["Promise"].rows)
    assert levels["errors of emitted"] == "1 of 3"
    assert levels["errors of classes"] == "0 of 1"
    assert levels["errors of parents"] == "1 of 2"
    assert found.figures()["coverage"].value == 0.75
    assert found.figures()["risk without abstention"].value == 0.5


def test_numbers_that_the_policy_will_not_see_are_refused_or_named(tmp_path: Path) -> None:
    policy, new = tuned(tmp_path / "p.toml"), drawn(600, seed=5)
    again = csv_of(tmp_path / "again.csv", {**new, "values": softmax(new["values"])})
    with pytest.raises(FileFormatError, match="softmax of probabilities"):
        evaluate(policy, again)
    found = evaluate(policy, again, values="probabilities")
    words = " ".join(found.notes)
    assert "taken as probabilities without a check" in words
    assert "are these the numbers that the policy sees?" in words
    with pytest.raises(FileFormatError, match="probabilities that sum to 1"):
        evaluate(policy, csv_of(tmp_path / "sums.csv", {**new, "values": 0.7 * new["values"]}))


def test_other_classes_and_missing_labels_are_refused(tmp_path: Path) -> None:
    policy, new = tuned(tmp_path / "p.toml"), drawn(60, seed=6)
    with pytest.raises(FileFormatError, match="recognizer's classes"):
        evaluate(policy, csv_of(tmp_path / "other.csv", {**new, "names": np.array(["a", "b", "c"])}))
    with pytest.raises(InputError, match="column label"):
        evaluate(policy, csv_of(tmp_path / "none.csv", new, labels=False))
