"""Plots of action recognition, read back as SVG with their texts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edgevid.evaluate.actions.metrics import ClassReport
from edgevid.evaluate.plots import new_figure, plot_confusion, plot_robustness, save_figure

matplotlib = pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'edgevid[plot]'")


def texts(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


@pytest.fixture(autouse=True)
def _texts_stay_texts() -> None:
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        yield


def test_a_confusion_matrix_shows_shares_of_the_truth(tmp_path: Path) -> None:
    """Of four clips of walk three are right, of two of run one: 4 of 6 are right."""
    report = ClassReport.of(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 2]), 3, ("walk", "run", "fall"))
    plot_confusion(report, "gru on street", tmp_path / "plots" / "c.svg")
    found = texts(tmp_path / "plots" / "c.svg")
    assert sorted(t for t in found if t.isdigit()) == ["25", "50", "50", "75"]  # empty cells stay blank
    assert {"walk (4)", "run (2)", "fall (0)"} <= set(found)
    assert "accuracy 66.7 %, rows in %" in found


def test_robustness_has_a_panel_for_each_corruption(tmp_path: Path) -> None:
    rows = {"JPEG quality": [(95, 0.9), (10, 0.4)], "blur, sigma px": [(0, 0.9), (3, 0.5)]}
    plot_robustness(rows, "street", tmp_path / "r.svg")
    found = texts(tmp_path / "r.svg")
    assert {"JPEG quality", "blur, sigma px", "accuracy, %", "street"} <= set(found)
    plot_robustness({"blur, sigma px": rows["blur, sigma px"]}, "street", tmp_path / "one.svg")
    assert "blur, sigma px" in texts(tmp_path / "one.svg")


def test_a_figure_is_closed_when_it_is_saved(tmp_path: Path) -> None:
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figure, axes = new_figure(4, 3, columns=2)
    assert axes.shape == (2,)
    assert not axes[0].spines["top"].get_visible()
    save_figure(figure, tmp_path / "f.png")
    assert pyplot.get_fignums() == before
    assert matplotlib.image.imread(tmp_path / "f.png").shape[:2] == (360, 480)  # inches of 120 pixels
