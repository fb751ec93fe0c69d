"""Confusion matrices and robustness as PNG (extra `plot`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import require
from edgevid.evaluate.actions.metrics import ClassReport
from edgevid.files.atomic import check_file, make_folder

INK, GRID, BLUE, ORANGE = "#222222", "#dddddd", "#2563a8", "#d9731a"


def new_figure(width: float, height: float, *, columns: int = 1) -> tuple[Any, Any]:
    """A figure and its axes, an array of them for several columns, in one style; sizes in inches."""
    matplotlib = require("matplotlib", extra="plot", purpose="plotting")
    matplotlib.use("Agg")
    pyplot = require("matplotlib.pyplot", extra="plot", purpose="plotting")
    figure, axes = pyplot.subplots(1, columns, figsize=(width, height), dpi=120, layout="constrained")
    for one in np.atleast_1d(axes):
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(figure: Any, path: Path) -> None:
    """Writes the figure and closes it."""
    check_file(path)
    make_folder(path.parent)
    figure.savefig(path)
    require("matplotlib.pyplot", extra="plot", purpose="plotting").close(figure)


def plot_confusion(report: ClassReport, title: str, path: Path) -> None:
    """Rows are the truth, in percent of their clips; empty cells stay blank."""
    names, counts = report.names, report.confusion
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(4.0, 0.5 * len(names) + 2.2)
    figure, axes = new_figure(side, side)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(counts), strict=True):
        color = "white" if share[i, j] > 0.55 else INK
        axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", color=color, fontsize=8)
    labels = [f"{n} ({s})" for n, s in zip(names, report.support, strict=True)]
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), labels)
    axes.set_xlabel("recognized as")
    axes.set_ylabel("truth (clips)")
    axes.set_title(f"{title}\naccuracy {100 * report.accuracy:.1f} %, rows in %", loc="left", fontsize=10)
    save_figure(figure, path)


def plot_robustness(rows: Mapping[str, Sequence[tuple[float, float]]], title: str, path: Path) -> None:
    """One panel per corruption: accuracy (0 to 1) against its strength, the untouched level as a line."""
    figure, panels = new_figure(3.2 * len(rows), 3.2, columns=len(rows))
    for axes, (name, points) in zip(np.atleast_1d(panels), rows.items(), strict=True):
        x, y = [p[0] for p in points], [100 * p[1] for p in points]
        axes.plot(x, y, color=BLUE, marker="o", ms=4)
        axes.set_title(name, fontsize=10)
        axes.set_ylim(0, 105)
        axes.grid(color=GRID)
        if name.startswith("JPEG"):
            axes.invert_xaxis()
    np.atleast_1d(panels)[0].set_ylabel("accuracy, %")
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    save_figure(figure, path)
