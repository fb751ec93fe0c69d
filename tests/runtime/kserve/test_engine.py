"""A served model as an engine: a stand-in with the documented JSON, and MLServer itself where it is."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeEngine
from kserve_server import KServeServer

from edgevid.errors import InputError, MissingExtraError, ModelError
from edgevid.models.hub import resolve_model
from edgevid.runtime import load_engine
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.kserve.engine import KServeEngine, parse_address

X, Y = (TensorSpec(name, (-1, 2), np.dtype(np.float32)) for name in "xy")
GIVEN = {"x": np.array([[1, 2], [3, 4], [5, 6]], np.float32)}


def local() -> FakeEngine:
    """It triples, where the server doubles: which of both ran is told by the numbers."""
    return FakeEngine((X,), (Y,), lambda inputs: {"y": 3 * inputs["x"]})


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[KServeServer]:
    pytest.importorskip("tritonclient.http", exc_type=ImportError)
    made = KServeServer()
    yield made
    made.stop()


def test_a_batch_runs_on_the_server(server: KServeServer) -> None:
    with load_engine(server.address) as engine:
        assert (engine.inputs, engine.outputs) == ((X,), (Y,))
        np.testing.assert_array_equal(engine.run(GIVEN)["y"], 2 * GIVEN["x"])
        with pytest.raises(InputError, match="float32"):
            engine.run({"x": GIVEN["x"].astype(np.int64)})
    with pytest.raises(ModelError, match="closed"):
        engine.run(GIVEN)


def test_the_local_engine_runs_until_the_server_is_back(server: KServeServer, caplog: pytest.LogCaptureFixture) -> None:
    with KServeEngine(server.address, local=local, first_s=0.05) as engine:
        assert engine.run(GIVEN)["y"][0, 0] == 2
        server.stop()
        with caplog.at_level(logging.WARNING, "edgevid"):
            assert [engine.run(GIVEN)["y"][0, 0] for _ in range(3)] == [3, 3, 3]
            assert sum("does not answer" in text for text in caplog.messages) == 1
            again = KServeServer(server.port)
            until(lambda: engine.run(GIVEN)["y"][0, 0] == 2)
            again.stop()
        assert sum("answers again" in text for text in caplog.messages) == 1


def test_a_server_that_is_away_from_the_start_is_taken_once_it_is_there(server: KServeServer) -> None:
    server.stop()
    with KServeEngine(server.address, local=local, first_s=0.05) as engine:
        assert engine.run(GIVEN)["y"][0, 0] == 3
        again = KServeServer(server.port)
        until(lambda: engine.run(GIVEN)["y"][0, 0] == 2)
        again.stop()
    with pytest.raises(ModelError, match=r"does not answer within 2 s.*its address"):
        load_engine(server.address)


def test_a_local_engine_of_another_model_does_not_take_over(server: KServeServer) -> None:
    other = FakeEngine((X,), (TensorSpec("z", (-1, 2), Y.dtype),), lambda inputs: {"z": inputs["x"]})
    with KServeEngine(server.address, local=lambda: other, first_s=60) as engine:
        assert engine.run(GIVEN)["y"][0, 0] == 2
        server.stop()
        for _ in range(2):
            with pytest.raises(ModelError, match="other inputs or outputs than the local one"):
                engine.run(GIVEN)
    assert other.closed


def test_a_slow_server_counts_as_away(server: KServeServer) -> None:
    server.delay_s = 3.0
    with KServeEngine(server.address, local=local, timeout_s=0.2, first_s=60) as engine:
        assert engine.run(GIVEN)["y"][0, 0] == 3
        assert engine.run(GIVEN)["y"][0, 0] == 3
    assert server.requests == 1


def test_what_the_server_rejects_is_an_error_and_no_failover(server: KServeServer) -> None:
    with pytest.raises(ModelError, match=r"the server rejects this: .*unknown model"):
        KServeEngine(server.address.replace("double", "other"), local=local)
    odd = KServeServer(tensors={"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1]}], "outputs": []})
    with pytest.raises(ModelError, match="'x' has type BYTES"):
        KServeEngine(odd.address, local=local)
    odd.tensors = {}
    with pytest.raises(ModelError, match="states no inputs or outputs"):
        KServeEngine(odd.address, local=local)
    odd.stop()


def test_another_model_at_the_address_does_not_take_over(
    server: KServeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.stop()
    with KServeEngine(server.address, local=local, first_s=0.05) as engine:
        tensors = [{"name": "z", "datatype": "FP32", "shape": [-1, 2]}]
        again = KServeServer(server.port, tensors={"inputs": tensors, "outputs": tensors})
        until(lambda: any("with another model" in text for text in caplog.messages))
        assert engine.run(GIVEN)["y"][0, 0] == 3
        again.stop()
    until(lambda: not any(thread.name == "kserve-retry" for thread in threading.enumerate()))


@pytest.mark.parametrize(
    "text",
    ["http://gate", "http://gate/v2/models/", "grpc://gate", "ftp://gate/v2/models/x", "http://u:p@gate/v2/models/x"],
)
def test_other_addresses_are_rejected(text: str) -> None:
    with pytest.raises(InputError, match="expected http://HOST:8000/v2/models/NAME or grpc://HOST:8001/NAME"):
        parse_address(text)


def test_a_client_of_the_other_protocol_alone_is_answered_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "tritonclient"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "tritonclient" / "grpc").mkdir(parents=True)
    (tmp_path / "tritonclient" / "__init__.py").touch()
    text = "raise RuntimeError('The installation does not include grpc support.')"
    (tmp_path / "tritonclient" / "grpc" / "__init__.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"edgevid\[triton\]"):
        load_engine("grpc://gate:8001/street")
    sys.modules.pop("tritonclient", None)


def test_without_the_client_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    monkeypatch.setitem(sys.modules, "tritonclient", None)
    with pytest.raises(MissingExtraError, match=r"edgevid\[triton\]"):
        load_engine("grpc://gate:8001/street")


RUNTIME = """
import numpy, onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse, MetadataTensor

