"""A head on shared data: `evaluate actions` on its held-out part, and `edgevid-demo` on real video with an action
that no training clip shows, in the picture and in the record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgevid import cli
from edgevid.output import overlay


def test_the_demo_shows_an_unknown_action_as_unlike_training(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gymnasts do none of the 14 actions that the head learned from skeletons."""
    pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
    pytest.importorskip("sklearn", reason="the baseline svm needs scikit-learn")
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data / "models"))
    data, model, shown = tmp_path / "data", tmp_path / "head", list[str]()
    data.mkdir()
    for part in ("train", "test"):
        (data / f"GT_{part}_1.npz").symlink_to(shared_data / f"actions/jhmdb_skeleton/GT_{part}_1.npz")
    how = ("--head", "ridge", "--seeds", "1", "--epochs", "1", "--threads", "1")
    trained = CliRunner().invoke(cli.app(), ["train", "actions", str(data), "--out", str(model), *how])
    assert trained.exit_code == 0, trained.output
    scores, least = tmp_path / "scores.npz", ("--min", "accuracy=70%")
    judged = CliRunner().invoke(
        cli.app(), ["evaluate", "actions", str(model), "--truth", str(data), "--scores", str(scores), *least]
    )
    assert judged.exit_code == 0, judged.output
    assert "is not stated" not in judged.output
    assert not np.load(scores)["trained"].any()
    written = overlay.verdict_text

    def drawn(*about: object) -> tuple[str, object]:
        line = written(*about)  # type: ignore[arg-type]
        shown.append(line[0])
        return line

    monkeypatch.setattr(overlay, "verdict_text", drawn)
    clip = str(shared_data / "videos/felix_exercise.avi")
    given = (
        "--actions",
        str(model),
        "--model",
        "yolox-nano-416",
        "--max-frames",
        "24",
        "--out",
        str(tmp_path / "demo"),
    )
    with pytest.raises(SystemExit) as stop:
        cli.demo_main([clip, *given])
    assert stop.value.code == 0
    assert shown.count("abstained: unlike training") > len(shown) / 2
    rows = [json.loads(line) for line in (tmp_path / "demo" / "demo.jsonl").read_text().splitlines()]
    told = [one["verdicts"]["action"] for row in rows for one in row.get("objects", ()) if "verdicts" in one]
    decided = [one for one in told if one.get("reason") != "NOT_MEASURED"]
    unlike = [one for one in decided if one.get("reason") == "UNLIKE_TRAINING"]
    assert len(unlike) > len(decided) / 2
    assert all("label" not in one for one in unlike)
