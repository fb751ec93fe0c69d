"""TensorRT engines behind the Engine interface: run by TensorRT 10.3 to 11.x, or by TensorRT-RTX. The manifest of an
engine is checked before TensorRT gets its bytes, and the driver is looked up before TensorRT is imported: deserializing
without a device ends the process in some of its builds."""

import json
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgevid.errors import InputError, ModelError, log, log_once
from edgevid.runtime.cuda.interface import Cuda
from edgevid.runtime.cuda.open import open_cuda
from edgevid.runtime.device import gpu_of
from edgevid.runtime.engine import InputSpec, LoadedEngine, Rectangle, check_inputs
from edgevid.runtime.manifest import TITLES, Backend, Manifest, check, import_backend, manifest_path, read_manifest
from edgevid.runtime.recipe import Recipe
from edgevid.runtime.tensorrt.session import Session
from edgevid.types import Array, Frame

_MAGIC = b"ftrt"  # First bytes of a serialized engine


def split_header(data: bytes) -> tuple[dict[str, Any], bytes]:
    """What an exporter wrote before the engine, and the engine.

    Ultralytics puts four bytes of length (little-endian) and a JSON object of that length before it.

    >>> split_header(b"\\x0e\\x00\\x00\\x00" + b'{"stride": 32}' + b"ftrt")
    ({'stride': 32}, b'ftrt')
    >>> split_header(b"ftrt and so on")
    ({}, b'ftrt and so on')
    """
    size = int.from_bytes(data[:4], "little")
    if data[:4] != _MAGIC and 0 < size <= len(data) - 4 and data[4:5] == b"{":
        with suppress(ValueError):
            if isinstance(header := json.loads(data[4 : 4 + size]), dict):
                return header, data[4 + size :]
    return {}, data


class TrtEngine(LoadedEngine):
    """A serialized engine on an NVIDIA device. Inputs and outputs go through page-locked buffers; runs of one shape are
    replayed as one CUDA graph. What `run` returns is valid until the next `run`. Any thread may call, one at a time."""

    def __init__(self, path: str | Path, *, device: str = "auto", manifest: Manifest | None = None,
                 model: Path | None = None, recipe: Recipe | None = None, backend: Backend = "tensorrt",
                 graphs: bool = True) -> None:  # fmt: skip
        """`manifest` replaces the JSON next to the engine; without either the engine is loaded unchecked by `backend`.
        `model` and `recipe` are what it must have been built of. `graphs=False` runs every call without a CUDA graph.

        Raises ModelError for a device, version, model or file that does not match, with the command that builds the
        engine again; MissingExtraError for an absent package."""
        self.path, gpu = Path(path), gpu_of(device)
        cache = None
        if manifest is None and manifest_path(self.path).is_file():
            manifest = read_manifest(manifest_path(self.path))
            cache = Path(f"{self.path}.cache")
        backend = manifest.backend if manifest else backend
        trt = import_backend(backend, f"running {self.path.name}")
        if manifest is not None:
            check(self.path, manifest, gpu=gpu, version=trt.__version__, model=model, recipe=recipe)
        self.manifest, self.device = manifest, f"cuda:{gpu.index}"
        try:
            self.metadata, plan = split_header(self.path.read_bytes())
        except OSError as error:
            raise ModelError(f"{self.path}: expected a TensorRT engine: {error.strerror}") from error
        """What the exporter wrote before the engine (Ultralytics: names, stride, imgsz)."""
        cuda = open_cuda(self.device)
        try:
            with cuda.current():
                runtime, engine = _deserialize(trt, plan, self.path, backend, manifest)
                self._session = Session(trt, runtime, engine, cuda, self.path, graphs=graphs, cache=cache)
        except BaseException:
            cuda.close()
            raise
        self.inputs, self.outputs = self._session.inputs, self._session.outputs
        title = f"{TITLES[backend]} {trt.__version__}, CUDA by {cuda.backend}"
        log_once(f"{self.path.name} runs on {self.device} by {title}")
        self._lock = threading.Lock()
        # Also when it is dropped without `close`, and at the end of the program.
        self._release = weakref.finalize(self, _release, self._session, cuda)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with self._lock:
            self._check_open()
            check_inputs(self.inputs, inputs)
            return self._session.run(inputs)

    def run_frames(self, frames: Sequence[Frame], rectangles: Sequence[Rectangle], spec: InputSpec, *, name: str = "",
                   extra_inputs: Mapping[str, Array] | None = None) -> dict[str, Array]:  # fmt: skip
        """The outputs for frames that are letterboxed on the device, straight into input `name`. `rectangles` (left,
        top, width, height) are where each frame lies in the model's input, `extra_inputs` the model's other inputs. The
        input is equal to the CPU's preprocessing, bit for bit."""
        if len(frames) != len(rectangles) or not frames:
            raise InputError(f"frames: expected one rectangle for each, got {len(frames)} and {len(rectangles)}")
        with self._lock:
            self._check_open()
            return self._session.run_frames(frames, rectangles, spec, name or self.inputs[0].name,
                                            dict(extra_inputs or {}))  # fmt: skip

    def _check_open(self) -> None:
        if not self._release.alive:
            raise ModelError(f"{self.path}: this engine is closed; load it again")

    def close(self) -> None:
        with self._lock:
            self._release()


def _release(session: Session, cuda: Cuda) -> None:
    session.close()
    cuda.close()


def _deserialize(trt: Any, plan: bytes, path: Path, backend: Backend, manifest: Manifest | None) -> tuple[Any, Any]:
    logger = make_logger(trt)
    if backend == "tensorrt":
        trt.init_libnvinfer_plugins(logger, "")  # engines built by other tools may use NVIDIA's plugins
    runtime = trt.Runtime(logger)
    if manifest is not None and manifest.version_compatible:
        runtime.engine_host_code_allowed = True  # such an engine holds its own runtime
    if (engine := runtime.deserialize_cuda_engine(plan)) is None:
        raise ModelError(f"{path}: {TITLES[backend]} {trt.__version__} cannot load it: {logger.reason()}. An engine "
                         "fits one version and one kind of device: build it here with `edgevid build`")  # fmt: skip
    return runtime, engine


MARK = "LayerType: "  # In the builder's messages that describe kernels, and in no others


def make_logger(trt: Any) -> Any:
    """A logger that collects errors, warnings and descriptions of kernels; errors and warnings go to the log, too."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the package comes at run time
        def __init__(self) -> None:
            super().__init__()
            self.errors, self.warnings, self.kernels = list[str](), list[str](), list[str]()

        def log(self, severity: Any, message: str) -> None:
            kinds = trt.ILogger.Severity
            if severity in (kinds.INTERNAL_ERROR, kinds.ERROR, kinds.WARNING):
                (self.warnings if severity == kinds.WARNING else self.errors).append(message)
                log.debug("%s", message)
            elif MARK in message:
                self.kernels.append(message)

        def reason(self) -> str:
            return "; ".join(" ".join(e.split()) for e in self.errors[-3:]) or "the log gives no reason"

    return Logger()
