"""Recipes: all that must be known of a model to run it, read with every mistake named, and written: docs/recipes.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, cast

from annotated_types import Ge, Len

from edgevid.errors import FieldError, InputError, did_you_mean
from edgevid.files import Count, Share, check_fields, read_toml, toml_text, write_atomic
from edgevid.files.schema import REQUIRED, Checked, Sha256, checked, matches, pick, vars_of
from edgevid.runtime.engine import InputSpec

T = TypeVar("T")
Task = Literal["detect", "classify", "clip", "stream", "features", "head", "pose"]
Precision = Literal["fp32", "fp16", "int8"]  # Number format of the weights and the arithmetic
DecoderKind = Literal["yolo", "yolox", "yunet", "dfl", "fastestdet", "end-to-end",
                      "batch-rows", "boxes-scores", "boxes-scores-labels"]  # fmt: skip
OutputLayout = Literal["columns", "rows"]
BoxFormat = Literal["cxcywh", "xyxy"]
COCO_CATEGORIES = tuple(Path(__file__).with_name("coco.txt").read_text(encoding="utf-8").splitlines())
"""COCO's classes by their category ids, 0 to 90, which leave gaps."""
COCO = tuple(name for name in COCO_CATEGORIES if not name.startswith("unused"))
"""The 80 classes of COCO (T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", 2014)."""

CLASS_LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType({"coco": COCO})  # Lists that a recipe may name
OPEN_TABLES = ("clip", "stream", "features", "head", "layout", "pose", "quantize", "export", "trained")
"""Tables that belong to other modules: kept as they are in `Recipe.tables`, checked by their owners."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's file comes from and what it must be."""

    url: Annotated[str, matches("an http or https address of a file", r"(https?://[^/\s]+/\S+)?")] = ""
    """Address at the model's own project; empty for a file next to the recipe."""
    sha256: Sha256 = ""  # Lower-case hexadecimal; empty where unknown, then the first download is pinned
    bytes: Count = 0  # Size of the file; 0 where unknown
    license: str = ""  # SPDX name of the license of the weights
    verified: bool = False  # Whether the project compared the checksum with the file of that address
    note: str = ""  # What a user should know before using it

    def __post_init__(self) -> None:
        if self.verified and not (self.sha256 and self.bytes):
            raise FieldError("source", "verified", "false, or sha256 and bytes with it", True)


@dataclass(frozen=True, slots=True)
class Decode:
    """How a detector's outputs become boxes; docs/recipes.md lists the keys of each kind."""

    kind: DecoderKind
    layout: OutputLayout = "columns"  # "columns": anchors along the last axis (4 + C, N); "rows": (N, 4 + C)
    objectness: bool = False  # Whether a fifth value of each anchor multiplies its classes (YOLOv5)
    box: BoxFormat | None = None  # "cxcywh" or "xyxy" (corners); None: "xyxy" for kind "end-to-end", else "cxcywh"
    normalized: bool = False  # Whether boxes are fractions of the input's size
    logits: bool = False  # Whether class values are logits, and a sigmoid makes scores of them
    strides: Annotated[tuple[Count, ...], Len(1)] = ()  # Input pixels per cell of each level
    offset: Share = 0.5  # Where the anchor sits in its cell
    score_threshold: Share = 0.25  # Lowest score of a box unless the user sets another; families of models differ
    class_thresholds: tuple[Share, ...] = ()  # Lowest score of each class, in their order, unless the user sets one
    nms_iou: Share | None = None  # IoU above which the lower-scoring box is suppressed; None: the model does so itself
    masks: Annotated[int, Ge(0)] = 0  # Mask coefficients that follow each box; a second output has as many prototypes
    keypoints: Annotated[int, Ge(0)] = 0  # Key points after the other values of each box
    keypoint_values: Literal[2, 3] = 3  # Values of a key point: 3 are x, y and confidence, 2 are x and y
    rotated: bool = False  # Whether an angle (radians) follows the values of each box, which is center and size then

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
        if self.kind == "yunet":
            return ((3 + bool(self.keypoints)) * len(self.strides),)
        if self.masks:
            return (2,)
        return ({"boxes-scores": 2, "boxes-scores-labels": 3}.get(self.kind, 1),)


