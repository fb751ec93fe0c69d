"""Input files that are none: what comes from a pipe is copied, so that it ends, and can be read more than once."""

import os
import select
import stat
import tempfile
from pathlib import Path
from typing import Any, TypeVar

from edgevid.errors import SourceError

MOST, SILENCE_S = 1 << 30, 30.0  # Bytes of a pipe, and seconds without one
AnyPath = TypeVar("AnyPath", bound="str | Path")
_COPIES = list[Any]()  # Deleted as the program ends


def readable(path: AnyPath) -> AnyPath:
    """The file or folder itself, or a copy of what a pipe gives until its end. SourceError for a device, and for a pipe
    that gives nothing for SILENCE_S, or more than MOST bytes."""
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError):  # who reads it says so
        return path
    if kind in (stat.S_IFREG, stat.S_IFDIR):
        return path
    if kind != stat.S_IFIFO:
        raise SourceError(f"{path}: expected a file, got a device or a socket; choose a file")
    _COPIES.append(folder := tempfile.TemporaryDirectory())  # of mode 700, as it may be a secret
    copy = Path(folder.name, Path(path).name)
    handle, got = os.open(path, os.O_RDONLY | os.O_NONBLOCK), f"nothing for {SILENCE_S:g} s"
    try:
        with copy.open("wb") as file:
            while select.select([handle], [], [], SILENCE_S)[0]:
                if not (data := os.read(handle, 1 << 16)):
                    return type(path)(copy)
                if file.tell() + file.write(data) > MOST:
                    got = "more"
                    break
    finally:
        os.close(handle)
    raise SourceError(f"{path}: expected up to {MOST:,} bytes from a pipe, got {got}; write a file, and give that")
