"""A frozen feature extractor cut out of an ONNX image model, such as a detector's backbone. Needs the package onnx
(extra `train`). The cut model ends in a global average pooling, so every crop gives one row of features."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from edgevid.errors import InputError, ModelError, require
from edgevid.files.atomic import make_folder
from edgevid.files.digest import sha256_of
from edgevid.runtime import LocalRecipe, Recipe
from edgevid.runtime.recipe import write_recipe

OUTPUT = "edgevid_features"


def cut_backbone(recipe: Recipe, out: Path, *, tensor: str = "") -> tuple[Path, int]:
    """Writes `out`/recipe.toml and the model up to `tensor`; returns the recipe and its number of features.
    Without `tensor` the deepest map is used: the smallest area of more than one pixel, then the most channels.
    ModelError where the model has no such map."""
    onnx = require("onnx", extra="train", purpose="cutting a backbone")
    if not isinstance(recipe, LocalRecipe) or recipe.input is None:
        raise InputError(f"{recipe.name}: expected an image model whose file is on this machine")
    model = onnx.shape_inference.infer_shapes(onnx.load(str(recipe.local)))
    maps: dict[str, tuple[int, int, int]] = {}  # channels, height and width of every tensor of known axes
    for value in model.graph.value_info:
        axes = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if len(axes) == 4 and min(axes[1:]) > 0:
            maps[value.name] = (axes[1], axes[2], axes[3])
    spread = {n: s for n, s in maps.items() if s[1] * s[2] > 1}
    if not (tensor or spread):
        raise ModelError(f"{recipe.name}: no feature map of known size was found; choose one with tensor=...")
    chosen = tensor or min(spread, key=lambda n: (spread[n][1] * spread[n][2], -spread[n][0]))
    if chosen not in maps:
        known = ", ".join(f"{n} {s}" for n, s in list(maps.items())[-8:])
        raise InputError(f"tensor: {recipe.name} has no feature map {tensor!r}; among its last are {known}")
    image_input = recipe.input_name or model.graph.input[0].name
    make_folder(out)
    file = out / f"{recipe.name}-features.onnx"
    _extract(onnx, recipe.local, image_input, chosen, maps[chosen][0], file)
    made = dataclasses.replace(
        recipe, name=f"{recipe.name}-features", task="features", file=file.name, decode=None, names=(),
        outputs=(), summary=f"frozen features of {recipe.name}, cut at {chosen}", precisions={},
        input_name=image_input,
        source=dataclasses.replace(
            recipe.source, url="", sha256=sha256_of(file), bytes=file.stat().st_size, verified=False, note=""
        ),
    )  # fmt: skip
    path = out / "recipe.toml"
    write_recipe(made, path, comment=f"Cut from {recipe.name} at tensor {chosen}.")
    return path, maps[chosen][0]


def _extract(onnx: Any, source: Path, image_input: str, tensor: str, width: int, out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.onnx"
        onnx.utils.extract_model(str(source), str(part), [image_input], [tensor], check_model=False)
        model = onnx.load(str(part))
    graph, helper = model.graph, onnx.helper
    graph.node.append(helper.make_node("GlobalAveragePool", [tensor], [OUTPUT]))
    del graph.output[:]
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    first = batch.dim_value or "n"
    graph.output.append(helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, [first, width, 1, 1]))
    onnx.save(model, str(out))
