"""Whether a sink of a site can be written: its folder, its database, its server with the login."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from edgevid.errors import SourceError
from edgevid.files.atomic import check_file, check_folder
from edgevid.output.sqlite import database_errors, version_of
from edgevid.site.findings import Finding, attempt
from edgevid.types import Header

LEAST_FREE = 100_000_000  # Bytes of free disk below which a sink's disk counts as full


def check_sink(found: list[Finding], table: Any, camera: str) -> None:
    """Adds what a table [[sink]] is found to be; nothing is written, and no running service is disturbed."""
    path, subject = getattr(table, "path", None), f"sink {table.type}"

    def ask() -> str:
        if path is not None:
            return _check_path(path, table.type)
        sink = table.sink(0)
        if hasattr(sink, "open"):
            sink.open(Header(camera))
        try:
            return f"{sink.name}: {sink.check()}"
        except SourceError as error:
            raise SourceError(f"{sink.name}: {error}") from None
        finally:
            sink.close()

    server = "correct it, or start the server; until then events wait in the spool"
    attempt(found, subject, ask, server if path is None else "correct its path", lambda state: state)


def _check_path(path: Path, kind: str) -> str:
    """What is at a path; SourceError or InputError where it cannot be written."""
    near = next(one for one in (path, *path.absolute().parents) if one.exists())
    if kind == "parquet":
        check_folder(path)
    elif not path.absolute().parent.is_dir():
        raise SourceError(f"{path}: the folder {path.parent} does not exist; create it first")
    else:
        check_file(path)
    if not os.access(near, os.W_OK):
        raise SourceError(f"{near}: cannot be written by this user; give the service's user the right to")
    if kind == "sqlite" and path.exists():
        uri = f"{path.absolute().as_uri()}?immutable=1"  # makes no files next to it
        with database_errors(path), closing(sqlite3.connect(uri, uri=True)) as base:
            version_of(base, path)
    free = shutil.disk_usage(near).free
    if free < LEAST_FREE:
        raise SourceError(f"{path}: {free // 1_000_000} MB are free on its disk; free more space")
    return f"{path} can be written"
