"""Splits of labeled data by group, and official ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from action_corpus import corpus

from edgevid.errors import InputError

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.actions.clip_spec import ClipSpec  # noqa: E402
from edgevid.actions.layout import LAYOUTS  # noqa: E402
from edgevid.learn.actions import train as module  # noqa: E402
from edgevid.learn.actions.train import official_splits, split_by_group  # noqa: E402
from edgevid.runtime.engine import InputSpec  # noqa: E402
from edgevid.runtime.recipe import LocalRecipe, Source  # noqa: E402

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


def test_features_of_another_model_of_that_name_are_extracted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    crops = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4), np.float32)
    monkeypatch.setattr(module, "crop_video", lambda *_: crops)
    video, model = tmp_path / "a.mp4", tmp_path / "own.onnx"
    video.touch()
    values: list[float] = []
    for value, mean in ((1.0, 0.0), (2.0, 0.0), (2.0, 0.0), (3.0, 9.0)):
        model.write_text(str(min(value, 2.0)))  # the last one is the same file, which takes other pixels
        spec, source = InputSpec(4, 4, mean=(mean,) * 3), Source(sha256="0" * 64)  # as an older file's recipe states
        recipe = LocalRecipe("own", "features", model.name, tmp_path, source=source, input=spec, local=model)
        extractor: Any = SimpleNamespace(recipe=recipe, extract=lambda *_, v=value: np.full((2, 3), v))
        clips = ClipSpec(steps=1, rate_hz=15, width=4, height=4, stride_s=0.0)
        values.append(float(module._features(video, extractor, clips, 0)[0, 0]))
    assert values == [1, 2, 2, 3]
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 3


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
    assert (train.names, len(train), len(test), train.layout) == (("run", "walk"), 6, 2, LAYOUTS["jhmdb-15"])
    skeleton_file(tmp_path / "GT_test_1.npz", ["run", "fly"])
    with pytest.raises(InputError, match=r"got also \['fly'\]"):
        official_splits(tmp_path)
