"""Device choices: "auto", "cpu", "cuda:N", "openvino" and other providers, or an address on a server."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from edgevid.errors import InputError, did_you_mean

DeviceKind = Literal["auto", "cpu", "cuda", "provider", "server"]


class Provider(NamedTuple):
    """An execution provider of ONNX Runtime: its name there, its plug-in's module, and what pip installs."""

    name: str
    module: str
    package: str


PROVIDERS: Mapping[str, Provider] = {
    "openvino": Provider("OpenVINOExecutionProvider", "onnxruntime_ep_openvino", "onnxruntime-ep-openvino"),
    "tensorrt-rtx": Provider(
        "NvTensorRTRTXExecutionProvider", "onnxruntime_ep_nv_tensorrt_rtx", "onnxruntime-ep-nv-tensorrt-rtx"
    ),
    "qnn": Provider("QNNExecutionProvider", "onnxruntime_qnn", "onnxruntime-qnn"),
    "webgpu": Provider("WebGpuExecutionProvider", "onnxruntime_ep_webgpu", "onnxruntime-ep-webgpu"),
    "ggml": Provider("ggml", "onnxruntime_ggml", "onnxruntime-ggml"),
    "coreml": Provider("CoreMLExecutionProvider", "", "onnxruntime (its builds for macOS have CoreML)"),
    "migraphx": Provider("MIGraphXExecutionProvider", "", "onnxruntime-migraphx in place of onnxruntime"),
}
"""By the word for `device`; it may be followed by the hardware: "openvino:npu"."""


def parse_device(device: str) -> tuple[DeviceKind, int]:
    """Kind and number of a device choice; InputError for anything else.

    >>> parse_device("cuda:1"), parse_device("auto"), parse_device("openvino:npu")
    (('cuda', 1), ('auto', 0), ('provider', 0))
    """
    kind, _, number = device.partition(":")
    if "://" in device:
        return "server", 0
    if device == "auto":
        return "auto", 0
    if device == "cpu":
        return "cpu", 0
    if kind == "cuda" and (number or "0").isdigit():
        return "cuda", int(number or 0)
    if kind in PROVIDERS and number in ("", "cpu", "gpu", "npu"):
        return "provider", 0
    known = ["auto", "cpu", "cuda:0", *PROVIDERS]
    near = "; did you mean 'cuda:0'?" if device.lower() == "gpu" else did_you_mean(device, known)
    raise InputError(
        f"device: expected 'auto', 'cpu', 'cuda:0' or one of {', '.join(PROVIDERS)} (such as 'openvino:npu' "
        f"for its hardware), or http://HOST:8000/v2/models/NAME, got {device!r}{near}"
    )
