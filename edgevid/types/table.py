"""Tables of columns: checked at construction, selected by rows, iterated as named rows of Python scalars."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from enum import IntEnum
from functools import lru_cache
from html import escape
from itertools import islice
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from edgevid.errors import InputError, did_you_mean
from edgevid.types.peers import Hinted

Array = npt.NDArray[Any]  # An array of any element type
F32 = npt.NDArray[np.float32]  # An array of float32
F64 = npt.NDArray[np.float64]  # An array of float64
I32 = npt.NDArray[np.int32]  # An array of int32
I64 = npt.NDArray[np.int64]  # An array of int64
U8 = npt.NDArray[np.uint8]  # An array of uint8
T = TypeVar("T", bound="Table")
MOST_ROWS = 8  # Rows of a table in a terminal; a notebook shows three times as many
MOST_WIDE = 1280  # Pixels of an image in a notebook; a wider one is shown at every second, third, ... pixel.


def text_table(title: str, rows: Iterable[Mapping[str, Any]], count: int) -> str:
    """A title and the first rows, in columns, and how many more there are."""
    shown = list(islice(rows, MOST_ROWS))
    if not shown:
        return title
    columns = [[name, *(_cell(row[name]) for row in shown)] for name in shown[0]]
    wide = [[text.ljust(max(map(len, column))) for text in column] for column in columns]
    lines = [title, *("  " + "  ".join(line).rstrip() for line in zip(*wide, strict=True))]
    return "\n".join(lines + [f"  ... {count - len(shown)} more"] * (count > len(shown)))


def html_table(title: str, rows: Iterable[Mapping[str, Any]], count: int) -> str:
    """The same in HTML."""
    shown = list(islice(rows, 3 * MOST_ROWS))
    body = "".join(_row("td", map(_cell, row.values())) for row in shown)
    head = _row("th", shown[0]) if shown else ""
    more = f"<p>... {count - len(shown)} more</p>" if count > len(shown) else ""
    return f"<table><caption>{escape(title)}</caption>{head}{body}</table>{more}"


def png(image: npt.NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB as a PNG."""
    step = -(-image.shape[1] // MOST_WIDE)
    image = image[::step, ::step]
    height, width = image.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # a row begins with its filter: none
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}" if value.ndim > 1 or len(value) > 6 else _cell(value.tolist())
    if isinstance(value, float):
        return f"{value:.4g}" if value == value else ""
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_cell, value))
    return str(getattr(value, "name", value))[:60]


def column(dtype: Any, *tail: int | None, row: str, enum: type[IntEnum] | None = None, optional: bool = False) -> Any:
    """A field whose array must have `dtype` and shape (N, *tail), None being any length. `row` is the field's
    name in the rows that iterating yields; its value is a member of `enum` there. An `optional` column that is
    not passed is made: zeros, with size 0 for None in `tail` (None for objects)."""
    metadata = {"dtype": np.dtype(dtype), "tail": tail, "row": row, "enum": enum}
    return field(metadata=metadata, default=None) if optional else field(metadata=metadata)


class _Column(NamedTuple):
    name: str
    dtype: np.dtype[Any]
    tail: tuple[int | None, ...]
    members: dict[int, IntEnum]

    def blank(self, length: int) -> Array:
        """The column of a table that has no such values; it is shared, and not written."""
        return _blank(self.dtype.char, self.tail, length)

    def values(self, table: Table) -> Iterable[Any]:
        """A value per row: a Python scalar, a member, a tuple of a box, else the row's array."""
        array = getattr(table, self.name)
        if self.members:
            return map(self.members.__getitem__, array.tolist())
        if not self.tail:
            return array.tolist()  # type: ignore[no-any-return]
        return map(tuple, array.tolist()) if len(self.tail) == 1 and self.tail[0] else array


_set = object.__setattr__


@lru_cache(maxsize=4096)
def _blank(dtype: str, tail: tuple[int | None, ...], length: int) -> Array:
    made: Array = np.zeros((length, *(n or 0 for n in tail)), dtype)
    if dtype == "O":
        made[...] = None
    made.setflags(write=False)
    return made


_COLUMNS: dict[type, tuple[_Column, ...]] = {}
_ROWS: dict[type, Callable[..., Any]] = {}


def _columns(cls: type) -> tuple[_Column, ...]:
    if cls not in _COLUMNS:
        found = {f.name: f.metadata for f in dataclasses.fields(cls) if "dtype" in f.metadata}
        kinds = {n: (m["dtype"], m["tail"], {e.value: e for e in m["enum"] or ()}) for n, m in found.items()}
        _COLUMNS[cls] = tuple(_Column(name, *kind) for name, kind in kinds.items())
        _ROWS[cls] = namedtuple(cls.__name__ + "Row", [m["row"] for m in found.values()])
    return _COLUMNS[cls]


def _check_names(cls: type, columns: Iterable[str]) -> None:
    """InputError for a column that the table does not have."""
    known = [column.name for column in _columns(cls)]
    for name in columns:
        if name not in known:
            hint = f"; {cls.__name__}.of(...) takes it" if name in getattr(cls, "ALIASES", ()) else ""
            hint = hint or did_you_mean(name, known)
            raise InputError(f"{cls.__name__}: expected columns {', '.join(known)}, got {name!r}{hint}")


