"""NPZ files of plain arrays."""

import zipfile
from pathlib import Path

import numpy as np

from edgevid.errors import FileFormatError
from edgevid.types import Array


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an NPZ by name; FileFormatError for another or a damaged file."""
    try:
        with np.load(path, allow_pickle=False) as read:
            return {key: read[key] for key in read.files}
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise FileFormatError(path, "the whole file", expected="an NPZ of plain arrays", got=str(error)) from None
