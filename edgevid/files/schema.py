"""Files as dataclasses: read by pydantic with every mistake named, and described by a JSON Schema. A type's
limits stand in its annotations (`Ge`, `Le`, `Literal`, `Checked`); messages and schema follow from them.
pydantic is imported when a file is read, not before."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_type_hints

from edgevid.errors import FileFormatError
from edgevid.files.fields import ABSENT, UNKNOWN, mistakes_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
REQUIRED: Any = dataclasses.MISSING  # The default of a key that a file must have


@dataclass(frozen=True, slots=True)
class Checked:
    """In `Annotated`: what is expected beyond the type, and the conversion that checks it. `convert` gets the
    value and the file's folder, and raises ValueError for a value that is not expected."""

    expected: str
    convert: Callable[[Any, Path], Any] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """pydantic's hook: the type's own checks, then this one."""
        from pydantic_core import core_schema

        inner, convert = handler(source), self.convert
        if convert is None:
            return inner
        return core_schema.with_info_after_validator_function(lambda value, info: convert(value, info.context), inner)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Any:
        """pydantic's hook: the type's own schema, and what is expected in words."""
        return {**handler(core), "errorMessage": f"expected {self.expected}"}


@dataclass(frozen=True, slots=True)
class Tagged:
    """In `Annotated` of a union of dataclasses: the key whose words tell which of them a table is."""

    key: str

    def __get_pydantic_core_schema__(self, union: Any, handler: Any) -> Any:
        """pydantic's hook: one table for each word."""
        from pydantic_core import core_schema

        tables = {}
        for kind in get_args(union):
            for word in get_args(get_type_hints(kind)[self.key]):
                tables[word] = handler.generate_schema(kind)
        return core_schema.tagged_union_schema(tables, discriminator=self.key)


def matches(expected: str, pattern: str) -> Checked:
    """A text that a regular expression matches as a whole."""

    def convert(text: str, _: Path) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return Checked(expected, convert)


Sha256 = Annotated[str, matches("64 lower-case hexadecimal digits", "([0-9a-f]{64})?")]
"""Of a file; empty where unknown."""


def vars_of(value: Any, kind: Any = None) -> dict[str, Any]:
    """The fields of a dataclass by name, or those of `kind`, which it inherits from."""
    return {one.name: getattr(value, one.name) for one in dataclasses.fields(kind or value)}


def pick(kind: type, name: str, keys: tuple[str, ...], /, **defaults: Any) -> Any:
    """A dataclass `name` of some fields of dataclass `kind`: a table of a file that holds a part of it.
    `defaults` replace those of `kind`; REQUIRED takes one away. A key that is not among `keys` is a required
    field, of that type."""
    hints, found = get_type_hints(kind, include_extras=True), {f.name: f for f in dataclasses.fields(kind)}
    fields: list[Any] = [(key, hint) for key, hint in defaults.items() if key not in keys]
    for key in keys:
        one = dataclasses.field(default=defaults.get(key, found[key].default), kw_only=True)
        if found[key].default_factory is not REQUIRED and key not in defaults:
            one = dataclasses.field(default_factory=found[key].default_factory, kw_only=True)
        fields.append((key, hints[key], one))
    return dataclasses.make_dataclass(name, fields, frozen=True, namespace={"picked_from": kind})


def checked(kind: type[T], values: Mapping[str, Any], path: Path, *, name: str = "",
            expand: Callable[[Any, Path, list[FileFormatError]], Any] | None = None) -> T:  # fmt: skip
    """The dataclass `kind` of a file's values; FileFormatError names every mistake. `name` is the table's,
    where the values are not the whole file. `expand` replaces variables before the checks, and adds its own
    mistakes; messages show the values as they stand in the file."""
    from pydantic import ValidationError

    adapter = _adapter(kind)  # type: ignore[arg-type]
    # As JSON, whose arrays become tuples in strict mode, too; a date is no value of any key.
    found: list[FileFormatError] = []
    known = expand(values, path, found) if expand else values
    found = list({one.sentence: one for one in found}.values())
    text = json.dumps(known, default=lambda date: [str(date)])
    errors: list[Any] = []
    while True:
        try:
            read: T = adapter.validate_json(text, context=path.parent)
            break
        except ValidationError as error:
            errors += error.errors(include_url=False)
        # Checks across keys come after those of each key: again, without the unknown ones.
        known = json.loads(text)
        if not sum(_drop(known, error["loc"]) for error in errors if error["type"] == UNKNOWN):
            break
        text = json.dumps(known)
    if errors or found:
        missing = {one.key for one in found}
        more = mistakes_of(errors, _schema(kind), values, path, name)  # type: ignore[arg-type]
        found += [one for one in more if one.key not in missing]
        places = {key: place for place, key in enumerate(values)}
        found.sort(key=lambda one: places.get(re.split("[. ]", one.key)[0], -1))
        raise FileFormatError.of(found)
    return read


def _drop(values: Any, keys: tuple[Any, ...]) -> bool:
    """Deletes the value at `keys`; whether it was there. A key that is not there tags a variant."""
    for key in keys[:-1]:
        values = values[key] if isinstance(values, list) or key in values else values
    return values.pop(keys[-1], ABSENT) is not ABSENT


def json_schema(kind: type) -> dict[str, Any]:
    """The JSON Schema of a file, with the descriptions of the dataclasses' docstrings."""
    from pydantic.json_schema import GenerateJsonSchema

    class Described(GenerateJsonSchema):
        def dataclass_schema(self, schema: Any) -> Any:
            found = super().dataclass_schema(schema)
            for key, text in _field_docs(schema["cls"]).items():
                if key in found["properties"]:
                    found["properties"][key] = {"description": text, **found["properties"][key]}
            for one in found["properties"].values():
                if one.get("default", ABSENT) is None:
                    del one["default"]
            doc = schema["cls"].__doc__ or ""
            if doc and not doc.startswith(f"{schema['cls'].__name__}("):  # pydantic 2.13 has it already
                found.setdefault("description", inspect.cleandoc(doc))
            return found

        def nullable_schema(self, schema: Any) -> Any:  # a key that may be left out: TOML has no null
            return self.generate_inner(schema["schema"])

        def field_title_should_be_set(self, schema: Any) -> bool:
            return False

    return _adapter(kind).json_schema(schema_generator=Described)


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    if "__pydantic_config__" not in vars(kind):  # tables inside inherit it
        kind.__pydantic_config__ = {"extra": "forbid", "strict": True}
    return TypeAdapter(kind)


@lru_cache
def _schema(kind: Any) -> dict[str, Any]:
    return _adapter(kind).json_schema()


def _field_docs(kind: type) -> dict[str, str]:
    """What stands under the fields of a dataclass, or on their lines, and under those it inherits."""
    found: dict[str, str] = {}
    for base in reversed([base for base in kind.__mro__ if dataclasses.is_dataclass(base)]):
        source = textwrap.dedent(inspect.getsource(vars(base).get("picked_from", base)))
        body, lines = ast.parse(source).body[0].body, source.encode().splitlines()  # type: ignore[attr-defined]
        for field, doc in pairwise([*body, None]):
            if isinstance(field, ast.AnnAssign):
                end = lines[field.end_lineno - 1][field.end_col_offset :].decode()  # type: ignore[operator]
                under = inspect.cleandoc(doc.value.value) if isinstance(doc, ast.Expr) else ""  # type: ignore[attr-defined]
                comment = end.partition("#")[2].strip()
                if under or comment:
                    found[field.target.id] = under or f"{comment.removesuffix('.')}."  # type: ignore[union-attr]
    return found
