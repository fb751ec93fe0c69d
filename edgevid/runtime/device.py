"""Device choices: "auto", "cpu" or "cuda:N"."""

from __future__ import annotations

from typing import Literal

from edgevid.errors import InputError

DeviceKind = Literal["auto", "cpu", "cuda"]


def parse_device(device: str) -> tuple[DeviceKind, int]:
    """Kind and number of a device choice; InputError for anything else.

    >>> parse_device("cuda:1"), parse_device("auto")
    (('cuda', 1), ('auto', 0))
    """
    kind, _, number = device.partition(":")
    if device == "auto":
        return "auto", 0
    if device == "cpu":
        return "cpu", 0
    if kind == "cuda" and (number or "0").isdigit():
        return "cuda", int(number or 0)
    raise InputError(f"device: expected 'auto', 'cpu' or 'cuda:0', got {device!r}")
