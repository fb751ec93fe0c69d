"""What to do about an answer."""

from __future__ import annotations

import pytest

from edgevid.video.connect import remedy_for


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        ("Server returned 401 Unauthorized (authorization failed)", "the password"),
        ("the server answers 404 Not Found", "the path after the host"),
        ("there is no such device: /dev/video0", "ls /dev/video*"),
        ("Connection refused", "the port right"),
        ("something new", ""),
    ],
)
def test_each_answer_has_its_remedy(detail: str, words: str) -> None:
    assert words in remedy_for(detail)
    assert bool(words) is bool(remedy_for(detail))
