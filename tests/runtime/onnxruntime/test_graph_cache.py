"""Optimized graphs on disk: used when sound, made again when not, never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model, onnx

from edgevid.runtime import load_engine
from edgevid.runtime.onnxruntime import cached_session, graph_cache
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.onnxruntime.graph_cache import GraphEntry, graph_entry, scratch

OUT = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
IMAGES = {"images": np.full((1, 3, 32, 32), 7, np.float32)}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in which every model counts as slow."""
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(graph_cache.SWITCH, raising=False)
    monkeypatch.setattr(cached_session, "SLOW_S", 0.0)
    return tmp_path / "cache" / "graphs"


def kept(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.graph"))


def answer(path: Path) -> np.ndarray:
    with OrtEngine(path, device="cpu", threads=1, cache_optimized_graph=True) as engine:
        return engine.run(IMAGES)["a"].copy()


def test_a_slow_model_is_kept_once_and_answers_the_same(cache: Path, tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT}, metadata={"stride": "32"}, producer="me")
    first = answer(path)
    (entry,) = kept(cache)
    stamp = entry.stat().st_mtime_ns
    with load_engine(path, device="cpu") as engine:
        np.testing.assert_array_equal(engine.run(IMAGES)["a"], first)
        assert engine.metadata == {"stride": "32", "producer": "me"}
    assert kept(cache) == [entry]
    assert entry.stat().st_mtime_ns == stamp
    assert list(cache.glob("new-*")) == []


def test_the_kept_graph_is_what_is_loaded(cache: Path, tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    answer(path)
    (entry,) = kept(cache)
    other = constant_model(tmp_path / "other.onnx", {"a": OUT + 1}).read_bytes()
    GraphEntry(entry, cache / "no").keep(other)  # put another graph in its place: it is the one that answers
    np.testing.assert_array_equal(answer(path), OUT + 1)


def test_a_damaged_entry_is_made_again(cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    answer(path)
    (entry,) = kept(cache)
    whole = entry.read_bytes()
    for damaged in (whole[:-7], whole[:20], b"", whole[:50] + bytes([whole[50] ^ 1]) + whole[51:]):
        entry.write_bytes(damaged)
        np.testing.assert_array_equal(answer(path), OUT)
        assert entry.read_bytes()[:32] == whole[:32]
    assert "is damaged and is made again" in caplog.text


def test_a_sound_entry_that_does_not_load_is_given_up(cache: Path, tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    answer(path)
    (entry,) = kept(cache)
    GraphEntry(entry, cache / "no").keep(b"no graph, but its checksum is right")
    np.testing.assert_array_equal(answer(path), OUT)
    assert kept(cache) == []  # it was given up for good
    assert "does not load" in next(cache.glob("*.no")).read_text()
    np.testing.assert_array_equal(answer(path), OUT)


def test_a_changed_model_is_another_model(cache: Path, tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    stat = path.stat()
    answer(path)
    constant_model(path, {"a": OUT + 1})
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a copy with kept times would have it
    np.testing.assert_array_equal(answer(path), OUT + 1)
    assert len(kept(cache)) == 2


def test_the_key_holds_version_and_processor(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    model = path.read_bytes()

    def place(runtime: str = "1.20") -> Path:
        entry = graph_entry(model, runtime)
        assert entry is not None
        return entry.path

    first = place()
    assert place() == first
    assert place("1.21") != first
    monkeypatch.setattr(graph_cache, "processor", lambda: ("another",))
    assert place() != first


def test_a_graph_with_other_outputs_is_not_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_session, "_same_outputs", lambda one, two: False)
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    np.testing.assert_array_equal(answer(path), OUT)
    assert kept(cache) == []
    assert "gives other outputs" in next(cache.glob("*.no")).read_text()


def test_models_with_open_sizes_are_not_kept(cache: Path, tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT}, image=(1, 3, "h", "w"))
    np.testing.assert_array_equal(answer(path), OUT)
    assert kept(cache) == []
    open_batch = constant_model(tmp_path / "b.onnx", {"a": OUT}, image=("batch", 3, 32, 32))
    np.testing.assert_array_equal(answer(open_batch), OUT)
    assert len(kept(cache)) == 1


def test_fast_models_leave_nothing(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_session, "SLOW_S", 60.0)
    answer(constant_model(tmp_path / "m.onnx", {"a": OUT}))
    assert not cache.exists()


def test_passing_models_leave_nothing(cache: Path, tmp_path: Path) -> None:
    with OrtEngine(constant_model(tmp_path / "m.onnx", {"a": OUT}), device="cpu") as engine:
        np.testing.assert_array_equal(engine.run(IMAGES)["a"], OUT)
    assert not cache.exists()


def test_it_can_be_switched_off(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(graph_cache.SWITCH, "0")
    answer(constant_model(tmp_path / "m.onnx", {"a": OUT}))
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_done_without(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "file"))
    assert scratch() is None
    np.testing.assert_array_equal(answer(constant_model(tmp_path / "m.onnx", {"a": OUT})), OUT)


def test_weights_in_other_files_are_never_kept(cache: Path, tmp_path: Path) -> None:
    model = onnx.load(constant_model(tmp_path / "m.onnx", {"a": OUT}))
    path = tmp_path / "e.onnx"
    onnx.save(model, path, save_as_external_data=True, location="e.bin", size_threshold=70)
    np.testing.assert_array_equal(answer(path), OUT)
    assert not cache.exists()


def test_several_processes_at_once_leave_one_sound_entry(cache: Path, tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    code = (
        "import sys, numpy as np\n"
        "from edgevid.runtime.onnxruntime import cached_session, engine as ort\n"
        "cached_session.SLOW_S = 0.0\n"
        "for _ in range(4):\n"
        "    options = dict(device='cpu', threads=1, cache_optimized_graph=True)\n"
        "    with ort.OrtEngine(sys.argv[1], **options) as engine:\n"
        "        assert engine.run({'images': np.ones((1, 3, 32, 32), np.float32)})['a'].sum() == 66\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert len(kept(cache)) == 1
    assert list(cache.glob("*.part")) == []
    np.testing.assert_array_equal(answer(path), OUT)


def test_old_entries_and_leftovers_go_in_time(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_cache, "KEPT", 2)
    left = scratch()
    assert left is not None
    os.utime(left, (time.time() - 7200,) * 2)
    fresh = scratch()
    for n in range(4):
        GraphEntry(cache / f"{n}.graph", cache / "no").keep(b"graph")
        os.utime(cache / f"{n}.graph", (n, n))
    GraphEntry(cache / "4.graph", cache / "no").keep(b"graph")
    assert [p.name for p in kept(cache)] == ["3.graph", "4.graph"]
    assert not left.exists()
    assert fresh is not None
    assert fresh.exists()
