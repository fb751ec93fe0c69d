"""The options of a build, checked before anything is loaded, and its verification against the FP32 ONNX model."""

import dataclasses
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from edgevid.errors import InputError, ParityError, check_choice
from edgevid.files import check_fields, write_atomic
from edgevid.optimize.compare.gate import compare_engines
from edgevid.optimize.frames import read_frames
from edgevid.optimize.half import open_fp16
from edgevid.runtime import Engine, Precision, Recipe
from edgevid.runtime.device import gpus
from edgevid.runtime.manifest import SKIPPED, Manifest
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.tensorrt.engine import TrtEngine
from edgevid.runtime.variants import stores_half, variant_of

BackendChoice = Literal["auto", "tensorrt", "tensorrt-rtx"]
HardwareCompatibility = Literal["none", "same-capability", "ampere+"]
FallbackPrecision = Literal["fp16", "fp32"]
FALLBACK: Mapping[Precision, Precision] = MappingProxyType({"int8": "fp16", "fp16": "fp32"})
"""The next precision to try where one does not reach the floor."""
RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities that TensorRT-RTX builds for (enum ComputeCapability of 1.7)."""
Shape = tuple[int, ...]
Report = Callable[[str], None]  # Receives one line of text for each step


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The options of one build; InputError for values out of range."""

    precision: Precision = "fp16"
    backend: BackendChoice = "auto"  # "auto": TensorRT where it is installed, else TensorRT-RTX
    batch: tuple[int, int, int] = (1, 1, 1)  # Minimum, optimal and maximum images of a run, where the batch is dynamic
    shapes: Mapping[str, tuple[Shape, Shape, Shape]] = field(default_factory=dict)
    """Minimum, optimal and maximum shape of inputs whose dynamic axes neither batch nor recipe fixes."""
    workspace_mb: Annotated[int | None, Ge(1)] = None  # Device memory for the builder's tactics; None: all of it
    optimization_level: Annotated[int | None, Ge(0), Le(5)] = None
    """Builder optimization level, 0 (fast build) to 5 (long search); None: TensorRT's default, 3."""
    version_compatible: bool = False  # Whether newer TensorRT versions may load the engine; it can be slower
    hardware_compatibility: HardwareCompatibility = "none"
    """"none": this device only; "same-capability"; "ampere+": compute capability 8.0 and higher."""
    compute_capabilities: tuple[str, ...] = ()  # Those to build for, TensorRT-RTX only; empty: 8.0 and higher
    fallback_precision: FallbackPrecision = "fp16"  # Precision of the layers of an INT8 engine that are not INT8
    tf32: bool = False  # Whether FP32 may be rounded to TF32 in tensor cores; off, so that fp32 means it
    timing_cache: Path | None = None  # File of the tactics that earlier builds measured; None: next to the engine

    def __post_init__(self) -> None:
        check_fields(self, "build:")
        low, best, high = self.batch
        if not 1 <= low <= best <= high:
            raise InputError(f"--batch: expected 1 <= MIN <= OPT <= MAX, got {self.batch}")
        for capability in self.compute_capabilities:
            check_choice(capability, RTX_CAPABILITIES, "--compute-capability")
        for name, (a, b, c) in self.shapes.items():
            if not (len(a) == len(b) == len(c) and all(1 <= x <= y <= z for x, y, z in zip(a, b, c, strict=True))):
                raise InputError(f"--shape: {name}: expected 1 <= MIN <= OPT <= MAX, got {a}, {b}, {c}")

    def check_backend(self, backend: str) -> None:
        """InputError for an option that this backend does not have."""
        if self.compute_capabilities and backend != "tensorrt-rtx":
            where = "the device that runs the engine (or with --hardware-compatibility ampere+)"
            what = "--compute-capability: only TensorRT-RTX builds for other devices"
            raise InputError(f"{what}; TensorRT builds on {where}")
        if self.hardware_compatibility != "none" and backend == "tensorrt-rtx":
            what = "--hardware-compatibility: TensorRT-RTX engines run on every card from compute capability 8.0"
            raise InputError(f"{what}; select others with --compute-capability")

    def as_dict(self) -> dict[str, Any]:
        """The options as the manifest stores them."""
        elsewhere = ("precision", "backend", "compute_capabilities", "timing_cache")
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in elsewhere}


