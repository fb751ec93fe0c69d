"""The comparison of two models by task: boxes (boxes.py), clips (clips.py), a class, joints or features."""

from __future__ import annotations

import numpy as np

from edgevid.actions.clip_spec import ClipSection
from edgevid.actions.features import FeatureExtractor, PoseExtractor
from edgevid.actions.recognizer import (
    first_output,
    image_input,
    input_named,
    preprocess_crops,
    run_batch,
    softmax,
)
from edgevid.errors import InputError
from edgevid.optimize.compare.boxes import BoxTask
from edgevid.optimize.compare.clips import KINDS, ClipTask, class_pair, drift_details
from edgevid.optimize.compare.outputs import cosine
from edgevid.optimize.compare.pair import FramePair, FrameTask, Task, TaskMetrics
from edgevid.optimize.frames import NamedFrame
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array

MIN_JOINT_SCORE = 0.3
"""Score from which a joint counts as detected."""
MAX_JOINT_DISTANCE = 0.05
"""Joints of both models agree within this share of the frame's longer side."""


def task_of(a: Engine, b: Engine, recipe: Recipe, other: Recipe, *, threshold: float | None = None) -> Task:
    """The comparison for the recipe's task; InputError for tasks without one."""
    if recipe.task in KINDS:
        return ClipTask(a, b, recipe, other)
    return frame_task_of(a, b, recipe, other, threshold=threshold)


def frame_task_of(
    a: Engine, b: Engine, recipe: Recipe, other: Recipe, *, threshold: float | None = None
) -> FrameTask:
    """The comparison for a task whose frames are independent; InputError for other tasks."""
    if recipe.task == "detect":
        return BoxTask(a, b, recipe, other, threshold)
    kinds: dict[str, type[ImageTask]]
    kinds = {"classify": ClassTask, "pose": JointTask, "features": FeatureTask}
    if recipe.task not in kinds:
        raise InputError(
            f"{recipe.name}: has the task {recipe.task!r}; expected one that takes images: "
            f"detect, {', '.join((*kinds, *KINDS))}"
        )
    return kinds[recipe.task](a, b, recipe, other)


class ImageTask(FrameTask):
    """Models with one answer per image."""

    notes: tuple[str, ...] = (
        "each frame is used as one whole image: give crops of the objects where the model expects crops",
    )

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe) -> None:
        self.recipe = recipe
        self.agreeing, self.total, self.drifts = 0.0, 0.0, list[float]()

    def count(self, pair: FramePair) -> FramePair:
        """Keeps the pair's figures, not its pixels."""
        self.agreeing += pair.agreeing
        self.total += pair.total
        self.drifts.append(pair.drift)
        return pair

    def metrics_of(
        self, unit: str, condition: str, definition: str, details: dict[str, float]
    ) -> TaskMetrics:
        """The share of what agrees over all frames."""
        share = self.agreeing / self.total if self.total else 0.0
        return TaskMetrics(
            self.recipe.task, share, self.total, int(self.total), unit, condition, definition, details
        )


class ClassTask(ImageTask):
    """Classifiers: the most probable class."""

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe) -> None:
        super().__init__(a, b, recipe, other)
        self._sides = [
            (e, r, image_input(r), input_named(e, r.input_name, r).name, first_output(e, r),
             ClipSection.read(r).activation)
            for e, r in ((a, recipe), (b, other))
        ]  # fmt: skip

    def answer(self, side: int, frame: NamedFrame) -> Array:
        """(C,) probabilities."""
        engine, recipe, spec, name, output, activation = self._sides[side]
        answer = run_batch(engine, {name: preprocess_crops(frame.image[None], spec)})[output]
        row = np.asarray(answer, np.float64).reshape(-1)
        if len(row) != len(recipe.names):
            raise InputError(f"{recipe.name}: expected {len(recipe.names)} classes, the model has {len(row)}")
        return softmax(row) if activation == "softmax" and np.isfinite(row).all() else row

    def pair(self, frame: NamedFrame, a: Array, b: Array) -> FramePair:
        """Compares the most probable class of both models."""
        return self.count(class_pair(frame, a, b, self.recipe.names))

    def metrics(self) -> TaskMetrics:
        """Top-1 agreement."""
        definition = "share of frames on which both models' most probable class is the same (top-1)"
        details = drift_details("probability", self.drifts)
        return self.metrics_of("frames", " by top-1 class", definition, details)


class JointTask(ImageTask):
    """Single-person pose models: joints at the same position."""

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe) -> None:
        super().__init__(a, b, recipe, other)
        self._extractors = [PoseExtractor(a, recipe), PoseExtractor(b, other)]

    def answer(self, side: int, frame: NamedFrame) -> Array:
        """(K, 3) joints as x, y, score in frame pixels."""
        box = np.array([[0, 0, *frame.frame.size]], np.float64)
        return np.asarray(self._extractors[side].keypoints(frame.image[None], box)[0])

    def pair(self, frame: NamedFrame, a: Array, b: Array) -> FramePair:
        """Joints agree where both models detect them and they lie close together."""
        by_a, by_b = a[:, 2] >= MIN_JOINT_SCORE, b[:, 2] >= MIN_JOINT_SCORE
        distance = np.hypot(*(b - a)[:, :2].T)
        agreeing = by_a & by_b & (distance <= MAX_JOINT_DISTANCE * max(frame.frame.size))
        either, drift = by_a | by_b, float(np.nanmax(np.abs(b - a)[:, 2], initial=0.0))
        largest = float(np.nanmax(distance[either], initial=0.0))
        differing = int((either & ~agreeing).sum())
        text = f"{differing} of {int(either.sum())} joints differ, by up to {largest:.0f} pixels"
        rows = np.repeat(np.flatnonzero(agreeing)[:, None], 2, axis=1)
        return self.count(
            FramePair(frame, float(agreeing.sum()), float(either.sum()), drift, text, a, b, rows)
        )

    def metrics(self) -> TaskMetrics:
        """Agreement of joints."""
        definition = (
            f"share of the joints detected by either model (score from {MIN_JOINT_SCORE}) that both detect "
            f"within {MAX_JOINT_DISTANCE:.0%} of the frame's longer side"
        )
        return self.metrics_of("joints", " by position", definition, drift_details("score", self.drifts))


class FeatureTask(ImageTask):
    """Frozen feature networks: the direction of the feature vector."""

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe) -> None:
        super().__init__(a, b, recipe, other)
        self._extractors = [FeatureExtractor(a, recipe), FeatureExtractor(b, other)]

    def answer(self, side: int, frame: NamedFrame) -> Array:
        """(D,) features."""
        box = np.array([[0, 0, *frame.frame.size]], np.float32)
        return np.asarray(self._extractors[side].extract(frame.image[None], box)[0], np.float64)

    def pair(self, frame: NamedFrame, a: Array, b: Array) -> FramePair:
        """The cosine similarity of both models' features."""
        similarity = cosine(a, b)
        return self.count(
            FramePair(frame, similarity, 1.0, 1 - similarity, f"cosine {similarity:.5f}", None, None)
        )

    def metrics(self) -> TaskMetrics:
        """Mean cosine similarity."""
        definition = "mean over the frames of the cosine similarity of both models' feature vectors"
        details = {"minimum cosine of a frame": 1 - max(self.drifts, default=0.0)}
        return self.metrics_of("frames", " by cosine", definition, details)
