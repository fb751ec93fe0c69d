"""The conditions of a measurement, read from this machine and from made-up files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid import kernels
from edgevid.runtime import processor as module
from edgevid.runtime.processor import as_rows, clocks, conditions, gpu, versions


def test_conditions_name_the_processor_and_the_versions() -> None:
    found = conditions()
    assert found["processor"]
    assert found["versions"]["edgevid"]
    lines = dict(as_rows(found))
    assert lines["versions"].startswith("edgevid ")


def test_the_device_is_read_by_its_own_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"nvidia-smi": ["NVIDIA X, 550.1, 1500 MHz"], "nvpmodel": []}
    monkeypatch.setattr(module, "_tool_output", lambda *command: answers[command[0]])
    assert gpu() == "NVIDIA X, 550.1, 1500 MHz"
    answers.update({"nvidia-smi": [], "nvpmodel": ["NV Power Mode: 25W", "1"]})
    assert gpu() == "NV Power Mode: 25W 1"
    monkeypatch.undo()
    assert module._tool_output("no-such-tool-anywhere") == []


@pytest.fixture
def cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up folder of processors in place of /sys/devices/system/cpu."""
    monkeypatch.setattr(module, "CPU", tmp_path)
    return tmp_path


def core(cpu: Path, number: int, khz: int, governor: str = "powersave") -> None:
    folder = cpu / f"cpu{number}" / "cpufreq"
    folder.mkdir(parents=True)
    (folder / "scaling_cur_freq").write_text(f"{khz}\n")
    (folder / "scaling_governor").write_text(f"{governor}\n")


def test_clocks_are_the_range_over_the_cores(cpu: Path) -> None:
    core(cpu, 0, 1_500_000)
    assert clocks() == "1500 MHz"
    core(cpu, 1, 600_000, "performance")
    assert clocks() == "600 to 1500 MHz"
    assert conditions()["governor"] == "performance, powersave"


def test_clocks_without_cpufreq_are_those_of_cpuinfo(
    cpu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr("edgevid.runtime.processor.INFO", info)
    assert clocks() == ""
    info.write_text("cpu MHz\t\t: 2593.9\n\ncpu MHz\t\t: 2594.1\n")
    assert clocks() == "2594 MHz"


def test_what_is_not_reported_is_left_out(cpu: Path) -> None:
    assert "governor" not in conditions()
    assert all(conditions().values())
    assert conditions()["kernels"] == kernels.BACKEND


def test_versions_are_of_installed_packages_alone() -> None:
    found = versions()
    assert found["numpy"] == np.__version__
    assert "pycuda" not in found or found["pycuda"]
    assert list(found)[:2] == ["edgevid", "python"]


def test_rows_join_a_table_of_versions() -> None:
    found = {"cores": 2, "versions": {"a": "1", "b": "2"}}
    assert list(as_rows(found)) == [("cores", "2"), ("versions", "a 1, b 2")]
