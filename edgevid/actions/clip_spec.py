"""How an object's clip is cropped from the stream, at training and at run time."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from edgevid.errors import FieldError
from edgevid.files import Count, Positive, check_fields, sha256, vars_of
from edgevid.runtime import Recipe
from edgevid.runtime.engine import PAD
from edgevid.types import Array

Activation = Literal["softmax", "none"]
Layout = Literal["NCTHW", "NTCHW", "NTHWC"]


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """Temporal sampling and spatial cropping of a model's clips."""

    steps: Count = 32  # Crops in one clip: the model's T. 1 for models of single images or with their own state
    rate_hz: float = 8.0  # Moments per second, on a grid of the stream's clock that all objects share
    width: Count = 112
    height: Count = 112
    stride_s: Positive = 2.0  # Seconds before the same object is due again
    min_steps: Count = 1  # Steps that must hold a crop before an object is due for the first time
    policy: Literal["box", "union"] = "box"  # "box": each step follows the object; "union": one rectangle around all
    fit: Literal["expand", "letterbox", "stretch"] = "expand"
    """"expand" widens the box to the crop's aspect, "letterbox" pads it, "stretch" distorts it."""
    context: float = 1.25  # Scale of the box about its center, to include what a person handles
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """Part of the box that is cropped: left, top, right, bottom as fractions (head: 0.2, 0, 0.8, 0.25)."""
    smoothing_s: Positive = 0.033  # Time constant of the box's smoothing; 0 switches it off
    min_side: Positive = 24.0  # Boxes with a shorter side, in frame pixels, are not cropped
    max_unseen_s: Positive = 0.25  # A coasting box is cropped for this long; then its steps stay empty
    pad: Annotated[int, Ge(0)] = int(PAD)  # Gray value beyond the frame's edge

    def __post_init__(self) -> None:
        check_fields(self, "ClipSpec")
        if self.min_steps > self.steps:
            raise FieldError("ClipSpec", "min_steps", f"at most steps={self.steps}", self.min_steps)
        for name in ("rate_hz", "context"):
            if not getattr(self, name) > 0:
                raise FieldError("ClipSpec", name, "more than 0", getattr(self, name))
        if (self.policy, self.fit) == ("union", "letterbox"):
            raise FieldError("ClipSpec", "fit", "'expand' or 'stretch' for a union", "letterbox")
        left, top, right, bottom = self.region
        if not (left < right and top < bottom):
            raise FieldError("ClipSpec", "region", "left < right and top < bottom", self.region)

    @property
    def digest(self) -> str:
        """Short hash of all fields: training and run time must agree on it.

        >>> ClipSpec().digest == ClipSpec(context=1.3).digest
        False
        """
        # 15 and 15.0 are the same rate.
        plain = np.concatenate([np.ravel(np.array(v, object)) for v in dataclasses.astuple(self)])
        return sha256(json.dumps([v if isinstance(v, str) else float(v) for v in plain]))[:12]


@dataclass(frozen=True)
class ClipSection(ClipSpec):
    """The table [clip]: a spec, and what a clip model takes and gives."""

    layout: Layout = "NTCHW"  # Axes of a clip model's input; the images in it are as [input] says
    activation: Activation = "softmax"  # "softmax": the model gives logits; "none": it gives probabilities
    flow_bound: Positive = 0.0  # Of a network of optical flow: pixels from moment to moment that are 1; 0: of colors
    inside: str = ""  # Detector of the part of an object that is recognized, aligned by key points: a name, or a recipe

    @classmethod
    def read(cls, recipe: Recipe) -> ClipSection:
        """From the recipe, of its image's size unless stated; FileFormatError names each mistake."""
        size = {"width": recipe.input.width, "height": recipe.input.height} if recipe.input else {}
        return recipe.section("clip", cls, **size)

    def spec(self, steps: int | None = None) -> ClipSpec:
        """The spec alone; `steps` replaces the number of steps that one clip holds."""
        fields = vars_of(self, ClipSpec)
        return ClipSpec(**(fields if steps is None else fields | {"steps": steps, "min_steps": 1}))


@dataclass(frozen=True)
class SearchSpec(ClipSpec):
    """How objects are cropped for a detector inside them; labeled images show whole objects, and are cropped so."""


UNION_LIMIT = 3.0  # Beyond this ratio of union to median box area the object moves too far for one rectangle


def crop_rectangles(boxes: Array, spec: ClipSpec) -> Array:
    """The rectangles (N, 4) to crop for boxes (N, 4) xyxy: region, then context, then the crop's aspect."""
    return to_aspect(with_context(boxes, spec), spec)


def with_context(boxes: Array, spec: ClipSpec) -> Array:
    """The region of boxes (N, 4) with its context, without the padding to the crop's aspect."""
    size = boxes[:, 2:] - boxes[:, :2]
    corners = np.concatenate([boxes[:, :2] + size * spec.region[k : k + 2] for k in (0, 2)], axis=1)
    return scaled(corners, spec.context)


def to_aspect(boxes: Array, spec: ClipSpec) -> Array:
    """Boxes (N, 4) widened to the crop's aspect, unless the spec stretches them."""
    if spec.fit == "stretch":
        return boxes
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    aspect = spec.width / spec.height
    half = np.maximum(half, half[:, ::-1] * (aspect, 1 / aspect))
    return np.concatenate((center - half, center + half), axis=1).astype(np.float32)


def scaled(boxes: Array, factor: float) -> Array:
    """Boxes (N, 4) scaled about their centers."""
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * factor
    return np.concatenate((center - half, center + half), axis=1).astype(np.float32)


def union_box(boxes: Array) -> Array | None:
    """The box (4,) around boxes (T, 4), or None where it exceeds UNION_LIMIT medians of their area."""
    union = np.concatenate((boxes[:, :2].min(0), boxes[:, 2:].max(0)))
    sides = boxes[:, 2:] - boxes[:, :2]
    median = float(np.median(sides[:, 0] * sides[:, 1]))
    area = float((union[2] - union[0]) * (union[3] - union[1]))
    return union if area < UNION_LIMIT * median else None
