"""A TensorRT that runs on the host stand-in driver: enough of it to run the code of runtime/tensorrt.

Its classes have only members that the real ones have in every version (test_engine.py asserts that), and
it rejects what the real one rejects: shapes outside the profile, addresses that are no device memory,
runs before all addresses are set, and plans of another device. An "engine" is the bytes "ftrt" and a JSON
that names its tensors and what it computes.
"""

from __future__ import annotations

import ctypes
import enum
import hashlib
import json
import types
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.runtime.device import gpus
from edgevid.runtime.manifest import Manifest, manifest_path, write_manifest

_CALL = ctypes.CFUNCTYPE(None, ctypes.c_int)
__version__ = "10.13.3.9"


@cache
def _driver() -> ctypes.CDLL:
    library = ctypes.CDLL("libcuda.so.1")
    library.host_is_device.argtypes = [ctypes.c_uint64]
    return library


class DataType(enum.Enum):
    FLOAT = "float32"
    UINT8 = "uint8"
    INT32 = "int32"
    BF16 = "bfloat16"


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class TensorLocation(enum.Enum):
    DEVICE = 0
    HOST = 1


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2


def nptype(kind: DataType) -> Any:
    if kind is DataType.BF16:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return getattr(np, kind.value)


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    return isinstance(logger, ILogger) and namespace == ""


class Runtime:
    engine_host_code_allowed = False

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        if not plan.startswith(b"ftrt"):
            self._logger.log(ILogger.Severity.ERROR, "Error Code 1: Serialization (magicTagRead)")
            return None
        return ICudaEngine(json.loads(plan[4:]))


class ICudaEngine:
    def __init__(self, reported: dict[str, Any]) -> None:
        self._tensors = {t["name"]: t for t in (*reported["inputs"], *reported["outputs"])}
        self._inputs = [t["name"] for t in reported["inputs"]]
        self._does = reported["does"]

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name]["shape"])

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self._tensors[name].get("dtype", "float32"))

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation[self._tensors[name].get("location", "DEVICE")]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        return [tuple(s) for s in self._tensors[name]["profile"]]

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._call = _CALL(self._compute)
        self._runs: list[dict[str, Any]] = []

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        engine = self._engine
        static = engine.get_tensor_shape(name)
        if -1 not in static:
            return tuple(shape) == static
        least, _, most = engine.get_tensor_profile_shape(name, 0)
        if not all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True)):
            return False
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """An output's open axes are those of the first input, but for a shape that a run alone knows."""
        engine, first = self._engine, self._engine._inputs[0]
        static = engine.get_tensor_shape(name)
        if name in engine._inputs:
            return self._shapes.get(name, static)
        if engine._does == "search":
            return static
        given = self._shapes.get(first, engine.get_tensor_shape(first))
        return tuple(given[i] if n < 0 else n for i, n in enumerate(static))

    def set_tensor_address(self, name: str, address: int) -> bool:
        if not _driver().host_is_device(address):
            return False
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        if set(self._addresses) != set(self._engine._tensors) or self._engine._does == "fail":
            return False
        names = self._engine._tensors
        self._runs.append({n: (self._addresses[n], self.get_tensor_shape(n)) for n in names})
        call = ctypes.cast(self._call, ctypes.c_void_p)
        return _driver().host_enqueue(ctypes.c_void_p(stream), call, len(self._runs) - 1) == 0

    def _compute(self, number: int) -> None:
        arrays = {}
        for name, (address, shape) in self._runs[number].items():
            dtype = np.dtype(nptype(self._engine.get_tensor_dtype(name)))
            raw = (ctypes.c_uint8 * (int(np.prod(shape)) * dtype.itemsize)).from_address(address)
            arrays[name] = np.frombuffer(raw, dtype).reshape(shape)
        inputs, does = [arrays[n] for n in self._engine._inputs], self._engine._does
        for name in arrays.keys() - set(self._engine._inputs):
            answer = sum(inputs) if does == "add" else does if isinstance(does, list) else inputs[0]
            arrays[name][...] = answer


class IRuntimeCache:
    """TensorRT-RTX: kernels finished for a card."""

    def __init__(self) -> None:
        self._kept = b""

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(b"kernels"):
            return False
        self._kept = blob
        return True

    def serialize(self) -> bytes:
        return self._kept


class IRuntimeConfig:
    """TensorRT-RTX: what an execution context shall use."""

    def __init__(self) -> None:
        self._cache: IRuntimeCache | None = None

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self._cache = cache
        return True


class RtxEngine(ICudaEngine):
    """TensorRT-RTX: finishes its kernels for a context, unless the cache has them."""

    finished = 0

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, runtime_config: IRuntimeConfig | None = None) -> IExecutionContext:
        cache = runtime_config._cache if runtime_config else None
        if cache is None or not cache._kept:
            RtxEngine.finished += 1
            if cache is not None:
                cache._kept = b"kernels of 8.7"
        return super().create_execution_context()


class RtxRuntime(Runtime):
    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        return RtxEngine(json.loads(plan[4:])) if super().deserialize_cuda_engine(plan) else None


_RTX = ("IRuntimeCache", "IRuntimeConfig", "RtxEngine", "RtxRuntime")


def module(package: str = "tensorrt") -> types.ModuleType:
    """This file as the package `tensorrt` or `tensorrt_rtx`."""
    made = types.ModuleType(package)
    names = {k: v for k, v in globals().items() if not k.startswith("_")}
    if package == "tensorrt":
        names = {k: v for k, v in names.items() if k not in _RTX}
    else:
        names["Runtime"] = RtxRuntime
    made.__dict__.update({**names, "__version__": __version__ if package == "tensorrt" else "1.7.1.116"})
    return made


def plan(does: str = "copy", *, batch: int = -1, most: int = 4, **more: Any) -> bytes:
    image = {"name": "images", "shape": [batch, 3, 8, 8], "profile": [[1, 3, 8, 8], [2, 3, 8, 8], [most, 3, 8, 8]]}
    reported = {"does": does, "inputs": [image], "outputs": [{"name": "y", "shape": [batch, 3, 8, 8], **more}]}
    if does == "add":
        reported["inputs"].append({"name": "offset", "shape": [1]})
    return b"ftrt" + json.dumps(reported).encode()


def written(path: Path, data: bytes, **changes: Any) -> Path:
    """An engine and its manifest, for the device and version at hand."""
    path.write_bytes(data)
    reported: dict[str, Any] = {
        "model": "net",
        "onnx": "net.onnx",
        "onnx_sha256": hashlib.sha256(b"onnx").hexdigest(),
        "graph": "net.onnx",
        "graph_sha256": "",
        "precision": "fp16",
        "backend": "tensorrt",
        "version": "10.13.3.9",
        "engine_sha256": hashlib.sha256(data).hexdigest(),
        "engine_bytes": len(data),
        "gpu": gpus()[0].name,
        "capability": gpus()[0].capability,
    }
    write_manifest(Manifest(**{**reported, **changes}), manifest_path(path))
    return path


def batch_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)
