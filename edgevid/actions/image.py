"""Single-image classifiers applied per object (emotion, color, type), averaged over the track."""

from __future__ import annotations

import numpy as np

from edgevid.actions.clip_section import ClipSection
from edgevid.actions.recognizer import (
    first_output,
    image_input,
    input_named,
    newest_crops,
    no_scores,
    preprocess_crops,
    probabilities,
    run_batch,
    scores,
)
from edgevid.actions.track_state import StateStore
from edgevid.runtime import Engine, Recipe
from edgevid.types import Clips, Scores


class ImageRecognizer:
    """Classifies the newest crop of each object and averages its scores over the track."""

    def __init__(self, engine: Engine, recipe: Recipe, *, memory_s: float = 5.0, capacity: int = 256) -> None:
        """`memory_s` is the time constant of the average over the track; 0 scores each image alone."""
        self.engine, self.recipe, self.memory_s = engine, recipe, memory_s
        table = ClipSection.read(recipe, steps=1)
        self.spec, self._activation = table.spec, table.activation
        self.names = recipe.names
        self._image = image_input(recipe)
        self._input = input_named(engine, recipe.input_name, recipe).name
        self._output = first_output(engine, recipe)
        shapes = {"sum": (len(self.names),), "weight": (), "time": ()}
        self._store = StateStore(
            shapes, capacity=capacity, reset_after_s=np.inf, dtypes={"time": np.dtype(np.float64)}
        )

    def recognize(self, clips: Clips) -> Scores:
        """Probabilities of every clip's object, one engine batch for all."""
        if not len(clips):
            return no_scores(self.names)
        crops, times = newest_crops(clips)
        answer = run_batch(self.engine, {self._input: preprocess_crops(crops, self._image)})[self._output]
        values = probabilities(answer, self._activation, self.names, self.recipe.name)
        if self.memory_s == 0:
            return scores(clips.ids, values, times)
        rows, fresh = self._store.rows(clips.ids, times)
        total, weight, last = self._store["sum"], self._store["weight"], self._store["time"]
        decay = np.where(fresh, 0.0, np.exp(-(times - last[rows]) / self.memory_s))
        total[rows] = total[rows] * decay[:, None] + values
        weight[rows] = weight[rows] * decay + 1.0
        last[rows] = times
        return scores(clips.ids, total[rows] / weight[rows][:, None], times)

    def reset(self) -> None:
        """Forgets every track."""
        self._store.reset()
