"""Device choices ("auto", "cpu", "cuda:N", a provider, a server), and the NVIDIA devices that the driver shows. Some of
TensorRT's runtimes end the process when they deserialize an engine without a driver, so libcuda is queried for devices
first, through ctypes. Names: CUDA Driver API, docs.nvidia.com/cuda/cuda-driver-api."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from edgevid.errors import InputError, ModelError, did_you_mean
from edgevid.files import read_toml

DeviceKind = Literal["auto", "cpu", "cuda", "provider", "server"]


class Provider(NamedTuple):
    """An execution provider of ONNX Runtime: its name there, its plug-in's module, and what pip installs."""

    name: str
    module: str
    package: str


_TABLES = read_toml(Path(__file__).with_name("providers.toml"))
PROVIDERS: Mapping[str, Provider] = {word: Provider(**one) for word, one in _TABLES.items()}
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
    raise InputError("device: expected 'auto', 'cpu', 'cuda:0' or one of "
                     f"{', '.join(PROVIDERS)} (such as 'openvino:npu' for its hardware), or "
                     f"http://HOST:8000/v2/models/NAME, got {device!r}{near}")  # fmt: skip


LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA device as its driver describes it."""

    index: int
    name: str
    capability: str  # Compute capability, "8.7"
    memory: int = 0  # Bytes in all; on a Jetson they are the machine's own
    cuda: str = ""  # Newest CUDA version that the driver supports, "12.6"

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.capability})"


@cache
def driver() -> ctypes.CDLL | None:
    """The initialized driver library; None where it is missing or has no device."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    return library if library.cuInit(0) == 0 else None


@cache
def gpus() -> tuple[Gpu, ...]:
    """The devices that are visible to this process, in the driver's order; empty without a driver."""
    library, count = driver(), ctypes.c_int(0)
    if library is None or library.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(_describe(library, index) for index in range(count.value))


def _describe(library: ctypes.CDLL, index: int) -> Gpu:
    device, version = ctypes.c_int(0), ctypes.c_int(0)
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    library.cuDriverGetVersion(ctypes.byref(version))

    def attribute(which: int) -> int:
        value = ctypes.c_int(0)
        library.cuDeviceGetAttribute(ctypes.byref(value), which, device)
        return value.value

    capability, cuda = f"{attribute(_MAJOR)}.{attribute(_MINOR)}", divmod(version.value, 1000)
    return Gpu(index, name.value.decode(errors="replace"), capability, memory.value, f"{cuda[0]}.{cuda[1] // 10}")


def gpu_of(device: str) -> Gpu:
    """The device of a choice like "cuda:0" or "auto"; ModelError where there is none."""
    kind, index = parse_device(device)
    if kind == "cpu":
        raise InputError(f"device: expected 'auto' or 'cuda:0', got {device!r}")
    if index < len(found := gpus()):
        return found[index]
    if not found:
        raise ModelError(f"device {device!r}: no NVIDIA driver was found ({LIBRARY} is missing or shows no "
                         "device); `edgevid doctor` lists what is there; device='cpu' needs none")  # fmt: skip
    names = ", ".join(f"cuda:{gpu.index} is {gpu.name}" for gpu in found)
    raise ModelError(f"device {device!r}: no device has this number; {names}")
