"""Execution providers by `device`: found built in or as a plug-in, and what they leave to the CPU is told.

Stand-ins take the place of the plug-ins.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from edgevid.errors import InputError, ModelError
from edgevid.models.hub import resolve_model
from edgevid.runtime import load_engine
from edgevid.runtime.onnxruntime import engine as plugins
from edgevid.runtime.onnxruntime.engine import choose_providers, find_provider, left_to_cpu

OPENVINO = "OpenVINOExecutionProvider"


def device(kind: str, name: str = OPENVINO) -> Any:
    return SimpleNamespace(ep_name=name, device=SimpleNamespace(type=SimpleNamespace(name=kind)))


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A plug-in for OpenVINO with a CPU and an NPU; the list gets what is registered."""
    registered: list[tuple[str, str]] = []
    module = SimpleNamespace(__name__="onnxruntime_ep_openvino", get_library_path=lambda: "lib.so")
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", module)
    monkeypatch.setattr(plugins, "_registered", set())
    monkeypatch.setattr(
        onnxruntime, "register_execution_provider_library",
        lambda name, path: registered.append((name, path)), raising=False,
    )  # fmt: skip
    found = [device("CPU", "CPUExecutionProvider"), device("CPU"), device("NPU")]
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: found, raising=False)
    return registered


def test_a_plug_in_is_registered_once_and_gives_the_hardware_that_was_chosen(plugin: Any) -> None:
    (first,) = find_provider("openvino")
    (npu,) = find_provider("openvino:npu")
    assert (first.device.type.name, npu.device.type.name) == ("CPU", "NPU")
    assert plugin == [(OPENVINO, "lib.so")]
    assert choose_providers("openvino")[1:] == ["CPUExecutionProvider"]
    with pytest.raises(ModelError, match=r"'openvino:gpu': .* no such hardware here \(it finds CPU, NPU\)"):
        find_provider("openvino:gpu")


def test_a_plug_in_that_cannot_be_loaded_is_named(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, path: str) -> None:
        raise RuntimeError("libfoo.so is missing")

    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", fail)
    with pytest.raises(ModelError, match=r"onnxruntime_ep_openvino cannot be loaded: libfoo\.so is missing"):
        find_provider("openvino")


def test_a_built_in_provider_comes_before_a_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [OPENVINO, "CPUExecutionProvider"])
    assert find_provider("openvino") == (OPENVINO, {})
    assert find_provider("openvino:gpu") == (OPENVINO, {"device_type": "GPU"})


@pytest.mark.parametrize(
    ("word", "package"), [("qnn", "onnxruntime-qnn"), ("migraphx", "onnxruntime-migraphx in place of")]
)
def test_what_is_not_installed_is_an_error_with_the_pip_line(
    monkeypatch: pytest.MonkeyPatch, word: str, package: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    with pytest.raises(ModelError, match=rf"'{word}': .* \(here are cpu\)\. .*pip install {package}"):
        find_provider(word)


def test_nodes_on_the_cpu_are_told_and_a_provider_that_runs_none_is_an_error() -> None:
    def part(name: str, *kinds: str) -> Any:
        return SimpleNamespace(ep_name=name, get_nodes=lambda: [SimpleNamespace(op_type=k) for k in kinds])

    def session(*parts: Any) -> Any:
        return SimpleNamespace(get_provider_graph_assignment_info=lambda: list(parts))

    rest = part("CPUExecutionProvider", "Resize", "TopK", "Resize")
    told = left_to_cpu(session(part(OPENVINO, "Conv", "Relu"), rest), "openvino")
    assert told == f"{OPENVINO} runs 2 of 5 nodes; on the CPU: 2 Resize, 1 TopK"
    assert left_to_cpu(session(part(OPENVINO, "Conv")), "openvino") == f"{OPENVINO} runs 1 of 1 nodes"
    with pytest.raises(ModelError, match=r"runs none of the 3 nodes .*2 Resize, 1 TopK.*device='cpu'"):
        left_to_cpu(session(rest), "openvino")
    assert left_to_cpu(object(), "openvino") == ""  # an ONNX Runtime that does not tell


def test_a_session_takes_the_devices_of_a_plug_in_or_a_provider_that_did_not_start_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The CPU stands in for a plug-in's device: its session runs, and then counts as without the provider."""
    if not hasattr(onnxruntime, "get_ep_devices"):
        pytest.skip("this onnxruntime has no plug-ins")
    cpu = [one for one in onnxruntime.get_ep_devices() if one.ep_name == "CPUExecutionProvider"][:1]
    monkeypatch.setattr("edgevid.runtime.onnxruntime.engine.find_provider", lambda device: cpu)
    with pytest.raises(ModelError, match="device 'qnn' did not start"):
        load_engine(resolve_model("street-nano"), device="qnn")


def test_a_tensorrt_engine_runs_on_no_provider(tmp_path: Path) -> None:
    (tmp_path / "a.engine").touch()
    with pytest.raises(InputError, match="not on device='openvino'"):
        load_engine(tmp_path / "a.engine", device="openvino")
