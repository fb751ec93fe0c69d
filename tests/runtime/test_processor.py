"""How many threads a model gets: physical cores, affinity, and the quota of a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid.runtime import processor
from edgevid.runtime.processor import cpu_quota, default_threads, physical_cores


def topology(root: Path, siblings: dict[int, str]) -> Path:
    for number, text in siblings.items():
        folder = root / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text + "\n")
    return root


def test_two_threads_of_one_core_are_one(tmp_path: Path) -> None:
    cpu = topology(tmp_path, {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"})
    assert physical_cores({0, 1, 2, 3}, cpu) == 2
    assert physical_cores({0, 2}, cpu) == 1
    assert physical_cores({0, 3}, cpu) == 2


def test_without_a_topology_every_processor_is_a_core(tmp_path: Path) -> None:
    assert physical_cores({0, 1, 5}, tmp_path / "absent") == 3


@pytest.mark.parametrize(
    ("text", "expected"), [("150000 100000", 1.5), ("max 100000", None), ("", None), ("5 0", None)]
)
def test_the_quota_of_a_container(tmp_path: Path, text: str, expected: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path, tmp_path / "absent") == expected


def test_the_narrowest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    inner = tmp_path / "system.slice" / "camera.service"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("300000 100000")
    (inner.parent / "cpu.max").write_text("200000 100000")
    own = tmp_path / "own"
    own.write_text("0::/system.slice/camera.service\n")
    assert cpu_quota(tmp_path, own) == 2.0
    (inner / "cpu.max").write_text("50000 100000")
    assert cpu_quota(tmp_path, own) == 0.5


def test_the_quota_of_the_first_cgroups(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("250000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path, tmp_path / "absent") == 2.5
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpu_quota(tmp_path, tmp_path / "absent") is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (1.5, 2), (0.2, 1), (8.0, 4)])
def test_threads_are_cores_within_the_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
) -> None:
    monkeypatch.setattr(processor, "cpu_quota", lambda: quota)
    monkeypatch.setattr(processor, "physical_cores", lambda logical: 4)
    assert default_threads() == expected
