"""`edgevid export`: Ultralytics' untrained models exported, equal to PyTorch, and the errors."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from edgevid.detect.detector import Detector
from edgevid.errors import EdgevidError, InputError, MissingExtraError, ParityError
from edgevid.optimize import export as tool
from edgevid.runtime.recipe import read_recipe
from edgevid.types import Frame

HERE = importlib.util.find_spec("ultralytics") is not None
needs_ultralytics = pytest.mark.skipif(not HERE, reason="ultralytics is not installed (extra: export)")


def frames() -> list[Frame]:
    """An image wider than high and one higher than wide, smooth so that resizing is not the question."""
    rows, columns = np.mgrid[0:90, 0:160].astype(np.float32)
    smooth = np.stack([rows * 2, columns, 255 - columns], axis=-1).astype(np.uint8)
    return [Frame(smooth, 0.0, 0), Frame(np.ascontiguousarray(smooth.transpose(1, 0, 2)), 0.1, 1)]


@needs_ultralytics
@pytest.mark.parametrize(("model", "anchors"), [("yolov8n", 84), ("yolo11n", 84)])
def test_an_untrained_model_is_exported_with_its_recipe_and_equals_pytorch(
    tmp_path: Path, model: str, anchors: int
) -> None:
    made = tool.export(f"{model}.yaml", frames(), size=64, out=tmp_path / "made.onnx")
    assert made.frames == 2
    assert made.worst < 1e-4
    assert made.cosine > 0.999999
    assert made.image_levels < 1
    recipe = read_recipe(made.recipe_file)
    assert recipe.input is not None
    assert (recipe.input.width, recipe.input.height) == (64, 64)
    assert recipe.decode is not None
    assert (recipe.decode.kind, recipe.decode.layout) == ("yolo", "columns")
    assert len(recipe.names) == 80
    assert recipe.source.license == "AGPL-3.0"
    detector = Detector.load(made.model, score_threshold=0.0, device="cpu")
    assert detector.engine.outputs[0].shape == (1, 84, anchors)
    assert len(detector.detect(frames())) == 2


@needs_ultralytics
@pytest.mark.parametrize(("task", "key"), [("seg", "masks"), ("pose", "keypoints"), ("obb", "rotated")])
def test_other_tasks_with_boxes_are_exported(tmp_path: Path, task: str, key: str) -> None:
    made = tool.export(f"yolov8n-{task}.yaml", frames(), size=64, out=tmp_path / "m.onnx")
    assert made.worst < 1e-4
    assert getattr(made.recipe.decode, key)
    assert len(Detector.load(made.model, device="cpu").detect(frames())) == 2


@needs_ultralytics
def test_height_comes_before_width_and_the_batch_may_be_open(tmp_path: Path) -> None:
    made = tool.export("yolov8n.yaml", frames(), size=(32, 64), out=tmp_path / "m.onnx", dynamic_batch=True)
    spec = made.recipe.input
    assert spec is not None
    assert (spec.height, spec.width) == (32, 64)
    assert Detector.load(made.model, device="cpu").engine.inputs[0].shape[0] == -1


@needs_ultralytics
def test_a_file_that_differs_from_pytorch_is_rejected_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = tool._torch_output
    monkeypatch.setattr(tool, "_torch_output", lambda model, image: right(model, image) + 0.01)
    with pytest.raises(ParityError, match="differ by"):
        tool.export("yolov8n.yaml", frames(), size=64, out=tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@needs_ultralytics
def test_another_preprocessing_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = tool._ultralytics_image
    monkeypatch.setattr(tool, "_ultralytics_image", lambda frame, recipe: right(frame, recipe)[:, ::-1])
    with pytest.raises(ParityError, match="preprocessed images"):
        tool.export("yolov8n.yaml", frames(), size=64, out=tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@needs_ultralytics
def test_other_tasks_and_broken_weights_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="task is 'classify'"):
        tool.export("yolov8n-cls.yaml", frames(), size=64, out=tmp_path / "m.onnx")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no weights")
    with pytest.raises(EdgevidError, match=r"broken\.pt"):
        tool.export(broken, frames(), size=64)
    assert [p.name for p in tmp_path.iterdir()] == ["broken.pt"]


def test_scores_and_boxes_are_compared_on_their_own_scales() -> None:
    """A box off by 6.4 pixels of 640 and a score off by 0.5 are 0.01 and 0.5."""
    from edgevid.runtime.engine import InputSpec
    from edgevid.runtime.recipe import Decode, Recipe

    recipe = Recipe("m", "detect", "m", Path(), input=InputSpec(640, 480), decode=Decode("yolo"))
    expected = np.zeros((1, 6, 3), np.float32)  # two classes, three anchors, in columns
    given = expected.copy()
    given[0, 2, 1], given[0, 5, 2] = 6.4, 0.5
    assert tool._differences(given, expected, recipe) == (pytest.approx(0.01), pytest.approx(0.5))


def test_frames_and_weights_are_required(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one real frame"):
        tool.export("yolov8n.yaml", [])
    with pytest.raises(InputError, match=r"\.pt"):
        tool.export(tmp_path / "model.onnx", frames())
    with pytest.raises(InputError, match="no file"):
        tool.export(tmp_path / "absent.pt", frames())


@pytest.mark.skipif(HERE, reason="ultralytics is installed")
def test_without_ultralytics_the_error_has_the_pip_line() -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "edgevid\[export\]"'):
        tool.export("yolov8n.yaml", frames())
