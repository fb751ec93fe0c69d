"""Inputs of temporal heads: frozen CNN features or the joints of a pose, one row per crop.

Those of a pose are channels of every joint: its place, the direction of its bone, its movement at two speeds (as in
Yang et al., "Make Skeleton-based Action Recognition Model Smaller, Faster and Better", 2019, and the streams of Shi et
al., "Two-Stream Adaptive Graph Convolutional Networks", CVPR 2019), and how sure the pose is of it. A step uses only
earlier steps, so a live stream and a recorded clip give the same values."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from edgevid.actions.layout import LAYOUTS, JointLayout
from edgevid.actions.recognizer import image_input, input_named, preprocess_crops, run_batch
from edgevid.detect.preprocess import LetterboxTransform
from edgevid.errors import InputError, ModelError
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array

JHMDB15, COCO17 = LAYOUTS["jhmdb-15"], LAYOUTS["coco-17"]
SHOULDERS, BELLY = 0.13, 0.80  # Places of shoulders' midpoint and belly from JHMDB's neck to hips (its medians)
LAGS = (1, 4)  # Steps over which movement is measured
MIN_SCORE = 0.2  # Mean confidence below which a step has no person
MIN_JOINT = 0.1  # Confidence below which a joint is missing


class Extractor(Protocol):
    """Rows to store per track (`extract`), and the features of a window of them (`encode`)."""

    raw_width: int
    width: int
    memory: int  # Steps that one step's features need, itself included
    steps: int  # Of the clips (M, T, h, w, 3) that `extract` takes, with boxes (M, T, 4); 0: crops, and boxes (M, 4)

    def extract(self, crops: Array, boxes: Array) -> Array: ...
    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]: ...


@dataclass(frozen=True, slots=True)
class FeaturesTable:
    """A recipe's table [features]."""

    output: str = ""  # Name of the features' output; the first if left out
    typicality: str = ""  # Of a classifier: file that tells images unlike the training's, relative to this recipe


@dataclass(frozen=True, slots=True)
class PoseTable:
    """A recipe's table [pose]."""

    order: Literal["yxs", "xys"] = "yxs"  # Of a joint's values: x, y and score
    joints: Literal["coco-17"] = "coco-17"


class FeatureExtractor:
    """A frozen image network: the features of each crop, spatial maps averaged."""

    memory, steps = 1, 0

    def __init__(self, engine: Engine, recipe: Recipe) -> None:
        self.engine, self.recipe = engine, recipe
        self.output = recipe.section("features", FeaturesTable).output or engine.outputs[0].name
        self._image, self._input = image_input(recipe), input_named(engine, recipe.input_name, recipe).name
        shapes = {s.name: s.shape for s in engine.outputs}
        if self.output not in shapes or len(shapes[self.output]) not in (2, 4, 5):
            raise ModelError(f"{recipe.name}: expected an output {self.output!r} of shape (N, D) or (N, D, [t,] h, w), "
                             f"the model has {', '.join(map(str, engine.outputs))}")  # fmt: skip
        self.raw_width = self.width = int(shapes[self.output][1])
        if self.width < 1:
            raise ModelError(f"{recipe.name}: output {self.output!r} must have a fixed number of features")

    def extract(self, crops: Array, boxes: Array) -> Array:
        """(M, D) float32 features of crops (M, h, w, 3)."""
        return pooled(run_batch(self.engine, {self._input: preprocess_crops(crops, self._image)})[self.output])

    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]:
        """(..., T, D) the features as they are, 0 in steps without; InputError for NaN or infinity."""
        if not np.isfinite(raw[valid]).all():
            raise InputError(f"{self.recipe.name}: the features hold NaN or infinity")
        return np.where(valid[..., None], raw, 0).astype(np.float32), valid


def pooled(values: Array) -> Array:
    """(M, D) float32 means of maps (M, D, ...)."""
    return np.asarray(values.reshape(*values.shape[:2], -1).mean(axis=2), np.float32)


