"""Splits of labeled data by group, and official ones."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from action_corpus import corpus

from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.actions import data
from edgevid.evaluate.actions.data import read_poses

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.actions.clip_spec import ClipSpec  # noqa: E402
from edgevid.actions.layout import LAYOUTS  # noqa: E402
from edgevid.learn.actions import train as module  # noqa: E402
from edgevid.learn.actions.train import TrainConfig, group_folds, official_splits, split_by_group, train_actions  # noqa: E402
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
    monkeypatch.setattr("edgevid.evaluate.actions.extract.crop_video", lambda *_: crops)
    video, model = tmp_path / "a.mp4", tmp_path / "own.onnx"
    video.touch()
    values: list[float] = []
    for value, mean in ((1.0, 0.0), (2.0, 0.0), (2.0, 0.0), (3.0, 9.0)):
        model.write_text(str(min(value, 2.0)))  # the last one is the same file, which takes other pixels
        spec, source = InputSpec(4, 4, mean=(mean,) * 3), Source(sha256="0" * 64)  # as an older file's recipe states
        recipe = LocalRecipe("own", "features", model.name, tmp_path, source=source, input=spec, local=model)
        extractor: Any = SimpleNamespace(recipe=recipe, steps=0, extract=lambda *_, v=value: np.full((2, 3), v))
        clips = ClipSpec(steps=1, rate_hz=15, width=4, height=4, stride_s=0.0)
        values.append(float(module._features(video, extractor, clips, 0)[0, 0]))
    assert values == [1, 2, 2, 3]
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 3


def skeleton_file(path: Path, labels: list[str], seed: int = 0, **more: Any) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 20, len(labels))
    joints = rng.normal(size=(lengths.sum(), 15, 2)).astype(np.float32)
    np.savez(path, joints=joints, offsets=np.concatenate(([0], lengths.cumsum())), label=np.array(labels), **more)


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


def test_each_group_is_held_out_in_one_fold_and_classes_are_balanced() -> None:
    data = corpus((12, 9), groups=6)
    folds = group_folds(data, 3, seed=1)
    held = [{e.group for e in test.examples} for _, test in folds]
    assert sorted(group for one in held for group in one) == sorted({e.group for e in data.examples})
    for rest, test in folds:
        assert len(rest) + len(test) == 21
        assert not {e.group for e in rest.examples} & {e.group for e in test.examples}
        assert set(test.labels) == {0, 1}
    with pytest.raises(InputError, match="expected 2 to 12, the number of groups"):
        group_folds(data, 13)


def test_folds_are_trained_and_named(tmp_path: Path) -> None:
    """Three subjects in one file: each is held out once, and the means are over them."""
    skeleton_file(tmp_path / "own.npz", ["run", "walk"] * 6, group=[f"subject {n // 4}" for n in range(12)])
    config = TrainConfig(tmp_path / "own.npz", "linear", tmp_path / "out", seeds=1, epochs=1, patience=0, folds=3)
    found = train_actions(config)
    assert [one.split for one in found.trials] == ["by group 1", "by group 2", "by group 3"]
    with pytest.raises(InputError, match="flow: expected videos of which to compute it, got skeletons"):
        train_actions(dataclasses.replace(config, flow="hof"))
    with pytest.raises(InputError, match="expected 2 to 3"):
        train_actions(dataclasses.replace(config, folds=5))
    again = train_actions(dataclasses.replace(config, held=(os.path.abspath("own#0"),)))
    assert [one.split for one in again.trials] == ["by group"]  # as `edgevid improve` holds out the same clips


def msraction3d(path: Path, names: list[str], used: str = "") -> None:
    """A zip as the data set comes: each joint's x is its number in the file, plus 0.01 a step; the second is empty."""
    joints = np.zeros((4, 20, 4))
    joints[..., 0] = np.arange(20) + 1 + 0.01 * np.arange(4)[:, None]
    joints[1] = 0
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            text = "\n".join(" ".join(map(str, row)) for row in joints.reshape(-1, 4))
            archive.writestr(f"MSRAction3D/real_world_coordinates/{name}_skeleton3D.txt", text)
        if used:
            archive.writestr("MSRAction3D/real_world_coordinates/files_used_in_cvpr12_paper.txt", used)


def test_msraction3d_is_read_from_its_zip(tmp_path: Path) -> None:
    names = [f"a{action:02d}_s{subject:02d}_e01" for action in (2, 13) for subject in (1, 2, 3, 4)]
    msraction3d(tmp_path / "msr.zip", [*names, "a13_s05_e02"], "\n".join(names))
    train, test, _ = official_splits(tmp_path / "msr.zip")["cross-subject"]
    assert train.names == test.names == ("horizontal arm wave", "bend")
    assert {e.group for e in train.examples} == {"subject 1", "subject 3"}
    assert (len(train), len(test)) == (4, 4)  # the fifth subject's file is none of those that were used
    assert [e.label for e in test.examples] == [0, 0, 1, 1]
    points, confidence = test.layout.split(test.examples[0].raw)  # type: ignore[union-attr]
    assert points[0, :4, 0].tolist() == [7, 4, 3, 20]  # hip center, spine, shoulder center and head in the files
    assert confidence[:, 0].tolist() == [1, 0, 1, 1]
    assert len(group_folds(read_poses(tmp_path / "msr.zip"), 4)) == 4  # type: ignore[arg-type]


def test_another_zip_is_named_with_what_to_do(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.csv", "1,2")
    with pytest.raises(FileFormatError, match=r"other skeletons an NPZ: docs/actions\.md#skeletons, got .*a\.csv"):
        official_splits(tmp_path / "other.zip")
    (tmp_path / "broken.zip").write_bytes(b"PK")
    with pytest.raises(FileFormatError, match="20 joints of 4 values a step"):
        official_splits(tmp_path / "broken.zip")


def test_pooling_and_positions_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    config = TrainConfig(tmp_path / "none", out=tmp_path / "out")
    with pytest.raises(InputError, match="pooling: expected one of max, mean, cls, got 'avg'"):
        train_actions(dataclasses.replace(config, pooling="avg"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="positions: expected one of learned, sinusoidal, none, got 'rotary'"):
        train_actions(dataclasses.replace(config, positions="rotary"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="pooling: expected a head transformer or graph, which has it, got gru"):
        train_actions(dataclasses.replace(config, head="gru", pooling="mean"))


@pytest.mark.parametrize(("most", "flag", "got"), [(100, 0, "unpacks to"), (9999, 1, "encrypted"), (9999, 8, "")])
def test_a_zip_that_is_large_when_unpacked_encrypted_or_damaged_is_named(
    tmp_path: Path, most: int, flag: int, got: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MOST_TEXT", most)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("files_used.txt", "0 " * 1000)
    content = bytearray(path.read_bytes())
    if flag == 8:  # a block of a kind that there is not
        content[30 + len("files_used.txt")] = 0xFF
    for place in (6, content.index(b"PK\1\2") + 8):
        content[place] |= flag & 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=f"other skeletons an NPZ.*{got}"):
        official_splits(path)
