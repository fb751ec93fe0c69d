"""A trained head as ONNX with its recipe, verified against the trained one."""

import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgevid.actions import ClipSpec, SequenceRecognizer, Typicality, load_recognizer, softmax
from edgevid.actions.layout import JointLayout
from edgevid.errors import ParityError
from edgevid.evaluate.actions.data import Corpus
from edgevid.evaluate.actions.extract import crop_video
from edgevid.evaluate.recognition import RowsExtractor, replay_crops, replay_rows
from edgevid.files import make_folder, vars_of
from edgevid.learn.actions.fit import TrainOptions, predict, sample, windows_of
from edgevid.learn.actions.heads import Head
from edgevid.learn.classifier.network import GRAY, ImageHead
from edgevid.runtime import InputSpec, Recipe, load_engine, read_recipe, write_recipe
from edgevid.types import Array

OPSET = 17
MAX_DIFFERENCE = 1e-4  # Between a trained and a deployed head


@dataclass(frozen=True, slots=True)
class Deployment:
    """The recipe of a head besides its weights."""

    names: tuple[str, ...]
    spec: ClipSpec  # How crops are cut; the size is the extractor's
    extractor: str  # Model name or relative path of the extractor's recipe
    layout: JointLayout | None = None  # Of skeletons
    flow: str = ""  # Of two streams: "hof", or name or relative path of the recipe of a network of flow
    inside: str = ""  # Name or path of the detector of the part of an object that is recognized
    stride: int = 5
    min_steps: int = 5
    summary: str = ""
    trained: Sequence[str] = ()  # Hashes of the clips and scenes that it was trained on (`marks_of`)


TYPICALITY = "typicality.npz"