class DetectedPose:
    """The joints of a pose detector's key points, as movement features: no model of its own."""

    memory, steps = 1 + max(LAGS), 0

    def __init__(self, *, layout: JointLayout = JHMDB15) -> None:
        """InputError for a layout with joints that COCO's key points do not give."""
        self.layout = layout
        self.raw_width, self.width = layout.row_width, width_of(layout)
        from_coco(np.zeros((1, 17, 3)), layout)

    def rows(self, points: Array) -> Array:
        """(M, R) rows of the layout, of COCO key points (M, 17, 3) in frame pixels. NaN, as of an object that is not
        detected now, gives a confidence of 0. InputError for other key points."""
        if points.shape[1:] != (17, 3):
            raise InputError(f"a pose: expected COCO's 17 key points (M, 17, 3), got {points.shape}")
        chosen = from_coco(points, self.layout)
        return self.layout.rows(chosen[..., :2], chosen[..., 2])

    def extract(self, crops: Array, boxes: Array) -> Array:
        """InputError: without key points of the detector there are no joints."""
        raise InputError("extractor 'detector': expected key points of the detector, got none; use a pose detector "
                         "(--model yolo11n-pose.onnx), or the pose model of the head's recipe")  # fmt: skip

    def encode(self, raw: Array, valid: Array) -> tuple[Array, Array]:
        """(..., T, D) movement features and which steps hold a person."""
        return encode(raw, valid, self.layout)


class PoseExtractor(DetectedPose):
    """A single-person pose model (MoveNet): joints in frame pixels, as movement features."""

    def __init__(self, engine: Engine, recipe: Recipe, *, layout: JointLayout = JHMDB15) -> None:
        super().__init__(layout=layout)
        self.engine, self.recipe = engine, recipe
        self._order = recipe.section("pose", PoseTable).order
        self._image, self._input = image_input(recipe), input_named(engine, recipe.input_name, recipe).name
        self._output = recipe.outputs[0] if recipe.outputs else engine.outputs[0].name

    def keypoints(self, crops: Array, boxes: Array) -> Array:
        """(M, 17, 3) x and y in frame pixels and score of crops (M, h, w, 3) that show `boxes` (M, 4)."""
        answer = run_batch(self.engine, {self._input: preprocess_crops(crops, self._image)})[self._output]
        points = np.asarray(answer, np.float64).reshape(len(crops), 17, 3)
        if self._order == "yxs":
            points = points[..., [1, 0, 2]]
        p, size = self._image, (crops.shape[2], crops.shape[1])
        fit = LetterboxTransform.of(size, p)
        place = (points[..., :2] * (p.width, p.height) - (fit.left, fit.top)) / (fit.scale_x, fit.scale_y)
        share = place / size
        corner, side = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        return np.concatenate((corner + share * side, points[..., 2:]), axis=-1)

    def extract(self, crops: Array, boxes: Array) -> Array:
        """(M, R) rows of the layout."""
        return self.rows(self.keypoints(crops, boxes))


def layout_of(recipe: Recipe) -> JointLayout:
    """The joints that a head takes: its recipe's table [layout], else JHMDB's."""
    return recipe.section("layout", JointLayout) if "layout" in recipe.tables else JHMDB15


def from_coco(points: Array, layout: JointLayout) -> Array:
    """(..., J, C) joints of a layout, of COCO key points (..., 17, C): by name; "neck", "belly" and "face" lie between
    others as JHMDB's do. InputError for a layout in 3-D or with other joints."""
    pick = {name: points[..., n, :] for n, name in enumerate(COCO17.joints)}
    shoulders = (pick["left shoulder"] + pick["right shoulder"]) / 2
    hips = (pick["left hip"] + pick["right hip"]) / 2
    neck = (shoulders - hips * SHOULDERS) / (1 - SHOULDERS)
    pick |= {"neck": neck, "belly": neck + (hips - neck) * BELLY, "face": pick["nose"]}
    if layout.dims != 2 or not set(layout.joints) <= pick.keys():
        other = ", ".join(name for name in layout.joints if name not in pick) or "their depth"
        raise InputError(f"a pose of COCO's 17 key points has not {other}: train the head on joints that it has")
    return np.stack([pick[name] for name in layout.joints], axis=-2)


