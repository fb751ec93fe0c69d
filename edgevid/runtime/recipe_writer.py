"""Recipes written as TOML."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from edgevid.files.atomic import write_atomic
from edgevid.files.toml import toml_table
from edgevid.runtime.class_names import CLASS_LISTS
from edgevid.runtime.recipe import DECODE_KEYS, Recipe


def write_recipe(recipe: Recipe, path: Path, *, comment: str = "") -> None:
    """Writes `recipe` as TOML that `read_recipe` reads back, with `comment` on top."""
    write_atomic(path, recipe_text(recipe, comment=comment))


def recipe_text(recipe: Recipe, *, comment: str = "") -> str:
    """The recipe as TOML; open tables are left to their owners."""
    lines = [f"# {line}" for line in comment.splitlines()]
    head = {k: getattr(recipe, k) for k in ("name", "task", "file", "summary")}
    lines += _table("model", head)
    lines += _table("source", dataclasses.asdict(recipe.source))
    if recipe.input:
        lines += _table("input", {"name": recipe.input_name, **dataclasses.asdict(recipe.input)})
    if recipe.outputs:
        lines += _table("output", {"names": recipe.outputs})
    if recipe.decode:
        asked = {k: getattr(recipe.decode, k) for k in (*DECODE_KEYS[recipe.decode.kind], "score")}
        lines += _table("decode", {"kind": recipe.decode.kind, **asked})
    if recipe.names:
        known = next((n for n, names in CLASS_LISTS.items() if names == recipe.names), recipe.names)
        lines += _table("names", {"classes": known})
    for name, precision in recipe.precisions.items():
        lines += _table(f"precision.{name}", dataclasses.asdict(precision))
    return "\n".join(lines).strip() + "\n"


def _table(title: str, values: dict[str, Any]) -> list[str]:
    """The table's lines; unknown values (empty text, no number, source's false) are left out."""
    known = {k: v for k, v in values.items() if v != "" and not (title == "source" and not v)}
    return toml_table(title, known)
