"""Splits of labeled data by group, and official ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from action_corpus import corpus

from edgevid.errors import InputError

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.learn.actions.train import official_splits, split_by_group  # noqa: E402

torch.set_num_threads(1)


def test_a_group_is_never_on_both_sides() -> None:
    data = corpus((12, 9))
    train, held = split_by_group(data, 0.3, seed=3)
    assert not {e.group for e in train.examples} & {e.group for e in held.examples}
    assert len(train) + len(held) == 21
    assert set(held.labels) == set(train.labels) == {0, 1}


def test_one_video_only_cannot_be_split() -> None:
    with pytest.raises(InputError, match="one video or scene only"):
        split_by_group(corpus(groups=1), 0.3)


def skeleton_file(path: Path, labels: list[str], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 20, len(labels))
    joints = rng.normal(size=(lengths.sum(), 15, 2)).astype(np.float32)
    np.savez(path, joints=joints, offsets=np.concatenate(([0], lengths.cumsum())), label=np.array(labels))


def test_official_splits_and_heads_of_other_classes(tmp_path: Path) -> None:
    skeleton_file(tmp_path / "GT_train_1.npz", ["run", "walk"] * 3)
    with pytest.raises(InputError, match=r"GT_test_1\.npz is missing"):
        official_splits(tmp_path)
    skeleton_file(tmp_path / "GT_test_1.npz", ["run", "walk"])
    train, test, _ = official_splits(tmp_path)["1"]
    assert (train.names, len(train), len(test), train.joints) == (("run", "walk"), 6, 2, "jhmdb15")
    skeleton_file(tmp_path / "GT_test_1.npz", ["run", "fly"])
    with pytest.raises(InputError, match=r"got also \['fly'\]"):
        official_splits(tmp_path)
