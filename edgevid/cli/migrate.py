"""`edgevid migrate`: brings databases and records of older versions to today's."""

from pathlib import Path
from typing import Annotated

from typer import Argument

from edgevid.cli.console import notes, show_written
from edgevid.errors import InputError


def command(files: Annotated[list[Path], Argument(help="SQLite databases and JSON lines.")]) -> None:
    """Bring databases and records (JSON lines) of older versions to today's, in place."""
    for path in files:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; check the path")
        with path.open("rb") as file:
            migrate = _migrate_database if file.read(16) == b"SQLite format 3\0" else _migrate_lines
        if migrate(path):
            show_written(path)
        else:
            notes().print(f"{path}: is of today's version")


def _migrate_database(path: Path) -> bool:
    """Whether a database was changed; a file is as before where it fails."""
    import sqlite3
    from contextlib import closing

    from edgevid.output.tables import BUSY_S, SCRIPTS, database_errors, migrate

    with database_errors(path), closing(sqlite3.connect(path, timeout=BUSY_S)) as base:
        return migrate(base, path) < len(SCRIPTS)


def _migrate_lines(path: Path) -> bool:
    """Whether records were changed; torn lines are left out. The file is replaced in one step."""
    from edgevid.files.atomic import atomic_path
    from edgevid.output.records import OLDER, json_line, read_lines, upgraded

    if not any(one.get("schema") in OLDER for _, one in read_lines(path)):
        return False
    with atomic_path(path) as new, new.open("w", encoding="utf-8") as file:
        for _, one in read_lines(path):
            file.write(json_line(upgraded(one) if one.get("schema") in OLDER else one))
    return True
