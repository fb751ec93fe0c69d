"""Options of a build: what is read from texts, and what is rejected before anything is loaded."""

from __future__ import annotations

import json

import pytest
from builder_samples import rtx_options

from edgevid.errors import InputError
from edgevid.optimize.builder.options import read_batch, read_shapes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": "fp8"}, "precision: expected one of 'fp32', 'fp16', 'int8'"),
        ({"backend": "onnx"}, "backend: expected one of 'auto'"),
        ({"batch": (2, 1, 4)}, "MIN <= OPT <= MAX"),
        ({"workspace_mb": 0}, "build: workspace_mb: expected a number of at least 1"),
        ({"optimization_level": 6}, "build: optimization_level: expected a number from 0 to 5"),
        ({"hardware_compatibility": "any"}, "hardware_compatibility: expected one of 'none'"),
        ({"compute_capabilities": ("9.0",)}, "--compute-capability: expected one of 7.5"),
        ({"shapes": {"x": ((2,), (1,), (1,))}}, "--shape: x"),
    ],
)
def test_options_out_of_range(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rtx_options(**wrong)


@pytest.mark.parametrize(
    "right",
    [{"workspace_mb": 1}, {"optimization_level": 0}, {"optimization_level": 5}, {"batch": (1, 1, 1)},
     {"shapes": {"x": ((1,), (1,), (1,))}}, {"compute_capabilities": ("7.5", "12.1")}],
)  # fmt: skip
def test_options_at_the_end_of_their_range(right: dict[str, object]) -> None:
    made = rtx_options(**right)
    assert {name: getattr(made, name) for name in right} == right


def test_choices_of_the_other_backend() -> None:
    with pytest.raises(InputError, match="only TensorRT-RTX builds for other devices"):
        rtx_options(compute_capabilities=("8.6",)).check_backend("tensorrt")
    with pytest.raises(InputError, match="select others with --compute-capability"):
        rtx_options(hardware_compatibility="ampere+").check_backend("tensorrt-rtx")


def test_options_are_stored_as_plain_values() -> None:
    made = rtx_options("int8", batch=(1, 4, 8), shapes=dict([read_shapes("x=1x8,4x8,8x8")]), tf32=True)
    stored = json.loads(json.dumps(made.as_dict()))
    assert stored == {
        "batch": [1, 4, 8], "shapes": {"x": [[1, 8], [4, 8], [8, 8]]}, "workspace_mb": None,
        "optimization_level": None, "version_compatible": False, "hardware_compatibility": "none",
        "fallback_precision": "fp16", "tf32": True,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["x", "1,2", "a,b,c"])
def test_batches_and_shapes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="--batch: expected"):
        read_batch(text)
    with pytest.raises(InputError, match="--shape: expected"):
        read_shapes(text)


def test_one_shape_or_batch_is_all_three() -> None:
    assert read_shapes("a=b=1x8") == ("a=b", ((1, 8), (1, 8), (1, 8)))
    assert read_shapes("x=1x8,4x8,8x8") == ("x", ((1, 8), (4, 8), (8, 8)))
    assert (read_batch("4"), read_batch("1, 4, 8")) == ((4, 4, 4), (1, 4, 8))
    with pytest.raises(InputError, match="--shape: expected"):
        read_shapes("x=1x8,4x8")
