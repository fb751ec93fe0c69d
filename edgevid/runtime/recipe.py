"""Recipes: all that must be known of a model to run it, read from `recipe.toml` and checked.

docs/recipes.md describes the file. Nothing here runs a model or touches the network.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgevid.errors import did_you_mean
from edgevid.files.toml import Section, read_toml
from edgevid.runtime.class_names import CLASS_LISTS
from edgevid.types import InputSpec

TASKS = ("detect", "classify", "clip", "stream", "features", "head", "pose")
OPEN_TABLES = ("clip", "stream", "features", "head", "pose", "quantize", "export")
"""Tables that belong to other modules: kept as they are in `Recipe.tables`, checked by their owners."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's file comes from and what it must be."""

    url: str = ""
    """Address at the model's own project; empty for a file that lies beside the recipe."""
    sha256: str = ""
    """Lower-case hexadecimal; empty where unknown, then the first download is pinned."""
    bytes: int = 0
    """Size of the file; 0 where unknown."""
    license: str = ""
    """SPDX name of the license of the weights."""
    verified: bool = False
    """Whether the checksum was compared with the file of that address by the project."""
    note: str = ""
    """What a user should know before taking it."""


@dataclass(frozen=True, slots=True)
class Decode:
    """How a detector's outputs become boxes; docs/recipes.md says which keys each kind reads."""

    kind: str
    layout: str = "columns"
    """"columns": anchors along the last axis (4 + C, N); "rows": (N, 4 + C)."""
    objectness: bool = False
    """Whether a fifth value of each anchor multiplies its classes (YOLOv5)."""
    box: str | None = None
    """"cxcywh" center and size, or "xyxy" corners; None: the kind's usual, xyxy for "end-to-end" only."""
    normalized: bool = False
    """Whether boxes are fractions of the input's size."""
    logits: bool = False
    """Whether class values still want a sigmoid."""
    strides: tuple[int, ...] = ()
    """Input pixels a cell, one for each level."""
    offset: float = 0.5
    """Where the anchor sits in its cell."""
    score: float = 0.25
    """Least score that counts unless the user says otherwise: families spread their scores differently."""
    nms_iou: float | None = None
    """Overlap above which the lesser box goes; None: the model suppresses duplicates itself."""


DECODE_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "yolo": ("layout", "objectness", "box", "normalized", "logits", "nms_iou"),
        "yolox": ("strides", "nms_iou"),
        "dfl": ("strides", "offset", "logits", "nms_iou"),
        "fastestdet": ("nms_iou",),
        "end-to-end": ("box", "normalized"),
        "boxes-scores": ("box", "normalized", "logits", "nms_iou"),
        "boxes-scores-labels": ("normalized",),
    }
)
"""The keys that each kind of decoder reads."""

OUTPUT_COUNT: Mapping[str, int] = MappingProxyType(
    {"yolo": 1, "yolox": 1, "fastestdet": 1, "end-to-end": 1, "boxes-scores": 2, "boxes-scores-labels": 3}
)
"""How many outputs each kind takes; "dfl" takes one, or two for each stride."""


@dataclass(frozen=True, slots=True)
class Precision:
    """What a model keeps of its accuracy in one precision."""

    floor: float
    """The least accepted value of `metric`."""
    metric: str
    data: str = ""
    """What it is measured on."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model: what it is, where it comes from, how it is fed and how its answer is read."""

    name: str
    task: str
    file: str
    """Name of the model's file."""
    path: Path
    """The recipe itself; a folder's name for drafts that were never written."""
    summary: str = ""
    source: Source = Source()
    input: InputSpec | None = None
    """Preprocessing of image models; None for models that take no image."""
    input_name: str = ""
    """Name of the image's input; empty: the model's first."""
    outputs: tuple[str, ...] = ()
    """Names of the outputs to read, in the order that the decoder wants; empty: all, in the model's order."""
    decode: Decode | None = None
    names: tuple[str, ...] = ()
    """Class names by label."""
    precisions: Mapping[str, Precision] = field(default_factory=lambda: MappingProxyType({}))
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    """[clip], [stream], [quantize] and so on as they stand; `section` reads one with checks."""
    local: Path | None = None
    """The model's file on this machine, once it is known."""

    def section(self, name: str) -> Section:
        """The open table of this name (empty where absent), to be read key by key."""
        return Section(self.path, name, self.tables.get(name, {}))

    def with_local(self, path: Path) -> Recipe:
        """The same recipe with its file on this machine."""
        return dataclasses.replace(self, local=path)


def read_recipe(path: str | Path) -> Recipe:
    """The recipe of a file, or of the folder that holds `recipe.toml`; FileFormatError names each mistake."""
    path = Path(path)
    if path.is_dir():
        path = path / "recipe.toml"
    top = read_toml(path)
    model = top.table("model")
    task = model.text("task", choices=TASKS)
    image = top.table("input", optional=task not in ("detect", "classify"))
    recipe = Recipe(
        name=_name(model),
        task=task,
        file=_file(model),
        path=path,
        summary=model.text("summary", ""),
        source=read_source(top.table("source", optional=True)),
        input_name=image.text("name", ""),
        input=_input(image) if image.keys() else None,
        outputs=_outputs(top.table("output", optional=True)),
        decode=_decode(top.table("decode")) if task == "detect" else None,
        names=_names(top.table("names", optional=task not in ("detect", "classify"))),
        precisions=_precisions(top.table("precision", optional=True)),
        tables=MappingProxyType({t: top.table(t, optional=True)._values for t in OPEN_TABLES if t in top}),
    )
    model.done()
    top.done(also=OPEN_TABLES)
    _check_outputs(recipe)
    return recipe


