"""A model on a server as an Engine: KServe v2 by HTTP (JSON, or binary where the server has it) or by gRPC.
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol."""

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from edgevid.errors import InputError, MissingExtraError, ModelError, log, log_once, require
from edgevid.runtime.engine import LoadedEngine, TensorSpec, check_inputs
from edgevid.types import Array

NUMPY_TYPES = {"FP32": np.float32, "FP16": np.float16, "FP64": np.float64, "INT64": np.int64,
               "INT32": np.int32, "INT8": np.int8, "UINT8": np.uint8, "BOOL": np.bool_}  # fmt: skip
KSERVE_TYPES = {np.dtype(kind): word for word, kind in NUMPY_TYPES.items()}
REJECTIONS = ("INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED")
"""Statuses of gRPC that are as 4xx of HTTP."""
TIMEOUT_S = 2.0  # Seconds that a server may take for one request
FIRST_S, LAST_S = 1.0, 60.0  # Seconds until a server that was away is tried, and at most between tries, by doubling


class Address(NamedTuple):
    """Where a model is served."""

    kind: str  # "http" or "grpc"
    secure: bool
    server: str  # Host and port
    model: str
    version: str


def parse_address(text: str) -> Address:
    """The parts of a model's address; InputError for anything else.

    >>> parse_address("http://gate:8000/v2/models/street"), parse_address("grpc://gate:8001/street/2")
    (Address(kind='http', secure=False, server='gate:8000', model='street', version=''),
    Address(kind='grpc', secure=False, server='gate:8001', model='street', version='2'))
    """
    name = r"(?P<model>[^/?#]+)"
    web = re.fullmatch(rf"(http)(s?)://([^/?#]+)/v2/models/{name}(?:/versions/(?P<version>[^/?#]+))?/?", text)
    found = web or re.fullmatch(rf"(grpc)(s?)://([^/?#]+)/{name}(?:/(?P<version>[^/?#]+))?/?", text)
    if found is None or "@" in found[3]:
        raise InputError("device: expected http://HOST:8000/v2/models/NAME or "
                         f"grpc://HOST:8001/NAME, without a user name, got {text!r}")  # fmt: skip
    return Address(found[1], bool(found[2]), found[3], found["model"], found["version"] or "")


