"""Recipes: all that must be known of a model to run it. docs/recipes.md describes the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Len

from edgevid.errors import FieldError, InputError
from edgevid.files.fields import Count, Share, check_fields
from edgevid.files.schema import Sha256, checked, matches, vars_of
from edgevid.runtime.letterbox import InputSpec

T = TypeVar("T")
Task = Literal["detect", "classify", "clip", "stream", "features", "head", "pose"]
Precision = Literal["fp32", "fp16", "int8"]
DecoderKind = Literal[
    "yolo", "yolox", "dfl", "fastestdet", "end-to-end", "batch-rows", "boxes-scores", "boxes-scores-labels"
]
OutputLayout = Literal["columns", "rows"]
BoxFormat = Literal["cxcywh", "xyxy"]
COCO: tuple[str, ...] = tuple(
    """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
    stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
    backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat,
    baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl,
    banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch,
    potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave,
    oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier,
    toothbrush""".replace("\n    ", " ").split(", ")
)
"""The 80 classes of COCO (T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", 2014)."""

CLASS_LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType({"coco": COCO})
"""Lists that a recipe may name instead of spelling out."""
OPEN_TABLES = ("clip", "stream", "features", "head", "pose", "quantize", "export", "trained")
"""Tables that belong to other modules: kept as they are in `Recipe.tables`, checked by their owners."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's file comes from and what it must be."""

    url: Annotated[str, matches("an http or https address of a file", r"(https?://[^/\s]+/\S+)?")] = ""
    """Address at the model's own project; empty for a file next to the recipe."""
    sha256: Sha256 = ""
    """Lower-case hexadecimal; empty where unknown, then the first download is pinned."""
    bytes: Count = 0
    """Size of the file; 0 where unknown."""
    license: str = ""
    """SPDX name of the license of the weights."""
    verified: bool = False
    """Whether the project compared the checksum with the file of that address."""
    note: str = ""
    """What a user should know before using it."""

    def __post_init__(self) -> None:
        if self.verified and not (self.sha256 and self.bytes):
            raise FieldError("source", "verified", "false, or sha256 and bytes with it", True)


@dataclass(frozen=True, slots=True)
class Decode:
    """How a detector's outputs become boxes; docs/recipes.md lists the keys of each kind."""

    kind: DecoderKind
    layout: OutputLayout = "columns"
    """"columns": anchors along the last axis (4 + C, N); "rows": (N, 4 + C)."""
    objectness: bool = False
    """Whether a fifth value of each anchor multiplies its classes (YOLOv5)."""
    box: BoxFormat | None = None
    """"cxcywh" center and size, or "xyxy" corners; None: "xyxy" for kind "end-to-end", else "cxcywh"."""
    normalized: bool = False
    """Whether boxes are fractions of the input's size."""
    logits: bool = False
    """Whether class values are logits, and a sigmoid makes scores of them."""
    strides: Annotated[tuple[Count, ...], Len(1)] = ()
    """Input pixels per cell of each level."""
    offset: Share = 0.5
    """Where the anchor sits in its cell."""
    score_threshold: Share = 0.25
    """Lowest score of a box unless the user sets another: model families spread their scores differently."""
    class_thresholds: tuple[Share, ...] = ()
    """Lowest score of each class, in the order of the names, unless the user sets another score."""
    nms_iou: Share | None = None
    """IoU above which the lower-scoring box is suppressed; None: the model suppresses duplicates itself."""
    masks: Annotated[int, Ge(0)] = 0
    """Mask coefficients after the other values of each box; a second output has as many prototypes."""
    keypoints: Annotated[int, Ge(0)] = 0
    """Key points after the other values of each box."""
    keypoint_values: Literal[2, 3] = 3
    """Values of a key point: 3 are x, y and confidence, 2 are x and y."""
    rotated: bool = False
    """Whether an angle in radians follows the other values of each box, which is center and size then."""

    def __post_init__(self) -> None:
        if bool(self.masks) + bool(self.keypoints) + self.rotated > 1:
            raise FieldError("decode", "", "one of masks, keypoints and rotated", "several")
        check_fields(self, "decode")

    @property
    def extra(self) -> int:
        """How many values of each box follow its classes: mask coefficients, key points or an angle."""
        return self.masks + self.keypoints * self.keypoint_values + int(self.rotated)

    @property
    def xyxy(self) -> bool:
        """Whether boxes are corners, not center and size."""
        return (self.box or ("xyxy" if self.kind == "end-to-end" else "cxcywh")) == "xyxy"

    @property
    def output_counts(self) -> tuple[int, ...]:
        """How many outputs the decoder reads: one of these counts."""
        if self.kind == "dfl":
            return 1, 2 * len(self.strides)
        if self.masks:
            return (2,)
        return ({"boxes-scores": 2, "boxes-scores-labels": 3}.get(self.kind, 1),)


EXTRA_KEYS = ("masks", "keypoints", "keypoint_values", "rotated")  # The keys of what may follow the classes of each box
DECODE_KEYS: Mapping[DecoderKind, tuple[str, ...]] = MappingProxyType(
    {
        "yolo": ("layout", "objectness", "box", "normalized", "logits", "nms_iou", *EXTRA_KEYS),
        "yolox": ("strides", "nms_iou"),
        "dfl": ("strides", "offset", "logits", "nms_iou"),
        "fastestdet": ("nms_iou",),
        "end-to-end": ("box", "normalized", *EXTRA_KEYS),
        "batch-rows": (),
        "boxes-scores": ("box", "normalized", "logits", "nms_iou"),
        "boxes-scores-labels": ("normalized",),
    }
)
"""The keys of each kind of decoder; all have SCORE_KEYS, too."""
SCORE_KEYS = ("score_threshold", "class_thresholds")


@dataclass(frozen=True, slots=True)
class AccuracyFloor:
    """The accuracy that a model must keep in one precision."""

    floor: float
    """The lowest accepted value of `metric`."""
    metric: str
    """What is measured: "AP50 of person"."""
    data: str = ""
    """What it is measured on."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model: what it is, where it comes from, its preprocessing and how its outputs are read."""

    name: str
    task: Task
    file: str
    """Name of the model's file."""
    path: Path
    """The recipe's own file; the model's folder for a draft that was never written."""
    summary: str = ""
    source: Source = Source()
    input: InputSpec | None = None
    """Preprocessing of image models; None for models that take no image."""
    input_name: str = ""
    """Name of the image's input; empty: the model's first."""
    outputs: tuple[str, ...] = ()
    """Names of the outputs to read, in the decoder's order; empty: all, in the model's order."""
    decode: Decode | None = None
    names: tuple[str, ...] = ()
    """Class names by label."""
    precisions: Mapping[str, AccuracyFloor] = field(default_factory=lambda: MappingProxyType({}))
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    """[clip], [stream], [quantize] and so on as they stand; `section` reads one with checks."""

    def section(self, name: str, kind: type[T], **defaults: Any) -> T:
        """The open table of this name as the dataclass `kind`; FileFormatError names each mistake in it."""
        return checked(kind, {**defaults, **self.tables.get(name, {})}, self.path, name=name)

    def with_local(self, path: Path) -> LocalRecipe:
        """The same recipe with its file on this machine."""
        return LocalRecipe(**vars_of(self, Recipe), local=path)


@dataclass(frozen=True, slots=True)
class LocalRecipe(Recipe):
    """A recipe whose model file is on this machine: what `resolve_model` gives."""

    local: Path = field(kw_only=True)
    """The model's file."""


@dataclass(frozen=True, slots=True)
class DetectorRecipe(Recipe):
    """The recipe of a detector: how frames become its input and its outputs become boxes is known."""

    input: InputSpec = field(kw_only=True)
    decode: Decode = field(kw_only=True)
    local: Path | None = None
    """The model's file, where it is on this machine."""

    @classmethod
    def of(cls, recipe: Recipe) -> DetectorRecipe:
        """The same recipe; InputError where it is not a detector's."""
        if recipe.task != "detect" or recipe.decode is None or recipe.input is None:
            hint = "; it classifies objects: give it as --actions" if recipe.task == "classify" else ""
            raise InputError(f"{recipe.name}: expected a recipe of task 'detect', got {recipe.task!r}{hint}")
        return cls(**vars_of(recipe, Recipe), local=getattr(recipe, "local", None))
