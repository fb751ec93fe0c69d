"""`edgevid tune`: policy, plots and options."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from score_tables import csv_of, drawn
from typer.testing import CliRunner

from edgevid._opencv import cv2
from edgevid.abstain.file import read_policy
from edgevid.cli import app
from edgevid.errors import InputError, SourceError
from edgevid.runtime.variants import model_digest
from edgevid.site.file import read_site


def ask(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app(), ["tune", *map(str, arguments)])  # of scores: short for tune policy
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_writes_policy_and_plots(tmp_path: Path) -> None:
    model, out = tmp_path / "model.onnx", tmp_path / "out" / "policy.toml"
    model.write_bytes(b"weights")
    scores = csv_of(tmp_path / "s.csv", drawn(700))
    shifted = csv_of(tmp_path / "p.csv", drawn(700, seed=5, flat=2.0), labels=False)
    options = ["--production", shifted, "--model", model, "--task", "action"]
    printed = ask("policy", scores, "--max-risk", "0.15", "--out", out, *options)
    assert "guaranteed" in printed
    assert "production scores differ" in printed
    written = read_policy(out)
    assert (written.task, written.made["certified_risk"]) == ("action", 0.15)
    assert written.model_sha256 == hashlib.sha256(b"weights").hexdigest()
    html = out.with_suffix(".html").read_text()
    titles = (
        "Verdicts by threshold",
        "Risk and coverage",
        "Reliability",
        "Confidences",
        "errors removed",
        "production",
    )
    assert all(title in html for title in titles)
    again = ask(shifted, "--abstain-rate", "0.3", "--base", out, "--out", tmp_path / "next.toml")
    assert "not certified" in again
    assert read_policy(tmp_path / "next.toml").settings.temperature == written.settings.temperature
    assert "Reliability" not in (tmp_path / "next.html").read_text()  # without labels


def test_a_policy_belongs_to_a_model_with_its_weights_in_another_file_too(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the model is made with onnx")
    from conv_detector import conv_detector

    model, out = tmp_path / "model.onnx", tmp_path / "policy.toml"
    conv_detector(model, external=True)
    ask(csv_of(tmp_path / "s.csv", drawn(60)), "--model", model, "--out", out)
    bound = read_policy(out)
    assert bound.model_sha256 == model_digest(model)  # as a site compares it
    bound.must_fit(names=None, model_sha256=model_digest(model))


def test_the_command_takes_one_target(tmp_path: Path) -> None:
    scores = csv_of(tmp_path / "s.csv", drawn(60))
    with pytest.raises(InputError, match="one target, got --max-risk, --abstain-rate"):
        ask(scores, "--max-risk", "0.1", "--abstain-rate", "0.1")
    with pytest.raises(InputError, match="--model"):
        ask(scores, "--model", tmp_path / "absent.onnx", "--out", tmp_path / "p.toml")


@pytest.mark.parametrize("option", ["--out", "--html"])
def test_a_place_that_cannot_be_written_is_rejected_before_the_work(tmp_path: Path, option: str) -> None:
    (tmp_path / "folder").mkdir()
    place = {"--out": tmp_path / "folder", "--html": tmp_path / "folder"}[option]
    with pytest.raises(SourceError, match="cannot be written: it is a"):
        ask(tmp_path / "no-scores.csv", option, place)


def test_the_gate_is_written_to_the_site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials are given: what is chosen of them, printed and written. Comments stay."""
    from edgevid.evaluate.tune.gate import GateTrial

    lost = {4.0: 0, 8.0: 0, 16.0: 40}
    trials = [GateTrial(t, 4 / t, n / 80, np.arange(80) < n, 0.9, 3, 0) for t, n in lost.items()]
    monkeypatch.setattr("edgevid.evaluate.tune.gate.try_gates", lambda *_, **__: trials)
    video, site = tmp_path / "gate.png", tmp_path / "gate.toml"
    cv2.imwrite(str(video), np.zeros((90, 160, 3), np.uint8))
    site.write_text('# the gate\n[detect]\nmodel = "street-nano"  # small\n')
    printed = ask("gate", video, "--site", site)
    assert "50.0%" in printed
    assert "◄" in printed
    assert "3.7%" in printed  # 1 - 0.05 ** (1 / 80)
    assert read_site(site).gate_threshold == 8
    assert read_site(site).every == "auto"
    assert site.read_text().startswith('# the gate\n[detect]\nmodel = "street-nano"  # small\n')
    assert "gate_threshold = 8.0" in ask("gate", video)
    with pytest.raises(InputError, match=r"at least 149 objects, .* got 80 with a certified loss of 3.7%"):
        ask("gate", video, "--max-loss", "0.02")
