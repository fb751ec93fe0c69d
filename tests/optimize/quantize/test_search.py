"""The search for the nodes to exclude."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx_models
import pytest

from edgevid.optimize.frames import select_frames
from edgevid.optimize.quantize.evaluator import DriftMeter, Evaluator, ExclusionSearch, build
from edgevid.optimize.quantize.graph import Graph
from edgevid.runtime.recipe import LocalRecipe

onnx = onnx_models.onnx


@pytest.mark.parametrize(("nodes", "needed"), [(0, 1), (1, 1), (5, 1), (5, 5), (40, 37), (5, 9)])
def test_no_number_of_excluded_nodes_is_tried_twice(monkeypatch: pytest.MonkeyPatch, nodes: int, needed: int) -> None:
    tried, sensitivities, nothing = list[int](), {f"node {n}": 1.0 for n in range(nodes)}, None

    def attempt(_: ExclusionSearch, count: int) -> Any:
        tried.append(count)
        return SimpleNamespace(agreement=float(count >= needed), total=1.0)

    monkeypatch.setattr(ExclusionSearch, "_try", attempt)
    monkeypatch.setattr(ExclusionSearch, "rank", lambda search: search.sensitivities.update(sensitivities))
    empty: Any = nothing
    excluded, best = ExclusionSearch(empty, empty, "int8-cpu", empty, empty).run(1.0)
    assert sorted(tried) == sorted(set(tried))
    assert min(needed, nodes) <= len(excluded) <= min(1.25 * needed, nodes)
    assert best.agreement == (needed <= nodes)


def test_the_most_sensitive_node_is_excluded_first(net: LocalRecipe, graph: Graph, video: Path, tmp_path: Path) -> None:
    """One activation's range is made absurd: it must be the first that is kept, and then the floor holds."""
    from edgevid.optimize.quantize.ranges import measure

    selection = select_frames(video, max_frames=20)
    found = measure(net, graph, selection.calibration, selection.sources)
    ranges = {**found.ranges, "s": (-9000.0, 9000.0)}
    found = dataclasses.replace(found, ranges=ranges)
    plain = tmp_path / "plain.onnx"
    onnx.save(graph.model, plain)
    evaluator = Evaluator(net, selection.held_out, plain)
    meter = DriftMeter(net, selection.held_out, plain)
    assert meter.drift(build(graph, found, "int8-cpu", frozenset())[0]) > 0.2
    for variant, blamed in (("int8-cpu", "s"), ("int8-trt", graph.layers()[2].name)):
        search = ExclusionSearch(graph, found, variant, meter, evaluator)
        search.rank()
        assert next(iter(search.sensitivities)) == blamed
        model = build(graph, found, variant, frozenset({blamed}))[0]
        assert meter.drift(model) < 0.05
