"""`edgevid report`: what databases, records and event files tell, in the terminal, as HTML or as CSV."""

import io
import re
from collections.abc import Iterable
from csv import writer as writer_of
from pathlib import Path
from typing import Annotated, Any

from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, print_rows, results, write_text


def command(
    files: Annotated[list[Path], Argument(help="SQLite databases, JSON lines, folders of Parquet.")],
    every: Annotated[str | None, Option(help="Also by intervals: 15m, 1h, 1d.")] = None,
    out: Annotated[Path | None, shared.out_option("HTML to write, with plots and heat maps.")] = None,
    csv: Annotated[Path | None, Option(help="Folder to write a CSV file per table to.")] = None,
    timezone: Annotated[str, Option(help="Time zone of days and times: Europe/Berlin.")] = "UTC",
    camera: Annotated[str, Option(help="Only this camera.")] = "",
    classes: shared.Classes = None,
    calibration: Annotated[Path | None, Option(help="Camera calibration: heat map on the ground.")] = None,
    image: Annotated[Path | None, Option(help="Frame of the camera under its heat map.")] = None,
    unit: shared.Unit = "km/h",
    force: shared.Force = False,
) -> None:
    """Report counts, speeds, dwell, occupancy, ways, incidents and gaps of what cameras found."""
    from edgevid.report.store import TABLES, Report, Store, interval_of

    shared.check_unit(unit)
    seconds = interval_of(every) if every else 0
    tables = {name: csv / f"{name}.csv" for name in TABLES} if csv else {}
    outputs = {f"--csv {name}": (path, "CSV") for name, path in tables.items()}
    check_outputs({"--out": (out, "HTML"), **outputs}, [*files, calibration, image], force=force)
    names = shared.split_names(classes, "--classes")
    with Store(files) as store:
        report = Report(store, seconds, timezone, unit=unit, camera=camera, classes=names)
        if out:
            from edgevid.report.page import page

            write_text(out, page(report, calibration, image))
        for name, path in tables.items():
            write_text(path, csv_text(report.table(name, by_interval=bool(every))))
        for name in report.cameras:
            results().print(f"\n{escape(name)}", style="bold")
            for view in report.views(name):
                if not every and view.title == "By interval":
                    continue
                head, rows = map(escape, view.head), (map(escape, row) for row in view.rows)
                title = f"\n{escape(view.title)}"
                print_rows(results(), head, rows, text=("what", "place"), title=title)
                if view.note:
                    results().print(escape(view.note), style="dim")


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer_of(text, lineterminator="\n").writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        formula = value.startswith(tuple("=+-@\t\r")) and not re.fullmatch(r"[+-][\d.]+(e[+-]?\d+)?", value)
        return "'" * formula + value
    return round(value, 9) if isinstance(value, float) else value
