"""Files that are complete or absent: written under another name, flushed to the disk, moved into place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A new file next to `path`, which replaces it when the block ends without an error.

    Readers get the old file or the new one, never a part; a crash or a power failure leaves one of both. The
    temporary name is unique, so that two programs never write one file. The mode of a replaced file stays,
    and a symbolic link keeps pointing to its file. OSError where the disk cannot be written.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part{path.suffix}")
    new.touch(0o600 if path.exists() else 0o666, exist_ok=False)  # the system applies the umask
    try:
        yield new
        if path.exists():
            new.chmod(path.stat().st_mode & 0o777)
        move_into_place(new, path)
    finally:
        new.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes a whole file in one step (see `atomic_path`); text as UTF-8."""
    with atomic_path(path) as new:
        new.write_bytes(data.encode() if isinstance(data, str) else data)


def move_into_place(new: Path, path: Path) -> None:
    """Flushes a finished file to the disk and renames it to `path`, replacing what is there."""
    _flush(new)
    os.replace(new, path)
    with suppress(OSError):  # a file system that cannot flush a folder
        _flush(path.parent)


def quarantine(path: Path, suffix: str) -> Path:
    """Renames a damaged file to `path` with `suffix` appended, and returns its new name."""
    aside = path.with_name(path.name + suffix)
    os.replace(path, aside)
    return aside


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