def _name(model: Section) -> str:
    name = model.text("name")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        model.fail("name", "lower-case letters, digits, '-' and '.'", name)
    return name


def _file(model: Section) -> str:
    name = model.text("file")
    if Path(name).name != name or name in ("", ".", ".."):
        model.fail("file", "the name of a file, without a folder", name)
    return name


def read_source(table: Section) -> Source:
    """A table that says where a file comes from."""
    source = Source(
        url=table.text("url", ""),
        sha256=table.text("sha256", ""),
        bytes=table.integer("bytes", 0, low=1),
        license=table.text("license", ""),
        verified=table.flag("verified", False),
        note=table.text("note", ""),
    )
    table.done()
    if source.url and not re.match(r"https?://[^/\s]+/\S+$", source.url):
        table.fail("url", "an http or https address of a file", source.url)
    if source.sha256 and not re.fullmatch(r"[0-9a-f]{64}", source.sha256):
        table.fail("sha256", "64 lower-case hexadecimal digits", source.sha256)
    if source.verified and not (source.sha256 and source.bytes):
        table.fail("verified", "false, or sha256 and bytes beside it", True)
    return source


def _input(table: Section) -> InputSpec:
    choices = InputSpec.CHOICES
    spec = InputSpec(
        width=table.integer("width", low=1),
        height=table.integer("height", low=1),
        color=table.text("color", "RGB", choices=choices["color"]),
        resize=table.text("resize", "letterbox", choices=choices["resize"]),
        anchor=table.text("anchor", "center", choices=choices["anchor"]),
        pad=table.number("pad", 114.0, low=0, high=255),
        mean=_triple(table, "mean", (0.0, 0.0, 0.0)),
        std=_triple(table, "std", (255.0, 255.0, 255.0)),
        layout=table.text("layout", "NCHW", choices=choices["layout"]),
        dtype=table.text("dtype", "float32", choices=choices["dtype"]),
    )
    table.done()
    return spec


def _triple(table: Section, key: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
    a, b, c = table.numbers(key, default, count=3)
    if key == "std" and 0.0 in (a, b, c):
        table.fail(key, "numbers other than 0", [a, b, c])
    return a, b, c


def _outputs(table: Section) -> tuple[str, ...]:
    names = table.texts("names", ())
    table.done()
    return names


def _decode(table: Section) -> Decode:
    kind = table.text("kind", choices=DECODE_KEYS)
    asked: dict[str, Any] = {"score": table.number("score", 0.25, low=0, high=1)}
    if "strides" in DECODE_KEYS[kind]:
        asked["strides"] = table.integers("strides")
    if "layout" in DECODE_KEYS[kind]:
        asked["layout"] = table.text("layout", "columns", choices=("columns", "rows"))
    if "box" in DECODE_KEYS[kind] and "box" in table:
        asked["box"] = table.text("box", choices=("cxcywh", "xyxy"))
    for key in ("objectness", "normalized", "logits"):
        if key in DECODE_KEYS[kind]:
            asked[key] = table.flag(key, False)
    if "offset" in DECODE_KEYS[kind]:
        asked["offset"] = table.number("offset", 0.5, low=0, high=1)
    if "nms_iou" in table and "nms_iou" in DECODE_KEYS[kind]:
        asked["nms_iou"] = table.number("nms_iou", low=0, high=1)
    table.done()
    return Decode(kind=kind, **asked)


def _names(table: Section) -> tuple[str, ...]:
    given = table.raw("classes")
    if isinstance(given, str):
        if given not in CLASS_LISTS:
            expected = f"a list of texts or one of {', '.join(CLASS_LISTS)}"
            table.fail("classes", expected + did_you_mean(given, CLASS_LISTS), given)
        names = CLASS_LISTS[given]
    else:
        names = table.texts("classes") if table.keys() else ()
    table.done()
    if len(set(names)) != len(names):
        table.fail("classes", "names that differ", sorted(n for n in set(names) if names.count(n) > 1))
    return names


def _precisions(table: Section) -> Mapping[str, Precision]:
    found: dict[str, Precision] = {}
    for name in table.keys():  # noqa: SIM118 (a Section is no dict)
        if name not in ("fp32", "fp16", "int8"):
            table.fail(name, "fp32, fp16 or int8", name)
        inner = table.table(name)
        found[name] = Precision(inner.number("floor"), inner.text("metric"), inner.text("data", ""))
        inner.done()
    return MappingProxyType(found)


def _check_outputs(recipe: Recipe) -> None:
    """The number of named outputs must be what the decoder takes."""
    if recipe.decode is None or not recipe.outputs:
        return
    kind, given = recipe.decode.kind, len(recipe.outputs)
    allowed = (1, 2 * len(recipe.decode.strides)) if kind == "dfl" else (OUTPUT_COUNT[kind],)
    if given not in allowed:
        expected = " or ".join(str(n) for n in allowed)
        Section(recipe.path, "output", {}).fail(
            "names", f"{expected} names for decoder {kind!r}", list(recipe.outputs)
        )
