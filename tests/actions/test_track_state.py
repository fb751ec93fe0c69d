"""The store of states."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.actions import (
    StateStore,
)
from edgevid.errors import InputError


def test_the_store_is_flat_and_evicts_the_least_recent() -> None:
    store = StateStore({"h": (2,)}, capacity=3)
    size = store.nbytes
    for i in range(10_000):
        rows, fresh = store.rows(np.array([i]), np.array([i / 8]))
        assert fresh.all()
        assert (store["h"][rows] == 0).all()
        store["h"][rows] = i + 1
    assert (len(store), store.nbytes) == (3, size)
    assert store.evicted == 9997
    store.forget(np.array([9999]))
    assert len(store) == 2
    with pytest.raises(InputError, match="at most 3"):
        store.rows(np.arange(4), np.zeros(4))
