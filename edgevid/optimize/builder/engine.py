"""ONNX to a serialized engine: the only code that drives the TensorRT builder.

One path for TensorRT 10.3 to 11.x and for TensorRT-RTX: a strongly typed network, so that precision is what the
graph states (casts for FP16, Q/DQ pairs for INT8). Only names that all of these versions have are used unchecked
(tests/optimize/builder/test_tensorrt_names.py checks each against the real bindings). At verbose level and with
detailed profiling the builder logs every kernel with the types of what goes in and out, and the ONNX layers that it
implements: what was built, whatever was requested."""

import importlib.util
import re
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgevid.errors import InputError, ModelError, module_version
from edgevid.optimize.builder.options import BackendChoice, BuildOptions, Shape
from edgevid.run.watchdog import uninterrupted
from edgevid.runtime.device import gpus
from edgevid.runtime.manifest import BACKENDS, TITLES, Backend, import_backend
from edgevid.runtime.tensorrt.engine import MARK, make_logger
from edgevid.runtime.variants import without_weight_inputs
from edgevid.types import Progress

LOG_NAMES = {"fp32": "Float", "fp16": "Half", "int8": "Int8"}  # The log's name of each precision
_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_TYPE = re.compile(r"Datatype: (\w+)")


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of an engine."""

    name: str
    kind: str
    input_types: tuple[str, ...]  # Types of its inputs, weights left out: "Float", "Half", "Int8"
    nodes: frozenset[str]  # ONNX layers that it implements, in part or whole

    @property
    def is_convolution(self) -> bool:
        """Whether it does the products, not only the rounding before or the bias after them."""
        known = self.kind in ("correlation", "CaskConvolution", "CaskGemmConvolution")
        return known or bool(re.search(r"Corr|^Conv", self.name))


def kernels(messages: Iterable[str]) -> list[Kernel]:
    """The kernels that these log messages describe, in the engine's order."""
    found = []
    for line in (line for message in messages for line in message.splitlines()):
        if line.startswith("Name: ") and MARK in line:
            name, _, rest = line.removeprefix("Name: ").partition(", LayerType: ")
            kind, _, rest = rest.partition(", Inputs: ")
            inputs = re.split(r", (?:Constants|Outputs): ", rest, maxsplit=1)[0]
            nodes = _NODE.findall(rest.rpartition("Metadata: ")[2])
            found.append(Kernel(name, kind, tuple(_TYPE.findall(inputs)), frozenset(nodes)))
    return found


def convolution_types(found: Sequence[Kernel], convolutions: Iterable[str]) -> dict[str, str]:
    """The type that each named convolution computes in; "?" where the log does not show it. A quantized convolution
    appears again in the kernels that round its input: the one that does the products counts, and a kernel that alone
    implements the layer computes them."""
    types: dict[str, str] = {}
    for name in convolutions:
        implementing = [kernel for kernel in found if name in kernel.nodes]
        alone = implementing if len(implementing) == 1 else []
        computing = [k for k in implementing if k.is_convolution] or alone
        kinds = {k.input_types[0] for k in computing if k.input_types}
        types[name] = kinds.pop() if len(kinds) == 1 else "?"
    return types


def tally(types: dict[str, str]) -> dict[str, int]:
    """How many convolutions compute in each type, the most first."""
    return dict(Counter(types.values()).most_common())


@dataclass(slots=True)
class Built:
    """A serialized engine and what its builder reported."""

    plan: bytes
    version: str
    layers: int  # Layers of the network before fusion
    convolutions: dict[str, str]  # Type that each computes in, by ONNX layer; "?" where the log does not show it
    warnings: list[str] = field(default_factory=list)
    timing_cache: bytes = b""


def choose_backend(requested: BackendChoice = "auto") -> Backend:
    """The backend that is installed, TensorRT first, which is missed where none is."""
    if requested != "auto":
        return requested
    return next((b for b, package in BACKENDS.items() if importlib.util.find_spec(package)), "tensorrt")


