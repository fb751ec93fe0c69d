"""SHA-256, as manifests, recipes and caches state it: lower-case hexadecimal."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes; OSError where it cannot be read."""
    with path.open("rb") as file:
        return sha256_of_all(iter(lambda: file.read(CHUNK), b""))


def sha256(data: Any) -> str:
    """The SHA-256 of bytes, of anything that lays its bytes open, or of text as UTF-8.

    >>> sha256("edgevid")[:8] == sha256(b"edgevid")[:8]
    True
    """
    return sha256_of_all([data])


def sha256_of_all(parts: Iterable[Any]) -> str:
    """The SHA-256 of several parts in order, as if they were one."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()
