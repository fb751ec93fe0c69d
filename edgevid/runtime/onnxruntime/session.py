"""The one place that opens an ONNX Runtime session: its options, its devices, its errors.

Execution providers are built in or plug-ins; `left_to_cpu` names what one leaves to the CPU.
"""

import importlib
import tempfile
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import onnxruntime

from edgevid.errors import InputError, ModelError
from edgevid.runtime.device import PROVIDERS, parse_device
from edgevid.runtime.processor import default_threads

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


def open_session(
    model: str | Path | bytes,
    *,
    providers: Any = CPU,
    threads: int | None = None,
    optimization: Optimization = "all",
    save: Path | None = None,
) -> Any:
    """An onnxruntime.InferenceSession of a file or of a model's bytes; `run(names or None, inputs)` runs it.

    `threads` None takes one for each physical core; `save` is where the optimized graph is written.
    InputError for fewer than one thread; other errors are ONNX Runtime's own (`error_text`).
    """
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
    if list(providers) == list(CPU):
        return onnxruntime.InferenceSession(source, options, providers=list(CPU))
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
    """The execution providers for a `device`, best first.

    InputError for an unknown word, ModelError for what this ONNX Runtime does not have.
    """
    kind, number = parse_device(device)
    if kind == "provider":
        return [find_provider(device), *CPU]
    if kind == "cpu" or (kind == "auto" and not has_cuda()):
        return list(CPU)
    if not has_cuda():
        raise ModelError(
            f"device {device!r}: this onnxruntime has no CUDA (it has {', '.join(providers())}); "
            "install onnxruntime-gpu in its place, or take device='cpu'"
        )
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
    """What a session takes for "openvino" or "openvino:npu": a built-in provider, or a plug-in's devices.

    ModelError with the pip line where neither is installed, and where a plug-in has no device here.
    """
    word, _, hardware = device.partition(":")
    name, module, package = PROVIDERS[word]
    if name in onnxruntime.get_available_providers():
        if hardware and word != "openvino":
            raise ModelError(f"device {device!r}: {name} takes no choice of hardware; take device={word!r}")
        return name, {"device_type": hardware.upper()} if hardware else {}
    if not hasattr(onnxruntime, "register_execution_provider_library"):
        raise ModelError(
            f"device {device!r}: plug-ins need onnxruntime 1.23 or later, this is {onnxruntime.__version__}; "
            "upgrade it with: pip install -U onnxruntime"
        )
    try:
        plugin = importlib.import_module(module) if module else None
    except ImportError:
        plugin = None
    if plugin is None:
        here = sorted(w for w, one in PROVIDERS.items() if one.name in onnxruntime.get_available_providers())
        raise ModelError(
            f"device {device!r}: it is not installed (here are {', '.join(['cpu', *here])}). "
            f"Add it with: pip install {package}"
        )
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
        raise ModelError(
            f"device {device!r}: {plugin.__name__} finds no such hardware here (it finds {others}); take "
            "device='cpu', or check the hardware's driver"
        )
    return chosen[:1]


def left_to_cpu(session: Any, device: str) -> str:
    """How many nodes a provider runs, and which it leaves to the CPU; "" where ONNX Runtime does not tell.

    ModelError where it runs none: the CPU alone would be faster without it.
    """
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
