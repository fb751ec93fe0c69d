"""Small ONNX models for tests, written node by node: their answers can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the test models are written with onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

TYPES = {
    "float32": TensorProto.FLOAT,
    "bool": TensorProto.BOOL,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
}

Shape = tuple["int | str", ...]


def save(
    path: Path,
    nodes: list[Any],
    inputs: dict[str, tuple[str, Shape]],
    outputs: dict[str, Shape],
    **constants: Any,
) -> None:
    """A model of `nodes` (made by `node`); constants become initialisers."""
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
