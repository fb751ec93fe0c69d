"""ONNX Runtime as an Engine, the backend that runs everywhere; the one place that opens its sessions. Execution
providers are built in or plug-ins; `left_to_cpu` names what one leaves to the CPU."""

import importlib
import logging
import math
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import onnxruntime

from edgevid.errors import EdgevidError, InputError, ModelError, log_once
from edgevid.runtime.device import PROVIDERS, parse_device
from edgevid.runtime.engine import LoadedEngine, TensorSpec, check_inputs
from edgevid.runtime.processor import default_threads
from edgevid.runtime.variants import MOST_TENSOR_BYTES, external_files, read_model, without_weight_inputs
from edgevid.types import Array

Optimization = Literal["all", "basic", "none"]
"""How far ONNX Runtime rewrites a graph: "basic" keeps to standard operators, "none" changes nothing."""

CPU = ("CPUExecutionProvider",)
_registered: set[str] = set()
_WORDS = {"float": np.float32, "float16": np.float16, "double": np.float64, "bool": np.bool_}
_WORDS |= {kind.__name__: kind for kind in (np.int64, np.int32, np.int8, np.uint8)}
NUMPY_TYPES: Mapping[str, Any] = MappingProxyType({f"tensor({word})": kind for word, kind in _WORDS.items()})
"""The element types that an engine takes and gives."""


def version() -> str:
    """The version of ONNX Runtime."""
    return str(onnxruntime.__version__)


def providers() -> tuple[str, ...]:
    """What this ONNX Runtime can run on, as it names them: "CUDA", "CPU"."""
    return tuple(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())


def has_cuda() -> bool:
    """Whether this ONNX Runtime has NVIDIA devices."""
    return "CUDA" in providers()


def has_openvino() -> bool:
    """Whether this ONNX Runtime has OpenVINO's provider, built in or as a plug-in."""
    one = PROVIDERS["openvino"]
    return one.name in onnxruntime.get_available_providers() or find_spec(one.module) is not None


