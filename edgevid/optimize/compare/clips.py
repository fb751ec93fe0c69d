"""Two models' classes of the same clips: windows of consecutive whole frames."""

from collections import deque
from collections.abc import Callable

import numpy as np

from edgevid.actions.clip import ClipRecognizer
from edgevid.actions.recognizer import Recognizer
from edgevid.actions.streaming import StreamRecognizer
from edgevid.detect.preprocess import crop
from edgevid.errors import InputError, ModelError
from edgevid.optimize.agreement import FramePair, TaskMetrics, TopClass
from edgevid.optimize.frames import NamedFrame
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array, Clips

KINDS: dict[str, Callable[[Engine, Recipe], Recognizer]] = {
    "clip": lambda engine, recipe: ClipRecognizer(engine, recipe, average=False),
    "stream": StreamRecognizer,
}


class ClipTask:
    """Clip models (one full window per frame) and streaming models (one step per frame, with state)."""

    notes: tuple[str, ...] = ("whole frames are used, in their order, as the steps of one object's clip",)

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe) -> None:
        self.recipe = recipe
        self._recognizers = [KINDS[r.task](e, r) for e, r in ((a, recipe), (b, other))]
        self._spec = self._recognizers[0].spec
        self._steps: deque[tuple[Array, float]] = deque(maxlen=self._spec.steps)
        self._time, self._agreeing, self._drifts = 0.0, 0.0, list[float]()

    def compare(self, frame: NamedFrame) -> FramePair:
        """Both models' most probable class of the clip that ends with this frame, once it is full."""
        size = (self._spec.width, self._spec.height)
        whole = np.array([[0, 0, *frame.frame.size]], np.float32)
        self._steps.append((crop(frame.frame, whole, size)[0].copy(), self._time))
        self._time += 1.0 / self._spec.rate_hz  # each frame is one step, however far apart they were
        if len(self._steps) < self._spec.steps:
            return FramePair(frame, 0.0, 0.0, 0.0, "the first clip is not full yet", None, None)
        a, b = (self._probabilities(recognizer) for recognizer in self._recognizers)
        pair = class_pair(frame, a, b, self.recipe.names)
        self._agreeing += pair.agreeing
        self._drifts.append(pair.drift)
        return pair

    def metrics(self) -> TaskMetrics:
        """Top-1 agreement over the clips."""
        count = len(self._drifts)
        if not count:
            raise InputError(
                f"compare: expected at least the {self._spec.steps} frames of one clip of "
                f"{self.recipe.name}, got {len(self._steps)}"
            )
        definition = "share of clips on which both models' most probable class is the same (top-1)"
        return TaskMetrics(
            self.recipe.task, self._agreeing / count, float(count), count, "clips", " by top-1 class",
            definition, drift_details("probability", self._drifts),
        )  # fmt: skip

    def _probabilities(self, recognizer: Recognizer) -> Array:
        """(C,) probabilities; NaN where the model's answer is not finite."""
        pixels = np.stack([pixels for pixels, _ in self._steps])[None]
        times = np.array([[time for _, time in self._steps]])
        boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (1, len(self._steps), 1))
        try:
            found = recognizer.recognize(Clips(np.ones(1, np.int64), pixels, times, boxes))
        except ModelError as error:
            if "NaN" not in str(error):
                raise
            return np.full(len(self.recipe.names), np.nan)
        return np.asarray(found.values[0], np.float64)


def drift_details(what: str, drifts: list[float]) -> dict[str, float]:
    """The metrics of the largest drift of each frame."""
    drifts = drifts or [0.0]
    return {f"{what} drift, mean of the largest": float(np.mean(drifts)), f"{what} drift, largest": max(drifts)}


def class_pair(frame: NamedFrame, a: Array, b: Array, names: tuple[str, ...]) -> FramePair:
    """Two rows of (C,) probabilities, compared by their most probable class."""
    first, second = TopClass.of(a, names), TopClass.of(b, names)
    agreeing = first.label == second.label and first.label >= 0
    with np.errstate(invalid="ignore"):  # both infinite
        drift = float(np.nanmax(np.abs(b - a), initial=0.0))
    text = f"{first.name} {first.probability:.2f}, {second.name} {second.probability:.2f}"
    return FramePair(frame, float(agreeing), 1.0, drift, text, first, second)
