"""Small ONNX graphs of one input x and one output y, whose operations are counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx_models import onnx

FLOAT = 1


def saved(path: Path, nodes: list[object], shape: list[object], weights: dict[str, np.ndarray]) -> Path:
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [onnx.numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def conv(path: Path, batch: object = 1) -> Path:
    """3 -> 8 channels, 3x3, stride 1, padded, on 10x10, then Relu."""
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["c"], ["y"]),
    ]
    weights = {"w": np.ones((8, 3, 3, 3), np.float32), "b": np.ones(8, np.float32)}
    return saved(path, nodes, [batch, 3, 10, 10], weights)
