"""CSV and NPZ files of scores as columns, with every error named. CSV: a header line; optional columns `track`,
`time`, `label`, `typicality`, `band` and `trained`, and one column per class, named after it. NPZ: `values` (N, C), and
optional arrays `labels`, `tracks`, `times`, `names`, `typicality`, `bands`, `trained`."""

import csv
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np

from edgevid.errors import FileFormatError
from edgevid.files.arrays import load_arrays
from edgevid.files.cells import cell_text
from edgevid.types import Array

SPECIAL = ("track", "time", "label", "typicality", "band", "trained")
ROWS = 5_000  # Rows of a CSV that are held as text at a time
LONGEST = 200  # Bytes of the longest track id or label

Row = tuple[int, list[str]]  # The number of a line, and its cells


def read_columns(path: Path) -> dict[str, Array]:
    """The columns of a CSV or NPZ by its name; FileFormatError for another."""
    readers = {".npz": read_npz, ".csv": read_csv}
    if (kind := path.suffix.lower()) not in readers:
        raise FileFormatError(path, "the file's name", expected="it to end in .csv or .npz", got=path.name)
    return readers[kind](path)


def read_csv(path: Path) -> dict[str, Array]:
    """The columns of a CSV; FileFormatError names the line and the column of what cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = ((reader.line_num, cells) for cells in reader if cells)
            _, head = next(rows, (1, []))
            head = [cell_text(name.strip()) for name in head]
            parts = iter(lambda: list(islice(rows, ROWS)), [])
            blocks = [_block(path, head, part) for part in parts]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(path, "the whole file", expected="CSV text", got=str(error)) from None
    if not blocks:
        fail(path, "the whole file", "a header line and at least one row", "no row")
    made = {key: np.concatenate([block.pop(key) for block in blocks]) for key in list(blocks[0])}
    made["names"] = np.array([name for name in head if name not in SPECIAL])
    return made


def read_npz(path: Path) -> dict[str, Array]:
    """The columns of an NPZ; FileFormatError for what is none, or has other arrays."""
    columns = read_arrays(path)
    known = ("values", "labels", "tracks", "times", "names", "typicality", "bands", "trained")
    if "values" not in columns or set(columns) - set(known):
        fail(path, "arrays", f"values, and optionally {', '.join(known[1:])}", sorted(columns))
    return columns


def fail(path: Path, key: str, expected: str, got: object, *, text: str = "") -> NoReturn:
    """Raises the FileFormatError of a file, or of scores that came from none."""
    raise FileFormatError(named(path), key, expected=expected, got=got, text=text)


def named(path: Path) -> str:
    """What an error names: the file, or "scores" where they came from none."""
    return str(path) if path != Path() else "scores"


def _check_header(path: Path, head: Sequence[str]) -> None:
    if len(set(head)) < len(head):
        fail(path, "header", "different column names", list(head))
    if len(head) == 1 and (found := [mark for mark in ";\t|" if mark in head[0]]):
        fail(path, "header", "commas between the columns", found[0])
    if all(name in SPECIAL for name in head):
        fail(path, "header", "a column for each class next to " + ", ".join(SPECIAL), list(head))


def _block(path: Path, head: Sequence[str], rows: Sequence[Row]) -> dict[str, Array]:
    """The columns of some rows."""
    _check_header(path, head)
    lines, table = zip(*rows, strict=True)
    if set(map(len, table)) != {len(head)}:
        line, cells = next(row for row in rows if len(row[1]) != len(head))
        fail(path, f"line {line}", f"{len(head)} values as in the header", len(cells))
    columns = dict(zip(head, zip(*table, strict=True), strict=True))
    names = [name for name in head if name not in SPECIAL]
    values = [_floats(path, name, columns[name], lines) for name in names]
    made: dict[str, Array] = {"values": np.stack(values, 1).astype(np.float32)}  # as the policy takes them
    made |= {f"{key}s": _texts(path, key, columns[key], lines) for key in ("track", "label", "band") if key in head}
    if "label" in columns and not (filled := made["labels"] != "").all():
        line = lines[int(filled.argmin())]
        fail(path, f"line {line}: label", "a class in every row (or no label column at all)", "nothing")
    if "track" in columns:  # plain integers ("7", not "07") take less memory
        with suppress(ValueError, OverflowError):
            numbers = made["tracks"].astype(np.int64)
            same = (numbers.astype(made["tracks"].dtype) == made["tracks"]).all()
            made["tracks"] = numbers if same else made["tracks"]
    more = (("time", "times"), ("typicality", "typicality"), ("trained", "trained"))
    return made | {name: _floats(path, key, columns[key], lines) for key, name in more if key in columns}


def _floats(path: Path, name: str, texts: Sequence[str], lines: Sequence[int]) -> Array:
    try:
        return np.array(texts, np.float64)
    except ValueError:
        for line, text in zip(lines, texts, strict=True):
            try:
                np.array(text, np.float64)
            except ValueError:  # noqa: PERF203 (the first is enough)
                fail(path, f"line {line}: {name}", "a number", text.strip())
        raise


def _texts(path: Path, name: str, texts: Sequence[str], lines: Sequence[int]) -> Array:
    """(N,) texts of one width: a million of them are small, where as many objects are not."""
    stripped = [cell_text(text.strip()) for text in texts]
    longest = max(stripped, key=len)
    if len(longest) > LONGEST:
        line = lines[stripped.index(longest)]
        expected = f"at most {LONGEST} characters (is a quote left open?)"
        fail(path, f"line {line}: {name}", expected, len(longest))
    return np.array(stripped)


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an NPZ by name; FileFormatError for another or a damaged file."""
    try:
        return load_arrays(path)
    except (ValueError, OSError) as error:
        raise FileFormatError(path, "the whole file", expected="an NPZ of plain arrays", got=str(error)) from None
