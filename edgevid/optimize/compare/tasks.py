"""What a user gets from two engines on one frame: boxes (compare_boxes), a class, joints or features."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from edgevid.actions.clip_table import ClipTable
from edgevid.actions.features import FeatureExtractor, PoseExtractor
from edgevid.actions.recognizer import first_output, input_named, picture_of, pictures, run_batch, softmax
from edgevid.errors import InputError
from edgevid.optimize.compare.boxes import BoxTask
from edgevid.optimize.compare.clips import KINDS, ClipTask
from edgevid.optimize.compare.pair import Pair, TaskFigures, Top
from edgevid.optimize.frames import NamedFrame
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array

SEEN = 0.3
"""Score from which a joint counts as seen."""
REACH = 0.05
"""Joints of both engines agree within this share of the frame's longer side."""


class Task(Protocol):
    """Looks at frames with both engines and sums up."""

    @property
    def notes(self) -> tuple[str, ...]: ...
    def look(self, given: NamedFrame) -> Pair: ...
    def figures(self) -> TaskFigures: ...


def task_of(a: Engine, b: Engine, recipe: Recipe, other: Recipe, *, score: float | None = None) -> Task:
    """The comparison that the recipe's task wants; InputError for tasks that frames cannot feed."""
    if recipe.task == "detect":
        return BoxTask(a, b, recipe, other, score)
    if recipe.task in KINDS:
        return ClipTask(a, b, recipe, other)
    kinds: dict[str, type[_PictureTask]]
    kinds = {"classify": ClassTask, "pose": JointTask, "features": FeatureTask}
    if recipe.task not in kinds:
        raise InputError(
            f"compare: {recipe.name} has the task {recipe.task!r}; expected one that takes images: "
            f"detect, {', '.join((*kinds, *KINDS))}"
        )
    return kinds[recipe.task](a, b, recipe, other)


class _PictureTask:
    """Models that answer one thing an image."""

    notes: tuple[str, ...] = (
        "each frame is taken as one image, whole: give crops of the objects where the model wants them",
    )

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe) -> None:
        self.recipe, self.pairs = recipe, list[tuple[float, float, float]]()

    def note(self, pair: Pair) -> Pair:
        """Remembers the pair's figures, not its pixels."""
        self.pairs.append((pair.agreeing, pair.total, pair.drift))
        return pair

    def look(self, given: NamedFrame) -> Pair:
        raise NotImplementedError

    def figures(self) -> TaskFigures:
        raise NotImplementedError

    def sums(self) -> tuple[float, float, float, float]:
        """Agreement, total, mean and largest drift."""
        if not self.pairs:
            return 0.0, 0.0, 0.0, 0.0
        agreeing, total, drift = np.array(self.pairs).T
        share = float(agreeing.sum() / total.sum()) if total.sum() else 0.0
        return share, float(total.sum()), float(drift.mean()), float(drift.max())


class ClassTask(_PictureTask):
    """Classifiers: the best class, and its probability."""

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe) -> None:
        super().__init__(a, b, recipe, other)
        self._sides = [
            (e, r, picture_of(r), input_named(e, r.input_name, r).name, first_output(e, r), _activation(r))
            for e, r in ((a, recipe), (b, other))
        ]

    def look(self, given: NamedFrame) -> Pair:
        """Both engines' best class of one frame."""
        rows = [self._ask(given.image, side) for side in self._sides]
        a, b = (Top.of(row, self.recipe.names) for row in rows)
        alike = a.label == b.label and a.label >= 0
        drift = float(np.nanmax(np.abs(rows[1] - rows[0]), initial=0.0))
        words = f"{a.name} {a.probability:.2f} against {b.name} {b.probability:.2f}"
        return self.note(Pair(given, float(alike), 1.0, drift, words, a, b))

    def figures(self) -> TaskFigures:
        """Top-1 agreement."""
        share, total, mean, high = self.sums()
        more = {"probability drift, mean of the largest": mean, "probability drift, largest": high}
        meaning = "share of frames on which both engines' best class is the same (top-1)"
        return TaskFigures("classify", share, total, int(total), "frames", " by best class", meaning, more)

    def _ask(self, image: Array, side: tuple[Engine, Recipe, object, str, str, str]) -> Array:
        engine, recipe, picture, name, output, activation = side
        answer = run_batch(engine, {name: pictures(image[None], picture)})[output]  # type: ignore[arg-type]
        row = np.asarray(answer, np.float64).reshape(-1)
        if len(row) != len(recipe.names):
            raise InputError(
                f"{recipe.name}: names {len(recipe.names)} classes, the model answers {len(row)}"
            )
        return softmax(row) if activation == "softmax" and np.isfinite(row).all() else row


class JointTask(_PictureTask):
    """Single-person pose models: joints that lie in the same place."""

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe) -> None:
        super().__init__(a, b, recipe, other)
        self._eyes = [PoseExtractor(a, recipe), PoseExtractor(b, other)]

    def look(self, given: NamedFrame) -> Pair:
        """Both engines' joints of one frame: agreeing where both see it and lie close, or neither does."""
        box = np.array([[0, 0, *given.frame.size]], np.float64)
        a, b = (eye.keypoints(given.image[None], box)[0] for eye in self._eyes)
        seen_a, seen_b = a[:, 2] >= SEEN, b[:, 2] >= SEEN
        apart = np.hypot(*(b - a)[:, :2].T)
        alike = seen_a & seen_b & (apart <= REACH * max(given.frame.size))
        either, drift = seen_a | seen_b, float(np.nanmax(np.abs(b - a)[:, 2], initial=0.0))
        far = float(np.nanmax(apart[either], initial=0.0))
        words = f"{int((either & ~alike).sum())} of {int(either.sum())} joints differ, up to {far:.0f} pixels"
        rows = np.repeat(np.flatnonzero(alike)[:, None], 2, axis=1)
        return self.note(Pair(given, float(alike.sum()), float(either.sum()), drift, words, a, b, rows))

    def figures(self) -> TaskFigures:
        """Agreement of joints."""
        share, total, mean, high = self.sums()
        more = {"score drift, mean of the largest": mean, "score drift, largest": high}
        meaning = (
            f"share of the joints seen by either engine (score from {SEEN}) that both see within "
            f"{REACH:.0%} of the frame's longer side"
        )
        return TaskFigures("pose", share, total, int(total), "joints", " by place", meaning, more)


class FeatureTask(_PictureTask):
    """Frozen feature networks: the direction of the feature vector."""

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe) -> None:
        super().__init__(a, b, recipe, other)
        self._eyes = [FeatureExtractor(a, recipe), FeatureExtractor(b, other)]

    def look(self, given: NamedFrame) -> Pair:
        """The cosine of both engines' features of one frame."""
        box = np.array([[0, 0, *given.frame.size]], np.float32)
        a, b = (eye.look(given.image[None], box)[0].astype(np.float64) for eye in self._eyes)
        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        cosine = float(a @ b) / norm if np.isfinite(norm) and norm > 0 else float(not a.any() and not b.any())
        return self.note(Pair(given, cosine, 1.0, 1 - cosine, f"cosine {cosine:.5f}", None, None))

    def figures(self) -> TaskFigures:
        """Mean cosine."""
        share, total, _, high = self.sums()
        more = {"least cosine of a frame": 1 - high}
        meaning = "mean over the frames of the cosine between both engines' feature vectors"
        return TaskFigures("features", share, total, int(total), "frames", " by cosine", meaning, more)


def _activation(recipe: Recipe) -> str:
    return ClipTable.read(recipe).activation
