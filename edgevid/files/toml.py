"""TOML files: read as values, which `files.schema` checks, and written as text."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgevid.errors import FileFormatError, InputError, check_type

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


Row = Mapping[str, Any]
parse_toml = tomllib.loads  # The values of a text; ValueError where it is not TOML


def read_toml(path: str | Path) -> dict[str, Any]:
    """The file's values; InputError where it cannot be read, FileFormatError where it is not TOML."""
    check_type(path, (str, Path), "a TOML file", "its path")
    path = Path(path)
    try:
        values = parse_toml(path.read_text(encoding="utf-8-sig"))
        _must_be_64_bit(values)
        return values
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number of a thousand digits
        raise FileFormatError(path, "the whole file", expected="TOML", got=str(error)) from None
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{path}: there is no such file; check the path") from None
        raise InputError(f"{path}: cannot be read: {error.strerror}; check its permissions") from None


def _must_be_64_bit(value: Any) -> None:
    """ValueError for integers beyond 64 bits, which TOML does not have but Python reads."""
    if isinstance(value, dict):
        for inner in value.values():
            _must_be_64_bit(inner)
    elif isinstance(value, list):
        for inner in value:
            _must_be_64_bit(inner)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number with more than 64 bits")


def toml_value(value: Any) -> str:
    """One value as TOML: a text, number, flag, path, array, or list or tuple of these.

    >>> toml_value(("a \\"b\\"", 2, 0.5, True))
    '["a \\\\"b\\\\"", 2, 0.5, true]'
    """
    value = value.tolist() if hasattr(value, "tolist") else value  # arrays and scalars of NumPy
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, (str, Path)):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int):  # and bool
        return json.dumps(value)
    raise TypeError(f"TOML has no value for {value!r}: expected a text, number, flag or list")


def toml_text(tables: Mapping[str, Sequence[Row]], *, head: str = "") -> str:
    """A file of tables, each with a title as for `toml_table`, and its rows; `head` stands before them."""
    lines = [line for title, rows in tables.items() for row in rows for line in toml_table(title, row)]
    return "\n".join([head, *lines]).lstrip("\n") + "\n"


def toml_table(title: str, values: Mapping[str, Any], *, comment: str = "") -> list[str]:
    """The lines of table [title], after an empty line; without a title only the keys, without values nothing.

    A title of "[zone]" begins one of an array of tables; keys whose value is None are left out.
    """
    lines = [
        f"{key if re.fullmatch(r'[A-Za-z0-9_-]+', key) else toml_value(key)} = {toml_value(value)}"
        for key, value in values.items()
        if value is not None
    ]
    head = ["", f"[{title}]" + f"  # {comment}" * bool(comment)] if title else []
    return head + lines if lines else []
