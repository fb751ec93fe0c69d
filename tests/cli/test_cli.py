"""The command line: one clear sentence for a mistake, a report that names its remedies."""

from __future__ import annotations

import pytest

from edgevid import cli
from edgevid.cli.command_line import COMMANDS


def test_each_command_has_help() -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0


def test_the_lists_of_commands_are_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ([], ["models"], ["train"], ["evaluate"]):
        with pytest.raises(SystemExit):
            cli.main([*group, "--help"])
        shown = capsys.readouterr().out.partition("Commands:")[2]
        assert "..." not in shown
        names = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2] != " "]
        assert names == list(COMMANDS) or group
        assert names


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from edgevid import __version__

    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == f"edgevid {__version__}"
