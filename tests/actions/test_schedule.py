"""The schedule of recognitions: budget and priorities."""

from __future__ import annotations

import numpy as np

from edgevid.actions.clip_buffer import TokenBucket, entropy_share


def test_the_token_bucket_by_hand() -> None:
    bucket = TokenBucket(4.0, burst=2)
    assert [bucket.take(5, t) for t in (0.0, 0.1, 0.25, 0.5, 9.0)] == [2, 0, 1, 1, 2]
    assert TokenBucket(None, burst=3).take(5, 0.0) == 3


def test_entropy_share() -> None:
    np.testing.assert_allclose(entropy_share(np.array([[0.25] * 4, [1, 0, 0, 0]])), [1, 0], atol=1e-12)