def open_session(model: str | Path | bytes, *, providers: Any = CPU, threads: int | None = None,
                 optimization: Optimization = "all", save: Path | None = None) -> Any:  # fmt: skip
    """An onnxruntime.InferenceSession of a file or of a model's bytes; `run(names or None, inputs)` runs it. `threads`
    None takes one for each physical core; `save` is where the optimized graph is written. InputError for fewer than one
    thread; other errors are ONNX Runtime's own (`error_text`)."""
    threads = default_threads() if threads is None else threads
    if threads < 1:
        raise InputError(f"threads: expected at least 1, got {threads}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3 if isinstance(model, (str, Path)) else 4
    level = onnxruntime.GraphOptimizationLevel
    levels = {"all": level.ORT_ENABLE_ALL, "basic": level.ORT_ENABLE_BASIC, "none": level.ORT_DISABLE_ALL}
    options.graph_optimization_level = levels[optimization]
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the cores from decoding and tracking between two runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if save is not None:
        options.optimized_model_filepath = str(save)
    source = model if isinstance(model, bytes) else str(model)
    if list(providers) != list(CPU):
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if isinstance(providers[0], list):  # the devices of a plug-in; the CPU takes what they do not
        options.add_provider_for_devices(providers[0], {})
        return onnxruntime.InferenceSession(source, options)
    return onnxruntime.InferenceSession(source, options, providers=list(providers))


def optimize_basic(model: bytes) -> bytes:
    """The model through ONNX Runtime's basic optimizations, which keep to standard operators."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "basic.onnx"
        open_session(model, threads=1, optimization="basic", save=saved)
        return saved.read_bytes()


def choose_providers(device: str) -> list[Any]:
    """The execution providers for a `device`, best first. InputError for an unknown word, ModelError for what this ONNX
    Runtime does not have."""
    kind, number = parse_device(device)
    if kind == "provider":
        return [find_provider(device), *CPU]
    if kind == "cpu" or (kind == "auto" and not has_cuda()):
        return list(CPU)
    if not has_cuda():
        what = f"device {device!r}: this onnxruntime has no CUDA (it has {', '.join(providers())})"
        raise ModelError(f"{what}; install onnxruntime-gpu in its place, or take device='cpu'")
    return [("CUDAExecutionProvider", {"device_id": number}), *CPU]


def device_of(session: Any) -> str:
    """ "cpu", "cuda:N" or the word of another provider: what a session runs on."""
    words = {provider.name: word for word, provider in PROVIDERS.items()}
    if own := next((words[name] for name in session.get_providers() if name in words), ""):
        return own
    if "CUDAExecutionProvider" not in session.get_providers():
        return "cpu"
    return f"cuda:{session.get_provider_options()['CUDAExecutionProvider'].get('device_id', 0)}"


def error_text(error: Exception) -> str:
    """ONNX Runtime's message on one line, without its error number."""
    text = " ".join(str(error).split())
    return text.partition(" : ")[2].partition(" : ")[2] or text


def find_provider(device: str) -> tuple[str, dict[str, str]] | list[Any]:
    """What a session takes for "openvino" or "openvino:npu": a built-in provider, or a plug-in's devices. ModelError
    with the pip line where neither is installed, and where a plug-in has no device here."""
    word, _, hardware = device.partition(":")
    name, module, package = PROVIDERS[word]
    if name in onnxruntime.get_available_providers():
        if hardware and word != "openvino":
            raise ModelError(f"device {device!r}: {name} takes no choice of hardware; take device={word!r}")
        return name, {"device_type": hardware.upper()} if hardware else {}
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        what = f"device {device!r}: plug-ins need onnxruntime 1.23 or later, this is {onnxruntime.__version__}"
        raise ModelError(f"{what}; upgrade it with: pip install -U onnxruntime")
    plugin = None
    with suppress(ImportError):
        plugin = importlib.import_module(module) if module else None
    if plugin is None:
        here = sorted(w for w, one in PROVIDERS.items() if one.name in onnxruntime.get_available_providers())
        what = f"device {device!r}: it is not installed (here are {', '.join(['cpu', *here])})"
        raise ModelError(f"{what}. Add it with: pip install {package}")
    return _devices_of(plugin, device, name, hardware)


def _devices_of(plugin: Any, device: str, name: str, hardware: str) -> list[Any]:
    path = getattr(plugin, "get_library_path", None) or plugin.library_path
    if name not in _registered:  # ONNX Runtime refuses a second time
        try:
            onnxruntime.register_execution_provider_library(name, path())
        except Exception as error:  # ONNX Runtime's errors share no base
            raise ModelError(f"device {device!r}: {plugin.__name__} cannot be loaded: {error}") from error
        _registered.add(name)
    found = [one for one in onnxruntime.get_ep_devices() if one.ep_name == name]
    chosen = [one for one in found if one.device.type.name.lower() == hardware] if hardware else found[:1]
    if not chosen:
        others = ", ".join(one.device.type.name for one in found) or "none"
        what = f"device {device!r}: {plugin.__name__} finds no such hardware here (it finds {others})"
        raise ModelError(f"{what}; take device='cpu', or check the hardware's driver")
    return chosen[:1]


def left_to_cpu(session: Any, device: str) -> str:
    """How many nodes a provider runs, and which it leaves to the CPU; "" where ONNX Runtime does not tell. ModelError
    where it runs none: the CPU alone would be faster without it."""
    try:
        parts = session.get_provider_graph_assignment_info()
    except Exception:  # absent before ONNX Runtime 1.24, an error where it was built without
        return ""
    name = PROVIDERS[device.partition(":")[0]].name
    theirs = sum(len(part.get_nodes()) for part in parts if part.ep_name == name)
    rest = Counter(n.op_type for part in parts if part.ep_name != name for n in part.get_nodes())
    total = theirs + sum(rest.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in rest.most_common())
    if total and not theirs:
        raise ModelError(f"device {device!r}: {name} runs none of the {total} nodes ({kinds}); take device='cpu'")
    return f"{name} runs {theirs} of {total} nodes" + (f"; on the CPU: {kinds}" if rest else "")


class OrtEngine(LoadedEngine):
    """A model run by ONNX Runtime on the CPU or on an NVIDIA device. Outputs of fixed shape are written into the same
    arrays at every run, so that the loop allocates nothing; what `run` returns is valid until the next `run` of the
    same thread. Threads may share an engine: each has arrays of its own."""

    def __init__(self, model: str | Path | bytes, *, device: str = "auto", threads: int | None = None,
                 disable_optimizations: bool = False) -> None:  # fmt: skip
        """`model` is an ONNX file, or the bytes of one; `device` is as of `load_engine`; `threads` None takes one for
        each physical core that this process may use, within the CPU quota of its container.

        `disable_optimizations` runs the graph node by node as the file has it: the reference for graphs made for
        TensorRT, as ONNX Runtime's rewriting moves Q/DQ pairs and casts and changes the outputs.

        Raises ModelError for a file that is missing, no ONNX, or not runnable here."""
        self.path = Path("model in memory" if isinstance(model, bytes) else model)
        self.threads = threads if threads is not None else default_threads()
        providers = choose_providers(device)
        if not isinstance(model, bytes) and not self.path.is_file():
            raise ModelError(f"{self.path}: expected an ONNX file, there is no such file")
        try:
            content = model if isinstance(model, bytes) else read_model(self.path)
        except OSError as error:
            raise ModelError(f"{self.path}: cannot be read: {error.strerror}; check its permissions") from error
        source: Path | bytes = content
        with suppress(ValueError):  # no protocol buffer: ONNX Runtime's own error names it
            source = without_weight_inputs(content)
        if source is content and not isinstance(model, bytes):
            source = self.path  # weights in other files are found only from the path
        level: Optimization = "none" if disable_optimizations else "all"
        try:
            self._session = open_session(source, providers=providers, threads=self.threads, optimization=level)
        except EdgevidError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no base
            raise _load_error(self.path, error) from error
        self.device = device_of(self._session)
        _check_device(device, providers, self.device, self.path)
        self.assignment = left_to_cpu(self._session, device) if parse_device(device)[0] == "provider" else ""
        """How many nodes an execution provider runs and which it leaves to the CPU, where one was chosen."""
        if self.assignment:
            log_once(f"{self.path.name}: {self.assignment}")
        if not isinstance(model, bytes):
            log_once(f"{self.path.name} runs on {self.device} by ONNX Runtime {version()}")
        self.inputs = tuple(_spec(node, self.path) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node, self.path) for node in self._session.get_outputs())
        meta = self._session.get_modelmeta()
        self.metadata: Mapping[str, str] = {**meta.custom_metadata_map, "producer": meta.producer_name}
        """What the exporter wrote into the file (Ultralytics: names, stride, imgsz) and its own name."""
        self._bindings = threading.local()
        fixed = all(min(spec.shape, default=1) > 0 for spec in (*self.inputs, *self.outputs))
        self._binds = fixed and self.device == "cpu"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        session = self._session
        if session is None:
            raise ModelError(f"{self.path}: this engine is closed; load it again")
        check_inputs(self.inputs, inputs)
        try:
            if self._binds:
                own: _Binding | None = getattr(self._bindings, "own", None)
                if own is None:  # of each thread: a shared one would give one thread another's outputs
                    own = self._bindings.own = _Binding(session, self.inputs, self.outputs)
                return own.run(inputs)
            names = [spec.name for spec in self.outputs]
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))
        except Exception as error:
            raise ModelError(f"{self.path}: the run failed: {error_text(error)}") from error

    def close(self) -> None:
        self._session, self._bindings = None, threading.local()


