"""Recipe files: read with every mistake named, and written back. docs/recipes.md describes them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from edgevid.errors import did_you_mean
from edgevid.files.atomic import write_atomic
from edgevid.files.toml import Section, read_toml, toml_table
from edgevid.runtime.letterbox import PAD, InputSpec
from edgevid.runtime.recipe import (
    CLASS_LISTS,
    DECODE_KEYS,
    OPEN_TABLES,
    AccuracyFloor,
    BoxFormat,
    Decode,
    OutputLayout,
    Precision,
    Recipe,
    Source,
    Task,
)


def read_recipe(path: str | Path) -> Recipe:
    """The recipe of a file, or of the folder that holds `recipe.toml`; FileFormatError names each mistake."""
    path = Path(path)
    if path.is_dir():
        path = path / "recipe.toml"
    top = read_toml(path)
    model = top.table("model")
    task = model.text("task", choices=get_args(Task))
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
    """The table [source] of a recipe, or of a sample video."""
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
        table.fail("verified", "false, or sha256 and bytes with it", True)
    return source


def _input(table: Section) -> InputSpec:
    choices = InputSpec.CHOICES
    spec = InputSpec(
        width=table.integer("width", low=1),
        height=table.integer("height", low=1),
        color=table.text("color", "RGB", choices=choices["color"]),
        resize=table.text("resize", "letterbox", choices=choices["resize"]),
        anchor=table.text("anchor", "center", choices=choices["anchor"]),
        pad=table.number("pad", PAD, low=0, high=255),
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
    values: dict[str, Any] = {"score_threshold": table.number("score_threshold", 0.25, low=0, high=1)}
    if "strides" in DECODE_KEYS[kind]:
        values["strides"] = table.integers("strides")
    if "layout" in DECODE_KEYS[kind]:
        values["layout"] = table.text("layout", "columns", choices=get_args(OutputLayout))
    if "box" in DECODE_KEYS[kind] and "box" in table:
        values["box"] = table.text("box", choices=get_args(BoxFormat))
    for key in ("objectness", "normalized", "logits"):
        if key in DECODE_KEYS[kind]:
            values[key] = table.flag(key, False)
    if "offset" in DECODE_KEYS[kind]:
        values["offset"] = table.number("offset", 0.5, low=0, high=1)
    if "nms_iou" in DECODE_KEYS[kind] and "nms_iou" in table:
        values["nms_iou"] = table.number("nms_iou", low=0, high=1)
    table.done()
    return Decode(kind=kind, **values)


def _names(table: Section) -> tuple[str, ...]:
    classes = table.raw("classes")
    if isinstance(classes, str):
        if classes not in CLASS_LISTS:
            expected = f"a list of texts or one of {', '.join(CLASS_LISTS)}"
            table.fail("classes", expected + did_you_mean(classes, CLASS_LISTS), classes)
        names = CLASS_LISTS[classes]
    else:
        names = table.texts("classes") if table.keys() else ()
    table.done()
    if len(set(names)) != len(names):
        table.fail("classes", "names that differ", sorted(n for n in set(names) if names.count(n) > 1))
    return names


def _precisions(table: Section) -> Mapping[str, AccuracyFloor]:
    found: dict[str, AccuracyFloor] = {}
    for name in get_args(Precision):
        if name not in table:
            continue
        inner = table.table(name)
        found[name] = AccuracyFloor(inner.number("floor"), inner.text("metric"), inner.text("data", ""))
        inner.done()
    table.done()
    return MappingProxyType(found)


def _check_outputs(recipe: Recipe) -> None:
    """The number of named outputs must be what the decoder reads."""
    if recipe.decode is None or not recipe.outputs or len(recipe.outputs) in recipe.decode.output_counts:
        return
    expected = " or ".join(map(str, recipe.decode.output_counts))
    Section(recipe.path, "output", {}).fail(
        "names",
        f"{expected} name{'s' * (expected != '1')} for decoder {recipe.decode.kind!r}",
        list(recipe.outputs),
    )


def write_recipe(recipe: Recipe, path: Path, *, comment: str = "") -> None:
    """Writes `recipe` as TOML that `read_recipe` reads back, with `comment` on top.

    The tables of other modules are left out.
    """
    lines = [f"# {line}" for line in comment.splitlines()]
    head = {k: getattr(recipe, k) for k in ("name", "task", "file", "summary")}
    lines += _table("model", head)
    lines += _table("source", dataclasses.asdict(recipe.source))
    if recipe.input:
        lines += _table("input", {"name": recipe.input_name, **dataclasses.asdict(recipe.input)})
    if recipe.outputs:
        lines += _table("output", {"names": recipe.outputs})
    if recipe.decode:
        keys = ("kind", *DECODE_KEYS[recipe.decode.kind], "score_threshold")
        lines += _table("decode", {key: getattr(recipe.decode, key) for key in keys})
    if recipe.names:
        known = next((n for n, names in CLASS_LISTS.items() if names == recipe.names), recipe.names)
        lines += _table("names", {"classes": known})
    for name, precision in recipe.precisions.items():
        lines += _table(f"precision.{name}", dataclasses.asdict(precision))
    write_atomic(path, "\n".join(lines).strip() + "\n")


def _table(title: str, values: dict[str, Any]) -> list[str]:
    """The table's lines; unknown values (empty text, no number, source's false) are left out."""
    known = {k: v for k, v in values.items() if v != "" and not (title == "source" and not v)}
    return toml_table(title, known)
