"""The rows that the plots of a tuning draw."""

from __future__ import annotations

import numpy as np
from score_tables import table

from edgevid.evaluate.page import bar_rows
from edgevid.evaluate.tune.search import tune


def test_bars_fall_from_all_to_few() -> None:
    report = tune(table(500))
    assert report.curve is not None
    shown = report.curve.coverage[bar_rows(report.curve, 10)]
    assert shown[0] == 1
    assert (np.diff(shown) < 0).all()
