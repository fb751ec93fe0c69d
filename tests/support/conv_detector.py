"""A small convolutional detector in YOLOv8's layout, as exporters write it: for quantizing and engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx_models import helper, numpy_helper, onnx, ultralytics_metadata

SIZE = 64


def conv_detector(
    path: Path, *, opset: int = 17, batch: int | str = 1, gain: float = 1.0, external: bool = False
) -> Path:
    """Two convolutions and a head on two scales: (batch, 6, 80) with the metadata of two classes.

    `gain` multiplies the first convolution and divides the head: the answers stay, the activations between
    them grow. `external` writes the weights into `<file>.data`, as torch.onnx.export does.
    """
    random = np.random.default_rng(0)
    weights = {
        "w1": random.normal(0, 0.3, (16, 3, 3, 3)) * gain,
        "w2": random.normal(0, 0.2, (32, 16, 3, 3)),
        "w3": random.normal(0, 0.3, (6, 32, 1, 1)) / gain,
        "b3": np.array([0, 0, 0, 0, 1, -1]),
        "cells": _cells(),
        "step": np.array(0.05),
    }
    stored = [numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in weights.items()]
    whole = {"flat": [0, 6, -1], "zero": [0], "four": [4], "six": [6], "one": [1]}
    stored += [numpy_helper.from_array(np.array(v, np.int64), name) for name, v in whole.items()]
    graph = helper.make_graph(
        _nodes(), "detector",
        [helper.make_tensor_value_info("images", 1, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output0", 1, [batch, 6, 80])], stored,
    )  # fmt: skip
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, producer_name="pytorch", ir_version=8)
    model.ir_version = 5 if opset < 11 else 8 if opset < 21 else 10
    helper.set_model_props(model, ultralytics_metadata(["person", "car"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    more = {"location": f"{path.name}.data", "size_threshold": 200} if external else {}
    onnx.save(model, path, save_as_external_data=external, **more)
    return path


def _nodes() -> list[object]:
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "w1"], ["c1"], strides=[2, 2], pads=[1] * 4),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], strides=[4, 4], pads=[1] * 4),
        node("Relu", ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    for scale, source in enumerate(("r2", "p2")):
        nodes.append(node("Conv", [source, "w3", "b3"], [f"head {scale}"]))
        nodes.append(node("Reshape", [f"head {scale}", "flat"], [f"rows {scale}"]))
    return [
        *nodes,
        node("Concat", ["rows 0", "rows 1"], ["all"], axis=2),
        node("Slice", ["all", "zero", "four", "one"], ["offsets"]),
        node("Slice", ["all", "four", "six", "one"], ["logits"]),
        node("Mul", ["offsets", "step"], ["small"]),
        node("Add", ["small", "cells"], ["boxes"]),
        node("Sigmoid", ["logits"], ["scores"]),
        node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]


def _cells() -> np.ndarray:
    """(1, 4, 80) center and size of the box of each cell."""
    rows = []
    for stride in (8, 16):
        y, x = np.mgrid[: SIZE // stride, : SIZE // stride]
        size = np.full(x.size, 2.5 * stride)
        rows.append(np.stack([(x.ravel() + 0.5) * stride, (y.ravel() + 0.5) * stride, size, size]))
    return np.concatenate(rows, axis=1)[None]
