"""NPZ archives of plain arrays, within a limit."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

MOST_BYTES = 1 << 32  # Of all arrays of an archive, unpacked
DAMAGED = (EOFError, MemoryError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)  # Of an archive


def check_unpacked(archive: zipfile.ZipFile, most: int = MOST_BYTES) -> None:
    """ValueError for an archive of more than `most` bytes when it is unpacked."""
    if (size := sum(one.file_size for one in archive.infolist())) > most:
        raise ValueError(f"it unpacks to {size:,} bytes, expected {most:,} at most")


def load_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an NPZ by name. OSError where it is not read, ValueError where it is none, is damaged, or is of
    more than 4 GB when it is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(archive)
        with np.load(path, allow_pickle=False) as read:
            return {key: read[key] for key in read.files}
    except (AttributeError, TypeError, *DAMAGED) as error:
        raise ValueError(str(error) or type(error).__name__) from None