class KServeEngine(LoadedEngine):
    """A model that a server runs; where the server is away, `local` runs it until the server is back. A server that
    does not answer within `timeout_s` counts as away: it is logged once, and tried again in the background with
    exponential backoff. Threads may share an engine."""

    def __init__(self, address: str, *, local: Callable[[], LoadedEngine] | None = None, timeout_s: float = TIMEOUT_S,
                 first_s: float = FIRST_S) -> None:  # fmt: skip
        """`address` is as of `parse_address`; `local` opens the engine that takes over. Raises MissingExtraError
        without tritonclient, ModelError for a server that is away where there is no `local`, or that lacks the model. A
        `local` with other inputs or outputs is a ModelError once it runs."""
        self.address, self.device = parse_address(address), address
        self.timeout_s, self._first_s = timeout_s, first_s
        self._limit = {} if self.address.kind == "http" else {"client_timeout": timeout_s}
        purpose = "running models on a server"
        try:
            self._module: Any = require(f"tritonclient.{self.address.kind}", extra="triton", purpose=purpose)
        except RuntimeError as error:  # the package was installed for the other protocol alone
            raise MissingExtraError(f"tritonclient[{self.address.kind}]", "triton", purpose) from error
        self._open, self._lock = local, threading.Lock()
        self._local: LoadedEngine | None = None
        self._clients, self._closed, self._away = threading.local(), threading.Event(), False
        self._binary = False
        self.inputs = self.outputs = ()
        try:
            self.inputs, self.outputs = self._describe()
        except Exception as error:
            self._leave(error)
            engine = self._take_over(error)
            self.inputs, self.outputs = engine.inputs, engine.outputs
        else:
            log_once(f"{self.address.model} runs on {address} (KServe v2)")

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if self._closed.is_set():
            raise ModelError(f"{self.device}: this engine is closed; load it again")
        check_inputs(self.inputs, inputs)
        cause: Exception | None = None
        if not self._away:
            try:
                return self._infer(inputs)
            except Exception as error:
                self._leave(error)
                cause = error
        return self._take_over(cause).run(inputs)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            if self._local is not None:
                self._local.close()
                self._local = None

    def _client(self) -> Any:
        """This thread's own: clients are not shared between threads."""
        if not hasattr(self._clients, "own"):
            options: dict[str, Any] = {"url": self.address.server, "ssl": self.address.secure}
            if self.address.kind == "http":
                options |= {"network_timeout": self.timeout_s, "connection_timeout": self.timeout_s}
            self._clients.own = self._module.InferenceServerClient(**options)
        return self._clients.own

    def _describe(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        where, as_json = self._client(), {} if self.address.kind == "http" else {"as_json": True}
        self._binary = "binary_tensor_data" in where.get_server_metadata(**as_json, **self._limit).get("extensions", ())
        found = where.get_model_metadata(self.address.model, self.address.version, **as_json, **self._limit)
        inputs, outputs = (tuple(map(self._spec, found.get(key, ()))) for key in ("inputs", "outputs"))
        if not (inputs and outputs):
            raise ModelError(f"{self.device}: the server states no inputs or outputs of this model")
        return inputs, outputs

    def _spec(self, tensor: Mapping[str, Any]) -> TensorSpec:
        if tensor["datatype"] not in NUMPY_TYPES:
            raise ModelError(f"{self.device}: tensor {tensor['name']!r} has type {tensor['datatype']}; "
                             f"expected one of {', '.join(NUMPY_TYPES)}")  # fmt: skip
        shape = tuple(size if size > 0 else -1 for size in map(int, tensor["shape"]))
        return TensorSpec(tensor["name"], shape, np.dtype(NUMPY_TYPES[tensor["datatype"]]))

    def _infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        binary = {"binary_data": self._binary} if self.address.kind == "http" else {}
        expected = [self._module.InferRequestedOutput(spec.name, **binary) for spec in self.outputs]
        sent = []
        for spec in self.inputs:
            array = np.ascontiguousarray(inputs[spec.name])
            sent.append(self._module.InferInput(spec.name, list(array.shape), KSERVE_TYPES[spec.dtype]))
            sent[-1].set_data_from_numpy(array, **binary)
        found = self._client().infer(self.address.model, sent, model_version=self.address.version,
                                     outputs=expected, **self._limit)  # fmt: skip
        answers = {spec.name: found.as_numpy(spec.name) for spec in self.outputs}
        if missing := [name for name, values in answers.items() if values is None]:
            raise ModelError(f"{self.device}: the server's answer lacks {', '.join(missing)}")
        return answers

    def _leave(self, error: Exception) -> None:
        """Notes that the server is away, and begins to try it; a request that it rejects is an error."""
        if isinstance(error, ModelError):
            raise error
        # No `status` is no connection, or a timeout; with one, a later try would not help.
        status = str(error.status() or "") if hasattr(error, "status") else "away"
        if not status or status.startswith("4") or status.removeprefix("StatusCode.") in REJECTIONS:
            raise ModelError(f"{self.device}: the server rejects this: {error}") from error
        with self._lock:
            if self._away:
                return
            self._away, self._clients = True, threading.local()
        if self._open is not None:
            log.warning("%s does not answer (%s); the local engine runs until it does", self.device, error)
            threading.Thread(target=self._wait_for_server, name="kserve-retry", daemon=True).start()

    def _take_over(self, error: Exception | None) -> LoadedEngine:
        if self._open is None:
            self._away = False  # the next run tries again
            raise ModelError(f"{self.device}: the server does not answer within {self.timeout_s:g} s "
                             f"({error}); check its address, or take it as the device of the model's "
                             "own file or name, which then runs meanwhile") from error  # fmt: skip
        with self._lock:
            if self._local is None:
                made, ours = self._open(), (self.inputs, self.outputs)
                if self.inputs and not all(map(_same, (made.inputs, made.outputs), ours)):
                    made.close()
                    raise ModelError(f"{self.device}: the server is away, and its model has other "
                                     "inputs or outputs than the local one, which cannot take over; "
                                     "serve the file that is given as the model") from error  # fmt: skip
                self._local = made
            return self._local

    def _wait_for_server(self) -> None:
        wait = self._first_s
        while not self._closed.wait(wait):
            wait = min(2 * wait, LAST_S)
            try:
                specs = self._describe()
            except Exception:
                continue
            if not all(map(_same, specs, (self.inputs, self.outputs))):
                log.warning("%s answers again with another model; the local engine goes on", self.device)
                continue
            self._away = False
            log.warning("%s answers again", self.device)
            return


def _same(one: tuple[TensorSpec, ...], two: tuple[TensorSpec, ...]) -> bool:
    """Whether names and types are the same; a server may leave open a size that a file fixes."""
    return {(spec.name, spec.dtype) for spec in one} == {(spec.name, spec.dtype) for spec in two}
