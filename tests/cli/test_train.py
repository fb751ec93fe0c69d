"""`edgevid train actions` and `backbone`: from videos to a recognizer that runs on a camera."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx_models import node, save

from edgevid.actions import load_extractor, load_recognizer
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.cli import main
from edgevid.evaluate.actions.extract import whole_frame
from edgevid.video.open import open_video
from edgevid.video.writer import VideoWriter

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

torch.set_num_threads(1)


def video(path: Path, rising: bool, seed: int) -> None:
    """An image that grows brighter or darker over 2 s."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(exist_ok=True, parents=True)
    with VideoWriter(path, fps=8.0) as writer:
        for i in range(16):
            level = 60 + 8 * (i if rising else 15 - i) + int(rng.integers(0, 6))
            writer.write(np.full((48, 64, 3), level, np.uint8), i / 8)


def _brightness(folder: Path) -> None:
    """An extractor of four features: mean brightness a, 1 - a, their difference, and a again."""
    folder.mkdir()
    (folder / "recipe.toml").write_text(
        '[model]\nname = "brightness"\ntask = "features"\nfile = "model.onnx"\n[input]\nwidth = 16\nheight = 16\n'
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


def test_the_walk_through_from_videos_to_a_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/actions.md: folders of videos, `edgevid train actions`, then the recognizer in a loop."""
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
    printed = " ".join(capsys.readouterr().out.split())
    assert "Held-out accuracy" in printed
    assert "chance 50.0 %" in printed
    assert "streaming" in printed
    assert f"Deploy: {tmp_path / 'run'}" in printed
    assert len(list((tmp_path / "cache" / "features").glob("*.npz"))) == 8
    recognizer = load_recognizer(tmp_path / "run" / "recipe.toml")
    video(tmp_path / "new.mp4", True, 77)
    assert _last(recognizer, tmp_path / "new.mp4") == "rise"
    video(tmp_path / "new2.mp4", False, 78)
    assert _last(recognizer, tmp_path / "new2.mp4") == "fall"


def test_a_backbone_is_cut_out_of_an_image_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of 3 channels, doubled, then averaged: cut at the doubled map, 3 features per crop are left."""
    (tmp_path / "recipe.toml").write_text(
        '[model]\nname = "double"\ntask = "classify"\nfile = "m.onnx"\n[input]\nwidth = 8\nheight = 8\n'
        '[names]\nclasses = ["a", "b", "c"]\n'
    )
    nodes = [node("Add", "x x", "map"), node("GlobalAveragePool", "map", "p"), node("Flatten", "p", "y")]
    save(tmp_path / "m.onnx", nodes, {"x": ("float32", ("n", 3, 8, 8))}, {"y": ("n", 3)})
    with pytest.raises(SystemExit) as stop:
        main(["train", "backbone", str(tmp_path), "--out", str(tmp_path / "cut"), "--tensor", "map"])
    assert stop.value.code == 0
    assert (
        f"3 features per crop. Use it: train actions --extractor {tmp_path / 'cut'}, "
        in capsys.readouterr().out.replace("\n", "")
    )
    crops = np.full((1, 8, 8, 3), 51, np.uint8)  # 0.2, doubled
    found = load_extractor(tmp_path / "cut").extract(crops, np.float32([[0, 0, 8, 8]]))
    np.testing.assert_allclose(found, [[0.4] * 3], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["actions", "nowhere"], "expected a folder"),
        (
            ["actions", "nowhere", "--head", "rnn"],
            "expected one of gru, lstm, transformer, graph, asformer, mstcn, linear, svm, ridge, compact, got 'rnn'",
        ),
        (["actions", "nowhere", "--test", "0.95"], "--test"),
        (["backbone", "nowhere", "--out", "cut"], "nowhere"),
    ],
)
def test_each_mistake_is_one_sentence(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["train", *arguments])
    assert stop.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_long_videos_of_features_from_training_to_judged_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As 50Salads comes: MS-TCN with a look-ahead, exported, streamed and judged on what it did not see."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("features", "groundTruth", "splits"):
        Path("data", name).mkdir(parents=True)
    for name in "abcdef":
        labels = np.repeat(rng.permutation([0, 1, 0]), 20)
        np.save(f"data/features/v-{name}.npy", (np.eye(2)[labels] + rng.normal(0, 0.2, (60, 2))).T)
        Path(f"data/groundTruth/v-{name}.txt").write_text("".join(("cut\n", "mix\n")[k] for k in labels))
    Path("data/mapping.txt").write_text("0 cut\n1 mix\n")
    for half, names in (("train", "abcd"), ("test", "ef")):
        Path(f"data/splits/{half}.split1.bundle").write_text("".join(f"v-{name}.txt\n" for name in names))
    rate = ["--feature-rate", "5"]
    arguments = ["train", "actions", "data", "--head", "mstcn", "--rate", "5", *rate, "--window", "40", "--layers", "3"]
    arguments += ["--lookahead", "0.4", "--epochs", "40", "--seeds", "1", "--threads", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", "run"])
    assert ended.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "linear layer per step" in printed
    assert "right by class: cut" in printed
    assert "lookahead = 2" in Path("run/recipe.toml").read_text()
    evaluate = ["evaluate", "segmentation", "run/recipe.toml", "--truth", "data", *rate, "--json", "scores.json"]
    with pytest.raises(SystemExit) as ended:
        main(evaluate)
    assert ended.value.code == 0
    assert "4 of 6 clips were trained on" in " ".join(capsys.readouterr().out.split())
    assert json.loads(Path("scores.json").read_text())["metrics"]["accuracy"]["value"] > 0.9
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--bidirectional", "--out", "other"])
    assert ended.value.code == 2
    assert "lookahead: expected a causal head" in " ".join(capsys.readouterr().err.split())
