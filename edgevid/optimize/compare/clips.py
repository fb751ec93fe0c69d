"""Two engines' classes of the same clips: windows of consecutive frames, taken whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from edgevid.actions.clip import ClipRecognizer
from edgevid.actions.recognizer import Recognizer
from edgevid.actions.streaming import StreamRecognizer
from edgevid.detect.preprocess import crop
from edgevid.errors import InputError, ModelError
from edgevid.optimize.compare.pair import Pair, TaskFigures, Top
from edgevid.optimize.frames import NamedFrame
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array, Clips

KINDS: dict[str, Callable[[Engine, Recipe], Recognizer]] = {
    "clip": lambda engine, recipe: ClipRecognizer(engine, recipe, average=False),
    "stream": StreamRecognizer,
}


class ClipTask:
    """Models of clips (a window a frame, once it is full) and of streams (a step a frame, with its state)."""

    notes: tuple[str, ...] = ("frames are taken whole, in their order, as the steps of one object's clip",)

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe) -> None:
        self.recipe = recipe
        self._eyes = [KINDS[r.task](e, r) for e, r in ((a, recipe), (b, other))]
        self._spec = self._eyes[0].spec
        self._steps: deque[tuple[Array, float]] = deque(maxlen=self._spec.steps)
        self._clock, self._alike, self._drifts = 0.0, 0, list[float]()

    def look(self, given: NamedFrame) -> Pair:
        """Both engines' best class of the clip that ends with this frame; nothing until a clip is full."""
        size = (self._spec.width, self._spec.height)
        whole = np.array([[0, 0, *given.frame.size]], np.float32)
        self._steps.append((crop(given.frame, whole, size)[0].copy(), self._clock))
        self._clock += 1.0 / self._spec.rate_hz  # the frames are the steps, whatever lay between them
        if len(self._steps) < self._spec.steps:
            return Pair(given, 0.0, 0.0, 0.0, "the first clip is not full yet", None, None)
        rows = [self._ask(eye) for eye in self._eyes]
        a, b = (Top.of(row, self.recipe.names) for row in rows)
        alike = a.label == b.label and a.label >= 0
        drift = float(np.nanmax(np.abs(rows[1] - rows[0]), initial=0.0))
        self._alike += alike
        self._drifts.append(drift)
        words = f"{a.name} {a.probability:.2f} against {b.name} {b.probability:.2f}"
        return Pair(given, float(alike), 1.0, drift, words, a, b)

    def figures(self) -> TaskFigures:
        """Top-1 agreement over the clips."""
        count = len(self._drifts)
        if not count:
            raise InputError(
                f"compare: expected at least the {self._spec.steps} frames of one clip of {self.recipe.name}, "
                f"got {len(self._steps)}"
            )
        more = {
            "probability drift, mean of the largest": float(np.mean(self._drifts)),
            "probability drift, largest": float(np.max(self._drifts)),
        }
        meaning = "share of clips on which both engines' best class is the same (top-1)"
        share = self._alike / count
        return TaskFigures(
            self.recipe.task, share, float(count), count, "clips", " by best class", meaning, more
        )

    def _ask(self, eye: Recognizer) -> Array:
        """(C,) probabilities; NaN where the model's answer is none."""
        pixels = np.stack([pixels for pixels, _ in self._steps])[None]
        times = np.array([[time for _, time in self._steps]])
        boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (1, len(self._steps), 1))
        try:
            found = eye.recognize(Clips(np.ones(1, np.int64), pixels, times, boxes))
        except ModelError as error:
            if "NaN" not in str(error):
                raise
            return np.full(len(self.recipe.names), np.nan)
        return np.asarray(found.values[0], np.float64)
