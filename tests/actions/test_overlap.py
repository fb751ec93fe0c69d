"""The mean over overlapping windows."""

from __future__ import annotations

import numpy as np

from edgevid.actions.overlap import OverlapMean


def test_windows_without_overlap_have_no_weight() -> None:
    mean = OverlapMean(2, span_s=4.0)
    ids = np.array([7])
    mean.update(ids, np.array([[1.0, 0.0]]), np.array([0.0]))
    np.testing.assert_allclose(mean.update(ids, np.array([[0.0, 1.0]]), np.array([2.0])), [[1 / 3, 2 / 3]])
    np.testing.assert_allclose(mean.update(ids, np.array([[0.0, 1.0]]), np.array([4.0])), [[0, 1]], atol=1e-6)
