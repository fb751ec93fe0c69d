"""From training to the deployed recognizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from action_corpus import corpus

from edgevid.actions.clip_spec import ClipSpec

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.evaluate.recognition import evaluate_rows, load_for_rows  # noqa: E402
from edgevid.learn.actions.experiment import Split, run  # noqa: E402
from edgevid.learn.actions.export import Deployment  # noqa: E402
from edgevid.learn.actions.fit import TrainOptions  # noqa: E402

torch.set_num_threads(1)

SMALL = TrainOptions(window=12, rate_hz=8.0, epochs=12, batch=8, rate=5e-3)


@pytest.mark.parametrize("kind", ["gru", "transformer", "asformer", "mstcn"])
def test_from_training_to_the_deployed_recognizer(tmp_path: Path, kind: str) -> None:
    splits = {"1": Split(corpus((8, 8)), corpus((4, 4), seed=9))}
    deployment = Deployment(("rise", "fall"), _spec(), "../features", min_steps=3, stride=3)
    outcome = run(splits, kind, tmp_path, SMALL, deployment, seeds=2)
    assert outcome.parity.window < 1e-4
    assert outcome.parity.stream < 1e-5
    assert outcome.parity.pipeline < 1e-4
    assert len(outcome.trials) == 2
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["accuracy"]["value"] == pytest.approx(outcome.interval_of("accuracy").value)
    page = (tmp_path / "report.html").read_text()
    assert all(word in page for word in ("train loss", "held-out accuracy", '"rise"'))
    known = []
    if kind in ("gru", "transformer"):
        evaluation = evaluate_rows(outcome.recipe, splits["1"].test)
        assert evaluation.report.accuracy == pytest.approx(outcome.trials[0].accuracy)
        assert evaluation.abstained == 0
        for name in ("recipe", "window"):  # the same window, streamed or at once: the same typicality
            recognizer = load_for_rows(tmp_path / f"{name}.toml", splits["1"].test)
            rows = splits["1"].test.examples[0].raw
            found = [recognizer.recognize_rows(np.array([1]), np.array([n / 8]), r[None]) for n, r in enumerate(rows)]
            assert np.isnan(found[2].typicality).all()  # 3 of 12 steps
            assert 0 < found[-1].typicality[0, 0] <= 1
            known.append(found[-1].typicality[0, 0])
        assert known[0] == pytest.approx(known[1])
    else:
        assert not (tmp_path / "typicality.npz").exists()


def _spec() -> ClipSpec:
    return ClipSpec(steps=1, rate_hz=8.0, width=8, height=8, stride_s=0.0, min_side=1)
