"""Every reason has a description of its own."""

from __future__ import annotations

from edgevid.types import Reason


def test_every_reason_has_a_description() -> None:
    words = [reason.description for reason in Reason]
    assert len(set(words)) == len(words)
    assert all(words)
