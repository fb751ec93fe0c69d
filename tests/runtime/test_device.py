"""Device choices."""

from __future__ import annotations

import pytest

from edgevid.errors import InputError
from edgevid.runtime.device import PROVIDERS, parse_device


def test_a_choice_is_a_kind_and_a_number() -> None:
    choices = {"auto": ("auto", 0), "cpu": ("cpu", 0), "cuda": ("cuda", 0), "cuda:3": ("cuda", 3)}
    assert {device: parse_device(device) for device in choices} == choices


@pytest.mark.parametrize("device", [*PROVIDERS, "openvino:npu", "openvino:gpu"])
def test_an_execution_provider_is_a_choice_with_or_without_its_hardware(device: str) -> None:
    assert parse_device(device) == ("provider", 0)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "", "cpu:1", "auto:0", "openvino:tpu"])
def test_other_words_are_rejected(device: str) -> None:
    with pytest.raises(InputError, match="device: expected 'auto', 'cpu', 'cuda:0' or one of openvino"):
        parse_device(device)


def test_a_misspelled_word_is_named_as_it_was_meant() -> None:
    for word, meant in (("open-vino", "openvino"), ("gpu", "cuda:0")):
        with pytest.raises(InputError, match=f"did you mean '{meant}'"):
            parse_device(word)
