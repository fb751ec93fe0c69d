"""Where variants lie, and that a variant of another file is never taken."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model

from edgevid.errors import InputError, ModelError
from edgevid.files import sha256_of
from edgevid.models.draft import draft_recipe
from edgevid.models.hub import recipes
from edgevid.runtime.recipe import read_recipe, write_recipe
from edgevid.runtime.variants import find_variant, model_argument, record_path, variant_path


def made(folder: Path) -> tuple[Path, Path]:
    """A model and its int8-cpu variant with a right record."""
    source = folder / "net.onnx"
    source.write_bytes(b"source")
    path = variant_path(source, "int8-cpu")
    path.parent.mkdir()
    path.write_bytes(b"variant")
    record = {"source_sha256": sha256_of(source), "sha256": sha256_of(path)}
    record_path(path).write_text(json.dumps(record))
    return source, path


def test_variants_lie_in_build_next_to_the_model(tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    assert variant_path(source, "fp16") == tmp_path / "build" / "net.fp16.onnx"
    inside = tmp_path / "build" / "net.onnx"
    assert variant_path(inside, "fp16") == tmp_path / "build" / "net.fp16.onnx"
    assert record_path(variant_path(source, "int8-trt")) == tmp_path / "build" / "net.int8-trt.json"


def test_an_unknown_variant_is_rejected() -> None:
    with pytest.raises(InputError, match="expected one of fp16, int8-cpu"):
        variant_path("net.onnx", "int4")


def test_a_variant_with_its_record_is_found(tmp_path: Path) -> None:
    source, path = made(tmp_path)
    assert find_variant(source, "int8-cpu") == path


def test_an_absent_variant_names_the_command(tmp_path: Path) -> None:
    source, _ = made(tmp_path)
    with pytest.raises(ModelError, match=r"has no int8-trt file yet.*edgevid quantize .*--data"):
        find_variant(source, "int8-trt")
    with pytest.raises(ModelError, match=r"--precision fp16"):
        find_variant(source, "fp16")


def test_a_changed_model_is_noticed(tmp_path: Path) -> None:
    source, _ = made(tmp_path)
    source.write_bytes(b"retrained")
    with pytest.raises(ModelError, match="was made of another file"):
        find_variant(source, "int8-cpu")


def test_a_changed_variant_is_noticed(tmp_path: Path) -> None:
    source, path = made(tmp_path)
    path.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="differs from"):
        find_variant(source, "int8-cpu")


@pytest.mark.parametrize("text", ["", "[]"])
def test_a_broken_record_is_noticed(tmp_path: Path, text: str) -> None:
    source, path = made(tmp_path)
    record_path(path).write_text(text)
    with pytest.raises(ModelError, match="expected"):
        find_variant(source, "int8-cpu")


def test_the_command_that_makes_a_variant_works_as_printed(tmp_path: Path) -> None:
    """A model that is given by its path has a draft recipe, whose name no command knows."""
    path = constant_model(tmp_path / "my model.onnx", {"o": np.zeros((1, 6, 84), np.float32)}, image=(1, 3, 64, 64))
    recipe = draft_recipe(path)
    with pytest.raises(ModelError) as caught:
        find_variant(recipe, "int8-cpu")
    words = shlex.split(str(caught.value).partition("make it with: ")[2])
    assert words == ["edgevid", "quantize", str(path), "--data", "VIDEO|FOLDER"]
    written = tmp_path / "my model.toml"
    write_recipe(recipe, written)
    assert model_argument(read_recipe(written)) == str(written)
    assert model_argument(recipes()["yolox-nano-416"]) == "yolox-nano-416"
