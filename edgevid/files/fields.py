"""The values that fields of a dataclass may have, as `Annotated[float, Ge(0), Le(1)]` or `Literal` says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le

from edgevid.errors import LISTED, FieldError, FileFormatError, did_you_mean

Count = Annotated[int, Ge(1)]  # A whole number from 1
Positive = Annotated[float, Ge(0)]  # 0 or more
Share = Annotated[float, Ge(0), Le(1)]  # 0 to 1
UNKNOWN = "unexpected_keyword_argument"  # pydantic's type of error for a key that a dataclass does not have
TABLE = {"properties", "additionalProperties", "oneOf"}  # Words of the schema of a table
ROWS = {"$ref", "oneOf"}  # Keys of the schema of a table in an array of tables
ABSENT: Any = object()  # What stands at a key that a file does not have


def check_fields(value: Any, name: str) -> None:
    """FieldError for the first field of the dataclass `value` with a number or word that its type excludes; None has
    no limits. `name` is what the message calls the value."""
    for key, choices in _choices(type(value)).items():  # type: ignore[arg-type]
        if (given := getattr(value, key)) not in choices:
            raise FieldError(name, key, one_of(choices), given)
    for key, (low, high) in field_limits(type(value)).items():  # type: ignore[arg-type]
        if (given := getattr(value, key)) is not None and not low <= given <= high:
            raise FieldError(name, key, number_text(low, high), given)


@lru_cache
def field_limits(kind: Any) -> dict[str, tuple[float, float]]:
    """The lowest and highest allowed value of each field of a dataclass that has limits."""
    limits: dict[str, tuple[float, float]] = {}
    for key, hint in get_type_hints(kind, include_extras=True).items():
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        low: Any = next((mark.ge for mark in marks if isinstance(mark, Ge)), -math.inf)
        high: Any = next((mark.le for mark in marks if isinstance(mark, Le)), math.inf)
        if (low, high) != (-math.inf, math.inf):
            limits[key] = low, high
    return limits


@lru_cache
def _choices(kind: Any) -> dict[str, tuple[Any, ...]]:
    """The words of each field that is a Literal."""
    return {key: get_args(hint) for key, hint in get_type_hints(kind).items() if get_origin(hint) is Literal}


def one_of(choices: Iterable[Any]) -> str:
    """ "one of 'a', 'b'"; a single choice stands alone."""
    options = [repr(choice) for choice in choices]
    return f"one of {', '.join(options)}" if len(options) > 1 else options[0]


def number_text(low: float = -math.inf, high: float = math.inf, *, kind: str = "a number") -> str:
    """What is expected of a number, for messages.

    >>> number_text(0, 1), number_text(1, kind="a whole number")
    ('a number from 0 to 1', 'a whole number of at least 1')
    """
    if math.isinf(high):
        return kind if math.isinf(low) else f"{kind} of at least {low:g}"
    return f"{kind} of at most {high:g}" if math.isinf(low) else f"{kind} from {low:g} to {high:g}"


def mistakes_of(errors: list[Any], schema: dict[str, Any], values: Mapping[str, Any], path: Path,
                name: str) -> list[FileFormatError]:  # fmt: skip
    """pydantic's errors about a file's `values` in edgevid's sentences: one for each key. `schema` is the JSON
    Schema of the file, `name` that of the table that it is about, "" for the whole."""
    found: dict[str, FileFormatError] = {}
    named: set[str] = set()  # misspelled keys that the sentence of the missing one names already
    for error in sorted(errors, key=lambda error: error["type"] == UNKNOWN):
        if len(found) > LISTED:  # more are not shown
            break
        place = _Place(schema, values, name)
        for number, step in enumerate(error["loc"], 1):
            if isinstance(step, str) and isinstance(place.value, Mapping) and TABLE.intersection(place.node):
                place.enter(step, last=number == len(error["loc"]))
            elif isinstance(place.value, list) and ROWS.intersection(place.node.get("items", {})):
                place.node = place.resolved(place.node.get("items", {}))
                place.value, place.name = place.value[step], f"{place.name} {step + 1}"
            else:  # a value inside a list: the message shows the whole list
                break
        one = _mistake(error, place, path, named)
        if one is not None:
            found.setdefault(one.key, one)
    return list(found.values())


def _mistake(error: Any, place: _Place, path: Path, named: set[str]) -> FileFormatError | None:
    """The sentence of one of pydantic's errors; None for a key that another sentence names."""
    reason = error.get("ctx", {}).get("error")
    if error["type"] == UNKNOWN:
        if place.name in named:
            return None
        known = sorted(place.parent.get("properties", {}))
        first = place.value[0] if isinstance(place.value, list) and place.value else place.value
        what = "table" if isinstance(first, dict) else "key"
        text = f"got an unknown {what}{did_you_mean(error['loc'][-1], known)}"
        return FileFormatError(path, place.name, expected=f"only {', '.join(known)}", got=None, text=text)
    if error["type"].startswith("union_tag"):  # of the key that tells which table it is
        kinds = {"enum": list(place.node["discriminator"]["mapping"])}
        place.enter(error["ctx"]["discriminator"].strip("'"), last=True)
        place.node = kinds
    elif isinstance(reason, FieldError):
        for key in reason.key.split(".") if reason.key else ():
            place.enter(key, last=True)
        if place.value is not ABSENT:
            got = place.value if reason.got is None else reason.got
            return FileFormatError(path, place.name, expected=reason.expected, got=got)
        place.node = {"errorMessage": f"expected {reason.expected}"}
    elif reason is not None and "errorMessage" not in place.node:
        expected, _, got = str(reason).partition(": expected ")[2].partition(", got ")
        text = f"got {got}" if expected else str(reason)
        return FileFormatError(path, place.name, expected=expected or "usable values", got=None, text=text)
    expected, text = _expected(place.node, place.name), f"got {place.value!r}{reason}" if reason else ""
    if place.value is ABSENT:
        text = "it is missing"
        key = place.name.rpartition(".")[2]
        others = [one for one in islice(place.siblings, 1000) if one not in place.parent.get("properties", {})]
        if like := next((one for one in others if did_you_mean(one, [key])), None):
            text += f"; found {like!r}; did you mean {key!r}?"
            named.add(place.name.removesuffix(key) + like)
    elif isinstance(place.value, str) and "enum" in place.node:
        text = f"got {place.value!r}{did_you_mean(place.value, map(str, place.node['enum']))}"
    return FileFormatError(path, place.name, expected=expected, got=place.value, text=text)


