"""Two models found by name or file, loaded and compared on frames: precisions, recipes and mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model
from tiny_detector import PERSON, RECIPE, compare_folder, model

from edgevid.errors import InputError, ModelError, SourceError
from edgevid.models.hub import resolve_model
from edgevid.optimize.compare.run import compare, find_model, load_model, precision_of
from edgevid.runtime.recipe import read_recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return compare_folder(tmp_path)


def test_a_file_without_a_recipe_takes_the_others(folder: Path) -> None:
    report, found = compare(folder / "tiny.onnx", folder / "same.int8.onnx", folder / "photos", device="cpu")
    assert report.passed
    assert (report.model, report.frames, report.task.count) == ("tiny", 3, 12)
    assert report.names == ("tiny fp32", "same.int8.onnx")
    assert found["reference"].startswith("tiny.onnx, fp32, ")
    assert found["frames"] == f"3 of {folder / 'photos'}, spread evenly"
    back, _ = compare(folder / "same.int8.onnx", folder / "tiny.onnx", folder / "photos", device="cpu")
    assert back.model == "tiny"


def test_a_recipe_or_its_folder_names_a_model_too(folder: Path) -> None:
    report, _ = compare(folder / "tiny.toml", folder / "tiny.onnx", folder / "photos", device="cpu")
    assert report.agreement == 1.0
    assert report.names == ("tiny fp32 (A)", "tiny fp32 (B)")


def test_files_without_any_recipe_are_drafted_with_a_note(folder: Path) -> None:
    made = np.zeros((1, 84, 21), np.float32)  # 21 anchors of a 32x32 image, as YOLOv8 gives them
    made[0, :5, 0] = (16, 16, 10, 10, 0.9)
    for name in ("one", "two"):
        constant_model(folder / f"{name}.onnx", {"output0": made})
    report, _ = compare(folder / "one.onnx", folder / "two.onnx", folder / "photos", device="cpu")
    assert report.agreement == 1.0
    assert any("no recipe was found" in note for note in report.notes)


def test_no_frames_is_an_error_before_a_model_is_loaded(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(SourceError, match="expected images"):
        compare(folder / "tiny.onnx", folder / "no such.onnx", folder / "empty")


def test_files_in_a_build_folder_belong_to_the_recipe_above(folder: Path) -> None:
    made = folder / "engine" / "build"
    made.mkdir(parents=True)
    (folder / "engine" / "recipe.toml").write_text(RECIPE)
    path = model(made / "tiny.int8-cpu.onnx", PERSON)
    found = find_model(path, None)
    assert found.recipe is not None
    assert (found.recipe.name, found.recipe.local, found.title) == ("tiny", path, "tiny.int8-cpu.onnx")
    assert find_model(model(made / "other.onnx", PERSON), None).recipe is None


def test_a_relative_path_that_is_not_here_is_searched_next_to_the_reference(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "build").mkdir()
    model(folder / "build" / "tiny.int8-cpu.onnx", PERSON)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    report, _ = compare(folder / "tiny.toml", "build/tiny.int8-cpu.onnx", folder / "photos", device="cpu")
    assert report.names[1] == "tiny.int8-cpu.onnx"
    with pytest.raises(InputError, match="there is no file"):
        compare(folder / "tiny.toml", "build/absent.onnx", folder / "photos", device="cpu")


def test_a_name_that_runs_in_another_precision_is_an_error(folder: Path) -> None:
    with pytest.raises(InputError, match="runs in fp32 on this device"):
        compare(folder / "tiny.toml", folder / "tiny.toml", folder / "photos", precision="fp16", device="cpu")


def test_other_outputs_are_an_error(folder: Path) -> None:
    made = np.zeros((1, 8, 6), np.float32)
    constant_model(folder / "renamed.onnx", {"boxes": made})
    with pytest.raises(InputError, match="same outputs"):
        compare(folder / "tiny.onnx", folder / "renamed.onnx", folder / "photos", device="cpu")


def test_the_precision_is_read_from_manifest_operators_or_name(tmp_path: Path) -> None:
    plain = model(tmp_path / "a.onnx", PERSON)
    assert precision_of(plain) == "fp32"
    (tmp_path / "q.onnx").write_bytes(plain.read_bytes() + b"DequantizeLinear")
    assert precision_of(tmp_path / "q.onnx") == "int8"
    half = tmp_path / "a_fp16.onnx"
    half.write_bytes(plain.read_bytes())
    assert precision_of(half) == "fp16"
    engine = tmp_path / "a.engine"
    engine.write_bytes(b"engine")
    (tmp_path / "a.engine.json").write_text('{"precision": "int8"}')
    assert precision_of(engine) == "int8"
    (tmp_path / "a.engine.json").write_text("damaged")
    assert precision_of(engine) == "fp32"
    assert find_model(half, "int8").precision == "int8"


def test_the_recipe_next_to_a_file_is_its_own(folder: Path) -> None:
    found = find_model(folder / "tiny.onnx", None)
    assert found.recipe is not None
    assert found.recipe.name == read_recipe(folder / "tiny.toml").name
    assert find_model(folder / "worse.onnx", None).recipe is None


def test_a_name_is_its_own_file_in_whatever_it_stores_its_weights(folder: Path) -> None:
    """street-nano stores FP16 weights: it could not be compared with itself on another runtime."""
    recipe = resolve_model("street-nano")
    assert precision_of(recipe.local) == "fp16"
    with load_model(find_model("street-nano", None), "cpu", 1) as engine:
        assert getattr(engine, "path", None) == recipe.local


def test_an_openvino_engine_is_compared_like_any_other(folder: Path) -> None:
    pytest.importorskip("openvino")
    report, found = compare(folder / "tiny.toml", folder / "tiny.toml", folder / "photos", device="openvino")
    assert report.passed
    assert found["reference"].endswith("on cpu")
    assert found["candidate"].endswith("on openvino")
    file, _ = compare(folder / "tiny.onnx", folder / "tiny.onnx", folder / "photos", device="openvino")
    assert file.agreement == 1


def test_a_served_model_is_compared_without_a_stand_in(folder: Path) -> None:
    pytest.importorskip("tritonclient.http", exc_type=ImportError)
    with pytest.raises(ModelError, match="the server does not answer"):
        compare(
            folder / "tiny.toml", folder / "tiny.toml", folder / "photos",
            device="http://127.0.0.1:9/v2/models/tiny",
        )  # fmt: skip
