"""Classifiers, poses and features compared, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from compare_samples import PERSON, always, engine, frames, recipe
from fake_engine import FakeEngine

from edgevid.errors import InputError
from edgevid.optimize.compare.gate import compare_engines
from edgevid.optimize.compare.tasks import BoxTask, ClassTask, ClipTask, FeatureTask, JointTask, task_of
from edgevid.runtime import TensorSpec
from edgevid.types import Array


def classifier(*values: float) -> FakeEngine:
    return engine(lambda _: np.array([values], np.float32), shape=(1, len(values)))


def test_classifiers_agree_by_their_best_class() -> None:
    how = recipe(task="classify", decode=None, names=("a", "b", "c"))
    same = compare_engines(classifier(0, 2, 1), classifier(0, 9, 1), how, frames(2))
    other = compare_engines(classifier(0, 2, 1), classifier(0, 1, 2), how, frames(2))
    assert (same.agreement, other.agreement) == (1.0, 0.0)
    assert "100.0 % of 2 frames by top-1 class" in same.summary()
    soft = [np.exp(v) / np.exp(v).sum() for v in np.array([[0.0, 2, 1], [0, 1, 2]])]
    drift = float(np.abs(soft[0] - soft[1]).max())
    assert other.task.details["probability drift, largest"] == pytest.approx(drift, rel=1e-5)
    assert other.worst[0].difference == f"b {soft[0][1]:.2f}, c {soft[1][2]:.2f}"


def test_a_classifier_without_numbers_agrees_with_nothing() -> None:
    how = recipe(task="classify", decode=None, names=("a", "b"))
    report = compare_engines(classifier(0, 1), classifier(0, np.nan), how, frames(), min_agreement=0.0)
    assert report.agreement == 0.0
    assert not report.passed


def test_joints_agree_by_place() -> None:
    how = recipe(task="pose", decode=None, names=())
    pose = np.tile(np.array([0.5, 0.5, 0.9], np.float32), (1, 1, 17, 1))  # y, x, score
    near, far, unseen = pose.copy(), pose.copy(), pose.copy()
    near[..., 1] += 0.04  # 2.56 of 64 pixels: within 5 %
    far[0, 0, 0, 1] += 0.06
    unseen[0, 0, 1, 2] = 0.1

    def made(values: Array) -> FakeEngine:
        return engine(lambda _: values, shape=(1, 1, 17, 3))

    def agreement(values: Array) -> float:
        return compare_engines(made(pose), made(values), how, frames()).agreement

    assert [agreement(v) for v in (near, far, unseen)] == pytest.approx([1.0, 16 / 17, 16 / 17])


def test_features_agree_by_cosine() -> None:
    how = recipe(task="features", decode=None, names=())
    a, b = classifier(3, 4), classifier(4, 3)
    assert compare_engines(a, b, how, frames()).agreement == pytest.approx(24 / 25)


def test_a_head_is_an_error() -> None:
    how = recipe(task="head", decode=None)
    with pytest.raises(InputError, match="expected one that takes images"):
        compare_engines(always(PERSON), always(PERSON), how, frames())


def clip_model() -> FakeEngine:
    clip = TensorSpec("clip", (1, 3, 3, 64, 64), np.dtype(np.float32))
    return FakeEngine((clip,), (TensorSpec("y", (1, 2), np.dtype(np.float32)),), lambda _: {})


@pytest.mark.parametrize(
    ("task", "model", "kind"),
    [
        ("detect", always(PERSON), BoxTask),
        ("classify", classifier(0, 1), ClassTask),
        ("pose", engine(np.zeros_like, shape=(1, 1, 17, 3)), JointTask),
        ("features", classifier(0, 1), FeatureTask),
        ("clip", clip_model(), ClipTask),
    ],
)
def test_each_task_has_its_comparison(task: str, model: FakeEngine, kind: type) -> None:
    how = recipe(task=task, tables={"clip": {"steps": 3}}, **({} if task == "detect" else {"decode": None}))
    assert type(task_of(model, model, how, how)) is kind


def test_a_task_without_images_has_no_comparison() -> None:
    how = recipe(task="skeleton", decode=None)
    with pytest.raises(InputError, match="has the task 'skeleton'; expected one that takes images: detect, classify"):
        task_of(always(PERSON), always(PERSON), how, how)


def test_a_classifier_of_other_classes_is_an_error() -> None:
    how = recipe(task="classify", decode=None, names=("a", "b", "c"))
    with pytest.raises(InputError, match="expected 3 classes, the model has 2"):
        compare_engines(classifier(0, 1), classifier(0, 1), how, frames())


def test_joints_count_from_their_score_and_without_any_there_is_no_agreement() -> None:
    """Three of 17 joints have 0.3, the others 0.25: below 0.3 they are not detected."""
    how = recipe(task="pose", decode=None, names=())
    pose = np.tile(np.array([0.5, 0.5, 0.25], np.float32), (1, 1, 17, 1))

    def count(values: Array) -> tuple[float, float]:
        made = engine(lambda _: values, shape=(1, 1, 17, 3))
        found = compare_engines(made, made, how, frames(2), min_agreement=0.0)
        return found.task.total, found.agreement

    assert count(pose) == (0, 0)
    pose[0, 0, :3, 2] = 0.3
    assert count(pose) == (6, 1)
