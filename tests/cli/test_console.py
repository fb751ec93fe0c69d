"""What is printed where, by -v and -q."""

from __future__ import annotations

import logging

import pytest

from edgevid.cli.console import errors, log_shown, notes, results, set_verbosity


@pytest.mark.parametrize(("flags", "shown"), [({}, "INFO"), ({"verbose": True}, "DEBUG"), ({"quiet": True}, "ERROR")])
def test_the_log_is_shown_from_a_level_on(
    flags: dict[str, bool], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log, levels = logging.getLogger("edgevid"), ("DEBUG", "INFO", "WARNING", "ERROR")
    before = log.level, log.handlers[:]
    set_verbosity(**flags)
    try:
        with log_shown(default=logging.INFO):
            for level in levels:
                log.log(logging.getLevelName(level), "of this level")
    finally:
        set_verbosity()
    printed = [line.split()[0] for line in capsys.readouterr().err.splitlines()]
    assert printed == list(levels[levels.index(shown) :])
    assert (log.level, log.handlers) == before


def test_quiet_hides_notes_and_neither_results_nor_errors(capsys: pytest.CaptureFixture[str]) -> None:
    set_verbosity(quiet=True)
    try:
        for console in (results, notes, errors):
            console().print(console.__name__)
    finally:
        set_verbosity()
    assert capsys.readouterr() == ("results\n", "errors\n")
