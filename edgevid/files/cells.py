"""CSV that no spreadsheet takes for formulas, and that is read back exactly."""

import csv
import re
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

FORMULA = r"'*[=+\-@\t\r\n＝＋－＠]"  # How a text begins that gets an apostrophe, as a spreadsheet would run it
_FORMULA, _NUMBERS = re.compile(FORMULA), re.compile(r"([+-]?[\d.]+(e[+-]?\d+)?( |$))+")  # A box is four numbers


def csv_text(rows: Iterable[Iterable[Any]], newline: str = "\n") -> str:
    """Rows as CSV; numbers stay numbers, and `cell_text` gives each text back."""
    line = csv.writer(SimpleNamespace(write=str)).writerow  # with \r\n, as a \r alone is not quoted otherwise
    return "".join(str(line(map(_cell, row)))[:-2] + newline for row in rows)


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) and not _NUMBERS.fullmatch(value) else value
    return round(value, 9) if isinstance(value, float) else value


def cell_text(cell: str) -> str:
    """The text that `csv_text` made a cell of.

    >>> csv_text([["=1+1", "'=", "-5.5 7", -5, "it's"]]), cell_text("'=1+1"), cell_text("''="), cell_text("it's")
    ("'=1+1,''=,-5.5 7,-5,it's\\n", '=1+1', "'=", "it's")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def csv_rows(file: Iterable[str], **options: Any) -> Iterator[dict[str, Any]]:
    """The rows of CSV by the names in its first line, as `csv.DictReader` gives them; csv.Error for what is none."""
    for row in csv.DictReader(file, **options):
        yield {key: cell_text(cell) if isinstance(cell, str) else cell for key, cell in row.items()}
