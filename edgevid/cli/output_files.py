"""The files that a command writes: never over its own inputs, and each named on standard error."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from edgevid.errors import InputError, SourceError
from edgevid.files.atomic import write_atomic


def refuse_overwriting(outputs: Iterable[str | Path | None], inputs: Iterable[str | Path | None]) -> None:
    """InputError where an output is also an input (links count), or is given twice; None is no file."""
    read = [Path(path) for path in inputs if path and os.path.exists(path)]
    written: list[Path] = []
    for path in (Path(output) for output in outputs if output):
        if any(_same(path, other) for other in read):
            raise InputError(f"{path}: this input would be overwritten; choose another name")
        if any(_same(path, other) for other in written):
            raise InputError(f"{path}: two outputs have this name; choose different names")
        written.append(path)


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def write_json(values: Any, path: Path | None) -> bool:
    """Writes plain values to a JSON file, or prints them for "-"; False where nothing else may be printed."""
    if path is None:
        return True
    text = json.dumps(values, indent=1, ensure_ascii=False)
    if str(path) == "-":
        print(text)
        return False
    write_text(path, text + "\n")
    return True


def write_text(path: Path, text: str) -> None:
    """Writes a whole text file; SourceError where that is impossible."""
    try:
        write_atomic(path, text)
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror}; choose another path") from None
    show_written(path)


def show_written(path: Path) -> None:
    """Names a written file on standard error."""
    Console(stderr=True, soft_wrap=True).print(f"[dim]written:[/] {escape(str(path))}", highlight=False)
