"""Heads that score each step use its context: they beat a linear layer by far on the benchmark's long videos."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.evaluate.actions.extract import folds, read_features  # noqa: E402
from edgevid.learn.actions.experiment import evaluate  # noqa: E402
from edgevid.learn.actions.fit import TrainOptions, fit  # noqa: E402
from edgevid.learn.actions.heads import StepLinearHead  # noqa: E402
from edgevid.learn.actions.segmentation import SegmentationHead  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's module, imported from its folder as its script does, with a smaller set."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
    import long_videos

    for name, value in (("TRAIN", 8), ("TEST", 4), ("ACTIONS", 4), ("WIDTH", 12)):
        monkeypatch.setattr(long_videos, name, value)
    return long_videos


@pytest.mark.parametrize("kind", ["mstcn", "asformer"])
def test_context_is_worth_ten_points_of_f1(tmp_path: Path, bench: Any, kind: str) -> None:
    bench.make(tmp_path)
    data = read_features(tmp_path, bench.RATE_HZ)
    ((train, test),) = folds(tmp_path, data).values()
    options = TrainOptions(window=120, rate_hz=bench.RATE_HZ, epochs=40, batch=4, rate=5e-3)
    found = {}
    heads = {kind: partial(SegmentationHead, kind=kind, width=32, layers=5), "linear": StepLinearHead}
    for name, head in heads.items():
        fitted = fit(partial(head, data.width, len(data.names)), train, None, options)
        _, segments = evaluate(fitted.head, test, options)
        assert segments is not None
        found[name] = segments.f1_25
    print({name: round(value, 1) for name, value in found.items()})
    assert found[kind] > found["linear"] + 10
