"""Inputs of temporal heads: frozen CNN features or the joints of a pose, one row per crop."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from edgevid.actions import skeleton
from edgevid.actions.recognizer import image_input, input_named, preprocess_crops, run_batch
from edgevid.detect.preprocess import LetterboxTransform
from edgevid.errors import InputError, ModelError
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array


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

    output: str = ""
    """Name of the features' output; the first if left out."""
    typicality: str = ""
    """Of a classifier: file of what tells images that are unlike the training's, relative to this recipe."""


@dataclass(frozen=True, slots=True)
class PoseTable:
    """A recipe's table [pose]."""

    order: Literal["yxs", "xys"] = "yxs"
    """Of a joint's values: x, y and score."""
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
        self.spatial = len(shapes[self.output]) == 4
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

    memory = 1 + max(skeleton.LAGS)

    def __init__(self, *, joints: skeleton.JointSet = "jhmdb15") -> None:
        if joints not in skeleton.JOINT_SETS:
            raise InputError(f"joints: expected one of {sorted(skeleton.JOINT_SETS)}, got {joints!r}")
        self.model: Recipe | None = None  # The pose model that finds the joints; None: the detector does
        self.joints, self.count = joints, len(skeleton.JOINT_SETS[joints])
        self.raw_width, self.width = 2 * self.count + 1, skeleton.width_of(self.count)

    def rows(self, points: Array) -> Array:
        """(M, 2 J + 1) joints and the pose's mean score, of COCO key points (M, 17, 3) in frame pixels. NaN, as
        of an object that is not detected now, gives a score of 0. InputError for other key points."""
        if points.shape[1:] != (17, 3):
            raise InputError(f"a pose: expected COCO's 17 key points (M, 17, 3), got {points.shape}")
        points = np.where(np.isfinite(points).all(axis=(1, 2), keepdims=True), points, 0)
        chosen = points if self.joints == "coco17" else skeleton.coco_to_jhmdb(points)
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
        return skeleton.encode_rows(raw, valid)


class PoseExtractor(DetectedPose):
    """A single-person pose model (MoveNet): joints in frame pixels, as movement features."""

    def __init__(self, engine: Engine, recipe: Recipe, *, joints: skeleton.JointSet = "jhmdb15") -> None:
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
