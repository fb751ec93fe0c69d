"""`edgevid schema`: what it prints describes every file that edgevid has, with a text for every key."""

from __future__ import annotations

import copy
import functools
import json
import operator
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from edgevid import cli
from edgevid.cli.report import FILES, KINDS, file_schema
from edgevid.errors import FileFormatError
from edgevid.files.schema import checked
from edgevid.files.toml import parse_toml

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file", FILES)
def test_the_printed_schema_describes_every_key(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["schema", file])
    assert stop.value.code == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["title"] == f"edgevid {file}" + (" file" if file in EXAMPLES else "")
    assert schema["$schema"].endswith("2020-12/schema")
    tables = [("", schema), *schema.get("$defs", {}).items()]
    for name, table in tables:
        for key, value in table.get("properties", {}).items():
            assert value.get("description") or "const" in value or "$ref" in value, (name, key)


def test_an_unknown_file_is_named_with_the_similar_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["schema", "recipes"])
    assert stop.value.code == 2
    assert "got 'recipes'; did you mean 'recipe'?" in " ".join(capsys.readouterr().err.split())


def known(schema: dict[str, Any], node: dict[str, Any], value: Any) -> bool:
    """Whether every key of `value` is a property of the schema: enough to see what a file adds."""
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    options = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if options:
        return any(known(schema, option, value) for option in options)
    if isinstance(value, dict) and "properties" in node:
        return all(k in node["properties"] and known(schema, node["properties"][k], v) for k, v in value.items())
    if isinstance(value, list) and "$ref" in node.get("items", {}):
        return all(known(schema, node["items"], one) for one in value)
    return True


FILES_HERE = [("recipe", path) for path in sorted(ROOT.glob("engines/*/recipe.toml"))]
FILES_HERE += [("calibration", path) for path in sorted(ROOT.glob("calibration/camera/*.toml"))]
FILES_HERE += [("policy", path) for path in sorted(ROOT.glob("calibration/confidence/*.toml"))]


@pytest.mark.parametrize(("file", "path"), FILES_HERE, ids=lambda one: getattr(one, "stem", one))
def test_the_files_that_come_with_edgevid_fit_their_schema(file: str, path: Path) -> None:
    schema = file_schema(file)
    values = parse_toml(path.read_text())
    assert known(schema, schema, values)
    assert not known(schema, schema, values | {"unknown": 1})


def test_the_example_of_the_guide_fits_the_schema_of_a_site() -> None:
    example = (ROOT / "docs" / "site.md").read_text().split("```toml\n")[1].split("```")[0]
    schema = file_schema("site")
    assert known(schema, schema, parse_toml(example))


WRONG: list[Any] = [3, -1, float("nan"), "x", "", True, date(2020, 1, 1)]
WRONG += [[], [1], [[1, 2]], [{}], {}, {"a": 1}, [[0, 0], [1, 0], [1, 1]]]
EXAMPLES: dict[str, dict[str, Any]] = {
    "site": parse_toml((ROOT / "docs" / "site.md").read_text().split("```toml\n")[1].split("```")[0]),
    "recipe": parse_toml((ROOT / "engines" / "yolox-nano-416" / "recipe.toml").read_text()),
    "calibration": parse_toml((ROOT / "calibration" / "camera" / "gantry_road.toml").read_text()),
    "policy": parse_toml(
        'format = "edgevid-policy 1"\nnames = ["a", "b"]\ndecide.threshold = 0.5\ndecide.per_class.a = 0.6\n'
        "[evidence]\nmemory_s = 3\n[speed]\nmax_share = 0.1\n[tuned]\nquantiles = [0, 0.5, 1]\n"
    ),
}


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside of tables, lists and lists of tables."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value[:2]):
        yield (*way, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*way, key))


@pytest.mark.parametrize("file", EXAMPLES)
def test_any_wrong_value_is_a_sentence(file: str, tmp_path: Path) -> None:
    wrong_values = 0
    for way in places(EXAMPLES[file]):
        for wrong in WRONG:
            values = copy.deepcopy(EXAMPLES[file])
            functools.reduce(operator.getitem, way[:-1], values)[way[-1]] = wrong
            try:
                checked(resolve_name(f"edgevid.{KINDS[file]}"), values, tmp_path / "a.toml")
            except FileFormatError:
                wrong_values += 1
    assert wrong_values > 5 * len(list(places(EXAMPLES[file])))