def export_head(head: Head, folder: Path, name: str, options: TrainOptions, deployment: Deployment,
                typicality: Typicality | None = None) -> Path:  # fmt: skip
    """Writes the graphs and recipes of `head` and returns the recipe to deploy. A causal head gets
    `recipe.toml` with the step graph and `window.toml` with the whole-window one; another head only the latter,
    as `recipe.toml`. `typicality` is written with them."""
    make_folder(folder)
    if os.path.exists(deployment.inside):
        deployment = replace(deployment, inside=os.path.relpath(deployment.inside, folder))
    head = head.eval().cpu()
    more: dict[str, Any] = {"typicality": TYPICALITY} if typicality is not None else {}
    if typicality is not None:
        typicality.write(folder / TYPICALITY)
    if isinstance(head, ImageHead):
        return _export_images(head, folder / "recipe.toml", deployment, more)
    x, valid = torch.zeros(2, options.window, head.features), torch.ones(2, options.window, dtype=torch.bool)
    export_onnx(head, {"features": x, "valid": valid}, folder / "window.onnx", ["logits"])
    window_recipe = folder / ("window.toml" if head.causal else "recipe.toml")
    _write(window_recipe, f"{name}-window", "window", head, options, deployment, more)
    if head.causal:
        states = head.states(2)

        def step(x: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
            logits, new = head.newest(x, dict(zip(states, values, strict=True)))
            return (logits, *(new[name] for name in states))

        inputs = {"features": torch.zeros(2, head.features), **states}
        outputs = ["logits", *(f"{name}_next" for name in states)]
        export_onnx(_Graph(head, step), inputs, folder / "step.onnx", outputs)
        more |= {"states": list(states), "counter": "count"}
        _write(folder / "recipe.toml", name, "step", head, options, deployment, more)
    return folder / "recipe.toml"


def _export_images(head: ImageHead, path: Path, deployment: Deployment, more: Mapping[str, Any]) -> Path:
    """The recipe of a classifier of images, with its graph: outputs "logits" and "features"."""
    size, images = (head.options.width, head.options.height), head.normalized(torch.zeros(2, 1, head.features))
    graph, outputs = _Graph(head, head.deployed), ["logits", "features"]
    export_onnx(graph, {"images": images}, path.with_name("classifier.onnx"), outputs)
    tables = {"features": {"output": "features", **more}, **_tables(deployment, TrainOptions())}
    write_recipe(Recipe(
        "classifier", "classify", "classifier.onnx", path, summary=deployment.summary, input_name="images",
        input=InputSpec(*size, mean=(GRAY,) * 3, std=(GRAY,) * 3), outputs=("logits",), names=deployment.names,
        tables=tables), path)  # fmt: skip
    return path


class _Graph(nn.Module):
    """One of a head's functions as what is exported of it."""

    def __init__(self, head: Head, call: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.head, self.forward = head, call


def export_onnx(module: nn.Module, inputs: Mapping[str, Tensor], path: Path, outputs: list[str]) -> None:
    """Writes the graph of `module`; the first axis of inputs and outputs may be of any size."""
    options: dict[str, Any] = {"dynamic_axes": {n: {0: "n"} for n in (*inputs, *outputs)}}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False  # the tracing exporter writes smaller graphs, without onnxscript
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, tuple(inputs.values()), str(path), input_names=list(inputs), output_names=outputs,
                          opset_version=OPSET, **options)  # fmt: skip


def _write(path: Path, name: str, kind: str, head: Head, options: TrainOptions, deployment: Deployment,
           more: Mapping[str, Any]) -> None:  # fmt: skip
    table = {"kind": kind, "extractor": deployment.extractor, "flow": deployment.flow or None,
             "features": head.features, "window": options.window, "stride": deployment.stride,
             "min_steps": deployment.min_steps, "per_step": head.per_step and kind == "window",
             "lookahead": options.lookahead or None, "clip_digest": deployment.spec.digest, **more}  # fmt: skip
    layout = vars_of(deployment.layout) if deployment.layout else {}
    write_recipe(Recipe(
        name, "head", f"{kind}.onnx", path, summary=deployment.summary, names=deployment.names,
        tables={"head": table, "layout": layout, **_tables(deployment, options)}), path)  # fmt: skip


def _tables(deployment: Deployment, options: TrainOptions) -> dict[str, dict[str, Any]]:
    clip = {**vars_of(deployment.spec), "inside": deployment.inside}
    chosen = {key: getattr(options, key) or None for key in ("layers", "pooling", "positions")}
    return {"clip": clip, "trained": {"hashes": [*deployment.trained] or None, **chosen}}


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest differences between the trained and the deployed head."""

    window: float  # Logits: training framework against ONNX Runtime, whole windows
    stream: float  # Logits: whole windows against steps with states; NaN for a head that cannot stream
    pipeline: float  # Probabilities: training framework against the recognizer, moment by moment


def check_parity(head: Head, folder: Path, corpus: Corpus, options: TrainOptions,
                 shares: Array | None = None) -> Parity:  # fmt: skip
    """Runs up to 64 examples in every way; `shares` are the probabilities of all, of the head alone where they are not
    given. ParityError as `verified`."""
    some = corpus.pick(range(min(len(corpus), 64)))
    features, valid, _ = windows_of(some, options)
    expected = predict(head, some, options)
    shares = softmax(expected) if shares is None else shares
    if isinstance(head, ImageHead):
        return verified(_parity_of_images(head, folder, some, features, expected, shares), folder)
    with load_engine(folder / "window.onnx", device="cpu", threads=1) as engine:
        whole = np.array(engine.run({"features": features.numpy(), "valid": valid.numpy()})["logits"])
    stream = _stream_difference(head, features, valid) if head.causal else float("nan")
    pipeline = _pipeline(folder / "recipe.toml", some, options, shares)
    return verified(Parity(float(np.abs(whole - expected).max()), stream, pipeline), folder)


def verified(found: Parity, path: Path) -> Parity:
    """The same; ParityError where one differs by more than MAX_DIFFERENCE."""
    for name, value in vars_of(found).items():
        if value > MAX_DIFFERENCE:
            raise ParityError(f"{path}: the exported head differs by {value:.2g} in its {name} path (allowed "
                              f"{MAX_DIFFERENCE:.0e}): do not deploy it")  # fmt: skip
    return found


def _parity_of_images(head: ImageHead, folder: Path, corpus: Corpus, rows: Tensor, expected: Array,
                      shares: Array) -> Parity:  # fmt: skip
    """ONNX Runtime on the training's pixels, and the recognizer on the files."""
    with load_engine(folder / "classifier.onnx", device="cpu", threads=1) as engine:
        whole = np.array(engine.run({"images": head.normalized(rows).contiguous().numpy()})["logits"])
    recognizer, found = load_recognizer(folder, device="cpu", threads=1), []
    for number, example in enumerate(corpus.examples):
        crops, boxes = crop_video(Path(example.name), recognizer.spec)
        moments = (replay_crops(recognizer, crops[k:][:1], boxes[k:][:1], number + 1) for k in range(len(crops))[::-1])
        found.append(next(one for one in moments if one is not None))
    pipeline = np.abs(np.array(found) - shares[: len(found)]).max()
    return Parity(float(np.abs(whole - expected).max()), float("nan"), float(pipeline))


@torch.no_grad()
def _stream_difference(head: Head, features: Tensor, valid: Tensor) -> float:
    """Whole windows without padding against one step at a time."""
    states, outputs = head.states(len(features)), []
    for t in range(features.shape[1]):
        logits, states = head.step(features[:, t], states)
        outputs.append(logits)
    whole = head(features, torch.ones_like(valid))
    streamed = torch.stack(outputs, dim=1) if head.per_step else outputs[-1]
    return float((whole - streamed).abs().max())


def _pipeline(recipe_path: Path, corpus: Corpus, options: TrainOptions, shares: Array) -> float:
    """Each example replayed as a live track, its last scores against the training framework's."""
    recipe = read_recipe(recipe_path)
    worst = 0.0
    with load_engine(recipe_path.parent / recipe.file, device="cpu", threads=1) as engine:
        recognizer = SequenceRecognizer(RowsExtractor(corpus), engine, recipe, average=False)
        for number, example in enumerate(corpus.examples):
            rows = sample(example, corpus, options)[0][-options.window :]
            expected = shares[number, -1] if shares.ndim == 3 else shares[number]
            if (last := replay_rows(recognizer, number + 1, rows)[len(rows) - 1]) is not None:
                worst = max(worst, float(np.abs(last - expected).max()))
    return worst
