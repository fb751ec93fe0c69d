"""Labeled data as they lie on disk: what is read, what is left out, and what may spoil a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgevid import cli
from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.describe import describe
from edgevid.evaluate.evaluation import Evaluation
from edgevid.evaluate.items import read_items
from edgevid.types import U8
from edgevid.video.images import resize_area, to_jpeg
from edgevid.video.writer import VideoWriter


def scene(seed: int, size: tuple[int, int] = (96, 64)) -> U8:
    """A smooth image of its own."""
    return resize_area(np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8), size)


def write(path: Path, image: U8, qscale: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_jpeg(image, qscale=qscale))
    return path


def of(data: Path) -> Evaluation:
    return describe(*read_items(data))


def rows(found: Evaluation, kind: str) -> list[tuple[str, str]]:
    """Names of files without folder and labels, or other words."""
    return [tuple(Path(str(word).partition(" (")[0]).name for word in row) for row in found.tables[kind].rows]  # type: ignore[misc]


def test_contradictions_copies_and_near_duplicates_of_folders(tmp_path: Path) -> None:
    """Image 0 is in both classes, once as a copy, once compressed again and smaller; 1 is twice in one class."""
    for n in range(12):
        write(tmp_path / "cat" / f"home_{n}.jpg", scene(n))
        write(tmp_path / "dog" / f"yard_{n}.jpg", scene(100 + n))
    write(tmp_path / "dog" / "yard_90.jpg", scene(0))
    write(tmp_path / "dog" / "yard_91.jpg", scene(2, (48, 32)), 12)
    write(tmp_path / "cat" / "home_92.jpg", scene(1))
    (tmp_path / "cat" / "notes.txt").write_text("-")
    (tmp_path / "cat" / "broken.jpg").write_bytes(b"no image")
    found = of(tmp_path)
    assert rows(found, "several labels") == [("yard_90.jpg", "home_0.jpg")]
    assert rows(found, "copies") == [("home_92.jpg", "home_1.jpg")]
    assert sorted(rows(found, "contradictory")) == [("home_2.jpg", "yard_91.jpg"), ("yard_91.jpg", "home_2.jpg")]
    assert {"home_0.jpg", "home_2.jpg", "yard_90.jpg", "yard_91.jpg"} == {a for a, _ in rows(found, "near-duplicates")}
    assert sorted(a for a, _ in rows(found, "left out")) == ["broken.jpg", "notes.txt"]
    assert found.tables["classes"].rows == [("cat", 13, 13 / 27, 1, 64, 0.0), ("dog", 14, 14 / 27, 1, 64, 0.0)]
    assert rows(found, "one source") == [("cat", "group home"), ("dog", "group yard")]
    assert sum(int(thumb.caption.partition(":")[0]) for thumb in found.images["clusters of similar images"]) == 27
    assert found.notes[0].startswith("images with a near-duplicate of another label: 2, such as ")


def test_leaks_by_group_camera_and_day_between_splits(tmp_path: Path) -> None:
    for n, name in enumerate(("train/a/cam1_2026-01-30_x_1", "train/a/cam2_2026-01-30_y_1", "train/b/cam2_20260130_z_1",
                              "test/a/cam1_2026-01-31_x_2", "test/b/cam3_2026-01-31_x_3")):  # fmt: skip
        write(tmp_path / f"{name}.jpg", scene(n))
    found = of(tmp_path)
    assert rows(found, "leaks") == [("camera cam1", "test,train")]
    (tmp_path / "list.csv").write_text(
        "path,color,kind,group,split,camera\n"
        "train/a/cam1_2026-01-30_x_1.jpg,rot,Auto,g,train,Süd\ntest/a/cam1_2026-01-31_x_2.jpg,grün,,g,val,Süd\n",
        encoding="utf-8-sig",
    )  # fmt: skip
    found = of(tmp_path / "list.csv")
    assert [row[:3] for row in found.tables["classes"].rows] == [
        ("color: grün", 1, 0.5), ("color: rot", 1, 0.5), ("kind: Auto", 1, 1.0)
    ]  # fmt: skip
    assert "leaks" not in found.notes
    write(tmp_path / "train/a/other.jpg", scene(9))
    with (tmp_path / "list.csv").open("a", encoding="utf-8") as file:
        file.write("train/a/other.jpg,rot,Auto,h,train,\nnone.jpg,rot,,,,\ntrain/a/other.jpg,,,,,\n")
    found = of(tmp_path / "list.csv")
    assert rows(found, "leaks") == [("group g", "train,val")]
    assert [row[0].rpartition(", ")[2] for row in rows(found, "left out")] == ["line 5", "line 6"]
    (tmp_path / "bad.csv").write_text("path,group\nx,y\n")
    with pytest.raises(FileFormatError, match=r"path,label\[,group"):
        read_items(tmp_path / "bad.csv")


def test_videos_have_a_length_and_one_scene_is_no_contradiction(tmp_path: Path) -> None:
    for label, shift in (("walk", 0), ("fall", 3)):
        (tmp_path / label).mkdir()
        with VideoWriter(tmp_path / label / "hall_g01_c01.mp4", fps=10) as writer:
            for n in range(20):
                image = scene(1).copy()
                image[30:40, n + shift : n + shift + 4] = 255
                writer.write(image, n / 10)
    found = of(tmp_path)
    assert [row[-1] for row in found.tables["classes"].rows] == pytest.approx([2.0, 2.0], abs=0.11)
    assert found.values["contradictory"] == 0


def test_a_detectors_folder(tmp_path: Path) -> None:
    write(tmp_path / "images" / "train" / "gate_1.jpg", scene(1))
    write(tmp_path / "images" / "val" / "gate_2.jpg", scene(1), 9)
    write(tmp_path / "images" / "val" / "lonely_1.jpg", scene(3))
    for name, text in (
        ("train/gate_1", "car 10 10 40 30 1.0\n"),
        ("val/gate_2", "2 0.5 0.5 0.5 0.25\nx y\n\n"),
        ("val/gone", ""),
    ):
        path = tmp_path / "labels" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = of(tmp_path)
    assert [(row[0], row[4]) for row in found.tables["classes"].rows] == [("2", 16), ("car", 20)]
    assert sorted(rows(found, "near-duplicates")) == [("gate_1.jpg", "gate_2.jpg"), ("gate_2.jpg", "gate_1.jpg")]
    assert sorted(a for a, _ in rows(found, "left out")) == ["gate_2.txt, line 2", "gone.txt", "lonely_1.jpg"]
    with pytest.raises(InputError, match="expected a folder per class"):
        read_items(tmp_path / "nothing")


def test_the_command_prints_limits_and_writes_a_page(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / "data" / "Käfer 甲虫" / f"ü{n}.jpg", scene(n))
        write(tmp_path / "data" / "b" / f"y{n}.jpg", scene(10 + n))
    page = tmp_path / "data.html"
    run = CliRunner().invoke(
        cli.app(), ["data", "describe", str(tmp_path / "data"), "--html", str(page), "--max", "unbalanced=1"]
    )
    assert run.exit_code == 1
    assert "unbalanced is 2, above the ceiling of 1" in run.output
    assert page.read_text(encoding="utf-8").count("jpeg") >= 6
    assert "Käfer 甲虫" in run.output