def tensor(node):
    shape = [n if isinstance(n, int) else -1 for n in node.shape]
    return MetadataTensor(name=node.name, datatype="FP32", shape=shape)

class Onnx(MLModel):
    async def load(self):
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri)
        self._settings.inputs = [tensor(node) for node in self.session.get_inputs()]
        self._settings.outputs = [tensor(node) for node in self.session.get_outputs()]
        return True

    async def predict(self, payload):
        given = {one.name: numpy.asarray(NumpyCodec.decode_input(one)) for one in payload.inputs}
        names = [node.name for node in self.session.get_outputs()]
        found = zip(names, self.session.run(names, given))
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output(name, values) for name, values in found]
        )
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_mlserver_runs_the_shipped_detector_by_json_and_by_grpc(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    command = shutil.which("mlserver")
    if command is None:
        pytest.skip("needs MLServer with onnxruntime, in an environment of its own, on the PATH")
    recipe = resolve_model("street-nano")
    ports = [free_port() for _ in range(3)]
    names = ("http_port", "grpc_port", "metrics_port")
    settings = {"host": "127.0.0.1", "parallel_workers": 0, **dict(zip(names, ports, strict=True))}
    model = {"name": "street", "implementation": "served.Onnx", "parameters": {"uri": str(recipe.local)}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "model-settings.json").write_text(json.dumps(model))
    (tmp_path / "served.py").write_text(RUNTIME)
    environment = {"PATH": str(Path(command).parent), "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(
        [command, "start", "."], cwd=tmp_path, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: listens(ports[0]) and listens(ports[1]))
        with load_engine(recipe, device="cpu") as reference:
            spec = reference.inputs[0]
            shape = [max(n, 1) for n in spec.shape]
            given = {spec.name: np.random.default_rng(0).random(shape).astype(spec.dtype)}
            expected = reference.run(given)
            for address in (f"http://127.0.0.1:{ports[0]}/v2/models/street", f"grpc://127.0.0.1:{ports[1]}/street"):
                with load_engine(recipe, device=address) as engine:
                    assert engine.inputs == reference.inputs
                    found = engine.run(given)
                    assert isinstance(engine, KServeEngine)
                    assert not engine._away
                for name, values in expected.items():
                    np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4)
    finally:
        process.terminate()
        process.wait(20)
