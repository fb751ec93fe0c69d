"""The option `--json FILE|-`, the same in every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from edgevid.files.atomic import write_atomic


def write_json(values: Any, path: Path | None) -> bool:
    """Writes plain values to a JSON file, or prints them for "-"; False where nothing else may be printed."""
    if path is None:
        return True
    text = json.dumps(values, indent=1, ensure_ascii=False)
    if str(path) == "-":
        print(text)
        return False
    write_atomic(path, text + "\n")
    show_written(path)
    return True


def show_written(path: Path) -> None:
    """Names a written file on standard error."""
    Console(stderr=True, soft_wrap=True).print(f"[dim]written:[/] {escape(str(path))}", highlight=False)
