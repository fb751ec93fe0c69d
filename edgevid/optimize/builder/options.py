"""What is asked of a TensorRT build, checked before anything is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgevid.errors import InputError

PRECISIONS = ("fp32", "fp16", "int8")
FALLBACK: Mapping[str, str] = MappingProxyType({"int8": "fp16", "fp16": "fp32"})
"""The next precision where one does not keep the floor."""
CHOICES = ("auto", "tensorrt", "tensorrt-rtx")
HARDWARE = ("none", "same-capability", "ampere+")
RTX_TARGETS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities that TensorRT-RTX builds for (enum ComputeCapability of 1.7)."""
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Choices of one build; InputError where they cannot be."""

    precision: str = "fp16"
    backend: str = "auto"
    """"tensorrt", "tensorrt-rtx", or "auto": TensorRT where it is installed, else TensorRT-RTX."""
    batch: tuple[int, int, int] = (1, 1, 1)
    """Least, best and most images of one run, for models of open batch."""
    shapes: Mapping[str, tuple[Shape, Shape, Shape]] = field(default_factory=dict)
    """Least, best and greatest shape of inputs whose open axes neither batch nor recipe tells."""
    workspace_mb: int | None = None
    """Most device memory that the builder's tactics may use; None: all of the device's."""
    level: int | None = None
    """Builder optimization level, 0 (quick build) to 5 (long search); None: TensorRT's own, 3."""
    version_compatible: bool = False
    """Whether newer TensorRT versions may load the engine; it can be slower."""
    hardware: str = "none"
    """"none": this device alone; "same-capability"; "ampere+": any of compute capability 8.0 up."""
    targets: tuple[str, ...] = ()
    """Compute capabilities to build for, TensorRT-RTX only; empty: 8.0 and more."""
    rest: str = "fp16"
    """What INT8 engines compute between their INT8 layers: "fp16" or "fp32"."""
    tf32: bool = False
    """Whether FP32 may be rounded to TF32 in tensor cores; off, so that fp32 means it."""
    timing_cache: Path | None = None
    """Where measured tactics are kept from build to build; None: beside the engine."""

    def __post_init__(self) -> None:
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("backend", self.backend, CHOICES)
        _one_of("hardware", self.hardware, HARDWARE)
        _one_of("rest", self.rest, ("fp16", "fp32"))
        low, best, high = self.batch
        if not 1 <= low <= best <= high:
            raise InputError(f"batch: expected 1 <= least <= best <= most, got {self.batch}")
        if self.workspace_mb is not None and self.workspace_mb < 1:
            raise InputError(f"workspace: expected at least 1 MB, got {self.workspace_mb}")
        if self.level is not None and not 0 <= self.level <= 5:
            raise InputError(f"level: expected 0 to 5, got {self.level}")
        for target in self.targets:
            _one_of("for-gpu", target, RTX_TARGETS)
        for name, (a, b, c) in self.shapes.items():
            orderly = all(1 <= x <= y <= z for x, y, z in zip(a, b, c, strict=False))
            if not (len(a) == len(b) == len(c) and orderly):
                raise InputError(f"shape of {name}: expected least <= best <= greatest, got {a}, {b}, {c}")

    def for_backend(self, backend: str) -> None:
        """InputError where a choice is not to be had from this backend."""
        if self.targets and backend != "tensorrt-rtx":
            raise InputError(
                "for-gpu: only TensorRT-RTX builds for other devices; TensorRT builds on the device that "
                "runs the engine (or with --hardware ampere+)"
            )
        if self.hardware != "none" and backend == "tensorrt-rtx":
            raise InputError(
                "hardware: TensorRT-RTX engines run on every card from compute capability 8.0; choose others "
                "with --for-gpu"
            )

    def told(self) -> dict[str, Any]:
        """The choices as the manifest keeps them."""
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("precision", "backend", "targets", "timing_cache"):
            del kept[name]
        kept["batch"] = list(self.batch)
        kept["shapes"] = {name: [list(s) for s in three] for name, three in self.shapes.items()}
        return kept


def _one_of(name: str, given: str, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise InputError(f"{name}: expected one of {', '.join(choices)}, got {given!r}")


def read_shapes(text: str) -> tuple[str, tuple[Shape, Shape, Shape]]:
    """An input's name and three shapes, from "name=1x3x64x64" or "name=least,best,greatest".

    >>> read_shapes("x=1x8,4x8,8x8")
    ('x', ((1, 8), (4, 8), (8, 8)))
    """
    name, _, shapes = text.rpartition("=")
    try:
        found = [tuple(int(n) for n in shape.split("x")) for shape in shapes.split(",")]
    except ValueError:
        found = []
    if not name or len(found) not in (1, 3):
        raise InputError(f"shape: expected NAME=1x3x64x64 or NAME=LEAST,BEST,GREATEST, got {text!r}")
    return name, (found[0], found[len(found) // 2], found[-1])


def read_batch(text: str) -> tuple[int, int, int]:
    """Least, best and most of "4" or "1,4,8".

    >>> read_batch("4"), read_batch("1,4,8")
    ((4, 4, 4), (1, 4, 8))
    """
    parts = text.split(",")
    if len(parts) not in (1, 3) or not all(p.strip().isdigit() for p in parts):
        raise InputError(f"batch: expected a number or LEAST,BEST,MOST like 1,4,8, got {text!r}")
    numbers = [int(p) for p in parts]
    return numbers[0], numbers[len(numbers) // 2], numbers[-1]
