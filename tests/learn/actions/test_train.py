"""docs/actions.md: from videos to a camera; splits by group, and official ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from action_corpus import corpus
from onnx_models import node, save

from edgevid.actions import load_recognizer
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.errors import InputError
from edgevid.evaluate.actions.replay import whole_frame
from edgevid.video.open import open_video
from edgevid.video.writer import VideoWriter

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.learn.actions.train import official_splits, split_by_group  # noqa: E402

torch.set_num_threads(1)


def video(path: Path, rising: bool, seed: int) -> None:
    """An image that grows brighter or darker over 2 s."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(exist_ok=True, parents=True)
    with VideoWriter(path, fps=8.0) as writer:
        for i in range(16):
            level = 60 + 8 * (i if rising else 15 - i) + int(rng.integers(0, 6))
            writer.write(np.full((48, 64, 3), level, np.uint8), i / 8)


def test_the_walk_through_from_videos_to_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/actions.md: folders of videos, `edgevid train actions`, then the recognizer in a loop."""
    from edgevid.cli import main

    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    _brightness(tmp_path / "features")
    for i in range(4):
        video(tmp_path / "data" / "rise" / f"r{chr(97 + i)}.mp4", True, i)
        video(tmp_path / "data" / "fall" / f"f{chr(97 + i)}.mp4", False, i)
    arguments = ["train", "actions", str(tmp_path / "data"), "--head", "gru", "--rate", "8", "--window", "16"]
    arguments += ["--extractor", str(tmp_path / "features"), "--out", str(tmp_path / "run"), "--epochs", "60"]
    arguments += ["--seeds", "1", "--patience", "0", "--threads", "1"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert len(list((tmp_path / "cache" / "features").glob("*.npy"))) == 8
    recognizer = load_recognizer(tmp_path / "run" / "recipe.toml")
    video(tmp_path / "new.mp4", True, 77)
    assert _last(recognizer, tmp_path / "new.mp4") == "rise"
    video(tmp_path / "new2.mp4", False, 78)
    assert _last(recognizer, tmp_path / "new2.mp4") == "fall"


def _brightness(folder: Path) -> None:
    """An extractor of four features: mean brightness a, 1 - a, their difference, and a again."""
    folder.mkdir()
    (folder / "recipe.toml").write_text(
        '[model]\nname = "brightness"\ntask = "features"\nfile = "model.onnx"\n'
        "[input]\nwidth = 16\nheight = 16\n"
    )
    nodes = [
        node("ReduceMean", "x", "m", axes=[1, 2, 3], keepdims=0), node("Unsqueeze", "m at", "a"),
        node("Sub", "one a", "b"), node("Sub", "a b", "c"), node("Concat", "a b c a", "f", axis=1),
    ]  # fmt: skip
    inputs = {"x": ("float32", ("n", 3, 16, 16))}
    save(folder / "model.onnx", nodes, inputs, {"f": ("n", 4)}, at=np.int64([1]), one=np.float32(1))


def _last(recognizer: object, path: Path) -> str:
    recognizer.reset()  # type: ignore[attr-defined]
    buffer = ClipBuffer(recognizer.spec)  # type: ignore[attr-defined]
    label = ""
    with open_video(path) as frames:
        for frame in frames:
            scores = recognizer.recognize(buffer.update(frame, whole_frame(frame)))  # type: ignore[attr-defined]
            if len(scores):
                label = recognizer.names[int(scores.values[0].argmax())]  # type: ignore[attr-defined]
    return label


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
