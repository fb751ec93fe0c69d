"""Sentences that are logged once."""

from __future__ import annotations

import logging

import pytest

from edgevid.errors import log_once


def test_a_sentence_is_logged_once_for_each_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "edgevid"):
        for _ in range(3):
            log_once("test_log: 100 % of it")
            log_once("test_log: something else", logging.WARNING)
    found = [(r.levelname, r.message) for r in caplog.records if r.message.startswith("test_log")]
    assert found == [("INFO", "test_log: 100 % of it"), ("WARNING", "test_log: something else")]
