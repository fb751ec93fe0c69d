"""How an object's clip is cropped from the stream, at training and at run time."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import numpy as np

from edgevid.errors import FileFormatError, InputError
from edgevid.files.digest import sha256
from edgevid.files.toml import Section, toml_table
from edgevid.runtime import Recipe
from edgevid.runtime.letterbox import PAD
from edgevid.types import Array

Activation = Literal["softmax", "none"]
Layout = Literal["NCTHW", "NTCHW", "NTHWC"]


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """Temporal sampling and spatial cropping of a model's clips."""

    steps: int = 32
    """Crops in one clip: the model's T. 1 for models of single images or with their own state."""
    rate_hz: float = 8.0
    """Moments per second, on a grid of the stream's clock that all objects share."""
    width: int = 112
    height: int = 112
    stride_s: float = 2.0
    """Seconds before the same object is due again."""
    min_steps: int = 1
    """Steps that must hold a crop before an object is due for the first time."""
    policy: Literal["box", "union"] = "box"
    """"box": each step follows the object; "union": one rectangle around all boxes of the window."""
    fit: Literal["expand", "letterbox", "stretch"] = "expand"
    """"expand" widens the box to the crop's aspect, "letterbox" pads it, "stretch" distorts it."""
    context: float = 1.25
    """Scale of the box about its center, to include what a person handles."""
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """Part of the box that is cropped: left, top, right, bottom as fractions (head: 0.2, 0, 0.8, 0.25)."""
    smoothing_s: float = 0.033
    """Time constant of the box's smoothing; 0 switches it off."""
    min_side: float = 24.0
    """Boxes with a shorter side, in frame pixels, are not cropped."""
    max_unseen_s: float = 0.25
    """A coasting box is cropped for this long; then its steps stay empty."""
    pad: int = int(PAD)
    """Gray value beyond the frame's edge."""

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "policy": ("box", "union"),
        "fit": ("expand", "letterbox", "stretch"),
    }

    def __post_init__(self) -> None:
        for name, choices in self.CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"ClipSpec.{name}: expected one of {choices}, got {getattr(self, name)!r}")
        for name, low in (("steps", 1), ("width", 1), ("height", 1), ("min_steps", 1)):
            if getattr(self, name) < low:
                raise InputError(f"ClipSpec.{name}: expected at least {low}, got {getattr(self, name)}")
        if self.min_steps > self.steps:
            raise InputError(f"ClipSpec.min_steps: expected at most steps={self.steps}, got {self.min_steps}")
        for name in ("rate_hz", "context"):
            if not getattr(self, name) > 0:
                raise InputError(f"ClipSpec.{name}: expected more than 0, got {getattr(self, name)}")
        for name in ("stride_s", "smoothing_s", "min_side", "max_unseen_s"):
            if not getattr(self, name) >= 0:
                raise InputError(f"ClipSpec.{name}: expected 0 or more, got {getattr(self, name)}")
        if (self.policy, self.fit) == ("union", "letterbox"):
            raise InputError("ClipSpec.fit: expected 'expand' or 'stretch' for a union, got 'letterbox'")
        left, top, right, bottom = self.region
        if not (left < right and top < bottom):
            raise InputError(f"ClipSpec.region: expected left < right and top < bottom, got {self.region}")

    @property
    def digest(self) -> str:
        """Short hash of all fields: training and run time must agree on it.

        >>> ClipSpec().digest == ClipSpec(context=1.3).digest
        False
        """
        # 15 and 15.0 are the same rate.
        plain = np.concatenate([np.ravel(np.array(v, object)) for v in dataclasses.astuple(self)])
        text = json.dumps([v if isinstance(v, str) else float(v) for v in plain])
        return sha256(text)[:12]


@dataclass(frozen=True, slots=True)
class ClipSection:
    """The table [clip]."""

    spec: ClipSpec
    layout: Layout = "NTCHW"
    """Axes of a clip model's input; the images in it are as [input] says."""
    activation: Activation = "softmax"
    """"softmax": the model gives logits; "none": it gives probabilities."""

    @classmethod
    def read(cls, recipe: Recipe, *, steps: int | None = None) -> ClipSection:
        """From the recipe; `steps` overrides the number of steps that one clip holds."""
        table, image = recipe.section("clip"), recipe.input
        width, height = (image.width, image.height) if image else (112, 112)
        spec = read_spec(table, width=width, height=height)
        made = cls(
            spec if steps is None else dataclasses.replace(spec, steps=steps, min_steps=1),
            cast(Layout, table.text("layout", "NTCHW", choices=get_args(Layout))),
            cast(Activation, table.text("activation", "softmax", choices=get_args(Activation))),
        )
        table.done()
        return made

    def toml(self) -> list[str]:
        """The lines of the table [clip] that `read` reads back."""
        fields = dataclasses.asdict(self.spec) | {"layout": self.layout, "activation": self.activation}
        return toml_table("clip", fields)


def read_spec(table: Section, *, width: int, height: int) -> ClipSpec:
    """The spec of a table [clip], of the image's size unless stated. FileFormatError names a mistake."""
    d = ClipSpec()
    left, top, right, bottom = table.numbers("region", d.region, count=4)
    asked = {
        "steps": table.integer("steps", d.steps, low=1),
        "rate_hz": table.number("rate_hz", d.rate_hz),
        "width": table.integer("width", width, low=1),
        "height": table.integer("height", height, low=1),
        "stride_s": table.number("stride_s", d.stride_s),
        "min_steps": table.integer("min_steps", d.min_steps, low=1),
        "policy": table.text("policy", d.policy, choices=ClipSpec.CHOICES["policy"]),
        "fit": table.text("fit", d.fit, choices=ClipSpec.CHOICES["fit"]),
        "context": table.number("context", d.context),
        "region": (left, top, right, bottom),
        "smoothing_s": table.number("smoothing_s", d.smoothing_s),
        "min_side": table.number("min_side", d.min_side),
        "max_unseen_s": table.number("max_unseen_s", d.max_unseen_s),
        "pad": table.integer("pad", d.pad),
    }
    try:
        return ClipSpec(**asked)  # type: ignore[arg-type]
    except InputError as error:
        expected = "usable numbers"
        raise FileFormatError(table.path, table.name, expected=expected, got=str(error)) from None


UNION_LIMIT = 3.0
"""Beyond this ratio of union to median box area the object moves too far for one rectangle."""


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