EXTRA_KEYS = ("masks", "keypoints", "keypoint_values", "rotated")  # The keys of what may follow the classes of each box
DECODE_KEYS: Mapping[DecoderKind, Sequence[str]] = cast("Any", read_toml(Path(__file__).with_name("decoders.toml")))
"""The keys of each kind of decoder; all have SCORE_KEYS, too."""
SCORE_KEYS = ("score_threshold", "class_thresholds")


@dataclass(frozen=True, slots=True)
class AccuracyFloor:
    """The accuracy that a model must keep in one precision."""

    floor: float  # The lowest accepted value of `metric`
    metric: str  # What is measured: "AP50 of person"
    data: str = ""  # What it is measured on


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model: what it is, where it comes from, its preprocessing and how its outputs are read."""

    name: str
    task: Task
    file: str  # Name of the model's file
    path: Path  # The recipe's own file; the model's folder for a draft that was never written
    summary: str = ""
    source: Source = Source()
    input: InputSpec | None = None  # Preprocessing of image models; None for models that take no image
    input_name: str = ""  # Name of the image's input; empty: the model's first
    outputs: tuple[str, ...] = ()  # Outputs to read, in the decoder's order; empty: all, in the model's order
    decode: Decode | None = None
    names: tuple[str, ...] = ()  # Class names by label
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

    local: Path = field(kw_only=True)  # The model's file


@dataclass(frozen=True, slots=True)
class DetectorRecipe(Recipe):
    """The recipe of a detector: how frames become its input and its outputs become boxes is known."""

    input: InputSpec = field(kw_only=True)
    decode: Decode = field(kw_only=True)
    local: Path | None = None  # The model's file, where it is on this machine

    @classmethod
    def of(cls, recipe: Recipe) -> DetectorRecipe:
        """The same recipe; InputError where it is not a detector's."""
        if recipe.task != "detect" or recipe.decode is None or recipe.input is None:
            hint = "; it classifies objects: give it as --actions" if recipe.task == "classify" else ""
            raise InputError(f"{recipe.name}: expected a recipe of task 'detect', got {recipe.task!r}{hint}")
        return cls(**vars_of(recipe, Recipe), local=getattr(recipe, "local", None))


Table = Mapping[str, Any]


@dataclass(frozen=True)
class ModelTable:
    """What the model is."""

    name: Annotated[str, matches("lower-case letters, digits, '-' and '.'", r"[a-z0-9][a-z0-9.-]*")]
    """The name of the recipe's folder."""
    task: Task  # What it does
    file: Annotated[str, matches("the name of a file, without a folder", r"(?!\.\.?$)[^/\\]+")]  # The model's file
    summary: str = ""  # One line for `edgevid models list`


@dataclass(frozen=True)
class InputTable(InputSpec):
    """The image that the model expects."""

    name: str = ""  # The input's name; the first if left out


@dataclass(frozen=True)
class OutputTable:
    """The outputs to read."""

    names: tuple[str, ...] = ()  # In the decoder's order; all if left out


def _classes(value: Any, _: Path) -> tuple[str, ...]:
    if isinstance(value, str):
        if value not in CLASS_LISTS:
            raise ValueError(did_you_mean(value, CLASS_LISTS))
        return CLASS_LISTS[value]
    if twice := sorted({name for name in value if value.count(name) > 1}):
        raise FieldError("names", "", "names that differ", twice)
    return tuple(value)


@dataclass(frozen=True)
class NamesTable:
    """The model's classes."""

    classes: Annotated[str | tuple[str, ...], Checked(f"a list of texts or one of {', '.join(CLASS_LISTS)}", _classes)]
    """Names by label, or the name of a list."""


class Decoders:
    """In `Annotated`: one table [decode] for each kind of decoder, with its own keys."""

    def __get_pydantic_core_schema__(self, _: Any, handler: Any) -> Any:
        """pydantic's hook: one table for each `kind`."""
        from pydantic_core import core_schema

        tables = {}
        for kind, keys in DECODE_KEYS.items():
            own = {"strides": REQUIRED} if "strides" in keys else {}
            table = pick(Decode, f"Decode {kind}", (*keys, *SCORE_KEYS), kind=Literal[kind], **own)
            tables[kind] = handler.generate_schema(table)
        union = core_schema.tagged_union_schema(tables, discriminator="kind")
        return core_schema.no_info_after_validator_function(lambda table: Decode(**vars_of(table)), union)


@dataclass(frozen=True)
class PrecisionTable:
    """The accuracy that the model must keep."""

    fp32: AccuracyFloor | None = None  # In 32-bit floating point
    fp16: AccuracyFloor | None = None  # In 16-bit floating point
    int8: AccuracyFloor | None = None  # Quantized


