"""ONNX Runtime as an Engine: the backend that runs everywhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edgevid.errors import InputError, ModelError
from edgevid.runtime.base import TensorSpec, check_inputs
from edgevid.runtime.onnx_inputs import without_weight_inputs
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
    nothing; what `run` returns is valid until the next `run`.
    """

    def __init__(self, path: str | Path, *, device: str = "auto", threads: int | None = None) -> None:
        """`device` is "auto", "cpu" or "cuda:N"; `threads` None takes one for each physical core.

        Raises ModelError for a file that is missing, no ONNX, or not runnable here.
        """
        self.path = Path(path)
        providers = _providers(device)
        self._session = _open(self.path, providers, threads)
        self.device = _device_of(self._session)
        _say_once(f"{self.path.name} runs on {self.device} by ONNX Runtime {onnxruntime.__version__}")
        self.inputs = tuple(_spec(node, self.path) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node, self.path) for node in self._session.get_outputs())
        meta = self._session.get_modelmeta()
        self.metadata: Mapping[str, str] = {**meta.custom_metadata_map, "producer": meta.producer_name}
        """What the exporter wrote into the file (Ultralytics: names, stride, imgsz) and its own name."""
        self._binding = _Binding(self._session, self.inputs, self.outputs) if self._can_bind() else None

    def _can_bind(self) -> bool:
        fixed = all(min(spec.shape, default=1) > 0 for spec in (*self.inputs, *self.outputs))
        return fixed and self.device == "cpu"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The named outputs. InputError for wrong names, types or shapes; ModelError where the run fails."""
        if self._session is None:
            raise ModelError(f"{self.path}: this engine is closed; load it again")
        check_inputs(self.inputs, inputs)
        try:
            if self._binding:
                return self._binding.run(inputs)
            names = [spec.name for spec in self.outputs]
            return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))
        except Exception as error:
            raise ModelError(f"{self.path}: the run failed: {_short(error)}") from error

    def close(self) -> None:
        """Gives the model's memory back; a later `run` is a ModelError."""
        self._session = self._binding = None

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


def _open(path: Path, providers: list[Any], threads: int | None) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: wanted an ONNX file, there is no such file")
    if threads is not None and threads < 1:
        raise InputError(f"threads: wanted at least 1, given {threads}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    # Spinning threads would take the cores from decoding and tracking between two runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        if session.get_overridable_initializers():
            model = without_weight_inputs(path.read_bytes())
            session = onnxruntime.InferenceSession(model, options, providers=providers)
        return session
    except Exception as error:
        kind = type(error).__name__
        if kind in ("InvalidProtobuf", "InvalidGraph"):
            raise ModelError(
                f"{path}: wanted an ONNX model, the file is none or is damaged: {_short(error)}"
            ) from error
        raise ModelError(f"{path}: ONNX Runtime cannot load it: {_short(error)}") from error


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
        raise InputError(f"device: wanted 'auto', 'cpu' or 'cuda:0', given {device!r}")
    if "CUDAExecutionProvider" not in have:
        raise ModelError(
            f"device {device!r}: this onnxruntime has no CUDA (it has {', '.join(have)}); "
            "install onnxruntime-gpu in its place, or take device='cpu'"
        )
    return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), "CPUExecutionProvider"]


def _device_of(session: Any) -> str:
    if "CUDAExecutionProvider" not in session.get_providers():
        return "cpu"
    return f"cuda:{session.get_provider_options()['CUDAExecutionProvider'].get('device_id', 0)}"


def _spec(node: Any, path: Path) -> TensorSpec:
    if node.type not in _DTYPES:
        raise ModelError(
            f"{path}: tensor {node.name!r} has type {node.type}; wanted one of {', '.join(_DTYPES)}"
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
