"""Which precision each convolution got, read from the builder's log of the engine's kernels.

At verbose level and with detailed profiling the builder logs every kernel with the types of what goes
in and out, and the ONNX layers that it implements. That is what was built, whatever was requested.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

MARK = "LayerType: "  # In the builder's messages that describe kernels, and in no others
LOG_NAMES = {"fp32": "Float", "fp16": "Half", "int8": "Int8"}  # The log's name of each precision
_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_TYPE = re.compile(r"Datatype: (\w+)")


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of an engine."""

    name: str
    kind: str
    input_types: tuple[str, ...]
    """Types of its inputs, weights left out: "Float", "Half", "Int8"."""
    nodes: frozenset[str]
    """ONNX layers that it implements, in part or whole."""

    @property
    def is_convolution(self) -> bool:
        """Whether it does the products, not only the rounding before or the bias after them."""
        known = self.kind in ("correlation", "CaskConvolution", "CaskGemmConvolution")
        return known or bool(re.search(r"Corr|^Conv", self.name))


def kernels(messages: Iterable[str]) -> list[Kernel]:
    """The kernels that these log messages describe, in the engine's order."""
    found = []
    for line in (line for message in messages for line in message.splitlines()):
        if line.startswith("Name: ") and MARK in line:
            name, _, rest = line.removeprefix("Name: ").partition(", LayerType: ")
            kind, _, rest = rest.partition(", Inputs: ")
            inputs = re.split(r", (?:Constants|Outputs): ", rest, maxsplit=1)[0]
            nodes = _NODE.findall(rest.rpartition("Metadata: ")[2])
            found.append(Kernel(name, kind, tuple(_TYPE.findall(inputs)), frozenset(nodes)))
    return found


def convolution_types(found: Iterable[Kernel], convolutions: Iterable[str]) -> dict[str, str]:
    """The type that each named convolution computes in; "?" where the log does not show it.

    A quantized convolution appears again in the kernels that round its input: the one that does the
    products counts, and a kernel that alone implements the layer computes them.
    """
    by_node: dict[str, list[Kernel]] = {}
    for kernel in found:
        for node in kernel.nodes:
            by_node.setdefault(node, []).append(kernel)
    types: dict[str, str] = {}
    for name in convolutions:
        implementing = by_node.get(name, [])
        alone = implementing if len(implementing) == 1 else []
        computing = [k for k in implementing if k.is_convolution] or alone
        kinds = {k.input_types[0] for k in computing if k.input_types}
        types[name] = kinds.pop() if len(kinds) == 1 else "?"
    return types


def tally(types: dict[str, str]) -> dict[str, int]:
    """How many convolutions compute in each type, the most first."""
    return dict(Counter(types.values()).most_common())
