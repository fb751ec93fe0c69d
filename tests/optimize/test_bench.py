"""`edgevid bench`: what is timed, what is reported, and what is left out. No test here looks at a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_detector import bench_folder

from edgevid.errors import EdgevidError, InputError, SourceError
from edgevid.optimize import bench as module
from edgevid.optimize.bench import Subject, bench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return bench_folder(tmp_path)


def test_engines_take_turns_frame_by_frame(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float]] = []
    true = Subject.run

    def run(self: Any, frame: Any) -> Any:
        seen.append((self.model.file.stem, float(frame.image[0, 0, 0])))
        return true(self, frame)

    monkeypatch.setattr(Subject, "run", run)
    bench([folder / "tiny.onnx", folder / "other.onnx"], data=folder / "photos", runs=2, warm_up=1, device="cpu")
    assert [name for name, _ in seen] == ["tiny", "other"] * 3
    assert [value for _, value in seen] == [50, 50, 0, 0, 50, 50]


def test_conditions_travel_with_the_figures(folder: Path) -> None:
    result = bench([folder / "tiny.onnx"], data=folder / "photos", runs=3, warm_up=1, device="cpu")
    printed = result.conditions
    assert printed["frames"] == f"2 of {folder / 'photos'}, 64x48, RGB, held in memory"
    assert (printed["runs"], printed["warm-up"]) == (3, 1)
    assert printed["processor"]
    assert printed["versions"]["onnxruntime"]
    made_up = bench([folder / "tiny.onnx"], runs=1, warm_up=0, device="cpu").conditions["frames"]
    assert made_up == "a synthetic image, 1280x720, RGB, held in memory"


def test_one_that_does_not_load_is_named_and_the_others_run(folder: Path) -> None:
    (folder / "broken.onnx").write_bytes(b"nothing")
    result = bench([folder / "tiny.onnx", folder / "broken.onnx"], runs=1, warm_up=0, device="cpu")
    assert [t.title for t in result.timings] == ["tiny fp32"]
    assert "expected an ONNX model" in result.failed["broken.onnx"]
    with pytest.raises(EdgevidError, match="damaged"):
        bench([folder / "broken.onnx"], runs=1, device="cpu")
    with pytest.raises(EdgevidError, match="damaged"):  # two of one name, too
        bench([folder / "broken.onnx"] * 2, runs=1, device="cpu")


@pytest.mark.parametrize(("wish", "words"), [({"runs": 0}, "at least 1 run"), ({"warm_up": -1}, "warm-up")])
def test_impossible_wishes(folder: Path, wish: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        bench([folder / "tiny.onnx"], **wish)


def test_nothing_to_run_or_to_see(folder: Path) -> None:
    with pytest.raises(InputError, match="at least one model"):
        bench([])
    with pytest.raises(SourceError, match="no such file"):
        bench([folder / "tiny.onnx"], data=folder / "absent.mp4")


def test_a_busy_machine_and_few_runs_are_noted() -> None:
    assert module._notes(200, 0.9, 2) == ()
    few, shared = module._notes(99, 5.0, 2)
    assert "p99 is the slowest" in few
    assert "load 5.0 on 2 cores" in shared
