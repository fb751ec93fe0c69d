"""What a model file must not do: claim memory that is not there, or read files outside of its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgevid.errors import FieldError, ModelError
from edgevid.runtime import variants
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.variants import model_digest


def weight(*dims: int, **entries: Any) -> TensorProto:
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims)
    if not entries:
        made.raw_data = bytes(64)
        return made
    made.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        entry = made.external_data.add()
        entry.key, entry.value = key, str(value)
    return made


def save(path: Path, made: TensorProto, *nodes: onnx.NodeProto) -> Path:
    graph = helper.make_graph(
        nodes or [helper.make_node("Identity", ["w"], ["y"])], "g",
        [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [made],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("dims", [(1 << 40, 1 << 10), (-1, 1 << 50), (1 << 62, 4)])
def test_weights_that_claim_petabytes_are_refused(tmp_path: Path, dims: tuple[int, ...]) -> None:
    path = save(tmp_path / "a.onnx", weight(*dims))
    with pytest.raises(ModelError, match=r"a.onnx: expected 4,294,967,296 weights at most, its tensors claim [\d,]+"):
        OrtEngine(path)


def test_weights_lie_in_the_folder_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(np.arange(16, dtype=np.float32).tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    for name in ("../secret", str(tmp_path / "secret"), "link", "/dev/zero"):
        path = save(folder / "a.onnx", weight(4, 4, location=name, length=64))
        for read in (OrtEngine, model_digest):
            with pytest.raises(ModelError, match=r"a.onnx: expected its weights in files of its folder, got .*copy"):
                read(path)
    (folder / "own").write_bytes((tmp_path / "secret").read_bytes())
    with OrtEngine(save(folder / "a.onnx", weight(4, 4, location="own", length=64))) as engine:
        assert engine.run({})["y"].ravel()[:3].tolist() == [0.0, 1.0, 2.0]


def test_an_output_of_terabytes_and_a_file_of_gigabytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = helper.make_tensor("w", TensorProto.INT64, [2], [1 << 16, 1 << 18])
    path = save(tmp_path / "a.onnx", shape, helper.make_node("ConstantOfShape", ["w"], ["y"]))
    with pytest.raises(ModelError, match=r"tensor y: float32 \(65536, 262144\): expected 4 GB at most, got 68,719,476"):
        OrtEngine(path)
    monkeypatch.setattr(variants, "MOST_BYTES", 10)
    with pytest.raises(ModelError, match=r"a.onnx: expected 2 GB at most \(weights may lie in other files\), got"):
        OrtEngine(path)


def test_a_recipe_does_not_ask_for_an_image_of_gigabytes() -> None:
    with pytest.raises(FieldError, match="InputSpec width: expected 67,108,864 pixels at most, got 10000000000"):
        InputSpec(100_000, 100_000)
