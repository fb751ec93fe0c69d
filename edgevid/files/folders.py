"""The folders of downloads, of recipes and of events that wait."""

import os
import re
from pathlib import Path

from edgevid.errors import InputError

CACHE = "EDGEVID_CACHE"  # Environment variable that names the cache folder
SPOOL = "EDGEVID_SPOOL"  # Environment variable that names the folder of spools


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
    return spool_folder() / (re.sub(r"[^\w.-]+", "-", camera).strip(".")[:60] or "-")


def engines_folder() -> Path:
    """The folder of recipes: inside an installed package, or `engines/` of a clone."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "engines"
    return installed if installed.is_dir() else package.parent / "engines"