def installed_version(backend: Backend) -> str:
    """The installed version of a backend without importing it; empty where it is not installed."""
    return module_version(BACKENDS[backend], unstated="of the system")  # as JetPack brings it


def load_backend(backend: Backend) -> Any:
    """The imported package of a backend; MissingExtraError without it, ModelError for other versions."""
    purpose = f"building engines with {TITLES[backend]}"
    if backend == "tensorrt" and not gpus():
        purpose += " (no NVIDIA device is here; 'edgevid[tensorrt-rtx]' builds without one)"
    trt = import_backend(backend, purpose)
    if not hasattr(trt, "Builder"):
        raise ModelError(f"{TITLES[backend]} {trt.__version__}: has no builder; install the full package")
    installed = tuple(int(n) for n in re.findall(r"\d+", trt.__version__)[:2])
    if backend == "tensorrt" and not (10, 3) <= installed < (12, 0):  # JetPack 6 has 10.3
        raise ModelError(f"TensorRT: expected 10.3 to 11.x, got {trt.__version__}")
    if backend == "tensorrt-rtx" and installed < (1, 1):
        raise ModelError(f"TensorRT-RTX: expected 1.1 or newer, got {trt.__version__}")
    return trt


def build_engine(graph: Path, options: BuildOptions, backend: Backend, *, sizes: dict[str, Shape] | None = None,
                 timing_cache: bytes = b"", progress: Progress | None = None) -> Built:  # fmt: skip
    """The engine of an ONNX graph. `sizes` gives known shapes of inputs, -1 where batch stands. `progress` gets the
    steps of each phase, all done when it ends. ModelError quotes the parser's or the builder's error."""
    options.check_backend(backend)
    trt = load_backend(backend)
    if backend == "tensorrt" and not gpus():
        what = "TensorRT builds on the device that will run the engine, and no NVIDIA driver was found"
        raise ModelError(f"{what}; build on that device, or use --backend tensorrt-rtx, which builds without one")
    logger = make_logger(trt)
    if backend == "tensorrt":
        trt.init_libnvinfer_plugins(logger, "")
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, network, logger, graph)
    convolutions = _convolutions(trt, network)
    config = builder.create_builder_config()
    _configure(trt, config, options, backend)
    profile = _profile(builder, network, options, sizes or {})
    if profile is not None and config.add_optimization_profile(profile) < 0:
        raise ModelError(f"{graph}: {TITLES[backend]} rejects the requested shapes: {logger.reason()}")
    # The tactics of earlier builds; a cache of another version or device is rejected, and starts empty.
    # TensorRT-RTX times nothing, and would warn.
    if backend == "tensorrt" and not config.set_timing_cache(config.create_timing_cache(timing_cache), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)
    with uninterrupted() as signals:
        config.progress_monitor = _monitor(trt, progress, signals)
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelError(f"{graph}: {TITLES[backend]} {trt.__version__} cannot build it: {logger.reason()}")
    cache = config.get_timing_cache() if backend == "tensorrt" else None
    kept = bytes(cache.serialize()) if cache else b""
    types = convolution_types(kernels(logger.kernels), convolutions)
    return Built(bytes(plan), trt.__version__, network.num_layers, types, logger.warnings, kept)


