"""`edgevid doctor`: what is installed, what is missing, and how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from edgevid import cli
from edgevid.cli import doctor
from edgevid.site.check_camera import Finding


def test_doctor_names_kernels_providers_and_the_pip_line_of_each_gap(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "module_version", lambda module, **_: "")
    found = {finding.subject: finding for finding in doctor.findings()}
    assert found["torch"].remedy == 'pip install "edgevid[train]"'
    assert "CPU" in found["ONNX Runtime"].state
    assert found["kernels"].state.startswith(("native", "numpy"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor"])
    printed = capsys.readouterr().out
    assert "edgevid[viewer]" in printed
    assert stop.value.code in (0, 1)


def test_a_file_is_no_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "road.mp4").touch()
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--source", str(tmp_path / "road.mp4")])
    assert stop.value.code == 1
    assert "no camera" in " ".join(capsys.readouterr().out.split())


def test_an_extra_that_is_not_there_is_no_fault_and_names_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = {finding.subject: finding for finding in doctor.findings()}
    for module, (extra, purpose) in doctor.known()["extras"].items():
        assert found[module].ok is None
        assert found[module].state == f"not installed ({purpose})"
        assert found[module].remedy == f'pip install "edgevid[{extra}]"'


def test_kernels_without_a_core_are_a_fault_unless_numpy_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevid.kernels.BACKEND", "numpy")
    monkeypatch.setenv("EDGEVID_KERNELS", "auto")
    found = next(f for f in doctor.findings() if f.subject == "kernels")
    assert (found.ok, found.state) == (False, "numpy (EDGEVID_KERNELS=auto)")
    assert found.remedy
    monkeypatch.setenv("EDGEVID_KERNELS", "numpy")
    found = next(f for f in doctor.findings() if f.subject == "kernels")
    assert (found.ok, found.remedy) == (None, "")


def test_steps_name_first_what_must_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    report = [
        Finding("model", "there is none", False, "name one"), Finding("kernels", "numpy", None, "build them"),
        Finding("zones", "3 of 3", True, ""),
    ]  # fmt: skip
    doctor._print_steps(Console(width=200), report)
    printed = capsys.readouterr().out
    assert printed.index("to fix") < printed.index("1. model: name one") < printed.index("to consider")
    assert "1. kernels: build them" in printed
    assert "ready to run" not in printed
    doctor._print_steps(Console(width=200), report[2:])
    printed = capsys.readouterr().out
    assert "ready to run" in printed
    assert "to fix" not in printed
    assert "to consider" not in printed


def test_a_site_that_is_not_there_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--site", str(tmp_path / "gate.toml")])
    assert stop.value.code == 1
    assert "no such file" in " ".join(capsys.readouterr().out.split())


def test_a_camera_is_read_for_at_least_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--source", "rtsp://gate/1", "--seconds", "0"])
    assert stop.value.code == 2
    assert "--seconds" in capsys.readouterr().err


def test_running_on_a_device_is_called_unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevid.runtime.device.driver", lambda: "a driver")
    (found,) = [one for one in doctor.findings() if one.subject == "NVIDIA driver"]
    assert found.ok
    assert "unverified so far" in found.state


@pytest.mark.parametrize(
    ("version", "counts", "text"),
    [
        ("", (0, 0), "ONNX Runtime runs all models"),
        ("2026.4", (0, 0), "OpenVINO runs 0 of 0 models"),
        ("2026.4", (3, 2), "OpenVINO runs 2 of 3 models"),
    ],
)
def test_doctor_recommends_to_measure_the_runtimes(
    monkeypatch: pytest.MonkeyPatch, version: str, counts: tuple[int, int], text: str
) -> None:
    monkeypatch.setattr(doctor, "module_version", lambda module, **_: version)
    monkeypatch.setattr("edgevid.runtime.load.count_choices", lambda: counts)
    found = next(f for f in doctor.findings() if f.subject == "on the CPU")
    assert found.state.startswith(text)
    assert ("--choose" in found.remedy) == bool(version)
