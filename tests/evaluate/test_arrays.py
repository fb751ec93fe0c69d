"""NPZ files: plain arrays, or an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.errors import FileFormatError
from edgevid.evaluate.tune.score_files import read_arrays


def test_plain_arrays_are_read_and_no_code_is_run(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=[1, 2], b=["x"])
    assert {key: values.tolist() for key, values in read_arrays(path).items()} == {"a": [1, 2], "b": ["x"]}
    np.savez(path, a=np.array([{}], object))
    with pytest.raises(FileFormatError, match="expected an NPZ of plain arrays"):
        read_arrays(path)
    np.save(tmp_path / "one.npy", np.zeros(2))
    (tmp_path / "one.npy").rename(path)
    with pytest.raises(FileFormatError, match="expected an NPZ of plain arrays"):
        read_arrays(path)