class _Binding:
    """Inputs read where they lie and outputs written into arrays that are made once."""

    def __init__(self, session: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self._session, self._inputs = session, inputs
        self._io = session.io_binding()
        self._held: dict[str, Array] = {}
        self._results = {spec.name: np.empty(spec.shape, spec.dtype) for spec in outputs}
        for name, array in self._results.items():
            self._io.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        for spec in self._inputs:
            array = np.ascontiguousarray(inputs[spec.name])
            if self._held.get(spec.name) is not array:
                self._io.bind_input(spec.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
                self._held[spec.name] = array
        self._session.run_with_iobinding(self._io)
        return dict(self._results)


_OTHERS = ((b"version https://git-lfs", "a Git LFS pointer; run `git lfs pull` where it lies"),
           (b"<", "a web page, so its download failed; download it again"),
           (b"PK", "a zip archive, as PyTorch's weights are; export them to ONNX (docs/models.md)"),
           (b"\x80", "a pickle, as PyTorch's weights are; export them to ONNX (docs/models.md)"))  # fmt: skip
"""What is often named .onnx, by its first bytes."""


def _load_error(path: Path, error: Exception) -> ModelError:
    with suppress(ValueError, OSError):
        content = path.read_bytes()
        if not content.strip():
            return ModelError(f"{path}: expected an ONNX model, got an empty file; export or copy it again")
        for start, what in _OTHERS:
            if content.lstrip().startswith(start):
                return ModelError(f"{path}: expected an ONNX model, got {what}")
        for name in external_files(content):
            missing = not (path.parent / name).is_file()
            if missing or "external" in str(error).lower():
                how = "is not next to it" if missing else "is cut off or of another model"
                return ModelError(f"{path}: its weights lie in {name}, which {how}; copy both files together")
    damaged = type(error).__name__ in ("InvalidProtobuf", "InvalidGraph")
    what = "expected an ONNX model, this file is not one, or is damaged" if damaged else "cannot be loaded"
    way_out = "; download or export it again" if damaged else ""
    return ModelError(f"{path}: {what}: {error_text(error).rstrip('.')}{way_out}")


def _check_device(requested: str, providers: list[Any], device: str, path: Path) -> None:
    """Where CUDA is installed and did not start: a warning for "auto", an error for "cuda:N" and others."""
    if len(providers) == 1 or device != "cpu":
        return
    if parse_device(requested)[0] == "provider":
        raise ModelError(f"{path}: device {requested!r} did not start; check its driver, or take device='cpu'")
    needed = f"the versions that onnxruntime {version()} needs"
    why = f"CUDA did not start (check the NVIDIA driver, and that CUDA and cuDNN have {needed})"
    if requested != "auto":
        raise ModelError(f"{path}: device {requested!r}: {why}; fix that, or take device='cpu'")
    log_once(f"{path.name}: {why}; it runs on the CPU", logging.WARNING)


def _spec(node: Any, path: Path) -> TensorSpec:
    if node.type not in NUMPY_TYPES:
        raise ModelError(f"{path}: tensor {node.name!r}: expected {', '.join(NUMPY_TYPES)}, got {node.type}")
    shape = tuple(n if isinstance(n, int) and n > 0 else -1 for n in node.shape)
    spec = TensorSpec(node.name, shape, np.dtype(NUMPY_TYPES[node.type]))
    if (size := math.prod(n for n in shape if n > 0) * spec.dtype.itemsize) > MOST_TENSOR_BYTES:
        raise ModelError(f"{path}: tensor {spec}: expected {MOST_TENSOR_BYTES >> 30} GB at most, got {size:,} bytes")
    return spec
