"""docs/field.md: what it tells a user to write is what the program understands."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from edgevid.cli import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "field.md"


def unit() -> str:
    found = re.search(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def known_options(command: str) -> set[str]:
    import typer.main

    group = typer.main.get_command(app())
    return {o for parameter in group.commands[command].params for o in parameter.opts}  # type: ignore[attr-defined]


def test_the_unit_starts_a_command_that_exists() -> None:
    start = re.search(r"^ExecStart=(.*?[^\\])$", unit(), re.DOTALL | re.MULTILINE)
    assert start is not None
    words = shlex.split(start[1].replace("\\\n", " "))
    assert words[:2] == ["/opt/edgevid/bin/edgevid", "run"]
    options = {word for word in words if word.startswith("--")}
    assert {"--site", "--segment-s", "--max-disk-gb"} <= options <= known_options("run")


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_every_option_that_the_page_names_exists(command: str) -> None:
    told = set(re.findall(rf"edgevid {command}[^\n`]*", PAGE.read_text()))
    assert told
    options = {option for line in told for option in re.findall(r"--[a-z-]+", line)}
    assert options <= known_options(command)


def test_the_unit_says_nothing_twice_and_systemd_takes_it(tmp_path: Path) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(unit().replace("\\\n", " "))
    assert set(parser.sections()) == {"Unit", "Service", "Install"}
    assert parser["Service"]["type"] == "notify"  # the program tells when it is ready
    assert int(parser["Service"]["watchdogsec"]) >= 30
    assert "killsignal" not in parser["Service"]  # SIGTERM, systemd's own, ends a run with every record finished
    if shutil.which("systemd-analyze") is None:
        return
    path = tmp_path / "edgevid@gate.service"
    path.write_text(unit().replace("/opt/edgevid/bin/edgevid", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(path) not in done.stderr
