"""Which precision each convolution got, read from the builder's own account of the engine's kernels.

At verbose level and with detailed profiling the builder logs every kernel with the types of what goes
in and out, and the ONNX layers that it stands for. That is what was built, whatever was asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

MARK = "LayerType: "
"""Found in the builder's messages that describe kernels, and in no others."""
_WANTED = {"fp32": "Float", "fp16": "Half", "int8": "Int8"}
_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_TYPE = re.compile(r"Datatype: (\w+)")


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of an engine."""

    name: str
    kind: str
    takes: tuple[str, ...]
    """Types of its inputs, weights left out: "Float", "Half", "Int8"."""
    nodes: frozenset[str]
    """ONNX layers that it stands for, in part or whole."""

    @property
    def convolves(self) -> bool:
        """Whether it does the products, not only the rounding before or the bias after them."""
        return self.kind in ("correlation", "CaskConvolution", "CaskGemmConvolution") or bool(
            re.search(r"Corr|^Conv", self.name)
        )


def kernels(messages: Iterable[str]) -> list[Kernel]:
    """The kernels that these log messages describe, in the engine's order."""
    lines = [line for message in messages for line in message.splitlines() if line.startswith("Name: ")]
    return [_kernel(line) for line in lines if MARK in line]


def _kernel(line: str) -> Kernel:
    name, _, rest = line.removeprefix("Name: ").partition(", LayerType: ")
    kind, _, rest = rest.partition(", Inputs: ")
    takes = re.split(r", (?:Constants|Outputs): ", rest, maxsplit=1)[0]
    nodes = _NODE.findall(rest.rpartition("Metadata: ")[2])
    return Kernel(name, kind, tuple(_TYPE.findall(takes)), frozenset(nodes))


def convolution_types(found: Iterable[Kernel], convolutions: Iterable[str]) -> dict[str, str]:
    """The type that each named convolution computes in; "?" where the log does not tell.

    A quantized convolution appears again in the kernels that round its input: the one that does the
    products counts, and a kernel that alone stands for the layer does them.
    """
    by_node: dict[str, list[Kernel]] = {}
    for kernel in found:
        for node in kernel.nodes:
            by_node.setdefault(node, []).append(kernel)
    types: dict[str, str] = {}
    for name in convolutions:
        all_of_it = by_node.get(name, [])
        does = [k for k in all_of_it if k.convolves] or (all_of_it if len(all_of_it) == 1 else [])
        told = {k.takes[0] for k in does if k.takes}
        types[name] = told.pop() if len(told) == 1 else "?"
    return types


def tally(types: dict[str, str]) -> dict[str, int]:
    """How many convolutions compute in each type, the most first."""
    return dict(Counter(types.values()).most_common())


def asked_for(precision: str) -> str:
    """The log's word for a precision."""
    return _WANTED[precision]
