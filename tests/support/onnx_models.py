"""Small ONNX models for tests, written node by node: their answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the test models are written with onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

TYPES = {"float32": TensorProto.FLOAT, "bool": TensorProto.BOOL, "int32": TensorProto.INT32, "int64": TensorProto.INT64}

Shape = tuple["int | str", ...]


def save(
    path: Path, nodes: list[Any], inputs: dict[str, tuple[str, Shape]], outputs: dict[str, Shape], **constants: Any
) -> None:
    """A model of `nodes` (made by `node`); constants become initializers."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(n, TYPES[t], s) for n, (t, s) in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def node(kind: str, inputs: str, outputs: str, **more: Any) -> Any:
    """`node("Add", "a b", "c")`."""
    return helper.make_node(kind, inputs.split(), outputs.split(), **more)


def constant_model(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    *,
    image: Shape = (1, 3, 32, 32),
    name: str = "images",
    further: Mapping[str, tuple[int, Shape]] | None = None,
    metadata: Mapping[str, str] | None = None,
    producer: str = "",
    weights_among_inputs: bool = False,
    image_type: int = TensorProto.FLOAT,
    ir_version: int = 8,
) -> Path:
    """A model whose outputs are `outputs` whatever the image: each is constant + 0 * mean(image).

    A text in `image` is an open axis; an open batch repeats the outputs for each image.
    """
    helper, kind = onnx.helper, onnx.TensorProto
    inputs = [helper.make_tensor_value_info(name, image_type, list(image))]
    inputs += [helper.make_tensor_value_info(n, t, list(s)) for n, (t, s) in (further or {}).items()]
    axes = list(range(1, len(image)))
    nodes = [
        helper.make_node("Cast", [name], ["as float"], to=kind.FLOAT),
        helper.make_node("ReduceMean", ["as float"], ["mean"], axes=axes, keepdims=1),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    weights = [onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero")]
    results = []
    for out, array in outputs.items():
        weights.append(onnx.numpy_helper.from_array(array, f"{out} value"))
        ones = np.array([-1] + [1] * (array.ndim - 1))  # the batch of the image, then broadcast
        weights.append(onnx.numpy_helper.from_array(ones, f"{out} ones"))
        nodes += [
            helper.make_node("Reshape", ["nothing", f"{out} ones"], [f"{out} flat"]),
            helper.make_node("CastLike", [f"{out} flat", f"{out} value"], [f"{out} nothing"]),
            helper.make_node("Add", [f"{out} value", f"{out} nothing"], [out]),
        ]
        stated = [image[0] if isinstance(image[0], str) else array.shape[0], *array.shape[1:]]
        dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
        results.append(helper.make_tensor_value_info(out, dtype, stated))
    if weights_among_inputs:
        inputs += [helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in weights]
    graph = helper.make_graph(nodes, "g", inputs, results, weights)
    model: Any = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], producer_name=producer)
    model.ir_version = ir_version
    helper.set_model_props(model, dict(metadata or {}))
    if ir_version == 8:
        onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def ultralytics_metadata(names: list[str], task: str = "detect", **more: Any) -> dict[str, str]:
    """Metadata as Ultralytics 8.4 writes it."""
    stated = {
        "description": "Ultralytics YOLO model", "author": "Ultralytics", "stride": "32",
        "task": task, "batch": "1", "imgsz": "[64, 64]", "names": dict(enumerate(names)), "channels": "3",
    }  # fmt: skip
    return {key: str(value) for key, value in {**stated, **more}.items()}
