"""Parents and certified risks in policy files, and the guarantee that expires."""

from pathlib import Path

import numpy as np
import pytest

from edgevid.abstain import DriftMonitor, PolicyFile, Settings, read_policy, write_policy
from edgevid.abstain.file import Tuned
from edgevid.errors import InputError
from edgevid.types import Verdicts

TREE = {"vehicle": ("car", "truck")}


def test_a_tree_is_written_and_read_again(tmp_path: Path) -> None:
    settings = Settings(threshold=0.8, tree=TREE, parent_threshold=0.8, unlike=0.02)
    tuned = Tuned((0.1, 0.5, 0.9), 0.25, 40, 0.05)
    file = PolicyFile(("car", "truck", "bus"), settings, tuned=tuned)
    write_policy(tmp_path / "p.toml", file)
    read = read_policy(tmp_path / "p.toml")
    assert (read.settings, read.tuned) == (settings, tuned)
    assert read.policy().parents == ("vehicle",)


@pytest.mark.parametrize(
    "tree", [{"car": ("truck", "bus")}, {"one": ("car",)}, {"odd": ("car", "ship")}, TREE | {"heavy": ("truck", "bus")}]
)
def test_a_tree_that_is_none_is_rejected(tree: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(InputError, match="policy tree"):
        PolicyFile(("car", "truck", "bus"), Settings(tree=tree)).policy()


def test_a_guarantee_expires_with_drift() -> None:
    tuned = Tuned(tuple(np.linspace(0.5, 1, 21)), 0.1, 500, 0.05)
    monitor = DriftMonitor(tuned, min_tracks=100)
    ids = np.arange(200)
    monitor.update(Verdicts.of(ids=ids, labels=ids * 0, confidence=np.linspace(0.2, 0.6, 200), reason=ids * 0))
    monitor.reset()
    report = monitor.report()
    assert report.alarm
    assert "expired: at most 5.00% wrong" in report.description