def width_of(layout: JointLayout) -> int:
    """Length of a step's features: of each joint its place, bone, movement at each lag and confidence."""
    return len(layout.joints) * ((2 + len(LAGS)) * layout.dims + 1)


def encode(rows: Array, valid: Array, layout: JointLayout) -> tuple[Array, Array]:
    """(..., T, D) float32 features of stored rows (..., T, R), and which steps hold a person; others give zeros.

    A step is centered on its own joints and divided by its own size (their root mean square distance from the center),
    so position and distance of the object do not matter; in 3-D it is also turned about the vertical axis until
    shoulders and hips lie along x, so the direction of view does not either. Movement over `LAGS` steps is in those
    sizes; it is zero where the earlier step is missing, as is all of a missing joint."""
    points, confidence = layout.split(np.asarray(rows, np.float64))
    if valid.shape != rows.shape[:-1]:
        raise InputError(f"encode: expected rows (..., T, R) and valid (..., T), got {rows.shape}, {valid.shape}")
    seen = (confidence >= MIN_JOINT) & valid[..., None] & np.isfinite(points).all(-1)
    points = np.where(seen[..., None], points, 0)
    count = np.maximum(seen.sum(-1), 1)[..., None, None]
    away = np.where(seen[..., None], points - points.sum(-2, keepdims=True) / count, 0)
    size = np.sqrt(np.square(away).sum((-2, -1)) / count[..., 0, 0])
    there = valid & (confidence.mean(-1) >= MIN_SCORE) & (size > 1e-9) & np.isfinite(size)
    seen &= there[..., None]
    unit = np.where(there, size, 1.0)[..., None, None]
    turn = _facing(away, seen, layout) if layout.dims == 3 else np.eye(2)
    bones = away - away[..., layout.roots, :]
    bones /= np.maximum(np.linalg.norm(bones, axis=-1, keepdims=True), 1e-9)
    bones *= seen[..., layout.roots, None]
    parts = [away / unit, bones, *(_change(points, seen, lag) / unit for lag in LAGS)]
    features = np.concatenate([*(part @ turn for part in parts), confidence[..., None]], axis=-1)
    features = np.where(seen[..., None], features, 0)
    return features.reshape(*valid.shape, -1).astype(np.float32), there


def _facing(away: Array, seen: Array, layout: JointLayout) -> Array:
    """(..., T, 3, 3) rotations about y that put the person's left and right along x."""
    right = [n for n, name in enumerate(layout.joints) if name in ("right shoulder", "right hip")]
    left = layout.mirror[right]
    both = (seen[..., right] & seen[..., left])[..., None]
    x, _, z = np.moveaxis(((away[..., right, :] - away[..., left, :]) * both).sum(-2), -1, 0)
    length = np.hypot(x, z)
    c, s = (np.where(length > 1e-9, v / np.maximum(length, 1e-9), d) for v, d in ((x, 1.0), (z, 0.0)))
    o, i = np.zeros_like(c), np.ones_like(c)
    return np.stack((np.stack((c, o, -s), -1), np.stack((o, i, o), -1), np.stack((s, o, c), -1)), -2)


def _change(values: Array, seen: Array, lag: int) -> Array:
    """Difference along time (third axis from the end) to `lag` steps before, zero where either is not `seen`."""
    change = np.zeros_like(values)
    both = seen[..., lag:, :] & seen[..., :-lag, :]
    change[..., lag:, :, :] = np.where(both[..., None], values[..., lag:, :, :] - values[..., :-lag, :, :], 0)
    return change
