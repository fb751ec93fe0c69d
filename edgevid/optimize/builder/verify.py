"""The parity gate of a build: the graph, and the engine where a device runs it, against the FP32 model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgevid.errors import InputError, ParityError
from edgevid.files.atomic import write_atomic
from edgevid.runtime.cuda.driver import gpus
from edgevid.runtime.engine import Engine
from edgevid.runtime.manifest import Manifest
from edgevid.runtime.recipe import Recipe
from edgevid.runtime.variants import variant_of

if TYPE_CHECKING:
    from edgevid.optimize.compare.gate import ParityReport
    from edgevid.optimize.frames import NamedFrame


class Asked(Protocol):
    """What is asked of the gate (tools/build.py, Gate)."""

    @property
    def frames(self) -> str | Path | None: ...
    @property
    def count(self) -> int: ...
    @property
    def floor(self) -> float | None: ...


UNPROVEN = "not run: no frames were given"
NO_DEVICE = "not run: no NVIDIA device here runs the engine; the graph was compared in ONNX Runtime"
ITSELF = "the graph is the model itself"


@dataclass(slots=True)
class Judge:
    """Compares what becomes of a model with the model itself, on the same frames each time."""

    model: Path
    recipe: Recipe | None
    precision: str
    asked: Asked

    def __post_init__(self) -> None:
        if self.asked.frames is not None and self.recipe is None:
            raise InputError(
                f"{self.model}: no recipe says how it is fed, so it cannot be compared on frames; write one "
                f"(`edgevid inspect {self.model} --write`), or build it unproven"
            )

    def graph(self, graph: Path, engine: Path, say: Callable[[str], None]) -> str | dict[str, Any]:
        """The figures of the precision's graph in ONNX Runtime; ParityError below the floor."""
        if graph == self.model:
            return ITSELF
        if self.asked.frames is None:
            return UNPROVEN
        from edgevid.runtime.onnxruntime.engine import OrtEngine

        say(f"comparing {graph.name} with {self.model.name} in ONNX Runtime")
        try:
            with OrtEngine(graph, device="cpu", disable_optimizations=True) as candidate:
                return self._figures(candidate, f"{graph.name} in ONNX Runtime", engine)
        except ParityError as error:
            if variant_of(graph) != "int8-trt-fp16":
                raise
            hint = "Here first try --rest fp32: no FP16 between the layers"
            raise ParityError(f"{error}. {hint}") from error

    def engine(
        self, part: Path, manifest: Manifest, engine: Path, say: Callable[[str], None]
    ) -> str | dict[str, Any]:
        """The figures of the engine itself, where it can be run; ParityError below the floor."""
        if self.asked.frames is None:
            return UNPROVEN
        if not gpus():
            return NO_DEVICE
        if manifest.targets and gpus()[0].capability not in manifest.targets:
            return f"not run: built for compute capability {', '.join(manifest.targets)}, here is {gpus()[0]}"
        from edgevid.runtime.tensorrt.engine import TrtEngine

        say(f"comparing {engine.name} with {self.model.name} in ONNX Runtime")
        with TrtEngine(part, manifest=manifest) as candidate:
            return self._figures(candidate, engine.name, engine)

    def _figures(self, candidate: Engine, name: str, engine: Path) -> dict[str, Any]:
        from edgevid.optimize.compare.gate import compare_engines
        from edgevid.runtime.onnxruntime.engine import OrtEngine

        assert self.recipe is not None
        with OrtEngine(self.model, device="cpu") as reference:
            report = compare_engines(
                reference,
                candidate,
                self.recipe,
                self._frames(),
                precision=self.precision,
                floor=self.asked.floor,
                names=(f"{self.model.name} in FP32", name),
            )
        if not report.passed:
            _keep_report(report, engine)
        return report.demand().as_dict()

    def _frames(self) -> Iterator[NamedFrame]:
        from edgevid.optimize.frames import read_frames

        assert self.asked.frames is not None
        return read_frames(self.asked.frames, self.asked.count)


def report_path(engine: Path) -> Path:
    """Where the figures of a refused engine are left."""
    return engine.with_name(engine.name + ".refused.json")


def _keep_report(report: ParityReport, engine: Path) -> None:
    path = report_path(engine)
    write_atomic(path, json.dumps(report.as_dict(), indent=1) + "\n")
