"""`${NAME}` and `${NAME:-default}` in the texts of a file: the value of an environment variable."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgevid.errors import FileFormatError, hide

_VARIABLE = re.compile(r"\$(\$?)\{([^}:]*)(?::-([^}]*))?\}")
_SECRET = re.compile(r"(?i)pas|pwd|psw|token|key|secret|auth|cred|sig|jwt|pw")
"""Names of variables whose values are masked in every message."""


def expanded(values: Any, path: Path, mistakes: list[FileFormatError], key: str = "") -> Any:
    """`values` with the variables in all texts replaced; `$${NAME}` stays `${NAME}`.

    Without a default, a variable that is not set becomes one of the `mistakes` at its dotted key, and its
    text stays. As in a shell, a default also stands for an empty variable.
    """
    if isinstance(values, Mapping):
        return {k: expanded(v, path, mistakes, f"{key}.{k}" if key else k) for k, v in values.items()}
    if isinstance(values, list):
        rows = bool(values) and isinstance(values[0], Mapping)
        names = (f"{key} {number}" if rows else key for number in range(1, len(values) + 1))
        return [expanded(one, path, mistakes, name) for one, name in zip(values, names, strict=True)]
    if not isinstance(values, str):
        return values

    def value(found: re.Match[str]) -> str:
        escaped, name, default = found.groups()
        if escaped:
            return found[0][1:]
        given = os.environ.get(name, "") or default
        if given is None and name in os.environ:
            given = ""
        if given is None:
            expected = f"the environment variable {name!r} to be set (or write ${{{name}:-default}})"
            mistakes.append(FileFormatError(path, key, expected=expected, got=None, text="it is not"))
            return found[0]
        if _SECRET.search(name):
            hide(given)
        return given

    return _VARIABLE.sub(value, values)
