"""The protocol of every inference backend: four members, named arrays in, named arrays out."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from edgevid.errors import InputError
from edgevid.runtime.letterbox import InputSpec, Rectangle
from edgevid.types import Array, Frame
from edgevid.types.closing import Closing


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and element type of one input or output of an engine."""

    name: str
    shape: tuple[int, ...]
    """-1 for a dynamic axis."""
    dtype: np.dtype[Any]

    def accepts(self, array: Array) -> bool:
        """Whether `array` has this element type and fits this shape."""
        return (
            array.dtype == self.dtype
            and array.ndim == len(self.shape)
            and all(s in (-1, n) for s, n in zip(self.shape, array.shape, strict=True))
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} ({', '.join('any' if s < 0 else str(s) for s in self.shape)})"


class Engine(Protocol):
    """A loaded model. What `run` returns is valid until the next `run`.

    Where threads share an engine, the next `run` may be another thread's: copy the outputs, or take turns
    until they are read (only OrtEngine keeps them for each thread).
    """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...
    def close(self) -> None: ...


class LoadedEngine(Closing):
    """An engine of edgevid's own, what `load_engine` gives: as a context manager it closes itself."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @abstractmethod
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The named outputs. InputError for wrong names, types or shapes; ModelError where the run fails."""

    @abstractmethod
    def close(self) -> None:
        """Frees the model's memory; a later `run` is a ModelError, a second call does nothing."""


@runtime_checkable
class AcceptsFrames(Protocol):
    """An engine that preprocesses frames itself, on its device (TrtEngine does)."""

    def run_frames(
        self,
        frames: Sequence[Frame],
        rectangles: Sequence[Rectangle],
        spec: InputSpec,
        *,
        name: str = "",
        extra_inputs: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]: ...


def check_inputs(specs: tuple[TensorSpec, ...], inputs: Mapping[str, Array]) -> None:
    """InputError unless `inputs` has exactly the named tensors, each of its type and shape."""
    expected = {spec.name for spec in specs}
    if set(inputs) != expected:
        raise InputError(f"engine inputs: expected {sorted(expected)}, got {sorted(inputs)}")
    for spec in specs:
        array = inputs[spec.name]
        if not spec.accepts(array):
            raise InputError(f"engine input {spec}: got {array.dtype} {array.shape}")


class FakeEngine(LoadedEngine):
    """An engine that runs a Python function: for tests of the stages around a model."""

    def __init__(
        self,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        function: Callable[[Mapping[str, Array]], dict[str, Array]],
    ) -> None:
        self.inputs, self.outputs, self._function = inputs, outputs, function
        self.closed = False

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        check_inputs(self.inputs, inputs)
        return self._function(inputs)

    def close(self) -> None:
        self.closed = True
