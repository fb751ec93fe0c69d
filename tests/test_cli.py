"""The command line: one clear sentence for a mistake, a report that names its remedies."""

from __future__ import annotations

import pytest

from edgevid import cli
from edgevid.cli import doctor


def test_commands_are_sorted_and_each_has_help() -> None:
    assert list(cli.COMMANDS) == sorted(cli.COMMANDS)
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0


def test_doctor_names_kernels_providers_and_the_pip_line_of_each_gap(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda module: None)
    found = {finding.what: finding for finding in doctor.findings()}
    assert found["torch"].remedy == "pip install 'edgevid[train]'"
    assert "CPU" in found["ONNX Runtime"].state
    assert found["kernels"].state.startswith(("native", "numpy"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor"])
    printed = capsys.readouterr().out
    assert "edgevid[viewer]" in printed
    assert stop.value.code in (0, 1)
