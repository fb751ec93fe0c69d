"""Upper bounds on a model's speed on a device, and the memory it needs, before anything is built.

The bound is a roofline (Williams, Waterman and Patterson, Communications of the ACM 52(4), 2009): no run
can be faster than its operations at the device's peak, nor than its weights and images at its memory's
bandwidth. `layers_ms` adds up the layers' own bounds, each with its values read from and written to memory:
what a runtime reaches that keeps nothing in a cache.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevid.errors import InputError, did_you_mean, require
from edgevid.files.fields import Positive
from edgevid.files.schema import checked
from edgevid.files.toml import read_toml
from edgevid.optimize.cost import Cost
from edgevid.runtime.onnxruntime.session import open_session

BYTES: Mapping[str, int] = {"fp32": 4, "fp16": 2, "int8": 1}  # Bytes of a weight or value in each precision
THIS_CPU = "this-cpu"  # The name of one core of this machine, whose peak is measured


@dataclass(frozen=True, slots=True)
class Device:
    """Peak rates of a device."""

    name: str
    what: str
    gflops: Mapping[str, Positive]
    """1e9 dense operations per second, by precision; a missing precision is not supported."""
    gb_per_s: Positive
    """Memory bandwidth."""
    memory_gb: Positive
    """0 where unknown."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One model on one device in one precision."""

    device: Device
    precision: str
    bound_ms: float
    """No run can be faster (roofline)."""
    limit: str
    """What limits the bound: "arithmetic" or "memory"."""
    layers_ms: float
    """Sum of the layers' own bounds."""
    memory_mb: float
    """Weights and the most values alive at once; the runtime's own memory comes on top."""

    @property
    def fits(self) -> bool:
        """Whether the device's memory holds it (true where that is unknown)."""
        return self.device.memory_gb == 0 or self.memory_mb < 1000 * self.device.memory_gb


def devices() -> dict[str, Device]:
    """The devices that edgevid knows, by name."""
    path = Path(__file__).with_name("devices.toml")
    return {name: checked(Device, {"name": name, **table}, path, name=name) for name, table in read_toml(path).items()}


def device(name: str) -> Device:
    """The device of this name, "this-cpu" measured now. InputError with the nearest name otherwise."""
    if name == THIS_CPU:
        return measure_this_cpu()
    known = devices()
    if name not in known:
        hint = did_you_mean(name, [*known, THIS_CPU]) or "."
        raise InputError(f"--device: there is no {name!r}{hint} Known: {', '.join([*known, THIS_CPU])}")
    return known[name]


def measure_this_cpu(seconds: float = 0.4) -> Device:
    """One core of this machine: the best of repeated matrix products and copies, about one second in all."""
    side = 512
    rates = {p: 2 * side**3 / _product_seconds(p, side, seconds) / 1e9 for p in ("fp32", "int8")}
    block = np.ones(1 << 25, np.uint8)
    target = np.empty_like(block)
    copy = _best(lambda: np.copyto(target, block), seconds)
    return Device(THIS_CPU, "one core of this machine, measured", rates, 2 * block.size / copy / 1e9, 0.0)


def _product_seconds(precision: str, side: int, seconds: float) -> float:
    """Minimum time of a product of two square matrices in ONNX Runtime, one thread."""
    helper = require("onnx", extra="build", purpose="measuring this machine").helper
    kinds = (helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in _PRODUCT_TYPES[precision])
    a, b, y = (helper.make_tensor_value_info(n, k, [side, side]) for n, k in zip("aby", kinds, strict=True))
    node = helper.make_node("MatMul" if precision == "fp32" else "MatMulInteger", ["a", "b"], ["y"])
    opset = helper.make_opsetid("", 13)
    model = helper.make_model(helper.make_graph([node], "product", [a, b], [y]), opset_imports=[opset])
    model.ir_version = 8
    session = open_session(model.SerializeToString(), threads=1)
    one, two, _ = _PRODUCT_TYPES[precision]
    feeds = {"a": np.ones((side, side), one), "b": np.ones((side, side), two)}
    return _best(lambda: session.run(None, feeds), seconds)


_PRODUCT_TYPES = {"fp32": (np.float32, np.float32, np.float32), "int8": (np.uint8, np.int8, np.int32)}


def _best(action: Callable[[], object], seconds: float) -> float:
    """The minimum time of one call within `seconds`."""
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        action()
        best = min(best, time.perf_counter() - start)
    return best


def estimate(cost: Cost, on: Device, precision: str) -> Estimate | None:
    """The bound of one run in this precision; None where the device does not support it."""
    if precision not in BYTES:
        raise InputError(f"precision: expected one of {', '.join(BYTES)}, got {precision!r}")
    if precision not in on.gflops:
        return None
    width = BYTES[precision]
    arithmetic = cost.operations / on.gflops[precision] / 1e6
    # Images go in and results come out as float32 whatever the precision between.
    memory = (width * cost.parameters + 4 * (cost.inputs + cost.outputs)) / on.gb_per_s / 1e6
    layers = (
        max(layer.operations / on.gflops[precision], width * (layer.weights + layer.values) / on.gb_per_s)
        for layer in cost.layers
    )
    bound, limit = max((arithmetic, "arithmetic"), (memory, "memory"), key=lambda one: one[0])
    needed = (width * (cost.parameters + cost.peak) + 4 * (cost.inputs + cost.outputs)) / 1e6
    return Estimate(on, precision, bound, limit, max(bound, sum(layers) / 1e6), needed)
