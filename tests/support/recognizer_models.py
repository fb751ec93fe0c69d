"""Small ONNX recognizers whose answers are known: features, and heads over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx_models import node, save

CLIP = "[clip]\nrate_hz = 8.0\nstride_s = 0.0\nmin_side = 1\ncontext = 1.0\nsmoothing_s = 0.0\n"
PICTURE = "[input]\nwidth = 8\nheight = 8\n"
NAMES = '[names]\nclasses = ["bright", "dark"]\n'


def recipe(folder: Path, task: str, *parts: str, file: str = "model.onnx") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "recipe.toml"
    path.write_text(f'[model]\nname = "{task}-test"\ntask = "{task}"\nfile = "{file}"\n' + "".join(parts))
    return folder


def two_logits(source: str) -> list[object]:
    """Nodes from (n, 1) values m in 0..1 to logits (10 m, 10 - 10 m)."""
    return [
        node("Sub", f"one {source}", "rest"),
        node("Concat", f"{source} rest", "both", axis=1),
        node("Mul", "both ten", "logits"),
    ]


ONE_TEN = {"one": np.float32([[1]]), "ten": np.float32([[10]])}


def feature_model(folder: Path) -> Path:
    recipe(folder, "features", PICTURE)
    nodes = [node("GlobalAveragePool", "x", "f")]
    save(folder / "model.onnx", nodes, {"x": ("float32", ("n", 3, 8, 8))}, {"f": ("n", 3, 1, 1)})
    return folder


HEAD = '[head]\nextractor = "../features"\nfeatures = 3\nmin_steps = 1\n'


def window_head(folder: Path, more: str = "window = 4\nstride = 2\n", features: int = 3) -> Path:
    """Logits of the masked mean of the features."""
    recipe(folder, "head", HEAD, 'kind = "window"\n', more, CLIP, NAMES)
    nodes = [
        node("Cast", "valid", "w0", to=1), node("Unsqueeze", "w0 last", "w"),
        node("Mul", "features w", "kept"),
        node("ReduceSum", "kept axes", "sum", keepdims=0), node("ReduceSum", "w axes", "count", keepdims=0),
        node("Div", "sum count", "mean3"), node("ReduceMean", "mean3", "m", axes=[1], keepdims=1),
        *two_logits("m"),
    ]  # fmt: skip
    inputs = {"features": ("float32", ("n", 4, features)), "valid": ("bool", ("n", 4))}
    constants = {"last": np.int64([2]), "axes": np.int64([1]), **ONE_TEN}
    save(folder / "model.onnx", nodes, inputs, {"logits": ("n", 2)}, **constants)
    return folder


def step_head(folder: Path) -> Path:
    """s' = 0.5 s + mean of the features."""
    recipe(folder, "head", HEAD, 'kind = "step"\nstates = ["s"]\n', CLIP, NAMES)
    nodes = [
        node("ReduceMean", "features", "m", axes=[1], keepdims=1), node("Mul", "s half", "old"),
        node("Add", "old m", "s_next"), *two_logits("s_next"),
    ]  # fmt: skip
    inputs = {"features": ("float32", ("n", 3)), "s": ("float32", ("n", 1))}
    outputs = {"logits": ("n", 2), "s_next": ("n", 1)}
    save(folder / "model.onnx", nodes, inputs, outputs, half=np.float32([[0.5]]), **ONE_TEN)
    return folder
