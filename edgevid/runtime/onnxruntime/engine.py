"""ONNX Runtime as an Engine: the backend that runs everywhere."""

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import EdgevidError, ModelError
from edgevid.runtime.device import parse_device
from edgevid.runtime.engine import LoadedEngine, TensorSpec, check_inputs
from edgevid.runtime.log import log_once
from edgevid.runtime.onnxruntime.session import (
    NUMPY_TYPES,
    Optimization,
    choose_providers,
    device_of,
    error_text,
    left_to_cpu,
    open_session,
    version,
)
from edgevid.runtime.processor import default_threads
from edgevid.runtime.variants import external_files, without_weight_inputs
from edgevid.types import Array


class OrtEngine(LoadedEngine):
    """A model run by ONNX Runtime on the CPU or on an NVIDIA device.

    Outputs of fixed shape are written into the same arrays at every run, so that the loop allocates
    nothing; what `run` returns is valid until the next `run` of the same thread. Threads may share an engine:
    each has arrays of its own.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        *,
        device: str = "auto",
        threads: int | None = None,
        disable_optimizations: bool = False,
    ) -> None:
        """`model` is an ONNX file, or the bytes of one; `device` is as of `load_engine`; `threads` None
        takes one for each physical core that this process may use, within the CPU quota of its container.

        `disable_optimizations` runs the graph node by node as the file has it: the reference for graphs made
        for TensorRT, as ONNX Runtime's rewriting moves Q/DQ pairs and casts and changes the outputs.

        Raises ModelError for a file that is missing, no ONNX, or not runnable here.
        """
        self.path = Path("model in memory" if isinstance(model, bytes) else model)
        self.threads = threads if threads is not None else default_threads()
        providers = choose_providers(device)
        if not isinstance(model, bytes) and not self.path.is_file():
            raise ModelError(f"{self.path}: expected an ONNX file, there is no such file")
        try:
            content = model if isinstance(model, bytes) else self.path.read_bytes()
        except OSError as error:
            text = f"{self.path}: cannot be read: {error.strerror}; check its permissions"
            raise ModelError(text) from error
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


_OTHERS = (
    (b"version https://git-lfs", "a Git LFS pointer; run `git lfs pull` where it lies"),
    (b"<", "a web page, so its download failed; download it again"),
    (b"PK", "a zip archive, as PyTorch's weights are; export them to ONNX (docs/models.md)"),
    (b"\x80", "a pickle, as PyTorch's weights are; export them to ONNX (docs/models.md)"),
)
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
    why = (
        "CUDA did not start (check the NVIDIA driver, and that CUDA and cuDNN have the versions that "
        f"onnxruntime {version()} needs)"
    )
    if requested != "auto":
        raise ModelError(f"{path}: device {requested!r}: {why}; fix that, or take device='cpu'")
    log_once(f"{path.name}: {why}; it runs on the CPU", logging.WARNING)


def _spec(node: Any, path: Path) -> TensorSpec:
    if node.type not in NUMPY_TYPES:
        raise ModelError(f"{path}: tensor {node.name!r}: expected {', '.join(NUMPY_TYPES)}, got {node.type}")
    shape = tuple(n if isinstance(n, int) and n > 0 else -1 for n in node.shape)
    return TensorSpec(node.name, shape, np.dtype(NUMPY_TYPES[node.type]))
