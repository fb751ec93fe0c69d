"""ONNX Runtime as an Engine: the backend that runs everywhere."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgevid.errors import InputError, ModelError
from edgevid.runtime.engine import TensorSpec, check_inputs
from edgevid.runtime.onnxruntime.graph_cache import SLOW_S, GraphEntry, graph_entry, scratch
from edgevid.runtime.onnxruntime.weight_inputs import without_weight_inputs
from edgevid.runtime.threads import default_threads
from edgevid.types import Array

log = logging.getLogger("edgevid")

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
_said: set[str] = set()


class OrtEngine:
    """A model run by ONNX Runtime on the CPU or on an NVIDIA device.

    Outputs of fixed shape are written into the same arrays at every run, so that the loop allocates
    nothing; what `run` returns is valid until the next `run` of the same thread. Threads may share an engine:
    each has arrays of its own.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        device: str = "auto",
        threads: int | None = None,
        cache_optimized_graph: bool = False,
        disable_optimizations: bool = False,
    ) -> None:
        """`device` is "auto", "cpu" or "cuda:N"; `threads` None takes one for each physical core that this
        process may use, within the CPU quota of its container. With `cache_optimized_graph`, a model that loads slowly
        on the CPU (INT8 graphs, small boards) leaves its optimized graph in the cache and loads faster the
        next time: for models that will be loaded again, as `load_engine`'s, not for passing ones.

        `disable_optimizations` runs the graph node by node as the file has it: the reference for graphs that are meant
        for TensorRT. ONNX Runtime's own rewriting moves Q/DQ pairs and casts, and then answers otherwise.

        Raises ModelError for a file that is missing, no ONNX, or not runnable here.
        """
        self.path = Path(path)
        providers = _providers(device)
        self.threads = threads if threads is not None else default_threads()
        options = _options(self.threads, optimize=not disable_optimizations)
        self._session = _open(
            self.path, providers, options, cache_optimized_graph and not disable_optimizations
        )
        self.device = _device_of(self._session)
        _check_device(device, providers, self.device, self.path)
        _say_once(f"{self.path.name} runs on {self.device} by ONNX Runtime {onnxruntime.__version__}")
        self.inputs = tuple(_spec(node, self.path) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node, self.path) for node in self._session.get_outputs())
        meta = self._session.get_modelmeta()
        self.metadata: Mapping[str, str] = {**meta.custom_metadata_map, "producer": meta.producer_name}
        """What the exporter wrote into the file (Ultralytics: names, stride, imgsz) and its own name."""
        self._bindings = threading.local()
        self._binds = self._can_bind()

    def _can_bind(self) -> bool:
        fixed = all(min(spec.shape, default=1) > 0 for spec in (*self.inputs, *self.outputs))
        return fixed and self.device == "cpu"

    def _binding(self, session: Any) -> _Binding:
        """This thread's own: a shared one would answer one thread with another's outputs."""
        try:
            made: _Binding = self._bindings.own
        except AttributeError:
            made = self._bindings.own = _Binding(session, self.inputs, self.outputs)
        return made

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The named outputs. InputError for wrong names, types or shapes; ModelError where the run fails."""
        session = self._session
        if session is None:
            raise ModelError(f"{self.path}: this engine is closed; load it again")
        check_inputs(self.inputs, inputs)
        try:
            if self._binds:
                return self._binding(session).run(inputs)
            names = [spec.name for spec in self.outputs]
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))
        except Exception as error:
            raise ModelError(f"{self.path}: the run failed: {_short(error)}") from error

    def close(self) -> None:
        """Gives the model's memory back; a later `run` is a ModelError."""
        self._session, self._bindings = None, threading.local()

    def __enter__(self) -> OrtEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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


def _open(path: Path, providers: list[Any], options: Any, cache_optimized_graph: bool) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: expected an ONNX file, there is no such file")
    try:
        content = path.read_bytes()
        model = _without_surplus(content)
        source = str(path) if model is content else model
        # A graph for CUDA is another matter, and weights in other files are not seen by the key.
        fits = cache_optimized_graph and len(providers) == 1 and b"location" not in content
        entry = graph_entry(model, onnxruntime.__version__) if fits else None
        if entry is None:
            return onnxruntime.InferenceSession(source, options, providers=providers)
        return _cached(entry, source, options.intra_op_num_threads, providers)
    except Exception as error:
        kind = type(error).__name__
        if kind in ("InvalidProtobuf", "InvalidGraph"):
            raise ModelError(
                f"{path}: expected an ONNX model, the file is none or is damaged: {_short(error)}"
            ) from error
        raise ModelError(f"{path}: ONNX Runtime cannot load it: {_short(error)}") from error


