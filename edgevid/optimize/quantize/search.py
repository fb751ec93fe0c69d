"""The search for the activations and layers to exclude, so that the agreement reaches a floor."""

from __future__ import annotations

import dataclasses
from typing import Any

from edgevid.optimize.compare.pair import TaskMetrics
from edgevid.optimize.quantize.apply import apply_plan
from edgevid.optimize.quantize.evaluator import DriftMeter, Evaluator
from edgevid.optimize.quantize.graph import Graph
from edgevid.optimize.quantize.plan import PASS_THROUGH_OPS, PLANNERS, Plan
from edgevid.optimize.quantize.ranges import Calibration, Progress
from edgevid.runtime.variants import FOR_TENSORRT


def build(graph: Graph, found: Calibration, variant: str, excluded: frozenset[str]) -> tuple[Any, Plan]:
    """The model of a variant without these activations and layers, and its plan."""
    plan = PLANNERS[variant](graph, found.activation_ranges, excluded)
    if variant == "int8-cpu":
        plan = dataclasses.replace(plan, reduce_range=found.reduce_range)
    means = (found.means["float"], found.means.get(variant, {})) if "float" in found.means else None
    return apply_plan(graph, plan, means), plan


class ExclusionSearch:
    """Finds the activations (CPU) or layers (TensorRT) to exclude: the fewest, in order of sensitivity."""

    def __init__(
        self,
        graph: Graph,
        found: Calibration,
        variant: str,
        meter: DriftMeter,
        evaluator: Evaluator,
        progress: Progress | None = None,
    ) -> None:
        self.graph, self.found, self.variant = graph, found, variant
        self.meter, self.evaluator, self.progress = meter, evaluator, progress
        self.sensitivities: dict[str, float] = {}
        self._unchanged = variant in FOR_TENSORRT
        self.always: tuple[str, ...] = ()
        """Layers that are excluded whatever their sensitivity."""

    def run(self, floor: float) -> tuple[tuple[str, ...], TaskMetrics]:
        """The names to exclude, the most sensitive first, and the agreement without them."""
        best = self._try(0)
        if best.agreement >= floor or not best.total:
            return self.always, best
        self.rank()
        low, high = 0, 1
        while high < len(self.sensitivities) and (best := self._try(high)).agreement < floor:
            low, high = high, high * 2
        high = min(high, len(self.sensitivities))
        best = self._try(high)
        while high - low > max(1, high // 8):
            middle = (low + high) // 2
            found = self._try(middle)
            low, high, best = (low, middle, found) if found.agreement >= floor else (middle, high, best)
        return (*self.always, *list(self.sensitivities)[:high]), best

    def _try(self, count: int) -> TaskMetrics:
        excluded = frozenset([*self.always, *list(self.sensitivities)[:count]])
        model = build(self.graph, self.found, self.variant, excluded)[0]
        found = self.evaluator.agreement(model, disable_optimizations=self._unchanged)
        if self.progress:
            text = f"{self.variant}: {found.agreement:.1%} with {count} excluded"
            self.progress(text, count, len(self.sensitivities))
        return found

    def rank(self) -> None:
        """Measures the sensitivity of each activation or layer alone, and sorts them."""
        plan = PLANNERS[self.variant](self.graph, self.found.activation_ranges)
        on_cpu, drifts = self.variant == "int8-cpu", {}
        names = self._candidates(plan) if on_cpu else plan.layers
        for number, name in enumerate(names):
            if on_cpu:
                model = apply_plan(self.graph, Plan({name: plan.tensors[name]}, (), ()))
            else:
                model, _ = build(self.graph, self.found, self.variant, frozenset(plan.layers) - {name})
            drifts[name] = self.meter.drift(model, disable_optimizations=self._unchanged)
            if self.progress:
                self.progress(f"{self.variant}: sensitivities", number + 1, len(names))
        self.sensitivities = dict(sorted(drifts.items(), key=lambda item: -item[1]))

    def _candidates(self, plan: Plan) -> tuple[str, ...]:
        """Activations to rank: not those that only move another's values, nor the gates of activations."""
        skipped = (*PASS_THROUGH_OPS, "Sigmoid", "HardSigmoid")
        kinds = {t: self.graph.producer[t].op_type for t in plan.tensors if t in self.graph.producer}
        return tuple(t for t in plan.tensors if kinds.get(t) not in skipped)
