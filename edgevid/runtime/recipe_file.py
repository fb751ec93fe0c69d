"""Recipe files: read with every mistake named, and written back. docs/recipes.md describes them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast

from edgevid.errors import FieldError, did_you_mean
from edgevid.files.atomic import write_atomic
from edgevid.files.schema import REQUIRED, Checked, checked, matches, pick, vars_of
from edgevid.files.toml import read_toml, toml_table
from edgevid.runtime.letterbox import InputSpec
from edgevid.runtime.recipe import (
    CLASS_LISTS,
    DECODE_KEYS,
    EXTRA_KEYS,
    OPEN_TABLES,
    SCORE_KEYS,
    AccuracyFloor,
    Decode,
    Recipe,
    Source,
    Task,
)

Table = Mapping[str, Any]


@dataclass(frozen=True)
class ModelTable:
    """What the model is."""

    name: Annotated[str, matches("lower-case letters, digits, '-' and '.'", r"[a-z0-9][a-z0-9.-]*")]
    """The name of the recipe's folder."""
    task: Task
    """What it does."""
    file: Annotated[str, matches("the name of a file, without a folder", r"(?!\.\.?$)[^/\\]+")]
    """The model's file."""
    summary: str = ""
    """One line for `edgevid models list`."""


@dataclass(frozen=True)
class InputTable(InputSpec):
    """The image that the model expects."""

    name: str = ""
    """The input's name; the first if left out."""


@dataclass(frozen=True)
class OutputTable:
    """The outputs to read."""

    names: tuple[str, ...] = ()
    """In the decoder's order; all if left out."""


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

    fp32: AccuracyFloor | None = None
    """In 32-bit floating point."""
    fp16: AccuracyFloor | None = None
    """In 16-bit floating point."""
    int8: AccuracyFloor | None = None
    """Quantized."""


@dataclass(frozen=True)
class RecipeFile:
    """A recipe: all that must be known of a model to run it."""

    model: ModelTable
    source: Source = Source()
    input: InputTable | None = None
    output: OutputTable = OutputTable()
    decode: Annotated[Decode, Decoders()] | None = None
    """How a detector's outputs become boxes."""
    names: NamesTable | None = None
    precision: PrecisionTable = PrecisionTable()
    clip: Table = field(default_factory=dict)
    """Clips of a recognizer (docs/actions.md)."""
    stream: Table = field(default_factory=dict)
    """States of a streaming recognizer."""
    features: Table = field(default_factory=dict)
    """Outputs of a feature extractor."""
    head: Table = field(default_factory=dict)
    """Inputs and schedule of a temporal head."""
    pose: Table = field(default_factory=dict)
    """Outputs of a pose model."""
    quantize: Table = field(default_factory=dict)
    """Settings of `edgevid quantize`."""
    export: Table = field(default_factory=dict)
    """How the model was exported."""
    trained: Table = field(default_factory=dict)
    """Hashes of the clips and scenes that it was trained on (docs/evaluate.md)."""

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
    path = Path(path)
    if path.is_dir():
        path = path / "recipe.toml"
    values = read_toml(path)
    read = checked(RecipeFile, values, path)
    return Recipe(
        **vars_of(read.model),
        path=path,
        source=read.source,
        input_name=read.input.name if read.input else "",
        input=InputSpec(**vars_of(read.input, InputSpec)) if read.input else None,
        outputs=read.output.names,
        decode=read.decode,
        names=cast("tuple[str, ...]", read.names.classes) if read.names else (),
        precisions=MappingProxyType({k: v for k, v in vars_of(read.precision).items() if v is not None}),
        tables=MappingProxyType({name: values[name] for name in OPEN_TABLES if name in values}),
    )


def write_recipe(recipe: Recipe, path: Path, *, comment: str = "") -> None:
    """Writes `recipe` as TOML that `read_recipe` reads back, with `comment` on top."""
    lines = [f"# {line}" for line in comment.splitlines()]
    head = {k: getattr(recipe, k) for k in ("name", "task", "file", "summary")}
    lines += _table("model", head)
    lines += _table("source", dataclasses.asdict(recipe.source))
    if recipe.input:
        lines += _table("input", {"name": recipe.input_name, **dataclasses.asdict(recipe.input)})
    if recipe.outputs:
        lines += _table("output", {"names": recipe.outputs})
    if recipe.decode:
        plain, values = Decode(recipe.decode.kind), vars_of(recipe.decode)
        keys = ("kind", *DECODE_KEYS[recipe.decode.kind], *SCORE_KEYS)
        rare = (*EXTRA_KEYS, "class_thresholds")
        used = (key for key in keys if key not in rare or values[key] != getattr(plain, key))
        lines += _table("decode", {key: values[key] for key in used})
    if recipe.names:
        known = next((n for n, names in CLASS_LISTS.items() if names == recipe.names), recipe.names)
        lines += _table("names", {"classes": known})
    for name, precision in recipe.precisions.items():
        lines += _table(f"precision.{name}", dataclasses.asdict(precision))
    for name, table in recipe.tables.items():
        lines += _table(name, dict(table))
    write_atomic(path, "\n".join(lines).strip() + "\n")


def _table(title: str, values: dict[str, Any]) -> list[str]:
    """The table's lines; unknown values (empty text, no number, source's false) are left out."""
    known = {k: v for k, v in values.items() if v != "" and not (title == "source" and not v)}
    return toml_table(title, known)
