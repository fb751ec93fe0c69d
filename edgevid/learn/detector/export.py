"""The trained detector as it ships: ONNX with weights stored in half precision, and its recipe."""

import copy
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from edgevid.learn.detector.network import CLASSES, Deployed, StreetDetector
from edgevid.runtime import recipe_file
from edgevid.runtime.letterbox import InputSpec
from edgevid.runtime.recipe import Decode, Recipe, Source


def export_onnx(network: StreetDetector, path: Path, *, logit_bias: float = 0.0) -> Path:
    """Writes the ONNX: input "images" (1, 3, H, W), output "output" (1, 4 + C, N), weights as float16.

    The arithmetic stays float32: each stored weight goes through a Cast, which runtimes fold at loading.
    `logit_bias` is added to the class logits (+1 makes 0.35 a 0.6); the ranking of the detections stays.
    """
    network = copy.deepcopy(network)
    with torch.no_grad():
        for layer in network.to_class:
            cast(torch.nn.Conv2d, layer).bias += logit_bias
    deployed = Deployed(network).eval()
    blank = torch.zeros(1, 3, network.shape.height, network.shape.width)
    torch.onnx.export(
        deployed, (blank,), str(path), input_names=["images"], output_names=["output"], opset_version=17,
        dynamo=False,
    )  # fmt: skip
    onnx.save(store_half_precision(onnx.load(path)), path)
    return path


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


def write_recipe(
    folder: Path,
    file: str,
    network: StreetDetector,
    *,
    name: str,
    summary: str,
    nms_iou: float = 0.6,
    score: float = 0.25,
) -> Path:
    """`recipe.toml` of a detector; boxes that overlap by `nms_iou` or score below `score` are suppressed."""
    recipe = Recipe(
        name=name, task="detect", file=file, path=folder / "recipe.toml", summary=summary,
        source=Source(license="Apache-2.0"), input=InputSpec(network.shape.width, network.shape.height),
        input_name="images", outputs=("output",),
        decode=Decode(kind="yolo", nms_iou=nms_iou, score_threshold=score), names=CLASSES,
    )  # fmt: skip
    recipe_file.write_recipe(recipe, recipe.path)
    return recipe.path
