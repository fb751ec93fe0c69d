"""The command line: one clear sentence for a mistake, a report that names its remedies."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid import cli
from edgevid.cli import doctor


def test_each_command_has_help() -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0


def test_doctor_names_kernels_providers_and_the_pip_line_of_each_gap(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda module: None)
    found = {finding.subject: finding for finding in doctor.findings()}
    assert found["torch"].remedy == "pip install 'edgevid[train]'"
    assert "CPU" in found["ONNX Runtime"].state
    assert found["kernels"].state.startswith(("native", "numpy"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor"])
    printed = capsys.readouterr().out
    assert "edgevid[viewer]" in printed
    assert stop.value.code in (0, 1)


def test_the_lists_of_commands_are_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ([], ["models"], ["train"], ["evaluate"]):
        with pytest.raises(SystemExit):
            cli.main([*group, "--help"])
        shown = capsys.readouterr().out.partition("Commands:")[2]
        assert "..." not in shown
        names = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2] != " "]
        assert names == list(cli.COMMANDS) or group
        assert names


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from edgevid import __version__

    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == f"edgevid {__version__}"


def test_a_file_is_no_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "road.mp4").touch()
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--source", str(tmp_path / "road.mp4")])
    assert stop.value.code == 1
    assert "no camera" in " ".join(capsys.readouterr().out.split())
