"""Streaming models: state tensors are inputs and outputs, stored per track."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from edgevid.actions.recognizer import CropModel, newest_crops, no_scores, preprocess_crops, run_batch, scores
from edgevid.actions.track_state import CAPACITY, RESET_AFTER_S, StateStore
from edgevid.errors import FieldError, ModelError
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array, Clips, Scores


@dataclass(frozen=True, kw_only=True)
class StateTable:
    """Names of the state inputs and outputs, and the batch axis of each: part of a recipe's table."""

    states: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    """NAME_next if left out."""
    axes: tuple[Annotated[int, Ge(0)], ...] = ()
    """0 if left out."""

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
        self.engine, self.names, self.model = engine, table.names, model
        inputs, outputs = {s.name: s for s in engine.inputs}, {s.name for s in engine.outputs}
        shapes: dict[str, tuple[int, ...]] = {}
        for state, after, axis in self.names:
            if state not in inputs or after not in outputs:
                raise ModelError(
                    f"{model}: expected the state {state!r} in and {after!r} out as in the recipe, the model "
                    f"has {sorted(inputs)} in and {sorted(outputs)} out"
                )
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
            given[state] = np.ascontiguousarray(np.moveaxis(self.store[state][rows], 0, axis))
        outputs = run_batch(self.engine, given, self._axes)
        for state, after, axis in self.names:
            self.store[state][rows] = np.moveaxis(outputs[after], axis, 0)
        return outputs


class StreamRecognizer(CropModel):
    """Streaming image models (MoViNet-Stream, TSM with its buffers): one crop of each track per step."""

    def __init__(self, engine: Engine, recipe: Recipe) -> None:
        super().__init__(engine, recipe, steps=1)
        states = recipe.section("stream", StateTable)
        self._stepper = Stepper(engine, states, recipe.name, capacity=64)  # such states are large

    @property
    def store(self) -> StateStore:
        """The states of the tracks."""
        return self._stepper.store

    def recognize(self, clips: Clips) -> Scores:
        """Probabilities after one more step of every clip's object, one engine batch for all."""
        if not len(clips):
            return no_scores(self.names)
        crops, times, _ = newest_crops(clips)
        x = preprocess_crops(crops, self._image)
        if len(self._input.shape) == 5:  # (N, T=1, C, H, W) or (N, C, T=1, H, W)
            x = np.expand_dims(x, 1 if self._input.shape[1] == 1 else 2)
        answer = self._stepper.run(clips.ids, times, {self._input.name: x})[self._output]
        return scores(clips.ids, self._probabilities(answer), times)

    def reset(self) -> None:
        """Forgets every track."""
        self._stepper.store.reset()
