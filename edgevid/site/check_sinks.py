"""Whether a sink of a site can be written: its folder, its database, its server with the login."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from edgevid.errors import SourceError
from edgevid.files.atomic import check_file, check_folder
from edgevid.output.sqlite import read_database
from edgevid.site.findings import Finding, attempt
from edgevid.types import Header

LEAST_FREE = 100_000_000
"""Bytes of free disk below which a sink's disk counts as full."""


def check_sink(found: list[Finding], table: Any, camera: str) -> None:
    """Adds what a table [[sink]] is found to be; nothing is written, and no running service is disturbed."""
    subject, path = f"sink {table.type}", getattr(table, "path", None)
    if path is not None:
        attempt(found, subject, lambda: _check_path(path, table.type), "", lambda state: state)
        return

    def ask() -> str:
        sink = table.sink(0)
        sink.open(Header(camera)) if hasattr(sink, "open") else None
        try:
            return f"{sink.name}: {sink.check()}"
        finally:
            sink.close()

    remedy = f"events wait in the spool until this is mended; docs/events.md has an example for {table.type}"
    attempt(found, subject, ask, remedy, lambda state: state)


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
        read_database(path, "SELECT 1")
    free = shutil.disk_usage(near).free
    if free < LEAST_FREE:
        raise SourceError(f"{path}: {free // 1_000_000} MB are free on its disk; free more space")
    return f"{path} can be written"
