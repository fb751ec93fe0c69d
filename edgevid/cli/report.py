"""`edgevid report`, `query`, `forget` and `schema`: what databases and records tell, hold and lose."""

import json
import re
import time as clock
from itertools import chain, islice
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Annotated, Any

from rich.markup import escape
from typer import Argument

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, notes, print_rows, results, write_lines, write_text
from edgevid.errors import InputError, check_choice
from edgevid.files.cells import csv_text
from edgevid.types import Event, utc_seconds


def command(**options: Any) -> None:
    """Report counts, speeds, dwell, occupancy, ways, incidents and gaps of what cameras found."""
    from edgevid.report.store import TABLES, Report, Store, interval_of

    given = SimpleNamespace(**options)
    files, every, out = given.files, given.every, given.out
    shared.check_unit(given.unit)
    seconds = interval_of(every) if every else 0
    tables = {name: given.csv / f"{name}.csv" for name in TABLES} if given.csv else {}
    outputs = {f"--csv {name}": (path, "CSV") for name, path in tables.items()}
    check_outputs({"--out": (out, "HTML"), **outputs}, [*files, given.calibration, given.image], force=given.force)
    names = shared.split_names(given.classes, "--classes")
    with Store(files) as store:
        report = Report(store, seconds, given.timezone, unit=given.unit, camera=given.camera, classes=names)
        if out:
            from edgevid.report.page import page

            write_text(out, page(report, given.calibration, given.image))
        for name, path in tables.items():
            write_text(path, csv_text(report.table(name, by_interval=bool(every))))
        for name in report.cameras:
            results().print(f"\n{escape(name)}", style="bold")
            for view in report.views(name):
                if not every and view.title == "By interval":
                    continue
                print_rows(results(), view.head, view.rows, text=("what", "place"), title=f"\n{view.title}")
                if view.note:
                    results().print(escape(view.note), style="dim")


SHOWN = 1000  # Rows in the terminal; files have all


def query_command(files: list[Path], sql: str, csv: Path | None, json_out: Path | None, force: bool) -> None:
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
            write_lines(json_out, chain(["[\n" + next(dicts, "")], (f",\n{one}" for one in dicts), ["\n]\n"]))
        if not csv and not json_out:
            print_rows(results(), names, (["" if v is None else str(v) for v in row] for row in islice(rows, SHOWN)))
            if next(rows, None) is not None:
                notes().print(f"the first {SHOWN} rows; --csv and --json have all")


ELSEWHERE = "Not reached: what brokers and servers got, videos of --out, records as CSV or MOT, copies."


def forget_command(files: list[Path], before: str | None, after: str | None, yes: bool, **which: Any) -> None:
    """Delete events, objects, crops and waiting events by time, camera or track; all conditions must hold."""
    from edgevid.report.forget import Selection, forget

    chosen = Selection(**which, after=moment("--after", after), before=moment("--before", before))
    if chosen == Selection():
        raise InputError("forget: expected what to forget: --before, --after, --camera, --run or --track")
    console = results()
    for path, counts in forget(files, chosen, dry_run=not yes).items():
        what = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"
        console.print(f"{path}: {what}{' deleted' if yes and counts else ''}", markup=False)
    console.print(ELSEWHERE if yes else "Nothing was deleted: add --yes.", style="dim")


def moment(option: str, text: str | None) -> float | None:
    """UTC seconds of a time, or of so long ago."""
    if text is None:
        return None
    from edgevid.report.store import seconds_of

    try:
        return clock.time() - ago if (ago := seconds_of(text)) else utc_seconds(text)
    except ValueError:
        raise InputError(f"{option}: expected a time such as 2026-01-31T12:00:00Z or 30d, got {text!r}") from None


KINDS = {"site": "site.file.SiteFile", "recipe": "runtime.recipe.RecipeFile", "policy": "abstain.file.PolicyTable",
         "calibration": "speed.calibration_file.CalibrationTable", "event": "types.Event"}  # fmt: skip
"""The dataclass of each kind of file; a record has none."""
FILES = (*KINDS, "record")


def schema_command(file: Annotated[str, Argument(help=f"{', '.join(FILES[:-1])} or {FILES[-1]}.")]) -> None:
    """Print the JSON Schema of a configuration file, for editors, or that of events or records."""
    print(json.dumps(file_schema(file), indent=2, ensure_ascii=False))


def file_schema(file: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file; InputError for a kind that has none."""
    from edgevid.files.schema import json_schema

    check_choice(file, FILES, "schema")
    title = f"edgevid {file} file" if file in FILES[:4] else f"edgevid {file}"
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    if file == "record":
        from edgevid.output.records import record_schema

        return head | record_schema(json_schema(Event))
    return head | {k: v for k, v in json_schema(resolve_name(f"edgevid.{KINDS[file]}")).items() if k != "title"}
