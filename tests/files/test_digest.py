"""SHA-256 against the examples of its standard (FIPS 180-4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.files.digest import CHUNK, sha256, sha256_of, sha256_of_all

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
MILLION_A = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_bytes_text_and_arrays_have_the_digest_of_the_standard() -> None:
    assert sha256("abc") == sha256(b"abc") == sha256(memoryview(b"abc")) == ABC
    assert sha256(np.frombuffer(b"abc", np.uint8)) == ABC
    assert sha256(b"") == sha256_of_all([]) == EMPTY
    assert sha256("é") == sha256("é".encode())


def test_parts_count_as_one() -> None:
    assert sha256_of_all(["a", b"b", "c"]) == ABC
    assert sha256_of_all(["c", "b", "a"]) != ABC


@pytest.mark.parametrize("size", [0, 3, 1_000_000, CHUNK, CHUNK + 1])
def test_a_file_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * size)
    assert sha256_of(path) == sha256(b"a" * size)
    assert size != 1_000_000 or sha256_of(path) == MILLION_A


def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "gone")
