"""Recognizers that take crops themselves: of streams with states, of whole windows, and of single crops."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge

from edgevid.actions.clip_spec import ClipSection, Layout
from edgevid.actions.features import Extractor, FeatureExtractor, FeaturesTable, pooled
from edgevid.actions.flow import crop_flow
from edgevid.actions.recognizer import CropModel, input_named, newest_crops, preprocess_crops, run_batch
from edgevid.actions.track_state import CAPACITY, RESET_AFTER_S, OverlapMean, StateStore
from edgevid.actions.typicality import Typicality
from edgevid.errors import FieldError, InputError, ModelError
from edgevid.runtime import Engine, InputSpec, Recipe, TensorSpec
from edgevid.types import Array, Clips, Scores

ORDER = {"NCTHW": (0, 2, 1, 3, 4), "NTCHW": (0, 1, 2, 3, 4), "NTHWC": (0, 1, 3, 4, 2)}
"""Axes of (N, T, C, H, W) images in each layout."""


@dataclass(frozen=True, kw_only=True)
class StateTable:
    """Names of the state inputs and outputs, and the batch axis of each: part of a recipe's table."""

    states: tuple[str, ...] = ()
    next: tuple[str, ...] = ()  # NAME_next if left out
    axes: tuple[Annotated[int, Ge(0)], ...] = ()  # 0 if left out
    counter: str = ""  # State that counts steps; next (N, ..., W) of (N, ..., L, W) is its cell, count modulo L

    def __post_init__(self) -> None:
        for key, given in (("next", self.next), ("axes", self.axes)):
            if given and len(given) != len(self.states):
                expected = f"{len(self.states)} values, one for each state"
                raise FieldError("states", key, expected, list(given))

    @property
    def names(self) -> list[tuple[str, str, int]]:
        """Each state's name, the name of its next value, and its batch axis."""
        after = self.next or [f"{name}_next" for name in self.states]
        return list(zip(self.states, after, self.axes or [0] * len(self.states), strict=True))


