"""The trained detector as it ships: ONNX with weights stored in half precision, and its recipe."""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from edgevid.errors import InputError
from edgevid.learn.detector.network import CLASSES, Deployed, Shape, StreetDetector
from edgevid.runtime import recipe as recipe_file
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.recipe import Decode, Recipe, Source

SHAPE_KEY = "edgevid.shape"  # Of the ONNX's metadata: the network's Shape as JSON


def export_onnx(network: StreetDetector, path: Path, *, temperature: float = 1.0, logit_bias: float = 0.0) -> Path:
    """Writes the ONNX: input "images" (B, 3, H, W), output "output" (B, 4 + C, N), weights as float16.

    The arithmetic stays float32: each stored weight goes through a Cast, which runtimes fold at loading. Class logits
    are divided by `temperature`, then `logit_bias` is added: the ranking of the detections stays."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for layer in network.to_class:
            weight, bias = cast(torch.nn.Conv2d, layer).weight, cast(torch.nn.Conv2d, layer).bias
            weight /= temperature
            bias.div_(temperature).add_(logit_bias)
    deployed = Deployed(network).eval()
    blank = torch.zeros(1, 3, network.shape.height, network.shape.width)
    torch.onnx.export(deployed, (blank,), str(path), input_names=["images"], output_names=["output"], opset_version=17,
                      dynamo=False, dynamic_axes={"images": {0: "batch"}, "output": {0: "batch"}})  # fmt: skip
    model = store_half_precision(onnx.load(path))
    model.metadata_props.add(key=SHAPE_KEY, value=json.dumps(asdict(network.shape)))
    onnx.save(model, path)
    return path


def read_onnx(path: Path) -> StreetDetector:
    """The network of a file of `export_onnx`, to train on: its batch normalization is an addition, its statistics 0
    and 1, which stay (`Schedule.frozen`). InputError where the file is of another model."""
    model = onnx.load(path)
    if not (kept := {p.key: p.value for p in model.metadata_props}.get(SHAPE_KEY)):
        raise InputError(f"{path}: expected a detector of `edgevid train detector` or street-nano, got another model")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(kept).items()}
    network, order = StreetDetector(Shape(**values)), list[torch.nn.Conv2d]()
    network.eval()
    modules = list(network.modules())
    for module in modules:
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, *_: order.append(module))
    network(torch.zeros(1, 3, network.shape.height, network.shape.width))
    held = {w.name.removesuffix(".half"): numpy_helper.to_array(w).astype(np.float32) for w in model.graph.initializer}
    # Equal weights are stored once.
    same = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Identity"}
    with torch.no_grad():
        for layer, node in zip(order, (n for n in model.graph.node if n.op_type == "Conv"), strict=True):
            weight, bias = (torch.from_numpy(held[same.get(name, name)].copy()) for name in node.input[1:])
            layer.weight.copy_(weight)
            norm = modules[modules.index(layer) + 1] if layer.bias is None else layer
            cast(torch.nn.Conv2d, norm).bias.copy_(bias)
            layer._forward_hooks.clear()
    return network


def store_half_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with its larger float32 weights stored as float16 behind a Cast."""
    graph, casts = model.graph, []
    for weight in graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or np.prod(weight.dims) < 256:
            continue
        name, values = weight.name, numpy_helper.to_array(weight).astype(np.float16)
        weight.CopyFrom(numpy_helper.from_array(values, name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def write_recipe(folder: Path, file: str, network: StreetDetector, *, name: str, summary: str, nms_iou: float = 0.6,
                 score: float = 0.25, class_thresholds: tuple[float, ...] = ()) -> Path:  # fmt: skip
    """`recipe.toml` of a detector; boxes that overlap by `nms_iou` or score below `score`, or below that of their
    class, are suppressed."""
    recipe = Recipe(
        name, "detect", file, folder / "recipe.toml", summary, Source(license="Apache-2.0"), names=CLASSES,
        input=InputSpec(network.shape.width, network.shape.height), input_name="images", outputs=("output",),
        decode=Decode(kind="yolo", nms_iou=nms_iou, score_threshold=score, class_thresholds=class_thresholds),
    )  # fmt: skip
    recipe_file.write_recipe(recipe, recipe.path)
    return recipe.path
