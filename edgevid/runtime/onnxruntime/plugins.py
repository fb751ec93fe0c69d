"""Execution providers of ONNX Runtime by `device`: built in or plug-ins, and what they leave to the CPU."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

import onnxruntime

from edgevid.errors import ModelError
from edgevid.runtime.device import PROVIDERS

_registered: set[str] = set()


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
        raise ModelError(
            f"device {device!r}: {name} runs none of the {total} nodes of this model ({kinds}); take "
            "device='cpu'"
        )
    return f"{name} runs {theirs} of {total} nodes" + (f"; on the CPU: {kinds}" if rest else "")
