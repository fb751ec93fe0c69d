"""TOML files: read as values, which `files.schema` checks, written as text, and edited in place."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgevid.errors import FileFormatError, InputError, check_type
from edgevid.files.pipe import readable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


Row = Mapping[str, Any]  # A table of a file: values by key
_STRINGS = re.compile(r"""\"{3}(?:[^\\]|\\[\s\S])*?(?:\"{3}|\Z)|'{3}[\s\S]*?(?:'{3}|\Z)|"(?:[^"\\\n]|\\.)*"?|"""
                      r"""'[^'\n]*'?|#[^\n]*""")  # fmt: skip
_LONG_KEY = re.compile(r"(?:\.[^.,=\n]+){64}")
_HEADER = re.compile(r"\s*\[(\[?)\s*([\w\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*\]\]?\s*(?:#.*)?$")
"""A table's header; a row of points inside an array has a comma and is none."""


def read_toml(path: str | Path) -> dict[str, Any]:
    """The file's values; InputError where it cannot be read, FileFormatError where it is not TOML."""
    check_type(path, (str, Path), "a TOML file", "its path")
    path = readable(Path(path))
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


def parse_toml(text: str) -> dict[str, Any]:
    """The values of a text; ValueError where it is not TOML, or has a key of more than 64 parts, which takes hours."""
    if _LONG_KEY.search(_STRINGS.sub("x", text)):
        raise ValueError("a key of more than 64 parts")
    return tomllib.loads(text)


def _must_be_64_bit(value: Any) -> None:
    """ValueError for integers beyond 64 bits, which TOML does not have but Python reads."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _must_be_64_bit(inner)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number with more than 64 bits")


def toml_value(value: Any) -> str:
    """One value as TOML: a text, number, flag, path, array, or list or tuple of these; else TypeError.

    >>> toml_value(("a \\"b\\"", 2, 0.5, True))
    '["a \\\\"b\\\\"", 2, 0.5, true]'
    """
    import tomlkit

    return str(tomlkit.item(_plain(value)).as_string())


def toml_text(tables: Mapping[str, Sequence[Row]], *, head: str = "") -> str:
    """A file of tables, each with a title as for `toml_table`, and its rows; `head` stands before them."""
    lines = [line for title, rows in tables.items() for row in rows for line in toml_table(title, row)]
    return "\n".join([head, *lines]).lstrip("\n") + "\n"


def toml_table(title: str, values: Mapping[str, Any], *, comment: str = "") -> list[str]:
    """The lines of table [title], after an empty line; without a title only the keys, without values nothing. A
    title of "[zone]" begins one of an array of tables; keys whose value is None are left out."""
    lines = [f"{key if re.fullmatch(r'[A-Za-z0-9_-]+', key) else toml_value(key)} = {toml_value(value)}"
             for key, value in values.items() if value is not None]  # fmt: skip
    head = ["", f"[{title}]" + f"  # {comment}" * bool(comment)] if title else []
    return head + lines if lines else []


def edit_toml(path: Path, tables: Mapping[str, Sequence[Row]]) -> str:
    """The text of a file with other contents of `tables`, named as for `toml_table`.

    "[zone]" has all rows of [[zone]], "lens" one or none, "" one: keys of the top, of which those that are
    None go. A row with the first value (such as the name) or the second of one in the file takes its place:
    only the keys that differ change. InputError where the file cannot be edited so."""
    from tomlkit.exceptions import TOMLKitError

    text = path.read_bytes().decode("utf-8-sig")
    rows = {title: [_known(row) for row in given] for title, given in tables.items() if title}
    names = {title.strip("[]"): title for title in rows}
    top = dict(next(iter(tables.get("", ())), {}))
    right = True
    try:
        top |= {name: None for name in parse_toml(_chunks(text)[0][1]) if name in names}  # written inline
        new = _edited(_chunks(text), {"": [top], **{title: list(some) for title, some in rows.items()}})
        found, kept = parse_toml(new), parse_toml(text) | top | dict.fromkeys(names)
        for name, title in names.items():
            some = found.pop(name, []) if title[0] == "[" else [found.pop(name)] if name in found else []
            right = right and len(some) == len(rows[title]) and all(row in some for row in rows[title])
        right = right and found == _known(kept)
    except (TOMLKitError, ValueError):
        right = False
    if not right:
        raise InputError(f"{path}: its tables cannot be edited in place; edit the file by hand")
    return "\r\n".join(re.split("\r?\n", new)) if "\r\n" in text else new


def _known(values: Row) -> dict[str, Any]:
    """The values that are not None; tuples are arrays."""
    return {key: _plain(value) for key, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value  # arrays and scalars of NumPy
    if isinstance(value, Path):
        return str(value)
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _chunks(text: str) -> list[tuple[str, str]]:
    """Each table's title and text, the top's first; comments right above a header belong to its table."""
    chunks: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines(keepends=True):
        if header := _HEADER.match(line):
            before = chunks[-1][1]
            start = len(before)
            while start and before[start - 1].lstrip().startswith("#"):
                start -= 1
            title = re.sub(r"[\s\"']", "", header[2])
            chunks.append((f"[{title}]" if header[1] else title, before[start:]))
            del before[start:]
        chunks[-1][1].append(line)
    return [(title, "".join(lines)) for title, lines in chunks]


def _edited(chunks: list[tuple[str, str]], left: dict[str, list[Row]]) -> str:
    """The chunks with the rows that are `left` in them, new ones after the last of their kind."""
    import tomlkit

    places: dict[int, Row] = {}
    for order in (0, 1):  # the first key of all rows, then the second
        for number, (title, text) in enumerate(chunks):
            if title in left and number not in places:
                table = _table(tomlkit.parse(text), title)
                same = (row for row in left[title] if title[:1] != "[" or _has(table, row, list(row)[order]))
                row = next(same, None)
                if row is not None:
                    places[number] = row
                    left[title].remove(row)
    texts: list[str] = []
    last: dict[str, int] = {}
    for number, (title, text) in enumerate(chunks):
        if title in left and number not in places:
            continue
        if number in places:
            document = tomlkit.parse(text)
            _change(_table(document, title), places[number], keep=not title)
            text = tomlkit.dumps(document)
        last[title] = len(texts)
        texts.append(text)
    for title, rows in left.items():
        at = last.get(title, len(texts) - 1)
        body = texts[at].rstrip("\r\n")
        added = [line for row in rows for line in toml_table(title, row)]
        if added:
            texts[at] = "\n".join([body, *added]) + (texts[at][len(body) :] or "\n")
    return "".join(texts).lstrip("\r\n")


def _table(document: Any, title: str) -> Any:
    for name in title.strip("[]").split(".") if title else ():
        document = document[name]
    return document[0] if title[:1] == "[" else document


def _has(table: Any, row: Row, key: str) -> bool:
    return key in table and bool(table[key] == row[key])


def _change(table: Any, row: Row, *, keep: bool) -> None:
    """Makes a table's keys those of a row; other keys go, unless they are kept."""
    for key in [key for key in table if (row.get(key) if key in row else keep or None) is None]:
        del table[key]
    for key, value in row.items():
        if value is not None and not _has(table, row, key):
            table[key] = value
