"""A model that is a Python function: for tests of the stages around a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgevid.runtime.engine import LoadedEngine, TensorSpec, check_inputs
from edgevid.types import Array


class FakeEngine(LoadedEngine):
    """An engine that runs a Python function."""

    def __init__(
        self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...],
        function: Callable[[Mapping[str, Array]], dict[str, Array]],
    ) -> None:  # fmt: skip
        self.inputs, self.outputs, self._function = inputs, outputs, function
        self.closed = False

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        check_inputs(self.inputs, inputs)
        return self._function(inputs)

    def close(self) -> None:
        self.closed = True
