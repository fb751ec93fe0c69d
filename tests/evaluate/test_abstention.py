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
from edgevid.evaluate.verdicts import evaluate
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
    assert found.notes[0] == "the policy was tuned on these scores: they say nothing about its risk on others"


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
