"""OpenVINO as an Engine: the `openvino` package itself, on the CPU, an Intel GPU or an NPU."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgevid.errors import EdgevidError, InputError, ModelError, log_once, module_version, require
from edgevid.runtime.engine import LoadedEngine, TensorSpec, check_inputs
from edgevid.runtime.processor import default_threads
from edgevid.runtime.variants import read_model
from edgevid.types import Array


class OvEngine(LoadedEngine):
    """An ONNX model run by OpenVINO, in FP32 for what the file has in FP32. What `run` returns is valid until the next
    `run` of the same thread; threads may share an engine."""

    def __init__(self, model: str | Path, *, device: str = "openvino", threads: int | None = None) -> None:
        """`device` is "openvino", its CPU, or "openvino:gpu" and "openvino:npu"; `threads` as of OrtEngine. Raises
        MissingExtraError without the package, ModelError for a file that is missing or that OpenVINO cannot run, and
        for hardware that is not there."""
        openvino = require("openvino", extra="openvino", purpose="running models by OpenVINO")
        self.path = Path(model)
        self.threads = threads if threads is not None else default_threads()
        if self.threads < 1:
            raise InputError(f"threads: expected at least 1, got {self.threads}")
        if not self.path.is_file():
            raise ModelError(f"{self.path}: expected an ONNX file, there is no such file")
        core = openvino.Core()
        hardware = device.partition(":")[2].upper() or "CPU"
        if hardware not in (here := {name.partition(".")[0] for name in core.available_devices}):
            raise ModelError(f"device {device!r}: OpenVINO finds {', '.join(sorted(here))} here and no "
                             f"{hardware}; take one of those, or check the hardware's driver")  # fmt: skip
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if hardware == "CPU":  # others have no threads; an NPU computes in FP16 only
            options["INFERENCE_NUM_THREADS"] = self.threads
        elif hardware == "NPU":
            del options["INFERENCE_PRECISION_HINT"]
        try:
            read_model(self.path)  # for its limits
            graph = core.read_model(self.path)
            self._model: Any = core.compile_model(graph, hardware, options)
        except EdgevidError:
            raise
        except Exception as error:  # OpenVINO raises RuntimeError of several kinds
            raise ModelError(f"{self.path}: OpenVINO cannot run it: {_text(error)}") from error
        self.device = "openvino" if hardware == "CPU" else device
        ports = (*self._model.inputs, *self._model.outputs)  # in the order of the graph's nodes
        nodes = (*graph.get_parameters(), *graph.get_results())
        specs = tuple(_spec(node, port, self.path) for node, port in zip(nodes, ports, strict=True))
        self.inputs, self.outputs = specs[: len(self._model.inputs)], specs[len(self._model.inputs) :]
        self._requests = threading.local()
        log_once(f"{self.path.name} runs on {self.device} by OpenVINO {module_version('openvino')}")

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if (model := self._model) is None:
            raise ModelError(f"{self.path}: this engine is closed; load it again")
        check_inputs(self.inputs, inputs)
        if not hasattr(self._requests, "own"):
            self._requests.own = model.create_infer_request()
        request = self._requests.own
        try:
            request.infer([inputs[spec.name] for spec in self.inputs], share_inputs=True, share_outputs=True)
        except Exception as error:
            raise ModelError(f"{self.path}: the run failed: {_text(error)}") from error
        return {spec.name: request.get_output_tensor(n).data for n, spec in enumerate(self.outputs)}

    def close(self) -> None:
        self._model, self._requests = None, threading.local()


def _spec(node: Any, port: Any, path: Path) -> TensorSpec:
    """By the ONNX name: a tensor may have several, as where a cast of it does nothing."""
    name = str(node.get_friendly_name()).partition("/sink_port_")[0]
    shape = tuple(d.get_length() if d.is_static and d.get_length() > 0 else -1 for d in port.partial_shape)
    try:
        dtype = port.element_type.to_dtype()
    except Exception as error:
        raise ModelError(f"{path}: tensor {name!r} has type {port.element_type}: NumPy has none") from error
    return TensorSpec(name, shape, dtype)


def _text(error: Exception) -> str:
    """The last line of OpenVINO's message, which holds the cause; those before name its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
