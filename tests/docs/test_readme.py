"""The README is true: its links, its tables, its example and its commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edgevid import cli

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_link_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_file_that_is_named_exists() -> None:
    for name in re.findall(
        r"`((?:edgevid|benchmarks|calibration|tests|docs)/[\w/.]+\.(?:py|toml|md))`", README
    ):
        assert (ROOT / name).exists(), name


def test_the_tables_are_those_of_the_measured_results() -> None:
    done = subprocess.run([sys.executable, "tables.py", "--check"], cwd=ROOT / "benchmarks", check=False)
    assert done.returncode == 0, "run: python benchmarks/tables.py"


def test_every_command_exists_and_takes_the_options_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("edgevid ")]
    assert len(lines) >= 3
    for line in lines:
        words = shlex.split(line, comments=True)
        with pytest.raises(SystemExit) as stop:
            cli.main([words[1], "--help"])
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        for option in (word for word in words if word.startswith("--")):
            assert option in shown, f"{option} of: {line}"


def test_the_example_runs_as_it_stands(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "road.mp4").symlink_to(shared_data / "videos" / "kraten_speedcheck_cars.mp4")
    (tmp_path / "calibration").symlink_to(ROOT / "calibration")
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "km/h" in printed
    assert "off plane" in printed


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "benchmarks").glob("*.py")))
def test_every_benchmark_at_least_compiles(name: str) -> None:
    source = (ROOT / "benchmarks" / f"{name}.py").read_text()
    assert compile(source, name, "exec") is not None
    assert source.startswith('"""')
