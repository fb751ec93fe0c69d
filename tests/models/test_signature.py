"""What a model file states of itself, and what a run on a blank image adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import constant_model, node, save

from edgevid.errors import ModelError
from edgevid.models.signature import ModelSignature, _literal, read_signature
from edgevid.runtime.onnxruntime.engine import OrtEngine

INT64 = 7
BOXES = np.zeros((1, 7, 84), np.float32)
ULTRALYTICS = {"author": "Ultralytics", "imgsz": "[48, 64]", "names": "{0: 'person', 1: 'van'}", "head": "Detect"}


def signature(path: Path) -> ModelSignature:
    with OrtEngine(path, device="cpu", threads=1) as engine:
        return read_signature(engine)


def of(folder: Path, **more: Any) -> ModelSignature:
    """The signature of a constant model with one output (1, 7, 84)."""
    return signature(constant_model(folder / "m.onnx", {"o": BOXES}, **more))


def test_a_fixed_model_states_everything(tmp_path: Path) -> None:
    found = of(tmp_path, image=(1, 3, 32, 40), metadata=ULTRALYTICS, producer="test")
    assert (found.image.name, found.image.shape) == ("images", (1, 3, 32, 40))
    assert [str(spec) for spec in found.outputs] == ["o: float32 (1, 7, 84)"]
    assert (found.width, found.height, found.layout) == (40, 32, "NCHW")  # the graph's, not the metadata's
    assert found.names == ("person", "van")
    assert (found.ultralytics, found.head, found.producer) == (True, "Detect", "test")


def test_a_model_without_metadata_has_no_names(tmp_path: Path) -> None:
    found = of(tmp_path, image=(1, 3, 32, 40))
    assert (found.names, found.ultralytics, found.head, found.producer) == ((), False, "", "")


@pytest.mark.parametrize(
    ("image", "metadata", "layout", "size"),
    [
        ((1, 32, 40, 3), {}, "NHWC", (40, 32)),
        ((1, 32, 40, 1), {}, "NHWC", (40, 32)),
        ((1, 1, 32, 40), {}, "NCHW", (40, 32)),
        ((1, 3, 32, 3), {}, "NCHW", (3, 32)),  # both axes could be channels: the usual order
        ((1, 3, "h", "w"), ULTRALYTICS, "NCHW", (64, 48)),  # imgsz is height, width
        ((1, 3, "h", 40), ULTRALYTICS, "NCHW", (40, 48)),
        ((1, 3, "h", "w"), {}, "NCHW", (640, 640)),
        ((1, 3, "h", "w"), {"imgsz": "640, 480, 3"}, "NCHW", (640, 640)),
        ((1, 3, "h", "w"), {"imgsz": "[broken"}, "NCHW", (640, 640)),
        (("n", "h", "w", 3), {"imgsz": "(48, 64)"}, "NHWC", (64, 48)),
    ],
)
def test_size_and_layout(
    tmp_path: Path, image: tuple[int | str, ...], metadata: dict[str, str], layout: str, size: tuple[int, int]
) -> None:
    found = of(tmp_path, image=image, metadata=metadata)
    assert (found.layout, (found.width, found.height)) == (layout, size)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("['a', 'b']", ("a", "b")),
        ("{0: 'a', 5: 7}", ("a", "7")),
        ("", ()),
        ("None", ()),
        ("{0: a}", ()),
        ('{"1": "b", "0": null}', ("class 0", "b")),
        ("{'van': 1, 'car': 0}", ("car", "van")),
        ("['a', 'a', ' ']", ("a", "a 1", "class 2")),
    ],
)
def test_names_are_read_from_lists_and_tables(tmp_path: Path, names: str, expected: tuple[str, ...]) -> None:
    assert of(tmp_path, metadata={"names": names}).names == expected


@pytest.mark.parametrize(
    ("imgsz", "size"), [("96", (96, 96)), ("[64, 96]", (96, 64)), ("0", (640, 640)), ("", (640, 640))]
)
def test_an_assumed_size_is_reported(tmp_path: Path, imgsz: str, size: tuple[int, int]) -> None:
    found = of(tmp_path, image=(1, 3, "h", "w"), metadata={"imgsz": imgsz})
    assert (found.width, found.height) == size
    assert found.assumed_size == (imgsz in ("", "0"))


def test_open_output_shapes_come_from_a_run_on_a_blank_image(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"o": BOXES}, image=("batch", 3, 64, 64))
    with OrtEngine(path, device="cpu", threads=1) as engine:
        assert engine.outputs[0].shape == (-1, 7, 84)
        assert read_signature(engine).outputs[0].shape == (1, 7, 84)


def test_further_inputs_get_the_size_of_the_image(tmp_path: Path) -> None:
    # The output is orig_target_sizes (1, 2), whose batch is open: the run needs it.
    save(
        tmp_path / "m.onnx",
        [
            node("ReduceMean", "images", "mean", axes=[1, 2, 3], keepdims=0),
            node("Cast", "orig_target_sizes", "size", to=1),
            node("Expand", "mean shape", "flat"),
            node("Add", "size flat", "o"),
        ],
        {"images": ("float32", ("n", 3, 32, 40)), "orig_target_sizes": ("int64", ("n", 2))},
        {"o": ("n", 2)},
        shape=np.array([1, 2]),
    )
    found = signature(tmp_path / "m.onnx")
    assert found.outputs[0].shape == (1, 2)
    assert found.image.name == "images"


def test_a_run_that_fails_keeps_the_open_shapes(tmp_path: Path) -> None:
    # A blank image of 640 columns does not fit a matrix of 5 rows.
    save(
        tmp_path / "m.onnx",
        [node("MatMul", "images matrix", "o")],
        {"images": ("float32", ("n", 3, "h", "w"))},
        {"o": ("n", 3, "h", 6)},
        matrix=np.zeros((5, 6), np.float32),
    )
    assert signature(tmp_path / "m.onnx").outputs[0].shape == (-1, 3, -1, 6)


def test_cells_round_up(tmp_path: Path) -> None:
    found = of(tmp_path, image=(1, 3, 32, 40))
    assert found.cells(8) == 4 * 5
    assert found.cells(16, 32) == 2 * 3 + 1 * 2


def test_a_model_without_an_image_names_its_inputs(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"o": BOXES}, image=(1, 16), name="features")
    with pytest.raises(ModelError, match=r"expected an input for images, .* got features: float32 \(1, 16\)"):
        signature(path)


@pytest.mark.parametrize("text", ["-" * 100_000 + "1", "[" * 200_000, "1+" * 100_000 + "1"])
def test_metadata_that_is_nested_too_deeply_is_left_out(text: str) -> None:
    assert _literal(text, "default") == "default"
