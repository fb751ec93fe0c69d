"""A finding of each attempt: what was good, or why it failed and what to do."""

from __future__ import annotations

import pytest

from edgevid.errors import InputError
from edgevid.site.check_camera import Finding, attempt


def test_a_success_gives_its_value_and_the_finding_in_words() -> None:
    found: list[Finding] = []
    assert attempt(found, "model", lambda: 7, "install it", lambda value: f"{value} classes") == 7
    assert found == [Finding("model", "7 classes", True, "")]


def test_a_success_without_words_is_no_finding() -> None:
    found: list[Finding] = []
    assert attempt(found, "model", lambda: None, "install it") is None
    assert found == []


def test_a_failure_is_the_reason_with_its_remedy_and_secrets_hidden() -> None:
    def fail() -> int:
        raise InputError("rtsp://admin:hunter2@gate/1: no frame")

    found: list[Finding] = []
    assert attempt(found, "source", fail, "check the path", str) is None
    assert found == [Finding("source", "rtsp://***:***@gate/1: no frame", False, "check the path")]


def test_other_errors_are_not_findings() -> None:
    found: list[Finding] = []
    with pytest.raises(ZeroDivisionError):
        attempt(found, "model", lambda: 1 / 0, "install it")
    assert found == []
