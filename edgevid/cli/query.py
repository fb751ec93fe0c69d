"""`edgevid query`: SQL over databases, records and event files."""

import json
import re
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, notes, print_rows, results, write_lines
from edgevid.cli.report import csv_text
from edgevid.errors import InputError

SHOWN = 1000  # Rows in the terminal; files have all


def command(
    files: Annotated[list[Path], Argument(help="SQLite databases, JSON lines, folders of Parquet files.")],
    sql: Annotated[str, Argument(help='Such as "SELECT kind, count(*) FROM events GROUP BY kind".')],
    csv: Annotated[Path | None, Option(help="CSV to write; - prints it.")] = None,
    json_out: shared.Json = None,
    force: shared.Force = False,
) -> None:
    """Query events, tracks, runs and objects by SQL (DuckDB), read-only."""
    from edgevid.report.store import Store

    if csv and json_out:
        raise InputError("query: expected one of --csv and --json, got both")
    check_outputs({"--csv": (csv, "CSV"), "--json": (json_out, "JSON")}, files, force=force)
    with Store(files, objects=bool(re.search(r"(?i)\bobjects\b", sql))) as store:
        names, rows = store.query(sql)
        if csv:
            write_lines(csv, (csv_text([row]) for row in chain([names], rows)))
        if json_out:
            named = (dict(zip(names, row, strict=True)) for row in rows)
            dicts = (json.dumps(one, ensure_ascii=False, default=str) for one in named)
            first = "[\n" + next(dicts, "")
            write_lines(json_out, chain([first], (f",\n{one}" for one in dicts), ["\n]\n"]))
        if not csv and not json_out:
            texts = (["" if v is None else escape(str(v)) for v in row] for row in islice(rows, SHOWN))
            print_rows(results(), map(escape, names), texts)
            if next(rows, None) is not None:
                notes().print(f"the first {SHOWN} rows; --csv and --json have all")
