"""The protocol of every inference backend (named arrays in, named arrays out), and the image that a model expects."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from annotated_types import Ge, Le

from edgevid import kernels
from edgevid.errors import FieldError, InputError
from edgevid.files.fields import Count, check_fields
from edgevid.types import Array, Closing, Frame

MOST_PIXELS = 1 << 26  # Of a model's input
PAD = 114.0  # Gray value of padding, 0 to 255, unless a recipe states another: that of YOLO

Color = Literal["RGB", "BGR", "GRAY"]
Resize = Literal["letterbox", "stretch"]
Anchor = Literal["center", "top-left"]
Layout = Literal["NCHW", "NHWC"]
InputDtype = Literal["float32", "float16", "uint8", "int32"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The image that a model expects: all of preprocessing, as the recipe states it."""

    width: Count  # Columns of the model's input
    height: Count  # Rows of the model's input
    color: Color = "RGB"  # Order of the model's channels
    resize: Resize = "letterbox"  # "letterbox" keeps the aspect ratio and pads; "stretch" fills the input
    anchor: Anchor = "center"  # Where a letterboxed image sits
    pad: Annotated[float, Ge(0), Le(255)] = PAD  # Value of padding, 0 to 255, before normalization
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # Subtracted from 0..255 values, in the model's channel order
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)  # Divisor after the mean, in the model's channel order
    layout: Layout = "NCHW"  # Order of the input's dimensions
    dtype: InputDtype = "float32"  # Element type of the model's input

    def __post_init__(self) -> None:
        check_fields(self, "InputSpec")
        if self.width * self.height > MOST_PIXELS:
            raise FieldError("InputSpec", "width", f"{MOST_PIXELS:,} pixels at most", self.width * self.height)
        if 0.0 in self.std:
            raise FieldError("InputSpec", "std", "numbers other than 0", self.std)
        if not np.isfinite((*self.mean, *self.std, self.pad)).all():
            raise InputError("InputSpec: expected finite numbers, got mean "
                             f"{self.mean}, std {self.std}, pad {self.pad}")  # fmt: skip
        if any(0 < abs(s) < 1 for s in self.std):
            scaled = [[round(255 * v, 3) for v in values] for values in (self.mean, self.std)]
            raise InputError("InputSpec.std: expected divisors of gray levels from 0 to 255, "
                             f"got {self.std}, which is meant for 0 to 1; multiply mean and "
                             f"std by 255: mean = {scaled[0]}, std = {scaled[1]}")  # fmt: skip
        if np.issubdtype(np.dtype(self.dtype), np.integer) and max(map(abs, self.std)) > 128:
            raise InputError(f"InputSpec.std: an input of {self.dtype} divided by {self.std} is black; expected "
                             "std = [1.0, 1.0, 1.0], as such a model takes gray levels from 0 to 255")  # fmt: skip


Rectangle = tuple[int, int, int, int]  # Left, top, width, height in pixels of the model's input


def input_shape(spec: InputSpec) -> tuple[int, int, int]:
    """Shape of one image of the model's input, without the batch axis."""
    channels = 1 if spec.color == "GRAY" else 3
    return (channels, spec.height, spec.width) if spec.layout == "NCHW" else (spec.height, spec.width, channels)


def write_letterbox(frame: Frame, rectangle: Rectangle, spec: InputSpec, out: Array, *, write_pad: bool = True) -> None:
    """Resizes, normalizes and lays out a frame into `rectangle` of `out`, one image of a model's input. The rest
    becomes `spec.pad`, unless `write_pad` is false: then it stays as it is."""
    if out.dtype == np.float16:  # the kernels write float32
        whole = np.empty(out.shape, np.float32)
        write_letterbox(frame, rectangle, spec, whole)
        out[...] = whole
        return
    options: dict[str, Any] = {"color": spec.color, "layout": spec.layout, "pad": spec.pad,
                               "scale": [1.0 / s for s in spec.std],
                               "bias": [-m / s for m, s in zip(spec.mean, spec.std, strict=True)],
                               "write_pad": write_pad}  # fmt: skip
    if frame.planes is None:
        kernels.letterbox(frame.image, out, rectangle, **options)
    else:
        kernels.letterbox_yuv420(*frame.planes, frame.full_range, frame.matrix, out, rectangle, **options)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and element type of one input or output of an engine."""

    name: str
    shape: tuple[int, ...]  # -1 for a dynamic axis
    dtype: np.dtype[Any]

    def accepts(self, array: Array) -> bool:
        """Whether `array` is of this element type and fits `shape`, as (-1, 3, H, W)."""
        if array.dtype != self.dtype or array.ndim != len(self.shape):
            return False
        return all(s in (-1, n) for s, n in zip(self.shape, array.shape, strict=True))

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} ({', '.join('any' if s < 0 else str(s) for s in self.shape)})"


class Engine(Protocol):
    """A loaded model. `run` takes and returns named tensors as `inputs` and `outputs` state them, images (N, 3, H, W);
    what it returns is valid until the next `run`. Where threads share an engine, that may be another thread's: copy
    the outputs, or take turns until they are read (only OrtEngine keeps them for each thread)."""

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
        """As `Engine.run`. InputError for wrong names, types or shapes; ModelError where the run fails."""

    @abstractmethod
    def close(self) -> None:
        """Frees the model's memory; a later `run` is a ModelError, a second call does nothing."""


@runtime_checkable
class AcceptsFrames(Protocol):
    """An engine that preprocesses frames itself, on its device: as `TrtEngine.run_frames` does."""

    def run_frames(self, *given: Any, **options: Any) -> dict[str, Array]: ...


def check_inputs(specs: tuple[TensorSpec, ...], inputs: Mapping[str, Array]) -> None:
    """InputError unless `inputs` has exactly the named tensors, each of its type and shape."""
    if set(inputs) != (expected := {spec.name for spec in specs}):
        raise InputError(f"engine inputs: expected {sorted(expected)}, got {sorted(inputs)}")
    for spec in specs:
        if not spec.accepts(array := inputs[spec.name]):
            raise InputError(f"engine input {spec}: got {array.dtype} {array.shape}")
