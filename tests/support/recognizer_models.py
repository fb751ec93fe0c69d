"""Small ONNX recognizers with known outputs, and clips for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx_models import node, save

from edgevid.types import Array, Clips

CLIP = "[clip]\nrate_hz = 8.0\nstride_s = 0.0\nmin_side = 1\ncontext = 1.0\nsmoothing_s = 0.0\n"
IMAGE = "[input]\nwidth = 8\nheight = 8\n"
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
    recipe(folder, "features", IMAGE)
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


def sure(m: float) -> Array:
    """Probabilities of a mean brightness m in 0..1."""
    e = np.exp([10 * m, 10 - 10 * m])
    return np.asarray(e / e.sum())


def clips_of(
    values: list[list[float]], ids: list[int], rate: float = 8.0, start: float = 0.0, size: tuple[int, int] = (8, 8)
) -> Clips:
    """Clips (M, T) of plain gray crops; NaN is a missing step."""
    gray = np.array(values, float)
    pixels = np.zeros((*gray.shape, *size, 3), np.uint8)
    pixels[...] = np.nan_to_num(gray)[..., None, None, None]
    times = start + np.broadcast_to(np.arange(gray.shape[1]) / rate, gray.shape)
    return Clips.of(
        ids=ids, pixels=pixels, times=np.where(np.isnan(gray), np.nan, times),
        boxes=np.broadcast_to(np.float32([0, 0, 8, 8]), (*gray.shape, 4)),
    )  # fmt: skip


def clip_model(folder: Path, layout: str, batch: int | str = "n") -> Path:
    axes = {"NTCHW": (batch, 4, 3, 8, 8), "NCTHW": (batch, 3, 4, 8, 8), "NTHWC": (batch, 4, 8, 8, 3)}
    recipe(folder, "clip", IMAGE, CLIP, f'steps = 4\nlayout = "{layout}"\n', NAMES)
    nodes = [
        node("ReduceMean", "x", "m0", axes=[1, 2, 3, 4], keepdims=0),
        node("Unsqueeze", "m0 at", "m"),
        *two_logits("m"),
    ]
    inputs = {"x": ("float32", axes[layout])}
    save(folder / "model.onnx", nodes, inputs, {"logits": (batch, 2)}, at=np.int64([1]), **ONE_TEN)
    return folder


def stream_model(folder: Path, axis: int) -> Path:
    """State s' = 0.5 s + m: an average that forgets; logits of s'."""
    state: tuple[int | str, ...] = ("n", 1) if axis == 0 else (1, "n")
    recipe(folder, "stream", IMAGE, CLIP, NAMES, f'[stream]\nstates = ["s"]\nnext = ["t"]\naxes = [{axis}]\n')
    turn = [] if axis == 0 else [node("Transpose", "s", "sr", perm=[1, 0]), node("Transpose", "u", "t", perm=[1, 0])]
    kept = "s" if axis == 0 else "sr"
    nodes = [
        node("ReduceMean", "x", "m0", axes=[1, 2, 3], keepdims=0), node("Unsqueeze", "m0 at", "m"),
        *turn[:1], node("Mul", f"{kept} half", "old"), node("Add", "old m", "u"),
        node("Identity", "u", "t") if axis == 0 else turn[1], *two_logits("u"),
    ]  # fmt: skip
    inputs = {"x": ("float32", ("n", 3, 8, 8)), "s": ("float32", state)}
    constants = {"at": np.int64([1]), "half": np.float32([[0.5]]), **ONE_TEN}
    save(folder / "model.onnx", nodes, inputs, {"logits": ("n", 2), "t": state}, **constants)
    return folder


def pose_model(folder: Path) -> tuple[Path, Array]:
    """Seventeen keypoints that lie at the same shares of every image."""
    rng = np.random.default_rng(1)
    points = rng.uniform(0.1, 0.9, (1, 1, 17, 3)).astype(np.float32)
    recipe(folder, "pose", '[input]\nwidth = 8\nheight = 8\nlayout = "NHWC"\ndtype = "int32"\nstd = [1, 1, 1]\n')
    nodes = [
        node("Cast", "x", "xf", to=1), node("ReduceMean", "xf", "m", axes=[1, 2, 3], keepdims=1),
        node("Mul", "m zero", "z"), node("Add", "z points", "out"),
    ]  # fmt: skip
    inputs = {"x": ("int32", (1, 8, 8, 3))}
    save(folder / "model.onnx", nodes, inputs, {"out": (1, 1, 17, 3)}, zero=np.float32(0), points=points)
    return folder, points[0, 0]
