"""Findings: what a check looked at, how it stands, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from edgevid.errors import EdgevidError, masked

T = TypeVar("T")


class Finding(NamedTuple):
    """One line of a report."""

    what: str
    state: str
    good: bool | None
    """None: neither good nor bad, something to know or to choose."""
    remedy: str = ""


def attempt(found: list[Finding], what: str, call: Callable[[], T], remedy: str) -> T | None:
    """What `call` gives; None where it raised, with a finding that says why."""
    try:
        return call()
    except EdgevidError as error:
        found.append(Finding(what, masked(str(error)), False, remedy))
    return None
