"""Findings: what a check examined, its state, and what to do about it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from edgevid.errors import EdgevidError, FileFormatError, masked

T = TypeVar("T")


class Finding(NamedTuple):
    """One line of a report."""

    subject: str
    state: str
    ok: bool | None
    """None: neither good nor bad, something to know or to decide."""
    remedy: str = ""


def attempt(
    found: list[Finding], subject: str, call: Callable[[], T], remedy: str, good: Callable[[T], str] | None = None
) -> T | None:
    """The value of `call`, with the finding that `good` words; None where it raised, with the reason.

    Each mistake of a file is a finding, the first with the remedy.
    """
    try:
        value = call()
    except FileFormatError as error:
        for number, one in enumerate(error.mistakes):
            state = f"{Path(one.path).name}: {one.sentence}"
            found.append(Finding(subject, masked(state), False, "" if number else remedy))
        return None
    except EdgevidError as error:
        found.append(Finding(subject, str(error), False, remedy))
        return None
    if good is not None:
        found.append(Finding(subject, good(value), True))
    return value
