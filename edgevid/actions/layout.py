"""Layouts of skeletons: which joints a pose has, in which order, and the bones between them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from edgevid.errors import FieldError, InputError
from edgevid.files import check_fields, checked
from edgevid.files.toml import read_toml
from edgevid.types import Array


@dataclass(frozen=True, slots=True)
class JointLayout:
    """J joints of a skeleton, in the order of their coordinates: a recipe's table [layout]."""

    joints: tuple[str, ...]  # "left" and "right" in a name tell which joints a mirror swaps
    parents: tuple[str, ...]  # Of each joint the one that its bone starts from; a root is its own
    dims: Literal[2, 3] = 2  # x and y, or x, y and z with y along gravity; in any unit

    def __post_init__(self) -> None:
        check_fields(self, "layout")
        if len(set(self.joints)) != len(self.joints) or len(self.joints) < 2:
            raise FieldError("layout", "joints", "at least 2 different names", self.joints)
        if len(self.parents) != len(self.joints) or not set(self.parents) <= set(self.joints):
            raise FieldError("layout", "parents", f"{len(self.joints)} of the joints", self.parents)
        if lone := sorted(set(map(_mirrored, self.joints)) - set(self.joints)):
            raise FieldError("layout", "joints", f"both sides, so also {', '.join(lone)}", self.joints)

    @property
    def row_width(self) -> int:
        """Length of a stored step: the J coordinates (dims each), then J confidences."""
        return len(self.joints) * (self.dims + 1)

    @property
    def roots(self) -> Array:
        """(J,) index of each joint's parent."""
        return np.array([self.joints.index(name) for name in self.parents])

    @property
    def mirror(self) -> Array:
        """(J,) index of each joint's counterpart in a mirrored image.

        >>> JointLayout(("neck", "left hip", "right hip"), ("neck", "neck", "neck")).mirror.tolist()
        [0, 2, 1]
        """
        return np.array([self.joints.index(_mirrored(name)) for name in self.joints])

    def split(self, rows: Array) -> tuple[Array, Array]:
        """Coordinates (..., J, dims) and confidences (..., J) of rows (..., J * (dims + 1)); InputError for others."""
        if rows.shape[-1] != self.row_width:
            expected = f"{len(self.joints)} joints in {self.dims}-D and their confidences, {self.row_width} values"
            raise InputError(f"a skeleton: expected {expected}, got {rows.shape[-1]}")
        count = len(self.joints) * self.dims
        return rows[..., :count].reshape(*rows.shape[:-1], -1, self.dims), rows[..., count:]

    def rows(self, points: Array, confidence: Array | None = None) -> Array:
        """(..., J * (dims + 1)) float32 rows of coordinates (..., J, dims), as `split` takes them. A joint with NaN has
        a confidence of 0; without `confidence` (..., J) all others have 1."""
        seen = np.asarray(np.isfinite(points).all(-1))
        sure = np.where(seen, 1.0 if confidence is None else np.nan_to_num(confidence), 0.0)
        flat = np.where(seen[..., None], points, 0).reshape(*points.shape[:-2], -1)
        return np.concatenate((flat, sure), axis=-1).astype(np.float32)


def _mirrored(name: str) -> str:
    return name.replace("left", "?").replace("right", "left").replace("?", "right")


_TABLES = read_toml(Path(__file__).with_suffix(".toml"))
LAYOUTS = {name: JointLayout(tuple(one["joints"]), tuple(one["parents"])) for name, one in _TABLES.items()}


def find_layout(name: JointLayout | str | Path = "", *, joints: int = 0, dims: int = 2) -> JointLayout:
    """The layout of a name of `LAYOUTS`, or of a TOML file with `joints` and `parents`; without a name the one of that
    many `joints`. InputError where there is none, or where it has another number of joints."""
    known = [one for one in LAYOUTS.values() if len(one.joints) == joints]
    if isinstance(name, JointLayout):
        known = [name]
    elif name in LAYOUTS:
        known = [LAYOUTS[str(name)]]
    elif name:
        if not Path(name).is_file():
            raise InputError(f"layout: expected one of {', '.join(LAYOUTS)}, or a TOML file, got {str(name)!r}")
        known = [checked(JointLayout, read_toml(Path(name)), Path(name))]
    if not known or joints not in (0, len(known[0].joints)) or dims not in (2, 3):
        have = ", ".join(f"{key} ({len(one.joints)})" for key, one in LAYOUTS.items())
        raise InputError(f"layout: expected 2-D or 3-D joints of one of {have}, or of a TOML file with their names and "
                         f"parents, got {joints} joints in {dims}-D")  # fmt: skip
    return replace(known[0], dims=dims)  # type: ignore[arg-type]
