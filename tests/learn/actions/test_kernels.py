"""Kernel machines next to the heads, and skeletons in 3-D from files to the deployed recognizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.actions.layout import find_layout

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
sklearn = pytest.importorskip("sklearn", reason="baselines need scikit-learn: pip install 'edgevid[train]'")

from edgevid.evaluate.recognition import evaluate_rows, read_rows  # noqa: E402
from edgevid.learn.actions.experiment import support_vectors  # noqa: E402
from edgevid.learn.actions.train import TrainConfig, official_splits, train_actions  # noqa: E402
from edgevid.models.hub import resolve_model  # noqa: E402

torch.set_num_threads(1)


def skeletons(folder: Path, layout: str = "kinect-20", dims: int = 3) -> Path:
    """Two actions: standing up and sitting down; each file a training or held-out part."""
    names = find_layout(layout, dims=dims).joints
    rng = np.random.default_rng(0)
    body = rng.normal(size=(len(names), dims))
    for part, count in (("train_1", 16), ("test_1", 8)):
        joints, low = [], np.linspace(0.4, 1, 40)[:, None]
        for n in range(count):
            one = np.repeat(body[None], 40, axis=0) + rng.normal(0, 0.02, (40, len(names), dims))
            one[..., 1] *= low[:: 1 - 2 * (n % 2)]
            joints.append(one + rng.normal(0, 5, dims))
        label = np.array(["stand", "sit"] * (count // 2))
        offsets = np.arange(count + 1) * 40
        np.savez(folder / f"own_{part}.npz", joints=np.concatenate(joints), offsets=offsets, label=label)
    return folder


def test_machines_are_those_of_the_library() -> None:
    rng = np.random.default_rng(0)
    places, labels = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    kernel = np.exp(-np.square(places[:, None] - places).sum(-1) / 2)
    weights, bias = support_vectors(kernel, np.eye(4)[labels])
    for label in range(3):
        machine = sklearn.svm.SVC(kernel="rbf", gamma=0.5, C=10).fit(places, labels == label)
        np.testing.assert_allclose((kernel @ weights + bias)[:, label], machine.decision_function(places), atol=2e-3)
    assert (bias[3], weights[:, 3].any()) == (-1, False)  # a class without a clip


@pytest.mark.parametrize("kind", ["ridge", "svm", "graph"])
def test_skeletons_in_3d_become_a_recognizer(tmp_path: Path, kind: str) -> None:
    data, lines = skeletons(tmp_path), list[str]()
    config = TrainConfig(data, kind, tmp_path / "out", seeds=1, epochs=6, layout="kinect-20")  # type: ignore[arg-type]
    outcome = train_actions(config, report=lines.append)
    assert outcome.parity.pipeline < 1e-4
    assert set(outcome.compared) >= {"the head", "linear", "svm", "ridge"}
    assert any("svm 100.0 %, ridge 100.0 %" in line for line in lines)
    recipe = resolve_model(outcome.recipe)
    assert recipe.tables["layout"]["dims"] == 3
    held = read_rows(tmp_path, recipe)
    assert held is not None
    assert evaluate_rows(outcome.recipe, held).report.accuracy == 1  # of a graph with its second opinion
    if kind == "graph":
        assert outcome.parity.stream < 1e-5
    else:
        assert outcome.trials[0].accuracy == 1


def test_joints_of_a_table_of_ones_own(tmp_path: Path) -> None:
    names = [f"joint {n}" for n in range(9)]
    text = f"joints = {names}\nparents = {['joint 0'] * 9}\n".replace("'", '"')
    (tmp_path / "own.toml").write_text(text)
    for part in ("train_1", "test_1"):
        np.savez(tmp_path / f"a_{part}.npz", joints=np.ones((8, 9, 2)), offsets=[0, 4, 8], label=["run", "walk"])
    split = official_splits(tmp_path, layout=str(tmp_path / "own.toml"))["1"]
    assert split.train.layout is not None
    assert split.train.layout.joints == tuple(names)