def _options(threads: int, *, optimize: bool = True, save: Path | None = None) -> Any:
    if threads < 1:
        raise InputError(f"threads: expected at least 1, got {threads}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the cores from decoding and tracking between two runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if save is not None:
        options.optimized_model_filepath = str(save)
    return options


def _without_surplus(content: bytes) -> bytes:
    try:
        return without_weight_inputs(content)
    except ValueError:
        return content  # no protocol buffer: ONNX Runtime says so in its own words


def _cached(entry: GraphEntry, source: str | bytes, threads: int, providers: list[Any]) -> Any:
    """The session of the optimized graph on disk; else of the model, whose graph is kept where that pays."""
    kept = entry.read()
    if kept is not None:
        try:
            return onnxruntime.InferenceSession(kept, _options(threads, optimize=False), providers=providers)
        except Exception as error:
            entry.decline(f"does not load: {error}")
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(source, _options(threads), providers=providers)
    if time.perf_counter() - start >= SLOW_S and not entry.declined:
        _keep(entry, session, source, threads, providers)
    return session


def _keep(entry: GraphEntry, session: Any, source: str | bytes, threads: int, providers: list[Any]) -> None:
    """Keeps the optimized graph of a session once it is seen to answer alike; a failure is remembered."""
    folder = scratch()
    if folder is None:
        return
    try:
        save = folder / "graph.onnx"
        onnxruntime.InferenceSession(source, _options(threads, save=save), providers=providers)
        graph = save.read_bytes()
        plain = _options(threads, optimize=False)
        if not _answer_alike(session, onnxruntime.InferenceSession(graph, plain, providers=providers)):
            raise ValueError("the optimized graph answers otherwise than the model")
        entry.keep(graph)
    except Exception as error:  # the cache is a convenience: the model itself has loaded
        entry.decline(f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answer_alike(one: Any, two: Any) -> bool:
    """Whether both give the same bits for one arbitrary input; ValueError where none can be made up."""
    rng = np.random.default_rng(0)
    given: dict[str, Array] = {}
    for node in one.get_inputs():
        shape = [n if isinstance(n, int) and n > 0 else 1 for n in node.shape[:1]] + list(node.shape[1:])
        if not all(isinstance(n, int) and n > 0 for n in shape):
            raise ValueError(f"input {node.name} has open sizes")
        given[node.name] = (rng.random(shape) * 255).astype(_DTYPES[node.type])
    answers = zip(one.run(None, given), two.run(None, given), strict=True)
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in answers)


def has_cuda() -> bool:
    """Whether this ONNX Runtime knows NVIDIA devices."""
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _providers(device: str) -> list[Any]:
    """The execution providers of a device choice, best first."""
    have = onnxruntime.get_available_providers()
    if device == "cpu" or (device == "auto" and "CUDAExecutionProvider" not in have):
        return ["CPUExecutionProvider"]
    kind, _, number = device.partition(":")
    if device != "auto" and (kind != "cuda" or not (number or "0").isdigit()):
        raise InputError(f"device: expected 'auto', 'cpu' or 'cuda:0', got {device!r}")
    if "CUDAExecutionProvider" not in have:
        raise ModelError(
            f"device {device!r}: this onnxruntime has no CUDA (it has {', '.join(have)}); "
            "install onnxruntime-gpu in its place, or take device='cpu'"
        )
    return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), "CPUExecutionProvider"]


def _check_device(asked: str, providers: list[Any], device: str, path: Path) -> None:
    """Says that CUDA was to be had and did not start: once for "auto", as an error where it was asked for."""
    if len(providers) == 1 or device != "cpu":
        return
    why = (
        "CUDA did not start (is the NVIDIA driver there, and CUDA and cuDNN of the versions that "
        f"onnxruntime {onnxruntime.__version__} wants?)"
    )
    if asked != "auto":
        raise ModelError(f"{path}: device {asked!r}: {why}; mend that, or take device='cpu'")
    sentence = f"{path.name}: {why}; it runs on the CPU"
    if sentence not in _said:
        _said.add(sentence)
        log.warning(sentence)


def _device_of(session: Any) -> str:
    if "CUDAExecutionProvider" not in session.get_providers():
        return "cpu"
    return f"cuda:{session.get_provider_options()['CUDAExecutionProvider'].get('device_id', 0)}"


def _spec(node: Any, path: Path) -> TensorSpec:
    if node.type not in _DTYPES:
        raise ModelError(
            f"{path}: tensor {node.name!r} has type {node.type}; expected one of {', '.join(_DTYPES)}"
        )
    shape = tuple(n if isinstance(n, int) and n > 0 else -1 for n in node.shape)
    return TensorSpec(node.name, shape, np.dtype(_DTYPES[node.type]))


def _short(error: Exception) -> str:
    """ONNX Runtime's message on one line, without its error number."""
    text = " ".join(str(error).split())
    return text.partition(" : ")[2].partition(" : ")[2] or text


def _say_once(sentence: str) -> None:
    if sentence not in _said:
        _said.add(sentence)
        log.info(sentence)