@dataclass(frozen=True)
class RecipeFile:
    """A recipe: all that must be known of a model to run it."""

    model: ModelTable
    source: Source = Source()
    input: InputTable | None = None
    output: OutputTable = OutputTable()
    decode: Annotated[Decode, Decoders()] | None = None  # How a detector's outputs become boxes
    names: NamesTable | None = None
    precision: PrecisionTable = PrecisionTable()
    clip: Table = field(default_factory=dict)  # Clips of a recognizer (docs/actions.md)
    stream: Table = field(default_factory=dict)  # States of a streaming recognizer
    features: Table = field(default_factory=dict)  # Outputs of a feature extractor
    head: Table = field(default_factory=dict)  # Inputs and schedule of a temporal head
    layout: Table = field(default_factory=dict)  # Joints of the skeletons that a head takes
    pose: Table = field(default_factory=dict)  # Outputs of a pose model
    quantize: Table = field(default_factory=dict)  # Settings of `edgevid quantize`
    export: Table = field(default_factory=dict)  # How the model was exported
    trained: Table = field(default_factory=dict)  # Hashes of clips and scenes that it was trained on (docs/evaluate.md)

    def __post_init__(self) -> None:
        task = self.model.task
        needed = ("input", "names") * (task in ("detect", "classify")) + ("decode",) * (task == "detect")
        if lacking := [key for key in needed if getattr(self, key) is None]:
            raise FieldError("recipe", lacking[0], f"a table [{lacking[0]}]")
        if self.decode is not None and task != "detect":
            raise FieldError("recipe", "decode", "no table [decode], which belongs to task 'detect'", task)
        names, counts = self.output.names, self.decode.output_counts if self.decode else ()
        if self.decode and names and len(names) not in counts:
            expected = " or ".join(map(str, counts))
            expected += f" name{'s' * (expected != '1')} for decoder {self.decode.kind!r}"
            raise FieldError("recipe", "output.names", expected, list(names))


def read_recipe(path: str | Path) -> Recipe:
    """The recipe of a file, or of the folder that holds `recipe.toml`; FileFormatError names each mistake."""
    if (path := Path(path)).is_dir():
        path = path / "recipe.toml"
    values = read_toml(path)
    read = checked(RecipeFile, values, path)
    return Recipe(**vars_of(read.model), path=path, source=read.source, outputs=read.output.names, decode=read.decode,
                  input_name=read.input.name if read.input else "",
                  input=InputSpec(**vars_of(read.input, InputSpec)) if read.input else None,
                  names=cast("tuple[str, ...]", read.names.classes) if read.names else (),
                  precisions=MappingProxyType({k: v for k, v in vars_of(read.precision).items() if v is not None}),
                  tables=MappingProxyType({name: values[name] for name in OPEN_TABLES if name in values}))  # fmt: skip


def write_recipe(recipe: Recipe, path: Path, *, comment: str = "") -> None:
    """Writes `recipe` as TOML that `read_recipe` reads back, with `comment` on top."""
    tables: dict[str, Table] = {"model": {k: getattr(recipe, k) for k in ("name", "task", "file", "summary")}}
    tables["source"] = {k: v for k, v in vars_of(recipe.source).items() if v}
    if recipe.input:
        tables["input"] = {"name": recipe.input_name, **vars_of(recipe.input)}
    if recipe.outputs:
        tables["output"] = {"names": recipe.outputs}
    if recipe.decode:
        plain, values = Decode(recipe.decode.kind), vars_of(recipe.decode)
        keys = ("kind", *DECODE_KEYS[recipe.decode.kind], *SCORE_KEYS)
        rare = (*EXTRA_KEYS, "class_thresholds")
        used = (key for key in keys if key not in rare or values[key] != getattr(plain, key))
        tables["decode"] = {key: values[key] for key in used}
    if recipe.names:
        known = next((n for n, names in CLASS_LISTS.items() if names == recipe.names), recipe.names)
        tables["names"] = {"classes": known}
    tables |= {f"precision.{name}": vars_of(floor) for name, floor in recipe.precisions.items()}
    tables |= recipe.tables
    stated = {title: [{k: v for k, v in table.items() if v != ""}] for title, table in tables.items()}
    write_atomic(path, toml_text(stated, head="\n".join(f"# {line}" for line in comment.splitlines())))
