"""The loss of segmentation heads."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.learn.actions.heads import segmentation_loss  # noqa: E402

torch.set_num_threads(1)


def test_segmentation_loss_by_hand() -> None:
    # Even logits: cross-entropy ln 2 at each step, no change between steps.
    logits, labels = torch.zeros(1, 2, 5, 2), torch.zeros(2, 5, dtype=torch.long)
    valid = torch.ones(2, 5, dtype=torch.bool)
    assert float(segmentation_loss(logits, labels, valid, torch.ones(2), 0.0)) == pytest.approx(np.log(2))
    logits[..., 3:, 0] = 50.0  # from step 2 to 3 the logarithm of class 0 rises by ln 2, of class 1 by far more than 4
    loss = float(segmentation_loss(logits, labels, valid, torch.ones(2), 0.0))
    assert loss == pytest.approx(3 / 5 * np.log(2) + 0.15 * (np.log(2) ** 2 + 16) / 8, rel=1e-4)
