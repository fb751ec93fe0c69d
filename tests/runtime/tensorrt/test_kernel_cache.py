"""Kernels that TensorRT-RTX compiles at the first start, and loads at the next one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorrt_host
from tensorrt_host import batch_of, plan, written

from edgevid.runtime import load_engine
from edgevid.runtime.tensorrt.session import KernelCache


@pytest.fixture(autouse=True)
def _count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_host.RtxEngine, "finished", 0)


def engine(kind: type[tensorrt_host.ICudaEngine] = tensorrt_host.RtxEngine) -> Any:
    return kind(json.loads(plan()[4:]))


def start(path: Path | None) -> int:
    """A start of the engine with this cache: how many times its kernels were compiled so far."""
    cache = KernelCache(tensorrt_host.module("tensorrt_rtx"), one := engine(), path)
    assert cache.context(one) is not None
    cache.save()
    cache.close()
    return tensorrt_host.RtxEngine.finished


def test_the_second_start_compiles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "net.engine.cache"
    assert [start(path), start(path)] == [1, 1]
    assert path.read_bytes() == b"kernels of 8.7"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_cache_of_another_device_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "net.engine.cache"
    path.write_bytes(b"of another device")
    assert [start(path), start(path)] == [1, 1]
    assert path.read_bytes() == b"kernels of 8.7"


def test_an_unchanged_cache_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "net.engine.cache"
    start(path)
    os.utime(path, (1, 1))
    start(path)
    assert path.stat().st_mtime == 1


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert start(tmp_path / "file" / "net.engine.cache") == 1


def test_without_a_path_nothing_is_cached(tmp_path: Path) -> None:
    assert [start(None), start(None)] == [1, 2]


def test_tensorrt_has_no_such_step(tmp_path: Path) -> None:
    cache = KernelCache(tensorrt_host.module(), one := engine(tensorrt_host.ICudaEngine), tmp_path / "c")
    assert type(cache.context(one)) is tensorrt_host.IExecutionContext
    cache.save()
    cache.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.device
@pytest.mark.usefixtures("trt")
def test_an_rtx_engine_caches_its_compiled_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", tensorrt_host.module("tensorrt_rtx"))
    monkeypatch.setattr(tensorrt_host.RtxEngine, "finished", 0)
    path = written(tmp_path / "net.rtx.engine", plan(), backend="tensorrt-rtx", version="1.7.1.116", gpu="")
    kept = tmp_path / "net.rtx.engine.cache"
    for finished in (1, 1):  # the second time they are there
        with load_engine(path) as engine:
            assert np.array_equal(engine.run({"images": batch_of(1)})["y"], batch_of(1))
        assert tensorrt_host.RtxEngine.finished == finished
        assert kept.read_bytes() == b"kernels of 8.7"
    kept.write_bytes(b"of another card")
    with load_engine(path):
        pass
    assert tensorrt_host.RtxEngine.finished == 2
    assert kept.read_bytes() == b"kernels of 8.7"
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, kept.name, path.name + ".json"]
