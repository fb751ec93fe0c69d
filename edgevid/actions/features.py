"""Inputs of temporal heads: frozen CNN features or the joints of a pose, one row per crop.

Those of a pose are the double features of Yang et al., "Make Skeleton-based Action Recognition Model Smaller, Faster
and Better" (2019): distances between all joints, independent of the camera position, and movements of the joints at
two speeds; here also the centered joints themselves. A step uses only earlier steps, so a live stream and a recorded
clip give the same values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from edgevid.actions.recognizer import image_input, input_named, preprocess_crops, run_batch
from edgevid.detect.preprocess import LetterboxTransform
from edgevid.errors import InputError, ModelError
from edgevid.files.toml import read_toml
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array

JointSet = Literal["jhmdb15", "coco17"]
JOINT_SETS = {kind: tuple(names) for kind, names in read_toml(Path(__file__).with_suffix(".toml")).items()}
JHMDB15, COCO17 = JOINT_SETS["jhmdb15"], JOINT_SETS["coco17"]
SHOULDERS, BELLY = 0.13, 0.80
"""Position of the shoulders' midpoint and the belly between JHMDB's neck and hips (its medians)."""
LAGS = (1, 2)  # Steps over which movement is measured
MIN_SCORE = 0.2  # Mean keypoint score below which a step has no person


class Extractor(Protocol):
    """Rows to store per track (`extract`), and the features of a window of them (`encode`)."""

    @property
    def raw_width(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def memory(self) -> int:
        """Steps that one step's features need, itself included."""
        ...

    def extract(self, crops: Array, boxes: Array) -> Array: ...
    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]: ...


@dataclass(frozen=True, slots=True)
class FeaturesTable:
    """A recipe's table [features]."""

    output: str = ""  # Name of the features' output; the first if left out
    typicality: str = ""
    """Of a classifier: file of what tells images that are unlike the training's, relative to this recipe."""


@dataclass(frozen=True, slots=True)
class PoseTable:
    """A recipe's table [pose]."""

    order: Literal["yxs", "xys"] = "yxs"  # Of a joint's values: x, y and score
    joints: Literal["coco17"] = "coco17"


class FeatureExtractor:
    """A frozen image network: the features of each crop, spatial maps averaged."""

    memory = 1

    def __init__(self, engine: Engine, recipe: Recipe) -> None:
        self.engine, self.recipe = engine, recipe
        self.output = recipe.section("features", FeaturesTable).output or engine.outputs[0].name
        self._image, self._input = image_input(recipe), input_named(engine, recipe.input_name, recipe).name
        shapes = {s.name: s.shape for s in engine.outputs}
        if self.output not in shapes or len(shapes[self.output]) not in (2, 4):
            raise ModelError(
                f"{recipe.name}: expected an output {self.output!r} of shape (N, D) or (N, D, h, w), "
                "the model has " + ", ".join(str(s) for s in engine.outputs)
            )
        self.raw_width = self.width = int(shapes[self.output][1])
        if self.width < 1:
            raise ModelError(f"{recipe.name}: output {self.output!r} must have a fixed number of features")

    def extract(self, crops: Array, boxes: Array) -> Array:
        """(M, D) float32 features of crops (M, h, w, 3)."""
        answer = run_batch(self.engine, {self._input: preprocess_crops(crops, self._image)})[self.output]
        return np.asarray(answer.reshape(*answer.shape[:2], -1).mean(axis=2), np.float32)

    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]:
        """The features as they are; InputError for NaN or infinity."""
        if not np.isfinite(raw[valid]).all():
            raise InputError(f"{self.recipe.name}: the features hold NaN or infinity")
        return np.where(valid[..., None], raw, 0).astype(np.float32), valid


class DetectedPose:
    """The joints of a pose detector's key points, as movement features: no model of its own."""

    memory = 1 + max(LAGS)

    def __init__(self, *, joints: JointSet = "jhmdb15") -> None:
        if joints not in JOINT_SETS:
            raise InputError(f"joints: expected one of {sorted(JOINT_SETS)}, got {joints!r}")
        self.model: Recipe | None = None  # The pose model that finds the joints; None: the detector does
        self.joints, self.count = joints, len(JOINT_SETS[joints])
        self.raw_width, self.width = 2 * self.count + 1, width_of(self.count)

    def rows(self, points: Array) -> Array:
        """(M, 2 J + 1) joints and the pose's mean score, of COCO key points (M, 17, 3) in frame pixels. NaN, as
        of an object that is not detected now, gives a score of 0. InputError for other key points."""
        if points.shape[1:] != (17, 3):
            raise InputError(f"a pose: expected COCO's 17 key points (M, 17, 3), got {points.shape}")
        points = np.where(np.isfinite(points).all(axis=(1, 2), keepdims=True), points, 0)
        chosen = points if self.joints == "coco17" else coco_to_jhmdb(points)
        flat = chosen[..., :2].reshape(len(points), -1)
        return np.concatenate((flat, points[..., 2].mean(1)[:, None]), axis=1).astype(np.float32)

    def extract(self, crops: Array, boxes: Array) -> Array:
        """InputError: without key points of the detector there are no joints."""
        raise InputError(
            "extractor 'detector': expected key points of the detector, got none; use a pose detector "
            "(--model yolo11n-pose.onnx), or the pose model of the head's recipe"
        )

    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]:
        """(..., T, D) movement features and which steps hold a person."""
        return encode_rows(raw, valid)