def _monitor(trt: Any, progress: Progress | None, signals: list[int]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the package comes at run time
        """Forwards the phases, and stops the build at Ctrl-C, which must not cross the C++ frames."""

        def __init__(self) -> None:
            super().__init__()
            self.sizes: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.sizes[phase] = steps
            self.forward(phase, 0)

        def step_complete(self, phase: str, step: int) -> bool:
            self.forward(phase, step + 1)
            return not signals

        def phase_finish(self, phase: str) -> None:
            self.forward(phase, self.sizes.get(phase, 0))

        def forward(self, phase: str, done: int) -> None:
            try:
                if progress:
                    progress(done, self.sizes.get(phase, 0), phase)
            except KeyboardInterrupt:
                signals.append(signal.SIGINT)

    return Monitor()


def _parse(trt: Any, network: Any, logger: Any, graph: Path) -> None:
    try:
        data = without_weight_inputs(graph.read_bytes())
    except OSError as error:
        raise ModelError(f"{graph}: expected an ONNX file, got: {error.strerror}") from error
    except (ValueError, IndexError) as error:
        raise ModelError(f"{graph}: expected an ONNX model, got another or damaged file ({error})") from error
    parser = trt.OnnxParser(network, logger)
    if parser.parse(data, str(graph)):  # the path finds weights that lie in other files
        return
    faults = [parser.get_error(i) for i in range(min(parser.num_errors, 3))]
    reasons = "; ".join(f"{fault.node_operator()} {fault.node_name()}: {fault.desc()}" for fault in faults)
    raise ModelError(f"{graph}: TensorRT's parser rejects it: {' '.join(reasons.split()) or logger.reason()}")


def _convolutions(trt: Any, network: Any) -> list[str]:
    """ONNX names of the network's convolutions."""
    kinds = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION)
    layers = (network.get_layer(i) for i in range(network.num_layers))
    return [layer.metadata.removeprefix("[ONNX Layer: ").removesuffix("]") for layer in layers if layer.type in kinds]


def _configure(trt: Any, config: Any, options: BuildOptions, backend: Backend) -> None:
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    (config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    if options.hardware_compatibility == "ampere+":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    elif options.hardware_compatibility == "same-capability":
        level = getattr(trt.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY", None)
        if level is None:
            raise InputError(f"--hardware-compatibility: TensorRT {trt.__version__} has none; take 10.13")
        config.hardware_compatibility_level = level
    if options.compute_capabilities:
        config.num_compute_capabilities = len(options.compute_capabilities)
        for i, capability in enumerate(options.compute_capabilities):
            config.set_compute_capability(getattr(trt.ComputeCapability, "SM" + capability.replace(".", "")), i)


def _profile(builder: Any, network: Any, options: BuildOptions, sizes: dict[str, Shape]) -> Any:
    """One optimization profile for the inputs with dynamic axes; None where all are fixed."""
    profile = builder.create_optimization_profile()
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    firsts = {tensor.shape[0] for tensor in inputs if len(tensor.shape)}
    if options.batch != (1, 1, 1) and -1 not in firsts and firsts != set(options.batch):
        what = f"--batch: got {options.batch}, but the model's batch is fixed at {max(firsts, default=1)}"
        raise InputError(f"{what}; export it with a dynamic batch")
    dynamic = [tensor for tensor in inputs if -1 in tuple(tensor.shape)]
    for tensor in dynamic:
        shape = tuple(tensor.shape)
        low, best, high = options.shapes.get(tensor.name) or _shapes(tensor.name, shape, options, sizes)
        pairs = [(n, m) for s in (low, best, high) for n, m in zip(shape, s, strict=False)]
        if {*map(len, (low, best, high))} != {len(shape)} or any(n not in (-1, m) for n, m in pairs):
            raise InputError(f"--shape: {tensor.name}: expected one that fits {shape}, got {low}..{high}")
        profile.set_shape(tensor.name, low, best, high)
    return profile if dynamic else None


def _shapes(name: str, shape: Shape, options: BuildOptions, sizes: dict[str, Shape]) -> tuple[Shape, Shape, Shape]:
    """MIN, OPT and MAX of an input: its dynamic first axis is the batch, the other sizes are the recipe's."""
    known = sizes.get(name, shape)
    filled = tuple(n if n > 0 else k for n, k in zip(shape, known, strict=False))
    if len(known) != len(shape) or -1 in filled[1:]:
        what = f"input {name!r} has the shape {shape}, and no recipe fixes its dynamic axes"
        raise InputError(f"{what}; set them with --shape {name}={'x'.join(str(max(n, 1)) for n in shape)}")
    low, best, high = ((n if filled[0] < 0 else filled[0], *filled[1:]) for n in options.batch)
    return low, best, high
