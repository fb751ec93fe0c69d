"""Clip models: a whole window of crops at once, for all due objects."""

from __future__ import annotations

import numpy as np

from edgevid.actions.clip_section import ClipSection
from edgevid.actions.overlap import OverlapMean
from edgevid.actions.recognizer import (
    first_output,
    image_input,
    input_named,
    no_scores,
    preprocess_crops,
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
    """Runs (N, C, T, H, W) or (N, T, C, H, W) models and averages a track's overlapping windows."""

    def __init__(self, engine: Engine, recipe: Recipe, *, average: bool = True, capacity: int = 256) -> None:
        """Without `average` each window is scored alone."""
        self.engine, self.recipe, self.names = engine, recipe, recipe.names
        table = ClipSection.read(recipe)
        self.spec, self._layout, self._activation = table.spec, table.layout, table.activation
        self._image = image_input(recipe)
        self._input, self._output = (
            input_named(engine, recipe.input_name, recipe),
            first_output(engine, recipe),
        )
        self._check()
        span = self.spec.steps / self.spec.rate_hz
        self._mean = OverlapMean(len(self.names), span_s=span, capacity=capacity) if average else None

    def _check(self) -> None:
        p, t = self._image, self.spec.steps
        channels = 1 if p.color == "GRAY" else 3
        shape = np.array((-1, t, channels, p.height, p.width))[list(ORDER[self._layout])]
        given = self._input.shape
        fits = len(given) == 5 and all(g in (-1, w) for g, w in zip(given[1:], shape[1:], strict=True))
        if not fits:
            expected = ", ".join(map(str, shape[1:]))
            raise ModelError(
                f"{self.recipe.name}: expected a {self._layout} input (N, {expected}) as in the "
                f"recipe, the model has {self._input}"
            )

    def recognize(self, clips: Clips) -> Scores:
        """Probabilities of every clip, one engine batch for all; missing steps repeat their neighbor."""
        if not len(clips):
            return no_scores(self.names)
        if clips.pixels.shape[1] != self.spec.steps:
            raise InputError(
                f"{self.recipe.name}: expected clips of {self.spec.steps} steps, "
                f"got {clips.pixels.shape[1]}; use ClipBuffer(recognizer.spec)"
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
        made = preprocess_crops(crops, self._image)
        if self._image.layout == "NHWC":
            made = made.transpose(0, 3, 1, 2)
        made = made.reshape(count, steps, *made.shape[1:]).transpose(ORDER[self._layout])
        return np.ascontiguousarray(made)

    def reset(self) -> None:
        """Forgets every track."""
        if self._mean is not None:
            self._mean.reset()


def fill_steps(observed: Array) -> Array:
    """(M, T) the nearest observed step for each step: clip models take no mask.

    >>> fill_steps(np.array([[False, True, False, False, True]])).tolist()
    [[1, 1, 1, 4, 4]]
    """
    steps = np.arange(observed.shape[1])
    apart = np.abs(steps[:, None] - steps[None, :])[None] + np.where(observed[:, None, :], 0, 10**6)
    return np.asarray(apart.argmin(axis=2))
