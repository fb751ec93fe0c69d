"""The folders of downloads, of recipes and of events that wait."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgevid.errors import FileFormatError, InputError, hide
from edgevid.files.digest import sha256

CACHE = "EDGEVID_CACHE"  # Environment variable that names the cache folder
SPOOL = "EDGEVID_SPOOL"  # Environment variable that names the folder of spools
_VARIABLE = re.compile(r"\$(\$?)\{([^}:]*)(?::-([^}]*))?\}")
MOST_BYTES = 80  # Of a name in the names of files
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)?(\.|$)")  # What Windows takes for devices
_SECRET = re.compile(r"(?i)pas|pwd|psw|token|key|secret|auth|cred|sig|jwt|pw")  # Variables that no message shows


def cache_folder() -> Path:
    """The user's cache of edgevid: EDGEVID_CACHE, else XDG_CACHE_HOME/edgevid, else ~/.cache/edgevid."""
    if given := os.environ.get(CACHE):
        if (folder := Path(given).expanduser()).is_file():
            raise InputError(f"{CACHE}: expected a folder, got the file {folder}")
        return folder
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "edgevid"


def spool_folder() -> Path:
    """Where events wait for sinks: EDGEVID_SPOOL, else edgevid/spool in XDG_STATE_HOME or ~/.local/state."""
    if given := os.environ.get(SPOOL):
        return Path(given).expanduser()
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "edgevid" / "spool"


def camera_spool(camera: str) -> Path:
    """The folder of one camera's events."""
    return spool_folder() / file_name(camera)


def file_name(text: str) -> str:
    """A text as a part of a file's name, on every system; different for different texts.

    >>> file_name("gate-1"), file_name("../gate 1"), file_name("CON")
    ('gate-1', 'gate-1-7e804bb4', 'CON-a3dbc4b6')
    """
    plain = re.sub(r"[^\w.-]+", "-", text).encode()[:MOST_BYTES].decode(errors="ignore").strip(".-")
    if plain == text and not _RESERVED.match(plain):
        return plain
    return f"{plain.replace('.', '-')}-{sha256(text.encode(errors='surrogatepass'))[:8]}".lstrip("-")


def engines_folder() -> Path:
    """The folder of recipes: inside an installed package, or `engines/` of a clone."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "engines"
    return installed if installed.is_dir() else package.parent / "engines"


def expanded(values: Any, path: Path, mistakes: list[FileFormatError], key: str = "") -> Any:
    """`values` with the variables in all texts replaced; `$${NAME}` stays `${NAME}`. Without a default, a
    variable that is not set becomes one of the `mistakes` at its dotted key, and its text stays. As in a shell,
    a default also stands for an empty variable."""
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
