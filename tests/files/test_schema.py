"""Files as dataclasses: every mistake is one sentence with its key, expected and got; and the JSON Schema."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Le

from edgevid.errors import FieldError, FileFormatError
from edgevid.files.schema import REQUIRED, Checked, checked, json_schema, matches, pick, vars_of

PATH = Path("folder/a.toml")
COUNT = "count: expected a whole number of at least 1"
ROW = "; did you mean 'row'?"
SHORT = "; did you mean 'short'?"
KEYS = "code, count, flags, kind, path, row, share"


@dataclass(frozen=True)
class Row:
    """One of the rows."""

    name: str
    at: tuple[float, float] = (0.0, 0.0)
    """Where it is."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole file."""

    count: Annotated[int, Ge(1)]
    """How many."""
    share: Annotated[float, Ge(0), Le(1)] | None = None
    kind: Literal["long", "short"] = "long"
    code: Annotated[str, matches("two digits", r"\d\d")] = "00"
    flags: tuple[bool, ...] = ()
    path: Annotated[Path, Checked("a path", lambda path, folder: folder / path)] = Path()
    row: tuple[Row, ...] = ()

    def __post_init__(self) -> None:
        if self.count == 13:
            raise FieldError("whole", "count", "a luckier number", self.count)
        if self.count == 14:
            raise FieldError("whole", "row", "rows, for 14")


def sentences(values: dict[str, Any], kind: type = Whole) -> list[str]:
    with pytest.raises(FileFormatError) as caught:
        checked(kind, values, PATH)
    return [str(one) for one in caught.value.mistakes]


def test_values_become_the_dataclass() -> None:
    read = checked(Whole, {"count": 2, "share": 1, "path": "b", "row": [{"name": "x", "at": [1, 2.5]}]}, PATH)
    assert read == Whole(2, 1.0, path=Path("folder/b"), row=(Row("x", (1.0, 2.5)),))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, f"{COUNT}, got 0"),
        ({"count": 1.5}, "count: expected a whole number of at least 1, got 1.5"),
        ({"count": True}, "count: expected a whole number of at least 1, got True"),
        ({"count": "1"}, "count: expected a whole number of at least 1, got '1'"),
        ({}, "count: expected a whole number of at least 1, it is missing"),
        ({"cuont": 1}, f"{COUNT}, it is missing; found 'cuont'; did you mean 'count'?"),
        ({"count": 1, "share": 2}, "share: expected a number from 0 to 1, got 2"),
        ({"count": 1, "kind": "shrot"}, "kind: expected one of 'long', 'short', got 'shrot'" + SHORT),
        ({"count": 1, "code": "7"}, "code: expected two digits, got '7'"),
        ({"count": 1, "flags": [True, 1]}, "flags: expected a list of true or false, got [True, 1]"),
        ({"count": 1, "row": 3}, "row: expected tables [[row]], got 3"),
        ({"count": 1, "row": [{"name": 3}]}, "row 1.name: expected a text, got 3"),
        ({"count": 1, "row": [{"name": "x", "at": [1]}]}, "row 1.at: expected a list of 2 numbers, got [1]"),
        ({"count": 1, "rows": [{"name": "x"}]}, f"rows: expected only {KEYS}, got an unknown table" + ROW),
        ({"count": 13}, "count: expected a luckier number, got 13"),
        ({"count": 14}, "row: expected rows, for 14, it is missing"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(values: dict[str, Any], sentence: str) -> None:
    assert sentences(values) == [f"{PATH}: {sentence}"]


def test_all_mistakes_are_reported_one_on_a_line() -> None:
    values = {"count": 0, "kind": 3, "row": [{"name": "a"}, {"nam": "b", "at": [1, 2, 3]}], "other": 1}
    found = sentences(values)
    assert [one.split(": ")[1] for one in found] == ["count", "kind", "row 2.name", "row 2.at", "other"]
    with pytest.raises(FileFormatError) as caught:
        checked(Whole, values, PATH)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{PATH}: 5 mistakes"
    assert lines[1] == "  count: expected a whole number of at least 1, got 0"
    assert len(lines) == 6


def test_a_file_of_many_mistakes_lists_the_first_ones() -> None:
    values = {f"key{number}": 1 for number in range(20_000)} | {"count": 0}
    before = time.process_time()
    with pytest.raises(FileFormatError) as caught:
        checked(Whole, values, PATH)
    assert time.process_time() - before < 1.5
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{PATH}: more than 50 mistakes"
    assert len(lines) - 1 == len(caught.value.mistakes) == 50
    assert sentences({f"key{number}": 1 for number in range(5000)})[0].endswith("it is missing")


def test_a_long_value_is_clipped_and_a_mistake_is_listed_once() -> None:
    (sentence,) = sentences({"count": 1, "kind": "x" * 100_000})
    assert len(sentence) < 700
    assert "got 'xxx" in sentence

    def expand(values: Any, path: Path, mistakes: list[FileFormatError]) -> Any:
        mistakes += [FileFormatError(path, "code", expected="a variable", got=None, text="it is not")] * 3
        return values

    with pytest.raises(FileFormatError) as caught:
        checked(Whole, {"count": 1}, PATH, expand=expand)
    assert [one.key for one in caught.value.mistakes] == ["code"]


def test_checks_across_keys_are_made_next_to_an_unknown_key() -> None:
    assert [one.split(": ")[1] for one in sentences({"count": 13, "other": 1})] == ["count", "other"]


def test_a_table_is_named_in_its_mistakes() -> None:
    with pytest.raises(FileFormatError, match=r"a\.toml: clip\.nam: expected only at, name"):
        checked(Row, {"name": "x", "nam": 1}, PATH, name="clip")


def test_a_part_of_a_dataclass_has_its_types_and_defaults() -> None:
    part = pick(Whole, "Part", ("share", "kind"), kind=REQUIRED)
    assert vars_of(checked(part, {"kind": "short"}, PATH)) == {"share": None, "kind": "short"}
    assert "kind: expected one of 'long', 'short', it is missing" in sentences({}, part)[0]


def test_the_schema_describes_keys_limits_and_words() -> None:
    schema = json_schema(Whole)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["description"] == "A whole file."
    keys = schema["properties"]
    assert keys["count"] == {"description": "How many.", "minimum": 1, "type": "integer"}
    assert keys["kind"]["enum"] == ["long", "short"]
    assert keys["code"]["errorMessage"] == "expected two digits"
    assert schema["required"] == ["count"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Row"]["properties"]["at"]["description"] == "Where it is."
    assert json_schema(pick(Whole, "Part", ("count",)))["properties"]["count"]["description"] == "How many."


def test_sequences_of_points_are_arrays() -> None:
    @dataclass(frozen=True)
    class Shape:
        points: Sequence[tuple[float, float]]

    globals()["Shape"] = Shape
    assert checked(Shape, {"points": [[1, 2], [3, 4]]}, PATH).points == [(1.0, 2.0), (3.0, 4.0)]


def test_pydantic_is_imported_with_the_first_file(tmp_path: Path) -> None:
    code = (
        "import sys, edgevid, edgevid.site, edgevid.runtime.recipe; print('pydantic' in sys.modules);"
        "from edgevid.models.hub import recipes; recipes(); print('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["False", "True"]
