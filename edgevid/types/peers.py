"""What users of supervision, Ultralytics, trackers and OpenCV write first, and edgevid's line for it."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevid.errors import InputError, UnknownAttributeError, did_you_mean
from edgevid.files.toml import read_toml

LOUD = {("Result", "boxes")}
"""What raises InputError, no AttributeError: supervision's from_ultralytics would take it for no objects."""


@lru_cache
def habits() -> dict[str, dict[str, str]]:
    """By class (or this package) and attribute what to write: of peers.toml, whose keys may be several names."""
    tables = read_toml(Path(__file__).with_name("peers.toml"))
    return {owner: {name: line for names, line in lines.items() for name in names.split()}
            for owner, lines in tables.items()}  # fmt: skip


def unknown_attribute(owner: str, name: str, known: list[str], where: str = "") -> UnknownAttributeError:
    """The error for an attribute that `owner` lacks: the next step, or the similar name."""
    hint = habits().get(owner, {}).get(name)
    tail = f": {hint}" if hint else did_you_mean(name, [k for k in known if not k.startswith("_")])
    return UnknownAttributeError(f"{where or owner} has no attribute {name!r}{tail}")


class Hinted:
    """Base of classes whose missing attributes are answered with edgevid's line for the habit."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker would take every attribute for known

        def __getattr__(self, name: str) -> Any:
            owner = type(self)
            if name.startswith("_"):
                raise UnknownAttributeError(f"{owner.__name__} has no attribute {name!r}")
            kinds = [c.__name__ for c in owner.__mro__ if name in habits().get(c.__name__, ())]
            error = unknown_attribute((kinds or [owner.__name__])[0], name, dir(owner), owner.__name__)
            raise InputError(str(error)) if (owner.__name__, name) in LOUD else error


class Boxes(np.ndarray, Hinted):
    """An array of boxes that answers `.xyxy` and the like; what is computed from it is the same array."""
