"""README and docs are true: their links, files and commands, and the README's tables and example."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import typer

from edgevid import VideoWriter, cli, open_video

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_file_that_is_named_exists() -> None:
    for page in PAGES:
        for name in re.findall(
            r"`((?:edgevid|engines|benchmarks|calibration/int8|demos|tests|docs)/[\w/.-]+\.(?:py|sh|toml|md))`",
            page.read_text(),
        ):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_tables_are_those_of_the_measured_results() -> None:
    done = subprocess.run([sys.executable, "tables.py", "--check"], cwd=ROOT / "benchmarks", check=False)
    assert done.returncode == 0, "run: python benchmarks/tables.py"


def commands() -> list[str]:
    """Every command line in a fenced block of README and docs, continued lines joined."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:sh)?\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            lines = block.replace("\\\n", " ").splitlines()
            found += [m[1] for line in lines if (m := re.match(r"(?:\$ )?(edgevid(?:-demo|-build)? .*)", line))]
    return found


@pytest.fixture(scope="module")
def programs() -> dict[str, Any]:
    made = {"edgevid": cli.app()}
    for name in ("demo", "build"):
        made[f"edgevid-{name}"] = typer.Typer(add_completion=False)
        made[f"edgevid-{name}"].command()(importlib.import_module(f"edgevid.cli.{name}").command)
    return {name: typer.main.get_command(app) for name, app in made.items()}


@pytest.mark.parametrize("line", commands())
def test_every_command_exists_and_takes_the_options_shown(line: str, programs: dict[str, Any]) -> None:
    program, *words = shlex.split(line, comments=True)
    command = programs[program]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {option for param in command.params for option in [*param.opts, *param.secondary_opts]}
    for option in (word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)):
        assert option in known | {"--help"}, f"{option} of: {line}"
    assert not getattr(command, "commands", {}) or "--help" in words, f"{line}: no such subcommand"


def test_the_example_runs_as_it_stands(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    clip = str(shared_data / "videos/kraten_speedcheck_cars.mp4")
    with open_video(clip) as video, VideoWriter(tmp_path / "road.mp4", fps=25) as road:
        for frame in islice(video, 75):
            road.write(frame.image, frame.time)
    (tmp_path / "calibration").symlink_to(ROOT / "calibration")
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "km/h" in printed
    assert "outside the calibration" in printed


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "benchmarks").glob("*.py")))
def test_every_benchmark_at_least_compiles(name: str) -> None:
    source = (ROOT / "benchmarks" / f"{name}.py").read_text()
    assert compile(source, name, "exec") is not None
    assert source.startswith('"""')
