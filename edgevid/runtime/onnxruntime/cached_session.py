"""Sessions of models that load slowly, opened from the optimized graph that the cache holds."""

from __future__ import annotations

import shutil
import time
from typing import Any

import numpy as np

from edgevid.runtime.onnxruntime.graph_cache import GraphEntry, scratch
from edgevid.runtime.onnxruntime.session import NUMPY_TYPES, open_session
from edgevid.types import Array

SLOW_S = 0.1
"""A model that loads faster than this, in seconds, is not worth a file."""


def open_cached(entry: GraphEntry, model: str | bytes, threads: int) -> Any:
    """The session of the optimized graph on disk; else of the model, whose graph is kept where that pays."""
    kept = entry.read()
    if kept is not None:
        try:
            return open_session(kept, threads=threads, optimization="none")
        except Exception as error:
            entry.decline(f"does not load: {error}")
    start = time.perf_counter()
    session = open_session(model, threads=threads)
    if time.perf_counter() - start >= SLOW_S and not entry.declined:
        _keep(entry, session, model, threads)
    return session


def _keep(entry: GraphEntry, session: Any, model: str | bytes, threads: int) -> None:
    """Keeps the optimized graph of a session if it gives the same outputs; a failure is remembered."""
    folder = scratch()
    if folder is None:
        return
    try:
        saved = folder / "graph.onnx"
        open_session(model, threads=threads, save=saved)
        graph = saved.read_bytes()
        if not _same_outputs(session, open_session(graph, threads=threads, optimization="none")):
            raise ValueError("the optimized graph gives other outputs than the model")
        entry.keep(graph)
    except Exception as error:  # the cache is a convenience: the model itself has loaded
        entry.decline(f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _same_outputs(one: Any, two: Any) -> bool:
    """Whether both give the same bits for one arbitrary input; ValueError where none can be made."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for node in one.get_inputs():
        shape = [n if isinstance(n, int) and n > 0 else 1 for n in node.shape[:1]] + list(node.shape[1:])
        if not all(isinstance(n, int) and n > 0 for n in shape):
            raise ValueError(f"input {node.name} has dynamic axes")
        inputs[node.name] = (rng.random(shape) * 255).astype(NUMPY_TYPES[node.type])
    pairs = zip(one.run(None, inputs), two.run(None, inputs), strict=True)
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
