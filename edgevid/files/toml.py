"""TOML files: read key by key, so that an error names file, key, expected and got; written as text."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, overload

from edgevid.errors import FileFormatError, InputError, check_type, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

C = TypeVar("C")
MISSING: Any = object()
"""Default of a required key."""


def read_toml(path: str | Path) -> Section:
    """The file's top table; InputError where it cannot be read, FileFormatError where it is not TOML."""
    check_type(path, (str, Path), "a TOML file", "its path")
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        _must_be_64_bit(values)
        return Section(path, "", values)
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number of a thousand digits
        raise FileFormatError(path, "the whole file", expected="TOML", got=str(error)) from None
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{path}: there is no such file; check the path") from None
        raise InputError(
            f"{path}: cannot be read: {error.strerror}; check the path and its permissions"
        ) from None


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


class Section:
    """A table that is read key by key; `done` rejects the keys that were not read."""

    def __init__(self, path: Path, name: str, values: Mapping[str, Any]) -> None:
        self.path, self.name, self._values = path, name, values
        self._read: set[str] = set()
        self._asked: set[str] = set()  # optional keys, valid whether they are there or not

    def __contains__(self, key: str) -> bool:
        self._asked.add(key)
        return key in self._values

    def keys(self) -> tuple[str, ...]:
        """The table's keys."""
        return tuple(self._values)

    def fail(self, key: str, expected: str, got: object, *, text: str = "") -> NoReturn:
        """Raises the FileFormatError of this key; None says that it is missing, and names a similar key."""
        full = f"{self.name}.{key}" if self.name else key
        if got is None and key not in self._values:
            hints = ((one, did_you_mean(one, [key])) for one in self._values if one not in self._read)
            text = "it is missing" + next((f"; found {one!r}{hint}" for one, hint in hints if hint), "")
        raise FileFormatError(self.path, full, expected=expected, got=got, text=text)

    def _value(self, key: str, kind: type | tuple[type, ...], expected: str, default: Any) -> Any:
        self._read.add(key)
        if key not in self._values:
            if default is MISSING:
                self.fail(key, expected, None)
            return default
        value = self._values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fail(key, expected, value)
        return value

    @overload
    def text(self, key: str, default: str = MISSING) -> str: ...
    @overload
    def text(self, key: str, default: str = MISSING, *, choices: Iterable[C]) -> C: ...
    def text(self, key: str, default: str = MISSING, *, choices: Iterable[Any] = ()) -> Any:
        """A text; one of `choices`, if any."""
        options = tuple(choices)
        expected = "one of " + ", ".join(repr(c) for c in options) if options else "a text"
        value = self._value(key, str, expected, default)
        if options and value not in options:
            self.fail(key, expected, value, text=f"got {value!r}{did_you_mean(value, options)}")
        return str(value)

    def integer(self, key: str, default: int = MISSING, *, low: int = 0) -> int:
        """A whole number of at least `low`."""
        expected = f"a whole number of at least {low}"
        value = self._value(key, int, expected, default)
        if value is not default and value < low:
            self.fail(key, expected, value)
        return int(value)

    def number(
        self, key: str, default: float = MISSING, *, low: float = -math.inf, high: float = math.inf
    ) -> float:
        """A number from `low` to `high`."""
        expected = (
            "a number" if math.isinf(low) and math.isinf(high) else f"a number from {low:g} to {high:g}"
        )
        value = self._value(key, (int, float), expected, default)
        if value is not default and not low <= value <= high:
            self.fail(key, expected, value)
        return float(value)

    def flag(self, key: str, default: bool = MISSING) -> bool:
        """true or false."""
        return bool(self._value(key, bool, "true or false", default))

    def numbers(self, key: str, default: tuple[float, ...] = MISSING, *, count: int = 0) -> tuple[float, ...]:
        """A list of numbers, `count` of them unless 0."""
        expected = f"a list of {count} numbers" if count else "a list of numbers"
        value = self._list(key, (int, float), expected, default)
        if value is not default and count and len(value) != count:
            self.fail(key, expected, list(value))
        return tuple(float(v) for v in value)

    def integers(self, key: str, default: tuple[int, ...] = MISSING, *, low: int = 1) -> tuple[int, ...]:
        """A list of whole numbers of at least `low`."""
        expected = f"a list of whole numbers of at least {low}"
        value = self._list(key, (int,), expected, default)
        if value is not default and (not value or min(value) < low):
            self.fail(key, expected, list(value))
        return tuple(int(v) for v in value)

    def texts(self, key: str, default: tuple[str, ...] = MISSING) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(self._list(key, (str,), "a list of texts", default))

    def _list(self, key: str, kinds: tuple[type, ...], expected: str, default: Any) -> Any:
        value = self._value(key, list, expected, default)
        if value is not default and any(isinstance(v, bool) or not isinstance(v, kinds) for v in value):
            self.fail(key, expected, value)
        return value

    def table(self, key: str, *, optional: bool = False) -> Section:
        """The inner table; empty where it is absent and `optional`."""
        value = self._value(key, dict, f"a table [{key}]", {} if optional else MISSING)
        return Section(self.path, f"{self.name}.{key}" if self.name else key, value)

    def tables(self, key: str, *, expected: str = "", optional: bool = False) -> list[Section]:
        """The tables of [[key]], numbered from 1; none where it is absent and `optional`."""
        values = self._list(key, (dict,), expected or f"tables [[{key}]]", [] if optional else MISSING)
        return [Section(self.path, f"{key} {number}", one) for number, one in enumerate(values, 1)]

    def raw(self, key: str) -> Any:
        """The unchecked value, None where absent."""
        self._read.add(key)
        return self._values.get(key)

    def done(self, also: Iterable[str] = ()) -> None:
        """FileFormatError for a key that was not read; `also` names further valid keys."""
        known = sorted(self._read.union(self._asked, also))
        for key, value in self._values.items():
            if key not in self._read:
                got = f"an unknown {'key' if _is_plain(value) else 'table'}{did_you_mean(key, known)}"
                self.fail(key, f"only {', '.join(known) or 'no keys'}", value, text=f"got {got}")


def _is_plain(value: Any) -> bool:
    """Whether a value is neither a table nor an array of tables."""
    return not isinstance(value[0] if isinstance(value, list) and value else value, dict)


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
