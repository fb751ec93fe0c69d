"""The store of states."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.actions import StateStore
from edgevid.actions.track_state import OverlapMean
from edgevid.errors import InputError


def test_the_store_is_flat_and_evicts_the_least_recent() -> None:
    store = StateStore({"h": (2,)}, capacity=3)
    held = store["h"]
    for i in range(10_000):
        rows, fresh = store.rows(np.array([i]), np.array([i / 8]))
        assert fresh.all()
        assert (store["h"][rows] == 0).all()
        store["h"][rows] = i + 1
    assert len(store) == 3
    assert store["h"] is held
    assert store.evicted == 9997
    store.forget(np.array([9999]))
    assert len(store) == 2
    with pytest.raises(InputError, match="at most 3"):
        store.rows(np.arange(4), np.zeros(4))


def test_windows_without_overlap_have_no_weight() -> None:
    mean = OverlapMean(2, span_s=4.0)
    ids = np.array([7])
    mean.update(ids, np.array([[1.0, 0.0]]), np.array([0.0]))
    np.testing.assert_allclose(mean.update(ids, np.array([[0.0, 1.0]]), np.array([2.0])), [[1 / 3, 2 / 3]])
    np.testing.assert_allclose(mean.update(ids, np.array([[0.0, 1.0]]), np.array([4.0])), [[0, 1]], atol=1e-6)