def read_shapes(text: str) -> tuple[str, tuple[Shape, Shape, Shape]]:
    """An input's name and three shapes, from "name=1x3x64x64" or "name=MIN,OPT,MAX".

    >>> read_shapes("x=1x8,4x8,8x8")
    ('x', ((1, 8), (4, 8), (8, 8)))
    """
    name, _, shapes = text.rpartition("=")
    try:
        found = [tuple(int(n) for n in shape.split("x")) for shape in shapes.split(",")]
    except ValueError:
        found = []
    if not name or len(found) not in (1, 3):
        raise InputError(f"--shape: expected NAME=1x3x64x64 or NAME=MIN,OPT,MAX, got {text!r}")
    return name, (found[0], found[len(found) // 2], found[-1])


def read_batch(text: str) -> tuple[int, int, int]:
    """Minimum, optimum and maximum of "4" or "1,4,8".

    >>> read_batch("4"), read_batch("1,4,8")
    ((4, 4, 4), (1, 4, 8))
    """
    parts = text.split(",")
    if len(parts) not in (1, 3) or not all(p.strip().isdigit() for p in parts):
        raise InputError(f"--batch: expected a number or MIN,OPT,MAX like 1,4,8, got {text!r}")
    numbers = [int(p) for p in parts]
    return numbers[0], numbers[len(numbers) // 2], numbers[-1]


NO_DEVICE = "not run: no NVIDIA device here runs the engine; the graph was compared in ONNX Runtime"
SAME_GRAPH = "not run: the graph is the ONNX model itself"


@dataclass(frozen=True, slots=True)
class Verification:
    """How an engine is verified against its model."""

    data: str | Path | None = None  # Video, folder or list of images; None: no verification, as the manifest records
    max_frames: int = 100  # Frames compared, spread evenly over `data`
    min_agreement: float | None = None  # 0 to 1; None: the recipe's floor, else the default of the precision
    try_next: bool = False  # Whether the next precision is tried where one does not reach the floor


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
            what = f"{self.model}: no recipe states its preprocessing, so it cannot be compared on frames"
            raise InputError(f"{what}; write one (`{command}`), or build with --skip-verification")

    def graph(self, graph: Path, engine: Path, report: Report) -> str | dict[str, Any]:
        """Metrics of the precision's graph in ONNX Runtime; ParityError below the floor."""
        if graph == self.model:
            return SAME_GRAPH
        if self.options.data is None:
            return SKIPPED
        try:
            half = stores_half(graph.read_bytes())  # computed as the device will
            with open_fp16(graph) if half else OrtEngine(graph, device="cpu", disable_optimizations=True) as candidate:
                return self._compare(candidate, f"{graph.name} in ONNX Runtime", engine, report)
        except ParityError as error:
            if variant_of(graph) != "int8-trt-fp16":
                raise
            hint = "Try --fallback-precision fp32 first: it keeps FP32 between the INT8 layers"
            raise ParityError(f"{error}. {hint}") from error

    def engine(self, part: Path, manifest: Manifest, engine: Path, report: Report) -> str | dict[str, Any]:
        """Metrics of the engine itself, where it can be run; ParityError below the floor."""
        if self.options.data is None:
            return SKIPPED
        if not gpus():
            return NO_DEVICE
        built_for = manifest.compute_capabilities
        if built_for and gpus()[0].capability not in built_for:
            return f"not run: built for compute capability {', '.join(built_for)}, this device is {gpus()[0]}"
        with TrtEngine(part, manifest=manifest) as candidate:
            return self._compare(candidate, engine.name, engine, report)

    def _compare(self, candidate: Engine, name: str, engine: Path, say: Report) -> dict[str, Any]:
        assert self.recipe is not None
        assert self.options.data is not None
        say(f"comparing {name} with {self.model.name} in ONNX Runtime")
        with OrtEngine(self.model, device="cpu") as reference:
            frames = read_frames(self.options.data, self.options.max_frames)
            report = compare_engines(reference, candidate, self.recipe, frames, precision=self.precision,
                                     min_agreement=self.options.min_agreement,
                                     names=(f"{self.model.name} in FP32", name))  # fmt: skip
        following = FALLBACK.get(self.precision)
        remedy = f"use --precision {following} (--try-next does)" if following else "check the device"
        report = dataclasses.replace(report, remedy=remedy)
        if not report.passed:
            rejected = engine.with_name(f"{engine.name}.rejected.json")
            write_atomic(rejected, json.dumps(report.as_dict(), indent=1) + "\n")
        return report.raise_if_failed().as_dict()
