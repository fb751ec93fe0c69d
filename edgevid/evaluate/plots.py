"""The plots of an evaluation and of a tuning, as PNG files (extra `plot`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import require
from edgevid.evaluate.actions.metrics import ClassReport
from edgevid.evaluate.tune.risk import Reliability, RiskCoverage, upper_bound
from edgevid.evaluate.tune.search import Report
from edgevid.files.atomic import check_file, make_folder
from edgevid.types import Array

INK, GRID, BLUE, ORANGE = "#222222", "#dddddd", "#2563a8", "#d9731a"
POINTS = 2000  # Most points of a drawn curve: more than its pixels
EMITTED, ERRORS, MARK, BEST = "#2a6f97", "#d1495b", "#222222", "#8aa399"


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


def draw_all(report: Report, folder: str | Path, stem: str) -> list[Path]:
    """Writes the plots that the report has data for and returns their paths."""
    folder = Path(folder)
    plots: dict[str, Any] = {}
    if report.curve is not None and report.before is not None and report.after is not None:
        if report.curve.errors:
            plots["bars"] = _bars(report, report.curve)
            plots["risk-coverage"] = _risk_coverage(report, report.curve)
        plots["reliability"] = _reliability(report.before, report.after)
    if report.production is not None and report.shift is not None:
        plots["shift"] = _shift(report)
    if not plots:
        plots["confidences"] = _confidences(report)
    paths = {name: folder / f"{stem}-{name}.png" for name in plots}
    for name, figure in plots.items():
        save_figure(figure, paths[name])
    return list(paths.values())


def bar_rows(found: RiskCoverage, count: int = 15) -> Array:
    """Rows of the curve to draw: nearest to evenly spaced coverages, from full coverage down."""
    expected = np.linspace(1, 1 / count, count)
    rows = [int(np.abs(found.coverage - share).argmin()) for share in expected]
    return np.array(list(dict.fromkeys(rows)))


def _bars(report: Report, found: RiskCoverage) -> Any:
    figure, axes = new_figure(7.6, 4.8)
    rows = bar_rows(found)
    places = np.arange(len(rows))
    axes.bar(places - 0.2, 100 * found.coverage[rows], 0.4, color=EMITTED, label="verdicts emitted")
    axes.bar(places + 0.2, 100 * found.residual_errors[rows], 0.4, color=ERRORS, label="errors that remain")
    axes.set_xticks(places, [f"{found.thresholds[row]:.3f}" for row in rows])
    axes.tick_params(axis="x", labelsize=7.5)
    axes.set(xlabel="threshold", ylabel="percent", ylim=(0, 118), yticks=range(0, 101, 20))
    title = (
        f"abstains on {1 - report.coverage:.1%}, {report.errors_removed:.1%} of errors removed: "
        f"risk {found.errors / found.n:.1%} → {report.measured_risk:.1%}"
    )
    axes.set_title(title, fontsize=11, loc="left")
    if not report.settings.per_class:
        chosen = report.settings.threshold
        x = float(np.interp(chosen, found.thresholds[rows], places))
        axes.vlines(x, 0, 101, color=MARK, lw=1.2, ls="--")
        side, shift = ("right", -0.15) if x > len(rows) / 2 else ("left", 0.15)
        axes.text(x + shift, 103, f"chosen {chosen:.3f}", ha=side, fontsize=9)
    axes.legend(frameon=False, loc="upper center", ncols=2, fontsize=9)
    return figure


def _risk_coverage(report: Report, found: RiskCoverage) -> Any:
    figure, axes = new_figure(7.6, 4.8)
    target = report.target
    drawn = np.unique(np.linspace(0, len(found.emitted) - 1, POINTS, dtype=int))
    x, y = 100 * found.coverage[drawn], 100 * found.risk[drawn]
    axes.plot(x, y, color=ERRORS, lw=1.8, label="measured risk")
    rows = np.unique(np.linspace(0, len(found.emitted) - 1, 120).astype(int))
    delta = target.delta
    bounds = [upper_bound(int(found.wrong[r]), int(found.emitted[r]), delta) for r in rows]
    label = f"upper bound at each point ({1 - delta:.0%})"
    axes.plot(100 * found.coverage[rows], 100 * np.array(bounds), color=ERRORS, lw=1, ls=":", label=label)
    k = np.unique(np.linspace(1, found.n, POINTS, dtype=int))
    best = np.maximum(0, k - (found.n - found.errors)) / k
    axes.plot(100 * k / found.n, 100 * best, color=BEST, lw=1.4, label="perfect ranking")
    if report.emitted.any():
        mark = f"chosen: {report.coverage:.1%} emitted, risk {report.measured_risk:.2%}"
        axes.plot(100 * report.coverage, 100 * report.measured_risk, "o", color=MARK, ms=7, label=mark)
    if target.kind == "max-risk":
        axes.axhline(100 * target.value, color=MARK, lw=0.8, ls="--", label="target")
    top = 100 * max(2.2 * found.errors / found.n, 1.2 * target.value * (target.kind == "max-risk"))
    axes.set(xlabel="coverage, %", ylabel="risk (errors among emitted verdicts), %", xlim=(0, 101))
    axes.set_ylim(0, min(100, top))
    areas = f"AUGRC {found.augrc:.4f}   AURC {found.aurc:.4f}   E-AURC {found.e_aurc:.4f}   n = {found.n}"
    axes.set_title(areas, fontsize=11, loc="left")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def _reliability(before: Reliability, after: Reliability) -> Any:
    figure, axes = new_figure(10.4, 4.8, columns=2)
    for one, found, name in ((axes[0], before, "before"), (axes[1], after, "after temperature")):
        bins = len(found.counts)
        centers = (np.arange(bins) + 0.5) / bins
        there = found.counts > 0
        one.plot([0, 1], [0, 1], color=BEST, lw=1.2, label="calibrated")
        one.bar(centers[there], found.accuracy[there], 0.9 / bins, color=EMITTED, label="share correct")
        one.plot(found.confidence[there], found.accuracy[there], "o", color=MARK, ms=3, label="mean confidence")
        share = found.counts / found.counts.sum()
        one.bar(centers, 0.18 * share / share.max(), 0.9 / bins, bottom=-0.2, color="#bbbbbb")
        one.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(-0.2, 1.02))
        one.set_yticks(np.linspace(0, 1, 6))
        one.set_title(f"{name}: ECE {found.ece:.3f}", fontsize=11, loc="left")
    axes[0].text(0.02, -0.1, "count", fontsize=8, color="#555555", va="center")
    axes[0].legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def _shift(report: Report) -> Any:
    assert report.production is not None
    assert report.shift is not None
    figure, axes = new_figure(7.6, 4.8)
    edges = np.linspace(0, 1, 26)
    samples = ((report.chosen_on, EMITTED, "tuning set"), (report.production, ERRORS, "production"))
    for verdicts, color, name in samples:
        values = verdicts.confidence
        weights = np.full(len(values), 100 / len(values))
        label = f"{name}, {len(values)} tracks"
        axes.hist(values, edges, weights=weights, color=color, alpha=0.55, label=label)
    if not report.settings.per_class:
        axes.axvline(report.settings.threshold, color=MARK, lw=1.2, ls="--", label="threshold")
    drift = report.shift
    verdict = "shifted" if drift.alarm else "no alarm"
    title = f"{verdict}: KS {drift.ks:.3f} (p = {drift.p:.2g}), PSI {drift.psi:.3f}"
    axes.set_title(title, fontsize=11, loc="left")
    axes.set(xlabel="confidence", ylabel="share of tracks, %")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def _confidences(report: Report) -> Any:
    figure, axes = new_figure(7.6, 4.8)
    axes.hist(report.chosen_on.confidence, np.linspace(0, 1, 41), color=EMITTED)
    if not report.settings.per_class:
        axes.axvline(report.settings.threshold, color=MARK, lw=1.2, ls="--")
    title = f"abstains on {1 - report.coverage:.1%}, below {report.settings.threshold:.3f}; not certified"
    axes.set_title(title, fontsize=11, loc="left")
    axes.set(xlabel="confidence", ylabel="tracks")
    return figure
