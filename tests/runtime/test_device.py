"""Device choices."""

from __future__ import annotations

import pytest

from edgevid.errors import InputError
from edgevid.runtime.device import parse_device


def test_a_choice_is_a_kind_and_a_number() -> None:
    choices = {"auto": ("auto", 0), "cpu": ("cpu", 0), "cuda": ("cuda", 0), "cuda:3": ("cuda", 3)}
    assert {device: parse_device(device) for device in choices} == choices


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "", "cpu:1", "auto:0"])
def test_other_words_are_rejected(device: str) -> None:
    with pytest.raises(InputError, match=r"device: expected 'auto', 'cpu' or 'cuda:0', got"):
        parse_device(device)
