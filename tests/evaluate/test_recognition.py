"""Actions on clips that a model was trained on, on new ones, with shuffled labels; segmentation by files of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.abstain import PolicyFile, Settings, write_policy
from edgevid.errors import InputError
from edgevid.evaluate import robustness, verdicts
from edgevid.evaluate.actions.metrics import ClassReport, SegmentReport
from edgevid.evaluate.recognition import Scored, evaluate, evaluate_segments, read_labels, write_scores
from edgevid.evaluate.tune.scores import read_scores
from edgevid.evaluate.tune.search import Target, tune
from edgevid.types import Array

NAMES = ("jump", "run", "walk")
CLIPS, STEPS = 24, 12


def skeletons(path: Path, joints: Array, labels: Array) -> Path:
    flat = joints.reshape(-1, 15, 2).astype(np.float32)
    np.savez(path, joints=flat, offsets=np.arange(len(joints) + 1) * STEPS, label=np.array(NAMES)[labels])
    return path


def shuffled(folder: Path, seed: int) -> tuple[Path, Path, Path]:
    """A head trained on clips with random labels: its recipe, its training clips, and those with as many new ones."""
    pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
    from edgevid.learn.actions.train import TrainConfig, train_actions

    rng = np.random.default_rng(seed)
    joints = rng.normal(0, 1, (3 * CLIPS, 1, 15, 2)) + rng.normal(0, 0.1, (3 * CLIPS, STEPS, 15, 2)).cumsum(1)
    labels = rng.permutation(np.arange(3 * CLIPS) % 3)
    folder.mkdir()
    train = skeletons(folder / "A_train_1.npz", joints[:CLIPS], labels[:CLIPS])
    skeletons(folder / "A_test_1.npz", joints[CLIPS : 2 * CLIPS], labels[CLIPS : 2 * CLIPS])
    new = np.r_[:CLIPS, 2 * CLIPS : 3 * CLIPS]
    mixed = skeletons(folder / "mixed.npz", joints[new], labels[new])
    config = TrainConfig(folder, "gru", folder / "head", seeds=1, epochs=40, rate_hz=30, window=STEPS, threads=1)
    return train_actions(config).recipe, train, mixed


def test_shuffled_labels_are_no_skill_and_trained_clips_are_named(tmp_path: Path) -> None:
    """With clips that were trained on it would be far above chance; left out, it is within 3 sigma of it."""
    recipe, train, mixed = shuffled(tmp_path / "shuffled", 0)
    found = evaluate(str(recipe), mixed)
    assert f"{CLIPS} of {2 * CLIPS} clips were trained on, by their content or scene: they are left out" in found.notes
    assert found.figures()["accuracy"].value < 1 / 3 + 3 * np.sqrt(2 / 9 / CLIPS)
    with pytest.raises(InputError, match=r"24 of 24 clips were trained on.*nothing remains"):
        evaluate(str(recipe), train)
    forgotten = recipe.with_name("forgotten.toml")
    forgotten.write_text(recipe.read_text().partition("[trained]")[0])
    leak = evaluate(str(forgotten), train)
    assert leak.figures()["accuracy"].value > 0.9
    assert "what the model was trained on is not stated ([trained] of the recipe)" in " ".join(leak.notes)
    assert robustness.evaluate(str(recipe), mixed).notes == [found.notes[0]]
    with pytest.raises(InputError, match=r"24 of 24 clips were trained on"):
        robustness.evaluate(str(recipe), train)
    damaged = robustness.evaluate(str(forgotten), train)
    assert "is not stated" in damaged.notes[0]
    rows = {row[:2]: row[2:] for row in damaged.tables["By corruption"].rows}
    assert {kind for kind, _ in rows} == {"untouched", *robustness.POSES}
    assert all(sum(row) == pytest.approx(1) for row in rows.values())
    assert rows["moments lost, %", 75][2] > rows["untouched", 0.0][2]  # it abstains more


def test_scores_of_clips_are_written_with_what_the_model_was_trained_on(tmp_path: Path) -> None:
    """Of 48 clips the 24 that were trained on get no score; without hashes in the recipe the file states nothing."""
    recipe, train, mixed = shuffled(tmp_path / "shuffled", 1)
    held = np.load(recipe.with_name("scores.npz"))
    assert held["trained"].tolist() == [False] * CLIPS
    evaluate(str(recipe), mixed, scores=tmp_path / "new.npz")
    written = read_scores(tmp_path / "new.npz")
    assert written.notes == []
    assert len(np.unique(written.tracks)) == CLIPS
    assert written.typicality is not None
    report = tune(read_scores(recipe.with_name("scores.npz")), Target("abstain-rate", 0.2))
    assert "not stated" not in " ".join(report.warnings)
    write_policy(tmp_path / "p.toml", PolicyFile(written.names, Settings()))
    assert "not stated" not in " ".join(verdicts.evaluate(tmp_path / "p.toml", tmp_path / "new.npz").notes)
    forgotten = recipe.with_name("forgotten.toml")
    forgotten.write_text(recipe.read_text().partition("[trained]")[0])
    evaluate(str(forgotten), train, scores=tmp_path / "leak.npz")
    leak = verdicts.evaluate(tmp_path / "p.toml", tmp_path / "leak.npz")
    assert leak.figures()["risk without abstention"].value < 0.1
    assert leak.notes[0] == (
        "what the model was trained on is not stated (column trained): whether these tracks were is unknown"
    )
    with pytest.raises(InputError, match="clips with one label and a score each"):
        write_scores(tmp_path / "none.npz", Scored(ClassReport(np.zeros((2, 2))), 0), states=True)


def folder_of(folder: Path, videos: dict[str, str], head: str = "") -> Path:
    folder.mkdir()
    for name, letters in videos.items():
        text = f"{head}\n{' '.join(letters)}\n" if head else "\n".join(letters) + "\n"
        (folder / f"{name}.txt").write_text(text)
    return folder


TRUTH = {"a": "PPPPQQQQRR", "b": "PPPQQQ", "c": "RRRRRRPP"}
FOUND = {"a": "PPPQQQQQRR", "b": "PPPPPP", "c": "RRPRRRPP"}


def test_segments_by_hand(tmp_path: Path) -> None:
    """a: 9 of 10 right, order PQR; b: 3 of 6, order P for PQ; c: 7 of 8, order RPRP for RP.

    Edit 1, 1/2 and 1/2. At 10 %: a has 3 true positives; b has 1 and misses Q; in c the first R matches and so does
    the last P, the second R finds its truth taken and the first P overlaps nothing: 6 true, 2 false, 1 missed.
    """
    truth, found = folder_of(tmp_path / "truth", TRUTH), folder_of(tmp_path / "found", FOUND, "### Frame level ###")
    one = evaluate_segments(found, truth)
    values = {name: figure.value for name, figure in one.figures().items()}
    assert values["accuracy"] == pytest.approx(19 / 24)
    assert values["edit"] == pytest.approx(2 / 3)
    assert values["F1@10"] == pytest.approx(12 / (12 + 2 + 1))
    whole = SegmentReport.of([*TRUTH.values()], [*FOUND.values()])
    assert [100 * v for v in values.values()] == pytest.approx(list(whole[:5]))
    without = evaluate_segments(found, truth, background=["R"]).figures()
    assert without["edit"].value == pytest.approx(100 / 100 * np.mean([1, 1 / 2, 1 / 2]))
    assert read_labels(found) == read_labels(folder_of(tmp_path / "lines", FOUND))


def test_folders_that_do_not_fit_are_named(tmp_path: Path) -> None:
    truth = folder_of(tmp_path / "truth", TRUTH)
    with pytest.raises(InputError, match=r"none of \['c'\]"):
        evaluate_segments(folder_of(tmp_path / "few", {"a": TRUTH["a"], "b": TRUTH["b"]}), truth)
    with pytest.raises(InputError, match="got also X"):
        evaluate_segments(folder_of(tmp_path / "other", {**TRUTH, "b": "XXXXXX"}), truth)
    with pytest.raises(InputError, match=r"b: expected 6 labels as in .*, got 5"):
        evaluate_segments(folder_of(tmp_path / "short", {**TRUTH, "b": "PPPQQ"}), truth)
