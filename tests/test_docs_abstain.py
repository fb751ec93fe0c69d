"""The walk-through of docs/abstain.md, on scores made here."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edgevid import cli
from edgevid.abstain import Policy

DOC = (Path(__file__).resolve().parents[1] / "docs" / "abstain.md").read_text()


def make_scores(path: Path, tracks: int = 800) -> None:
    """Four classes; how sure the recogniser is says how often it is right."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, tracks)
    logits = random.normal(0, 1, (tracks, 4))
    logits[np.arange(tracks), labels] += random.uniform(0, 5, tracks)
    values = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.savez(path, values=values.astype(np.float32), labels=labels, tracks=np.arange(tracks))


def test_the_commands_of_the_walk_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'edgevid[plot]'")
    monkeypatch.chdir(tmp_path)
    make_scores(tmp_path / "scores.npz")
    (command,) = re.findall(r"^edgevid (tune .*)$", DOC, re.MULTILINE)
    with pytest.raises(SystemExit) as stop:
        cli.main(command.split())
    assert stop.value.code == 0
    assert "errors gone" in capsys.readouterr().out
    policy = Policy.load(tmp_path / "policy.toml")
    assert len(policy.names) == 4
    assert len(list(tmp_path.glob("*.png"))) == 3


@pytest.mark.parametrize("target", re.findall(r"^\| `(--[a-z-]+(?: [\d.]+)?)`", DOC, re.MULTILINE))
def test_each_target_of_the_table(tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'edgevid[plot]'")
    monkeypatch.chdir(tmp_path)
    make_scores(tmp_path / "scores.npz")
    with pytest.raises(SystemExit) as stop:
        cli.main(["tune", "scores.npz", "--out", "policy.toml", *target.split()])
    assert stop.value.code == 0
    assert (tmp_path / "policy.toml").exists()


def test_every_option_that_is_named_exists(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ""
    for name in ("tune", "run"):
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        shown += capsys.readouterr().out
    for option in set(re.findall(r"(--[a-z][a-z-]+)", DOC)):
        assert option in shown, option