class Stepper:
    """One step of many tracks through a stateful engine: gather, run, scatter."""

    def __init__(self, engine: Engine, table: StateTable, model: str, *, capacity: int = CAPACITY) -> None:
        self.engine, self.names, self.counter, self.model = engine, table.names, table.counter, model
        inputs, outputs = {s.name: s for s in engine.inputs}, {s.name for s in engine.outputs}
        shapes: dict[str, tuple[int, ...]] = {}
        for state, after, axis in self.names:
            if state not in inputs or after not in outputs:
                raise ModelError(f"{model}: expected the state {state!r} in and {after!r} out as in the recipe, the "
                                 f"model has {sorted(inputs)} in and {sorted(outputs)} out")  # fmt: skip
            shape = list(inputs[state].shape)
            if axis >= len(shape) or min([n for i, n in enumerate(shape) if i != axis], default=1) < 1:
                raise ModelError(f"{model}: state {inputs[state]}: only the batch axis {axis} may be dynamic")
            shapes[state] = tuple(n for i, n in enumerate(shape) if i != axis)
        dtypes = {state: inputs[state].dtype for state in shapes}
        self.store = StateStore(shapes, capacity=capacity, reset_after_s=RESET_AFTER_S, dtypes=dtypes)
        self._axes = {name: axis for *both, axis in self.names for name in both}

    def run(self, ids: Array, times: Array, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of one step of tracks `ids`; their states are read from and written to the store."""
        rows, _ = self.store.rows(ids, times)
        given = dict(inputs)
        for state, _, axis in self.names:
            gathered = self.store[state][rows]
            given[state] = np.ascontiguousarray(np.moveaxis(gathered, 0, axis)) if axis else gathered
        outputs = run_batch(self.engine, given, self._axes)
        for state, after, axis in self.names:
            stored, new = self.store[state], np.moveaxis(outputs[after], axis, 0) if axis else outputs[after]
            if self.counter and new.ndim < stored.ndim:
                stored[rows, ..., given[self.counter] % stored.shape[-2], :] = new
            else:
                stored[rows] = new
        return outputs


class StreamRecognizer(CropModel):
    """Streaming image models (MoViNet-Stream, TSM with its buffers): one crop of each track per step."""

    def __init__(self, engine: Engine, recipe: Recipe) -> None:
        super().__init__(engine, recipe, steps=1)
        states = recipe.section("stream", StateTable)
        self._stepper = Stepper(engine, states, recipe.name, capacity=64)  # such states are large
        self._memories = [self._stepper.store]

    def _recognize(self, clips: Clips) -> Scores:
        crops, times, _ = newest_crops(clips)
        x = preprocess_crops(crops, self._image)
        if len(shape := self._input.shape) == 5:  # (N, C, T=1, H, W), else the second axis is time
            x = np.expand_dims(x, 2 if self._image.layout == "NCHW" and shape[1] == x.shape[1] != shape[2] else 1)
        answer = self._stepper.run(clips.ids, times, {self._input.name: x})[self._output]
        return Scores.of(ids=clips.ids, values=self._probabilities(answer), times=times)


class ClipRecognizer(CropModel):
    """Runs models of whole clips (I3D, S3D, X3D, MoViNet-Base) and averages a track's overlapping windows."""

    def __init__(self, engine: Engine, recipe: Recipe, *, average: bool = True) -> None:
        """Without `average` each window is scored alone."""
        super().__init__(engine, recipe)
        check_clip_input(recipe, self._input, self._image, self.spec.steps, self._layout)
        self._mean = OverlapMean(len(self.names), span_s=self.spec.steps / self.spec.rate_hz) if average else None
        self._memories = [self._mean] if self._mean else []

    def _recognize(self, clips: Clips) -> Scores:
        """Missing steps repeat their neighbor."""
        if clips.pixels.shape[1] != self.spec.steps:
            raise InputError(f"{self.recipe.name}: expected clips of {self.spec.steps} steps, got "
                             f"{clips.pixels.shape[1]}; use ClipBuffer(recognizer.spec)")  # fmt: skip
        tensor = clip_tensor(filled(clips)[0], self._image, self._layout)
        values = self._probabilities(pooled(run_batch(self.engine, {self._input.name: tensor})[self._output]))
        times = np.nanmax(clips.times, axis=1)
        if self._mean is not None:
            values = self._mean.update(clips.ids, values, times)
        return Scores.of(ids=clips.ids, values=values, times=times)


class ClipExtractor(FeatureExtractor):
    """A frozen network of clips: at each moment the features of the crops that end there, maps averaged. So they are
    known at once; the middle of a clip lies half its length before. One of flow takes a crop more than its T steps."""

    def __init__(self, engine: Engine, recipe: Recipe) -> None:
        super().__init__(engine, recipe)
        table, given = ClipSection.read(recipe), input_named(engine, self._input, recipe)
        self._layout, self.flow_bound, of_flow = table.layout, table.flow_bound, table.flow_bound > 0
        check_clip_input(recipe, given, self._image, table.steps, self._layout, channels=2 * of_flow)
        self.steps = table.steps + of_flow

    def extract(self, crops: Array, boxes: Array) -> Array:
        """(M, D) float32 features of clips (M, T, h, w, 3) that show `boxes` (M, T, 4)."""
        if self.flow_bound:
            flow = crop_flow(crops, boxes, (self._image.width, self._image.height)) / self.flow_bound
            images = np.ascontiguousarray(flow.clip(-1, 1).transpose(0, 1, 4, 2, 3).transpose(ORDER[self._layout]))
        else:
            images = clip_tensor(crops, self._image, self._layout)
        return pooled(run_batch(self.engine, {self._input: images})[self.output])


def extract_newest(extractor: Extractor, clips: Clips) -> tuple[Array, Array]:
    """Seconds (M,) of the newest moment of clips, and the extractor's rows (M, R): of its crop, or of the clip."""
    crops, times, boxes = newest_crops(clips)
    return times, extractor.extract(*(filled(clips) if extractor.steps else (crops, boxes)))


def check_clip_input(recipe: Recipe, given: TensorSpec, image: InputSpec, steps: int, layout: Layout,
                     channels: int = 0) -> None:  # fmt: skip
    """ModelError unless a model takes clips of this layout and length, of the image's channels unless stated."""
    sides = (-1, steps, channels or (1 if image.color == "GRAY" else 3), image.height, image.width)
    shape = np.array(sides)[list(ORDER[layout])]
    if len(given.shape) != 5 or any(g not in (-1, w) for g, w in zip(given.shape[1:], shape[1:], strict=True)):
        raise ModelError(f"{recipe.name}: expected a {layout} input (N, {', '.join(map(str, shape[1:]))}) as in the "
                         f"recipe, the model has {given}")  # fmt: skip


def clip_tensor(crops: Array, image: InputSpec, layout: Layout) -> Array:
    """The input of a clip model for crops (M, T, h, w, 3), each preprocessed like other images."""
    made = preprocess_crops(crops.reshape(-1, *crops.shape[2:]), image)
    if image.layout == "NHWC":
        made = made.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(made.reshape(*crops.shape[:2], *made.shape[1:]).transpose(ORDER[layout]))


def filled(clips: Clips) -> tuple[Array, Array]:
    """(M, T, h, w, 3) crops and their rectangles (M, T, 4); missing steps repeat their neighbor."""
    place = np.arange(len(clips))[:, None], fill_steps(~np.isnan(clips.times))
    return clips.pixels[place], clips.boxes[place]


def fill_steps(observed: Array) -> Array:
    """(M, T) the nearest observed step for each step: clip models take no mask.

    >>> fill_steps(np.array([[False, True, False, False, True]])).tolist()
    [[1, 1, 1, 4, 4]]
    """
    steps = np.arange(observed.shape[1])
    apart = np.abs(steps[:, None] - steps[None, :])[None] + np.where(observed[:, None, :], 0, 10**6)
    return np.asarray(apart.argmin(axis=2))


class ImageRecognizer(CropModel):
    """Classifies the newest crop of each object (emotion, color, type), averaged over the track."""

    def __init__(self, engine: Engine, recipe: Recipe, *, memory_s: float = 5.0) -> None:
        """`memory_s` is the time constant of the average over the track; 0 scores each image alone."""
        super().__init__(engine, recipe, steps=1)
        self.memory_s = memory_s
        shapes = {"sum": (len(self.names),), "weight": (), "time": ()}
        self._store = StateStore(shapes, reset_after_s=np.inf, dtypes={"time": np.dtype(np.float64)})
        self._memories = [self._store]
        self._features, self._typicality = recipe.section("features", FeaturesTable), None
        if self._features.typicality:
            width = next((s.shape[1] for s in engine.outputs if s.name == self._features.output), 0)
            path = recipe.path.parent / self._features.typicality
            self._typicality = Typicality.read(path, features=width, classes=len(self.names))

    def _recognize(self, clips: Clips) -> Scores:
        crops, times, _ = newest_crops(clips)
        answer = run_batch(self.engine, {self._input.name: preprocess_crops(crops, self._image)})
        logits = answer[self._output]
        made = Scores.of(ids=clips.ids, values=self._probabilities(logits), times=times)
        if self._typicality is not None:
            features = answer[self._features.output][:, None]
            made = self._typicality.assess(made, logits, features, np.ones(features.shape[:2], bool))
        return self._averaged(made)

    def _averaged(self, made: Scores) -> Scores:
        if self.memory_s == 0:
            return made
        ids, values, times = made.ids, made.values, made.times
        rows, fresh = self._store.rows(ids, times)
        total, weight, last = self._store["sum"], self._store["weight"], self._store["time"]
        decay = np.where(fresh, 0.0, np.exp(-(times - last[rows]) / self.memory_s))
        total[rows] = total[rows] * decay[:, None] + values
        weight[rows] = weight[rows] * decay + 1.0
        last[rows] = times
        return replace(made, values=(total[rows] / weight[rows][:, None]).astype(np.float32))
