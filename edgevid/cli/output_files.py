"""The files that a command writes: checked before the work, and each named on standard error."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from edgevid.cli.console import notes
from edgevid.errors import InputError, SourceError
from edgevid.files.atomic import atomic_path, check_file, write_atomic
from edgevid.types import Array

KINDS = {
    "MP4": (".mp4", ".m4v", ".mov"),
    "JSON lines": (".jsonl", ".ndjson", ".json"),
    "JSON": (".json",),
    "CSV": (".csv",),
    "MOT": (".txt",),
    "events": (".jsonl", ".csv", ".ndjson"),
    "HTML": (".html", ".htm"),
    "PNG": (".png",),
    "image": (".png", ".jpg", ".jpeg"),
    "TOML": (".toml",),
    "ONNX": (".onnx",),
    "engine": (".engine", ".plan"),
}
"""What outputs hold, and the suffixes that their names may have."""
TEXTS = ("JSON lines", "JSON", "CSV", "MOT", "events")  # What may go to standard output, as "-"

Outputs = Mapping[str, tuple[str | Path | None, str]]
"""By option: the path, None where it was not given, and its key in KINDS ("" where any suffix will do)."""


def check_outputs(outputs: Outputs, inputs: Iterable[str | Path | None] = (), *, force: bool = False) -> None:
    """InputError or SourceError where an output must not or cannot be written; to be called before any work.

    An output is no input (links count) and is given once; its suffix suits its content; it does not exist,
    unless `force`; its place can be written. "-" is standard output, for one output that is text.
    """
    read = [Path(path) for path in inputs if path and os.path.exists(path)]
    written: list[Path] = []
    for option, (path, kind) in outputs.items():
        if path is None:
            continue
        path = Path(path)
        if any(_same(path, other) for other in written):
            raise InputError(f"{option}: another output goes to {path} too; choose different names")
        written.append(path)
        if is_stdout(path):
            if kind not in TEXTS:
                raise InputError(f"{option}: expected a file, got - (standard output), which takes text only")
        elif not path.exists() or path.is_file() or path.is_dir():  # a device or pipe is for anything
            _check_file(option, path, kind, read, force)


def _check_file(option: str, path: Path, kind: str, read: list[Path], force: bool) -> None:
    if any(_same(path, other) for other in read):
        raise InputError(f"{path}: this input would be overwritten; choose another name")
    suffixes = KINDS.get(kind, ())
    if path.suffix and suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{option}: expected a name that ends in {' or '.join(suffixes[:2])}, got {path}")
    check_file(path)
    if path.exists() and not force:
        raise InputError(f"{option}: {path} exists; --force overwrites it, or choose another name")


def is_stdout(path: Path | None) -> bool:
    """Whether a path is "-", standard output."""
    return str(path) == "-"


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def write_json(values: Any, path: Path | None) -> bool:
    """Writes plain values to a JSON file, or prints them for "-"; False where nothing else may be printed."""
    if path is None:
        return True
    text = json.dumps(values, indent=1, ensure_ascii=False)
    if is_stdout(path):
        print(text)
        return False
    write_text(path, text + "\n")
    return True


def write_text(path: Path, text: str) -> None:
    """Writes a whole text file, or prints it for "-"; SourceError where that is impossible."""
    if is_stdout(path):
        print(text, end="")
        return
    try:
        write_atomic(path, text)
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror}; choose another path") from None
    show_written(path)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a text file as its parts come, complete or not at all; or prints them for "-"."""
    if is_stdout(path):
        sys.stdout.writelines(lines)
        return
    try:
        with atomic_path(path) as new, new.open("w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror or error}; choose another path") from None
    show_written(path)


def write_image(option: str, path: Path, image: Array) -> None:
    """Writes an (H, W, 3) RGB image; InputError where that is impossible."""
    from edgevid._opencv import cv2

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        done = cv2.imwrite(str(path), image[:, :, ::-1])
    except (cv2.error, OSError):
        done = False
    if not done:
        raise InputError(f"{option}: expected a writable name that ends in .png or .jpg, got {path}")


def show_written(path: Path) -> None:
    """Names a written file on standard error."""
    notes().print(f"[dim]written:[/] {escape(str(path))}")
