"""Recipes: what is read, and each kind of mistake named by file, key, expected and got."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edgevid.errors import FileFormatError, InputError
from edgevid.models.hub import recipes
from edgevid.runtime.recipe import COCO, Decode, LocalRecipe, read_recipe, write_recipe

GOOD = """
[model]
name = "some-model"
task = "detect"
file = "some.onnx"

[source]
url = "https://example.org/some.onnx"
license = "MIT"

[input]
width = 320
height = 256
color = "BGR"
std = [1, 1, 1]

[output]
names = ["out"]

[decode]
kind = "yolox"
strides = [8, 16, 32]
nms_iou = 0.5

[names]
classes = ["person", "car"]

[precision.int8]
floor = 0.7
metric = "AP50"

[quantize]
images = 64
"""


@dataclass(frozen=True)
class Head:
    size: int
    depth: int


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read_whole(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, GOOD).parent)
    assert (recipe.name, recipe.task, recipe.file) == ("some-model", "detect", "some.onnx")
    assert recipe.input is not None
    assert (recipe.input.width, recipe.input.height, recipe.input.color) == (320, 256, "BGR")
    assert recipe.input.std == (1.0, 1.0, 1.0)
    assert recipe.decode is not None
    assert (recipe.decode.kind, recipe.decode.strides, recipe.decode.nms_iou) == ("yolox", (8, 16, 32), 0.5)
    assert recipe.names == ("person", "car")
    assert recipe.precisions["int8"].floor == 0.7
    assert recipe.tables["quantize"]["images"] == 64
    assert not isinstance(recipe, LocalRecipe)


def test_a_named_class_list(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, GOOD.replace('["person", "car"]', '"coco"')))
    assert recipe.names == COCO
    assert (len(COCO), COCO[0], COCO[2], COCO[79]) == (80, "person", "car", "toothbrush")


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ('name = "some-model"', 'name = "Some Model"', "model.name", "lower-case letters"),
        ('name = "some-model"', "", "model.name", "lower-case letters.*, it is missing"),
        ('task = "detect"', 'task = "detcet"', "model.task", "did you mean 'detect'"),
        ('file = "some.onnx"', 'file = "../some.onnx"', "model.file", "without a folder"),
        ('file = "some.onnx"', 'file = "some.onnx"\nsumary = "x"', "model.sumary", "did you mean 'summary'"),
        ("https://example.org/some.onnx", "ftp://x", "source.url", "http or https"),
        ('license = "MIT"', 'sha256 = "abc"', "source.sha256", "64 lower-case"),
        ('license = "MIT"', "verified = true", "source.verified", "sha256 and bytes"),
        ('license = "MIT"', 'verified = "yes"', "source.verified", "true or false"),
        ('license = "MIT"', 'licence = "MIT"', "source.licence", "did you mean 'license'"),
        ("width = 320", "width = 0", "input.width", "at least 1"),
        ("width = 320", "width = true", "input.width", "whole number"),
        ("width = 320", "width = 320.5", "input.width", "whole number"),
        ('"BGR"', '"BRG"', "input.color", "one of 'RGB', 'BGR', 'GRAY'"),
        ("[1, 1, 1]", "[1, 1]", "input.std", "3 numbers"),
        ("[1, 1, 1]", "[1, 0, 1]", "input.std", "other than 0"),
        ("[1, 1, 1]", '["1", 1, 1]', "input.std", "3 numbers"),
        ('["out"]', '["a", "b"]', "output.names", "1 name for decoder 'yolox'"),
        ('kind = "yolox"', 'kind = "yolo9000"', "decode.kind", "one of .*'yolo'"),
        (
            'kind = "yolox"',
            'kind = "end-to-end"',
            "decode.strides",
            "only box, class_thresholds, keypoint_values, keypoints, kind",
        ),
        ("[8, 16, 32]", "[]", "decode.strides", "at least 1"),
        ("strides = [8, 16, 32]", "", "decode.strides", "it is missing"),
        ("nms_iou = 0.5", "nms_iou = 1.5", "decode.nms_iou", "from 0 to 1"),
        ('["person", "car"]', '["car", "car"]', "names.classes", "names that differ"),
        ('["person", "car"]', '"cocos"', "names.classes", "did you mean 'coco'"),
        ('["person", "car"]', "[1, 2]", "names.classes", "list of texts"),
        ("[precision.int8]", "[precision.int7]", "precision.int7", "only fp16, fp32, int8"),
        ("floor = 0.7", 'floor = "high"', "precision.int8.floor", "a number"),
        ("[quantize]", "[quantise]", "quantise", "did you mean 'quantize'"),
        ("[input]", "[inputs]", "input", r"a table \[input\], it is missing; found 'inputs'; did you"),
        ("[input]", "[input", "the whole file", "TOML"),
    ],
)
def test_each_mistake_names_file_and_key(tmp_path: Path, old: str, new: str, key: str, message: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(FileFormatError, match=message) as caught:
        read_recipe(path)
    assert str(caught.value.mistakes[0]).startswith(f"{path}: {key}: expected ")


def test_a_missing_recipe_and_a_binary_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_recipe(tmp_path / "nothing")
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="TOML"):
        read_recipe(tmp_path)


def test_tasks_without_images_need_no_input(tmp_path: Path) -> None:
    text = '[model]\nname = "h"\ntask = "head"\nfile = "h.onnx"\n[head]\nsize = 4\n'
    recipe = read_recipe(written(tmp_path, text))
    assert (recipe.input, recipe.decode, recipe.names) == (None, None, ())
    assert recipe.section("head", Head, depth=2) == Head(4, 2)
    with pytest.raises(FileFormatError, match=r"head\.depth: expected a whole number, it is missing"):
        recipe.section("head", Head)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, GOOD.replace('"MIT"', r'"a \"b\" \\ c"')))
    write_recipe(recipe, tmp_path / "again.toml", comment="first\nsecond")
    again = read_recipe(tmp_path / "again.toml")
    for name in ("name", "task", "file", "source", "input", "outputs", "decode", "names", "precisions"):
        assert getattr(again, name) == getattr(recipe, name), name
    assert (tmp_path / "again.toml").read_text().startswith("# first\n# second\n")


def test_the_recipes_that_come_with_edgevid_are_sound() -> None:
    found = recipes()
    assert "yolox-nano-416" in found
    for name, recipe in found.items():
        assert recipe.path.parent.name == name
        assert recipe.source.license, name
        assert recipe.summary, name


def test_what_follows_the_classes_is_read_and_written_back(tmp_path: Path) -> None:
    keys = {"kind": "end-to-end", "keypoints": 5, "keypoint_values": 2}
    lines = [f"{k} = {v!r}" for k, v in keys.items()]
    decode = GOOD[GOOD.index("[decode]") :].partition("\n[")[0]
    path = written(tmp_path, GOOD.replace(decode, "\n".join(["[decode]", *lines, ""]), 1))
    recipe = read_recipe(path)
    assert recipe.decode == Decode("end-to-end", keypoints=5, keypoint_values=2)
    assert recipe.decode.extra == 10
    write_recipe(recipe, path)
    assert read_recipe(path).decode == recipe.decode
    path.write_text(path.read_text().replace("keypoints = 5", "keypoints = 5\nrotated = true"))
    with pytest.raises(FileFormatError, match="one of masks, keypoints and rotated"):
        read_recipe(path)


def test_an_input_that_would_be_black_is_rejected_with_file_and_key(tmp_path: Path) -> None:
    image = GOOD[GOOD.index("[input]") :].partition("\n[")[0]
    path = written(tmp_path, GOOD.replace(image, '[input]\nwidth = 8\nheight = 8\ndtype = "uint8"\n', 1))
    with pytest.raises(FileFormatError, match=r"recipe.toml: input.*black; expected std = \[1.0, 1.0, 1.0\]"):
        read_recipe(path)
    path.write_text(path.read_text().replace("width = 8", "width = 8\nstd = [0.2, 0.2, 0.2]"))
    with pytest.raises(FileFormatError, match=r"input.*divisors of gray levels"):
        read_recipe(path)
