"""Parts of all recognizers: crops to model inputs, batches of any size, outputs to probabilities."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from edgevid.actions.clip_spec import ClipSection, ClipSpec
from edgevid.actions.track_state import OverlapMean, StateStore
from edgevid.detect.preprocess import Preprocessor
from edgevid.errors import InputError, ModelError
from edgevid.runtime import Engine, InputSpec, Recipe, TensorSpec
from edgevid.types import Array, Clips, Frame, Scores


class Recognizer(Protocol):
    """Class probabilities of clips; `spec` describes the clips for a ClipBuffer."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def spec(self) -> ClipSpec: ...
    def recognize(self, clips: Clips) -> Scores: ...
    def reset(self) -> None: ...


class CropModel(ABC):
    """An image model with what its recipe states: the base of the recognizers that take crops themselves."""

    def __init__(self, engine: Engine, recipe: Recipe, *, steps: int | None = None) -> None:
        self.engine, self.recipe, self.names = engine, recipe, recipe.names
        table = ClipSection.read(recipe)
        self.spec, self._layout, self._activation = table.spec(steps), table.layout, table.activation
        self._image, self._input = image_input(recipe), input_named(engine, recipe.input_name, recipe)
        self._output = first_output(engine, recipe)
        self._memories: list[StateStore | OverlapMean] = []  # What is kept of the tracks

    def recognize(self, clips: Clips) -> Scores:
        """Probabilities of every clip's object, one engine batch for all."""
        return self._recognize(clips) if len(clips) else no_scores(self.names)

    def reset(self) -> None:
        """Forgets every track."""
        for memory in self._memories:
            memory.reset()

    @abstractmethod
    def _recognize(self, clips: Clips) -> Scores: ...

    def _probabilities(self, values: Array) -> Array:
        return probabilities(values, self._activation, self.names, self.recipe.name)


def image_input(recipe: Recipe) -> InputSpec:
    """The recipe's [input]; InputError where there is none."""
    if recipe.input is None:
        raise InputError(f"{recipe.name}: expected a table [input] in its recipe, as it takes images")
    return recipe.input


def preprocess_crops(crops: Array, spec: InputSpec) -> Array:
    """(M, ...) model inputs of crops (M, h, w, 3) uint8 RGB, preprocessed like every other image."""
    return Preprocessor(spec, max(len(crops), 1))([Frame(crop, 0.0, 0) for crop in crops])[0]


def newest_crops(clips: Clips) -> tuple[Array, Array, Array]:
    """(M, h, w, 3) newest crop of each clip, its seconds (M,) and its rectangle (M, 4)."""
    place = _newest(clips)
    return clips.pixels[place], clips.times[place], clips.boxes[place]


def newest_keypoints(clips: Clips) -> Array | None:
    """(M, K, 3) the detector's key points in the newest crop of each clip; None where it gives none."""
    return clips.keypoints[_newest(clips)] if clips.keypoints.shape[2] else None


def _newest(clips: Clips) -> tuple[Array, Array]:
    """Row and step of the newest crop of each clip."""
    return np.arange(len(clips)), clips.times.shape[1] - 1 - np.argmax(~np.isnan(clips.times[:, ::-1]), axis=1)


def input_named(engine: Engine, name: str, recipe: Recipe) -> TensorSpec:
    """The engine's input of this name, its first for an empty name."""
    for spec in engine.inputs:
        if spec.name == name or not name:
            return spec
    have = ", ".join(str(s) for s in engine.inputs)
    raise ModelError(f"{recipe.name}: expected an input {name!r} as in the recipe, the model has {have}")


def first_output(engine: Engine, recipe: Recipe) -> str:
    """Name of the class output: the recipe's first, else the engine's."""
    have = [spec.name for spec in engine.outputs]
    name = recipe.outputs[0] if recipe.outputs else have[0]
    if name not in have:
        raise ModelError(f"{recipe.name}: the recipe names output {name!r}, the model has {', '.join(have)}")
    return name


def run_batch(engine: Engine, inputs: Mapping[str, Array], axes: Mapping[str, int] | None = None) -> dict[str, Array]:
    """Outputs for a batch of any size; an engine with a fixed batch runs in parts, the last one padded. `axes`
    gives the batch axis of each input and output that is not 0. The arrays are the caller's."""
    axes = axes or {}
    count = next(a.shape[axes.get(n, 0)] for n, a in inputs.items())
    size = max((s.shape[axes.get(s.name, 0)] for s in engine.inputs), default=-1)
    if size < 0 or size == count:
        return {n: np.array(v) for n, v in engine.run(inputs).items()}
    parts: dict[str, list[Array]] = {spec.name: [] for spec in engine.outputs}
    for start in range(0, count, size):
        keep = min(size, count - start)
        rows = np.minimum(np.arange(start, start + size), count - 1)
        outputs = engine.run({n: np.take(a, rows, axis=axes.get(n, 0)) for n, a in inputs.items()})
        for name, value in outputs.items():
            parts[name].append(np.take(value, np.arange(keep), axis=axes.get(name, 0)))
    return {n: np.concatenate(v, axis=axes.get(n, 0)) for n, v in parts.items() if v}


def probabilities(values: Array, activation: str, names: tuple[str, ...], model: str) -> Array:
    """(M, C) float32 probabilities; ModelError where the output does not fit these classes."""
    values = np.asarray(values, np.float32).reshape(len(values), -1)
    if values.shape[1] != len(names):
        raise ModelError(f"{model}: expected {len(names)} classes as in the recipe, the model has {values.shape[1]}; "
                         "it was trained for other classes, or the recipe belongs to another model")  # fmt: skip
    if activation == "softmax":
        values = softmax(values)
    elif len(values) and not (values.min() >= -1e-3 and np.allclose(values.sum(1), 1.0, atol=1e-2)):
        raise ModelError(f"{model}: expected probabilities for activation 'none', got others: use 'softmax'")
    if not np.isfinite(values).all():
        raise ModelError(f"{model}: the output holds NaN or infinity: check the input and the weights")
    return np.asarray(values, np.float32)


def softmax(values: Array) -> Array:
    """(..., C) probabilities of logits (..., C): softmax along the last axis.

    >>> softmax(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    high = values.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(values - np.where(np.isfinite(high), high, 0))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def no_scores(names: tuple[str, ...]) -> Scores:
    """An empty table of scores."""
    return Scores.empty(values=np.zeros((0, len(names)), np.float32))


class FunctionRecognizer:
    """A function of Clips as a recognizer; it returns Scores or an (M, C) array of probabilities.
    `clips.pixels` are (M, T, h, w, 3) uint8 RGB crops, oldest first."""

    def __init__(self, function: Callable[[Clips], Any], names: Sequence[str]) -> None:
        """`names` of the C classes."""
        self.function, self.names = function, tuple(names)

    def recognize(self, clips: Clips) -> Scores:
        """The function's answer, checked; it is not called without clips."""
        if not len(clips):
            return no_scores(self.names)
        found = self.function(clips)
        if isinstance(found, Scores):
            return found
        values = np.asarray(found, np.float32)
        if values.shape != (len(clips), len(self.names)):
            raise InputError(f"recognizer {self.function.__name__}: expected probabilities of shape ({len(clips)}, "
                             f"{len(self.names)}): a row per clip, a column per name, got {values.shape}")  # fmt: skip
        return Scores.of(ids=clips.ids, values=values, times=np.nanmax(clips.times, axis=1))

    def reset(self) -> None:
        """Nothing is remembered."""