class Table(Hinted):
    """Base of the column tables: checks at construction, selects rows, iterates named rows."""

    __slots__ = ()
    ALIASES: ClassVar[Mapping[str, str]] = {}  # Names of columns in supervision, which `of` takes too

    def __new__(cls, *columns: Any, **named: Any) -> Any:
        if named:
            _check_names(cls, named)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        length = -1
        for column in _columns(type(self)):
            name, dtype, tail, _ = column
            array = getattr(self, name)
            if array is None and length >= 0:  # an optional column
                object.__setattr__(self, name, column.blank(length))
                continue
            right = isinstance(array, np.ndarray) and array.dtype == dtype and array.ndim == 1 + len(tail)
            if not right or any(n not in (None, got) for got, n in zip(array.shape[1:], tail, strict=True)):
                raise self._error(name, dtype, tail, array)
            if length >= 0 and len(array) != length:
                rows = f"{length} rows as in {_columns(type(self))[0].name!r}"
                raise InputError(f"{type(self).__name__}.{name}: expected {rows}, got {len(array)}")
            length = len(array)

    def _error(self, name: str, dtype: object, tail: tuple[int | None, ...], got: object) -> InputError:
        shape = "(" + ", ".join(["N", *("any" if n is None else str(n) for n in tail)]) + ",)"
        found = f"{got.dtype} {got.shape}" if isinstance(got, np.ndarray) else type(got).__name__
        what = f"{type(self).__name__}.{name}: expected {dtype} of shape {shape}, got {found}"
        return InputError(f"{what}. {type(self).__name__}.of(...) converts lists and other dtypes.")

    @classmethod
    def of(cls: type[T], **columns: Any) -> T:
        """The table made of lists or arrays of other dtypes, converted to each column's own dtype.

        >>> from edgevid.types import Detections
        >>> len(Detections.of(boxes=[[0, 0, 4, 4]], scores=[0.5], labels=[0]))
        1
        """
        made: dict[str, Any] = {cls.ALIASES.get(name, name): value for name, value in columns.items()}
        _check_names(cls, made)
        if len(made) < len(columns):
            raise InputError(f"{cls.__name__}: a column is given by two names; leave one out: {', '.join(columns)}")
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        if missing := [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in made]:
            got = ", ".join(columns) or "none"
            raise InputError(f"{cls.__name__}: expected columns {', '.join(missing)} too, got only {got}")
        for name, dtype, tail, _ in _columns(cls):
            if made.get(name) is not None:
                array = np.asarray(made[name], dtype)
                made[name] = array.reshape(0, *(n or 0 for n in tail)) if array.size == 0 else array
        return cls(**made)

    @classmethod
    def empty(cls: type[T], **columns: Any) -> T:
        """A table without rows; columns of free inner size get size 0 unless passed."""
        return cls(**{one.name: one.blank(0) for one in _columns(cls)} | columns)

    @classmethod
    def trusted(cls: type[T], *columns: Array) -> T:
        """The table of columns that a kernel made, in order, unchecked: for the loop's own stages. Optional
        columns at the end may be left out."""
        made, known = object.__new__(cls), _COLUMNS.get(cls) or _columns(cls)
        for column, array in zip(known, columns, strict=False):
            _set(made, column[0], array)
        for column in known[len(columns) :]:
            _set(made, column.name, column.blank(len(columns[0])))
        return made

    def __len__(self) -> int:
        return len(getattr(self, _columns(type(self))[0].name))

    def __getitem__(self: T, rows: Any) -> T:
        """The same type with the rows of a boolean mask, an index array or a slice."""
        if isinstance(rows, str):
            names = ", ".join(column.name for column in _columns(type(self)))
            what = f"{type(self).__name__}[{rows!r}]: a mask, slice or index array selects rows"
            raise InputError(f"{what}; the columns are attributes: {names}")
        if isinstance(rows, (int, np.integer)):
            rows = slice(rows, rows + 1 or None)
        picked = {name: getattr(self, name)[rows] for name, *_ in _columns(type(self))}
        return dataclasses.replace(self, **picked)  # type: ignore[type-var]

    def __repr__(self) -> str:
        return text_table(*self._shown())

    def _repr_html_(self) -> str:
        return html_table(*self._shown())

    def _shown(self) -> tuple[str, Iterator[dict[str, Any]], int]:
        """Title, rows and their number; columns without elements are left out."""
        columns = {one.name: getattr(self, one.name) for one in _columns(type(self))}
        blank = [name for name, c in columns.items() if c.dtype == object and all(v is None for v in c)]
        used = [name for name, c in columns.items() if c[:1].size and name not in blank]
        names = [f.metadata["row"] for f in dataclasses.fields(type(self)) if f.name in used]  # type: ignore[arg-type]
        rows = ({name: getattr(row, name) for name in names} for row in self)
        count = len(self)
        return f"{type(self).__name__}: {count} row{'s' * (count != 1)}", rows, count

    def __iter__(self) -> Iterator[Any]:
        columns, row = _columns(type(self)), _ROWS[type(self)]
        return (row(*values) for values in zip(*(c.values(self) for c in columns), strict=True))
