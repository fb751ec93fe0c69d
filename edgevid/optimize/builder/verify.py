"""Verification of a build: the graph, and the engine where a device runs it, against the FP32 ONNX model."""

import dataclasses
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevid.errors import InputError, ParityError
from edgevid.files.atomic import write_atomic
from edgevid.optimize.builder.options import FALLBACK
from edgevid.optimize.compare.gate import compare_engines
from edgevid.optimize.frames import read_frames
from edgevid.optimize.half import open_fp16
from edgevid.runtime.cuda.driver import gpus
from edgevid.runtime.engine import Engine
from edgevid.runtime.manifest import SKIPPED, Manifest
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import Precision, Recipe
from edgevid.runtime.tensorrt.engine import TrtEngine
from edgevid.runtime.variants import stores_half, variant_of

NO_DEVICE = "not run: no NVIDIA device here runs the engine; the graph was compared in ONNX Runtime"
SAME_GRAPH = "not run: the graph is the ONNX model itself"


@dataclass(frozen=True, slots=True)
class Verification:
    """How an engine is verified against its model."""

    data: str | Path | None = None
    """Video, folder or list of images; None skips verification, and the manifest records that."""
    max_frames: int = 100
    """Frames compared, spread evenly over `data`."""
    min_agreement: float | None = None
    """Minimum agreement, 0 to 1; None: the recipe's floor, else the default of the precision."""
    try_next: bool = False
    """Whether the next precision is tried where one does not reach the floor."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Compares the graph and the engine with the model they were made from, on the same frames."""

    model: Path
    recipe: Recipe | None
    precision: Precision
    options: Verification

    def __post_init__(self) -> None:
        if self.options.data is not None and self.recipe is None:
            command = shlex.join(["edgevid", "inspect", str(self.model), "--write"])
            raise InputError(
                f"{self.model}: no recipe states its preprocessing, so it cannot be compared on frames; "
                f"write one (`{command}`), or build with --skip-verification"
            )

    def graph(self, graph: Path, engine: Path, report: Callable[[str], None]) -> str | dict[str, Any]:
        """Metrics of the precision's graph in ONNX Runtime; ParityError below the floor."""
        if graph == self.model:
            return SAME_GRAPH
        if self.options.data is None:
            return SKIPPED
        report(f"comparing {graph.name} with {self.model.name} in ONNX Runtime")
        try:
            half = stores_half(graph.read_bytes())  # computed as the device will
            with open_fp16(graph) if half else OrtEngine(graph, device="cpu", disable_optimizations=True) as candidate:
                return self._compare(candidate, f"{graph.name} in ONNX Runtime", engine)
        except ParityError as error:
            if variant_of(graph) != "int8-trt-fp16":
                raise
            hint = "Try --fallback-precision fp32 first: it keeps FP32 between the INT8 layers"
            raise ParityError(f"{error}. {hint}") from error

    def engine(
        self, part: Path, manifest: Manifest, engine: Path, report: Callable[[str], None]
    ) -> str | dict[str, Any]:
        """Metrics of the engine itself, where it can be run; ParityError below the floor."""
        if self.options.data is None:
            return SKIPPED
        if not gpus():
            return NO_DEVICE
        built_for = manifest.compute_capabilities
        if built_for and gpus()[0].capability not in built_for:
            return f"not run: built for compute capability {', '.join(built_for)}, this device is {gpus()[0]}"
        report(f"comparing {engine.name} with {self.model.name} in ONNX Runtime")
        with TrtEngine(part, manifest=manifest) as candidate:
            return self._compare(candidate, engine.name, engine)

    def _compare(self, candidate: Engine, name: str, engine: Path) -> dict[str, Any]:
        assert self.recipe is not None
        assert self.options.data is not None
        with OrtEngine(self.model, device="cpu") as reference:
            frames = read_frames(self.options.data, self.options.max_frames)
            report = compare_engines(
                reference, candidate, self.recipe, frames, precision=self.precision,
                min_agreement=self.options.min_agreement, names=(f"{self.model.name} in FP32", name),
            )  # fmt: skip
        following = FALLBACK.get(self.precision)
        remedy = f"use --precision {following} (--try-next does)" if following else "check the device"
        report = dataclasses.replace(report, remedy=remedy)
        if not report.passed:
            write_atomic(report_path(engine), json.dumps(report.as_dict(), indent=1) + "\n")
        return report.raise_if_failed().as_dict()


def report_path(engine: Path) -> Path:
    """File of the metrics of a rejected engine."""
    return engine.with_name(engine.name + ".rejected.json")