class PoseExtractor(DetectedPose):
    """A single-person pose model (MoveNet): joints in frame pixels, as movement features."""

    def __init__(self, engine: Engine, recipe: Recipe, *, joints: JointSet = "jhmdb15") -> None:
        super().__init__(joints=joints)
        self.engine, self.recipe, self.model = engine, recipe, recipe
        self._order = recipe.section("pose", PoseTable).order
        self._image, self._input = image_input(recipe), input_named(engine, recipe.input_name, recipe).name
        self._output = recipe.outputs[0] if recipe.outputs else engine.outputs[0].name

    def keypoints(self, crops: Array, boxes: Array) -> Array:
        """(M, 17, 3) x and y in frame pixels and score of crops (M, h, w, 3) that show `boxes` (M, 4)."""
        answer = run_batch(self.engine, {self._input: preprocess_crops(crops, self._image)})[self._output]
        points = np.asarray(answer, np.float64).reshape(len(crops), 17, 3)
        if self._order == "yxs":
            points = points[..., [1, 0, 2]]
        p = self._image
        fit = LetterboxTransform.of((crops.shape[2], crops.shape[1]), p)
        place = (points[..., :2] * (p.width, p.height) - (fit.left, fit.top)) / (fit.scale_x, fit.scale_y)
        share = place / (crops.shape[2], crops.shape[1])
        corner, side = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        return np.concatenate((corner + share * side, points[..., 2:]), axis=-1)

    def extract(self, crops: Array, boxes: Array) -> Array:
        """(M, 2 J + 1) joints and the pose's mean score."""
        return self.rows(self.keypoints(crops, boxes))


def mirror_order(joints: tuple[str, ...]) -> list[int]:
    """For each joint its counterpart in a mirrored image.

    >>> mirror_order(("neck", "left hip", "right hip"))
    [0, 2, 1]
    """
    swapped = [j.replace("left", "?").replace("right", "left").replace("?", "right") for j in joints]
    return [joints.index(j) for j in swapped]


def coco_to_jhmdb(joints: Array) -> Array:
    """(..., 15, C) JHMDB joints of (..., 17, C) COCO keypoints: neck and belly lie between four of them."""
    pick = {name: joints[..., COCO17.index(name), :] for name in JHMDB15 if name in COCO17}
    shoulders = (pick["left shoulder"] + pick["right shoulder"]) / 2
    hips = (pick["left hip"] + pick["right hip"]) / 2
    neck = (shoulders - hips * SHOULDERS) / (1 - SHOULDERS)
    pick |= {"neck": neck, "belly": neck + (hips - neck) * BELLY, "face": joints[..., 0, :]}
    return np.stack([pick[name] for name in JHMDB15], axis=-2)


def width_of(joint_count: int) -> int:
    """Length of a step's features: centered joints, distances, movements at each lag, growth."""
    return 2 * joint_count + joint_count * (joint_count - 1) // 2 + len(LAGS) * 2 * joint_count + 1


def encode(joints: Array, valid: Array) -> Array:
    """(..., T, D) float32 features of joints (..., T, J, 2) in pixels or any unit; invalid steps give zeros.

    A step is centered on its own joints and divided by its own size (their root mean square distance
    from the center), so position and distance of the object do not matter. Movement over
    `LAGS` steps is in those sizes; it is zero where the earlier step is missing."""
    if joints.ndim < 3 or joints.shape[-1] != 2 or joints.shape[:-2] != valid.shape:
        raise InputError(f"encode: expected (..., T, J, 2) and (..., T), got {joints.shape}, {valid.shape}")
    joints = np.where(valid[..., None, None], joints, 0).astype(np.float64)
    center = joints.mean(axis=-2, keepdims=True)
    size = np.sqrt(np.square(joints - center).sum(-1).mean(-1))
    usable = valid & (size > 1e-9) & np.isfinite(size)
    unit = np.where(usable, size, 1.0)[..., None, None]
    first, second = np.triu_indices(joints.shape[-2], 1)
    distances = np.sqrt(np.square(joints[..., first, :] - joints[..., second, :]).sum(-1))
    parts = [_flat((joints - center) / unit), distances / unit[..., 0]]
    parts += [_flat(_change(joints, usable, lag) / unit) for lag in LAGS]
    growth = _change(np.log(unit), usable, 1)[..., 0]
    features = np.concatenate([*parts, growth], axis=-1)
    return np.where(usable[..., None], features, 0).astype(np.float32)


def encode_rows(raw: Array, valid: Array) -> tuple[Array, Array]:
    """`encode` of stored rows (..., T, 2 J + 1), joints then the mean score, and the valid steps."""
    there = valid & (raw[..., -1] >= MIN_SCORE)
    joints = raw[..., :-1].reshape(*raw.shape[:-1], raw.shape[-1] // 2, 2)
    return encode(joints, there), there


def _flat(values: Array) -> Array:
    return np.asarray(values.reshape(*values.shape[:-2], -1))


def _change(values: Array, usable: Array, lag: int) -> Array:
    """Difference along time (third axis from the end) to `lag` steps before, zero where it is missing."""
    change = np.zeros_like(values)
    both = usable[..., lag:] & usable[..., :-lag] if usable.shape[-1] > lag else usable[..., :0]
    if both.shape[-1]:
        difference = values[..., lag:, :, :] - values[..., :-lag, :, :]
        change[..., lag:, :, :] = np.where(both[..., None, None], difference, 0)
    return change
