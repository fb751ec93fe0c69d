"""Recorded work: run again and again, and a stream that outlives a failed recording."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.errors import ModelError
from edgevid.runtime.cuda.interface import Cuda, Graph

pytestmark = pytest.mark.device


def test_a_recorded_graph_runs_again_and_again(cuda: Cuda) -> None:
    stream, memory = cuda.stream(), cuda.alloc(16)
    sent, back = cuda.pinned((4,), np.float32), cuda.pinned((4,), np.float32)
    back.array[:] = 0

    def work() -> None:
        cuda.upload(memory.address, sent.array, stream)
        cuda.download(back.array, memory.address, stream)

    graph = Graph(cuda, stream, work)
    stream.synchronize()
    assert not back.array.any()  # recorded, not run
    for value in (1.0, 2.0):
        sent.array[:] = value
        graph.launch(stream)
        stream.synchronize()
        assert (back.array == value).all()

    def broken() -> None:
        work()
        raise ModelError("it went wrong")

    with pytest.raises(ModelError, match="went wrong"):
        Graph(cuda, stream, broken)
    cuda.upload(memory.address, sent.array, stream)  # the stream is out of the capture again
    stream.synchronize()
    graph.close()
    with pytest.raises(ModelError, match="is closed"):
        graph.launch(stream)
    for part in (memory, sent, back):
        part.close()
    stream.close()
