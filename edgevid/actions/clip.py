"""Clip models: a whole window of crops at once, for all objects that are due."""

from __future__ import annotations

import numpy as np

from edgevid.actions.clip_table import ClipTable
from edgevid.actions.overlap import OverlapMean
from edgevid.actions.recognizer import (
    first_output,
    input_named,
    no_scores,
    picture_of,
    pictures,
    probabilities,
    run_batch,
    scores,
)
from edgevid.errors import InputError, ModelError
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array, Clips, Scores

ORDER = {"NCTHW": (0, 2, 1, 3, 4), "NTCHW": (0, 1, 2, 3, 4), "NTHWC": (0, 1, 3, 4, 2)}
"""Axes of (N, T, C, H, W) images in each layout."""


class ClipRecognizer:
    """Runs (N, C, T, H, W) or (N, T, C, H, W) models; overlapping windows of a track are averaged."""

    def __init__(self, engine: Engine, recipe: Recipe, *, average: bool = True, capacity: int = 256) -> None:
        """`average` off answers each window alone."""
        self.engine, self.recipe, self.names = engine, recipe, recipe.names
        table = ClipTable.read(recipe)
        self.spec, self._layout, self._activation = table.spec, table.layout, table.activation
        self._picture = picture_of(recipe)
        self._input, self._output = (
            input_named(engine, recipe.input_name, recipe),
            first_output(engine, recipe),
        )
        self._check()
        span = self.spec.steps / self.spec.rate_hz
        self._mean = OverlapMean(len(self.names), span_s=span, capacity=capacity) if average else None

    def _check(self) -> None:
        p, t = self._picture, self.spec.steps
        channels = 1 if p.color == "GRAY" else 3
        shape = np.array((-1, t, channels, p.height, p.width))[list(ORDER[self._layout])]
        given = self._input.shape
        fits = len(given) == 5 and all(g in (-1, w) for g, w in zip(given[1:], shape[1:], strict=True))
        if not fits:
            expected = ", ".join(map(str, shape[1:]))
            raise ModelError(
                f"{self.recipe.name}: the recipe gives clips ({self._layout}) of shape (N, {expected}), "
                f"the model's input is {self._input}"
            )

    def recognize(self, clips: Clips) -> Scores:
        """Probabilities of every clip, one engine batch for all; missing steps repeat their neighbor."""
        if not len(clips):
            return no_scores(self.names)
        if clips.pixels.shape[1] != self.spec.steps:
            raise InputError(
                f"{self.recipe.name}: expected clips of {self.spec.steps} steps, "
                f"got {clips.pixels.shape[1]}; cut them with ClipBuffer(recognizer.spec)"
            )
        answer = run_batch(self.engine, {self._input.name: self._tensor(clips)})[self._output]
        values = probabilities(answer, self._activation, self.names, self.recipe.name)
        times = np.nanmax(clips.times, axis=1)
        if self._mean is not None:
            values = self._mean.update(clips.ids, values, times)
        return scores(clips.ids, values, times)

    def _tensor(self, clips: Clips) -> Array:
        count, steps = clips.times.shape
        filled = fill_steps(~np.isnan(clips.times))
        crops = clips.pixels[np.arange(count)[:, None], filled].reshape(-1, *clips.pixels.shape[2:])
        made = pictures(crops, self._picture)
        if self._picture.layout == "NHWC":
            made = made.transpose(0, 3, 1, 2)
        made = made.reshape(count, steps, *made.shape[1:]).transpose(ORDER[self._layout])
        return np.ascontiguousarray(made)

    def reset(self) -> None:
        """Forgets every track."""
        if self._mean is not None:
            self._mean.reset()


def fill_steps(seen: Array) -> Array:
    """(M, T) for each step the nearest step that was seen: clip models know no mask.

    >>> fill_steps(np.array([[False, True, False, False, True]])).tolist()
    [[1, 1, 1, 4, 4]]
    """
    steps = np.arange(seen.shape[1])
    apart = np.abs(steps[:, None] - steps[None, :])[None] + np.where(seen[:, None, :], 0, 10**6)
    return np.asarray(apart.argmin(axis=2))
