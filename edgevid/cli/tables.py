"""Tables in the terminal whose names are never broken."""

from collections.abc import Collection, Iterable
from typing import Literal

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

FULL_WIDTH = 1000


def number_table(first: str, *rest: str, text: Collection[str] = ()) -> Table:
    """A table of a name and numbers, which are right-aligned; the columns in `text` may wrap."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in rest:
        side: Literal["left", "right"] = "left" if name in text else "right"
        table.add_column(name, justify=side, no_wrap=name not in text, overflow="fold")
    return table


def print_rows(
    console: Console, heads: Iterable[str], rows: Iterable[Iterable[str]], *, text: Collection[str] = (),
    title: str = "",
) -> None:  # fmt: skip
    """Prints a `number_table` of rows."""
    table = number_table(*heads, text=text)
    table.title, table.title_justify = title or None, "left"
    for row in rows:
        table.add_row(*row)
    print_table(console, table)


def print_table(console: Console, table: Table) -> None:
    """Prints a table whose `no_wrap` columns stay whole, past the terminal's edge where they must."""
    options = console.options.update(width=FULL_WIDTH, max_width=FULL_WIDTH)
    for column in table.columns:
        if column.no_wrap:
            cells = [column.header, *column.cells]
            column.min_width = max(Measurement.get(console, options, cell).maximum for cell in cells)
    width = console.width
    console.width = max(width, Measurement.get(console, options, table).minimum)
    console.print(table)
    console.width = width
