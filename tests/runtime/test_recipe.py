"""Recipes as values: what a decoder reads, and the types without optionals."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid.errors import InputError
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.recipe import Decode, DetectorRecipe, LocalRecipe, Recipe

RECIPE = Recipe("net", "detect", "net.onnx", Path("net"), input=InputSpec(32, 32), decode=Decode("yolo"))


def test_a_local_recipe_is_the_same_recipe_with_its_file() -> None:
    local = RECIPE.with_local(Path("there/net.onnx"))
    assert isinstance(local, LocalRecipe)
    assert local.local == Path("there/net.onnx")
    assert (local.name, local.input, local.decode) == (RECIPE.name, RECIPE.input, RECIPE.decode)


def test_a_detector_recipe_has_an_input_and_a_decoder() -> None:
    made = DetectorRecipe.of(RECIPE)
    assert (made.input, made.decode) == (RECIPE.input, RECIPE.decode)
    for other in (
        Recipe("net", "classify", "net.onnx", Path("net"), input=InputSpec(32, 32), decode=Decode("yolo")),
        Recipe("net", "detect", "net.onnx", Path("net"), decode=Decode("yolo")),
        Recipe("net", "detect", "net.onnx", Path("net"), input=InputSpec(32, 32)),
    ):
        with pytest.raises(InputError, match="net: expected a recipe of task 'detect'"):
            DetectorRecipe.of(other)


def test_box_formats_and_output_counts_follow_the_kind() -> None:
    assert not Decode("yolo").xyxy
    assert Decode("end-to-end").xyxy
    assert not Decode("end-to-end", box="cxcywh").xyxy
    assert Decode("yolo").output_counts == (1,)
    assert Decode("boxes-scores").output_counts == (2,)
    assert Decode("boxes-scores-labels").output_counts == (3,)
    assert Decode("dfl", strides=(8, 16, 32)).output_counts == (1, 6)
