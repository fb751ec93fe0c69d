"""Checks that a command does not overwrite its own inputs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from edgevid.errors import InputError


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
