"""NPZ archives of plain arrays, within a limit."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

MOST_BYTES = 1 << 32  # Of all arrays of an archive, unpacked


def load_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an NPZ by name. OSError where it is not read, ValueError where it is none, is damaged, or is of
    more than 4 GB when it is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(one.file_size for one in archive.infolist())) > MOST_BYTES:
                raise ValueError(f"it unpacks to {size:,} bytes, expected {MOST_BYTES:,} at most")
        with np.load(path, allow_pickle=False) as read:
            return {key: read[key] for key in read.files}
    except (EOFError, AttributeError, TypeError, MemoryError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(str(error) or type(error).__name__) from None
