"""The shipped detectors' training: a network with more blocks begins as the same function."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")

from edgevid.learn.detector.network import Shape, StreetDetector  # noqa: E402


def test_a_network_with_more_blocks_is_the_same_function_at_first_and_learns_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):  # which the script sets
        monkeypatch.setenv(name, "1")
    from street_nano import grown

    small = Shape(64, 64, (8, 8, 8, 16, 16), (1, 1, 1), 8, context=True)
    large = Shape(64, 64, (8, 8, 8, 16, 16), (1, 2, 3), 8, context=True)
    torch.manual_seed(1)
    network = StreetDetector(small).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = network(images)
    larger = grown(network, large).eval()
    assert torch.equal(larger(images), before)
    assert larger.state_dict().keys() == StreetDetector(large).state_dict().keys()
    assert larger.shape == large
    larger(images).square().sum().backward()
    assert all(float(stage[2].expand[1].weight.grad.abs().sum()) > 0 for stage in larger.stages[1:])