def _expected(node: Mapping[str, Any], name: str) -> str:
    """What a schema allows, in words."""
    if "errorMessage" in node:
        return str(node["errorMessage"]).removeprefix("expected ")
    if "enum" in node or "const" in node:
        return one_of(node.get("enum") or [node["const"]])
    kind, key = node.get("type", "object"), name.rpartition(".")[2]
    if kind in ("number", "integer"):
        low, high = node.get("minimum", -math.inf), node.get("maximum", math.inf)
        return number_text(low, high, kind="a number" if kind == "number" else "a whole number")
    if kind == "array":
        return _expected_list(node, key)
    table = f"a table [{key}]" if " " not in key else f"tables [[{key.partition(' ')[0]}]]"
    return {"string": "a text", "boolean": "true or false"}.get(kind, table)


def _expected_list(node: Mapping[str, Any], key: str) -> str:
    items: Mapping[str, Any] = node.get("items") or next(iter(node.get("prefixItems", ())), {})
    if items.get("type") == "object" or ROWS.intersection(items):
        return f"tables [[{key}]]"
    one = _expected(items, "")
    many = one.removeprefix("a ").replace("number", "numbers").replace("text", "texts")
    count = f"{node['minItems']} " if node.get("minItems") == node.get("maxItems", -1) else ""
    return f"a list of {count}{many}"


class _Place:
    """A key of a file: its dotted name, its part of the schema, its value, and its table's."""

    def __init__(self, schema: dict[str, Any], values: Any, name: str) -> None:
        self._schema = schema
        self.name, self.node, self.value = name, self.resolved(schema), values
        self.parent: dict[str, Any] = {}
        self.siblings: Mapping[str, Any] = {}

    def enter(self, key: str, *, last: bool) -> None:
        """Goes to a key of the table; one that a file does not have, and is not the last, tags a variant."""
        if last or key in self.value:
            self.parent, self.siblings = self.node, {} if self.value is ABSENT else self.value
            inner = self.node.get("properties", {}).get(key, self.node.get("additionalProperties"))
            self.node = self.resolved(inner or {})
            self.value = self.siblings.get(key, ABSENT)
            self.name += f".{key}" if self.name else key
        elif "oneOf" in self.node:
            self.node = self.resolved({"$ref": self.node["discriminator"]["mapping"][key]})

    def resolved(self, node: Any) -> dict[str, Any]:
        node = node if isinstance(node, dict) else {}
        while "$ref" in node or ("anyOf" in node and "errorMessage" not in node):
            if "anyOf" in node:
                node = next(one for one in node["anyOf"] if one.get("type") != "null")
            else:
                words = {"errorMessage": node["errorMessage"]} if "errorMessage" in node else {}
                node = self._schema["$defs"][node["$ref"].rpartition("/")[2]] | words
        return dict(node)
