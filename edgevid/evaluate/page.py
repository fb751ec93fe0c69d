"""An evaluation, or a tuning in its form, as one HTML page that loads nothing; its script draws tables and plots."""

import dataclasses
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid._version import __version__
from edgevid.evaluate.evaluation import Evaluation, Figure, Plot, Table, between, cell, is_word, plain, shown
from edgevid.evaluate.tune.risk import BINS, RiskCoverage, upper_bound
from edgevid.evaluate.tune.search import Report
from edgevid.files import fill_page
from edgevid.types import Array

POINTS = 200  # Most points of a drawn curve


def page(
    found: Evaluation, figures: Mapping[str, Figure], what: str, truth: str = "", limits: int = 0,
    missed: Sequence[str] = (),
) -> str:  # fmt: skip
    """The HTML; `missed` of the `limits` that were set are not kept."""
    cards = [{"name": name, "value": shown(one.value, unit := found.units.get(name)),
              "between": between(one, unit) if one.low == one.low else "",
              "scale": [one.low, one.value, one.high] if unit is None and one.low == one.low else None}
             for name, one in figures.items()]  # fmt: skip
    tables = [{"title": title, "heads": one.heads, "detail": one.detail, "words": [*map(is_word, one.rows[0])],
               "rows": [[cell(v, head) for v, head in zip(row, one.heads, strict=True)] for row in one.rows]}
              for title, one in found.all_tables().items() if one.rows]  # fmt: skip
    made = f"edgevid {__version__}; {len(found.groups)} x {found.group}"
    values = {"title": f"{found.task}: {what}", "truth": truth, "cards": cards, "tables": tables, "made": made,
              "plots": [{"title": title, **one._asdict()} for title, one in found.plots.items()],
              "images": [{"title": title, "thumbs": [{**v._asdict(), "jpeg": b64encode(v.jpeg).decode()} for v in some]}
                         for title, some in found.images.items()],
              "notes": found.all_notes(), "limits": limits, "missed": missed}  # fmt: skip
    return fill_page(Path(__file__).with_suffix(".html"), found.task, plain(values))


def bar_rows(found: RiskCoverage, count: int) -> Array:
    """Rows of the curve to draw: nearest to evenly spaced coverages, from full coverage down."""
    expected = np.linspace(1, 1 / count, count)
    return np.array(list(dict.fromkeys(int(np.abs(found.coverage - share).argmin()) for share in expected)))


def evaluation_of(report: Report) -> Evaluation:
    """What was chosen, and the curves that it was chosen from; those of confidences alone without labels."""
    settings, target, found = report.settings, report.target, report.curve
    values = {} if settings.per_class else {"threshold": settings.threshold}
    values["abstained"] = 1 - report.coverage
    tables, plots, notes = dict[str, Table](), dict[str, Plot](), list(report.warnings)
    if found is not None and report.before is not None and report.after is not None:
        values |= {"risk": report.measured_risk, "risk before": found.errors / found.n}
        values |= {"errors removed": report.errors_removed, "AUGRC": found.augrc, "AURC": found.aurc}
        values |= {"E-AURC": found.e_aurc, "ECE": report.after.ece, "ECE before": report.before.ece}
        values["temperature"] = settings.temperature
        if settings.tree:
            values["emitted as parents"], values["wrong among parents"] = report.parents
        if report.guaranteed:
            sure = f"at most {target.value:.2%} with probability {target.confidence:.4g}"
            notes.append(f"guaranteed: the true risk is {sure}")
        notes.append(f"the temperature is fitted on {report.fitted_on} tracks of their own")
        rows, delta = bar_rows(found, POINTS), target.delta
        bound = [upper_bound(int(found.wrong[r]), int(found.emitted[r]), delta) for r in rows]
        best = np.maximum(0, found.emitted[rows] - (found.n - found.errors)) / found.emitted[rows]
        coverage, heads = found.coverage[rows], ("threshold", "emitted %", "errors that remain %")
        few = (found.thresholds, found.coverage, found.residual_errors)
        tables["By threshold"] = Table(heads, np.column_stack([column[bar_rows(found, 10)] for column in few]).tolist())
        plots["Verdicts by threshold"] = Plot("threshold", "share", {
            "verdicts emitted": (found.thresholds[rows], coverage),
            "errors that remain": (found.thresholds[rows], found.residual_errors[rows])})  # fmt: skip
        plots["Risk and coverage"] = Plot("coverage", "risk: errors among emitted verdicts", {
            "measured": (coverage, found.risk[rows]), f"upper bound ({1 - delta:.0%})": (coverage, bound),
            "perfect ranking": (coverage, best), "chosen": ([report.coverage], [report.measured_risk])})  # fmt: skip
        lines: dict[str, Any] = {"calibrated": ([0, 1], [0, 1])}
        for name, one in (("before", report.before), ("after temperature", report.after)):
            some = one.counts > 0
            lines[f"{name}: ECE {one.ece:.3f}"] = one.confidence[some], one.accuracy[some]
        plots["Reliability"] = Plot("confidence", "share correct", lines)
    if report.shift is not None:
        values |= {f"shift: {name}": value for name, value in dataclasses.asdict(report.shift).items()}
    for title, by_name in (("class", settings.per_class), ("image quality", settings.per_band)):
        limits = [(name, "never emitted" if one > 1 else one) for name, one in by_name.items()]
        tables[f"Thresholds by {title}"] = Table((title, "threshold"), limits)
    chosen = ("unlike below", "of the known rejected %", "of the unknown rejected %", "")
    tables["Unlike training"] = Table(chosen, [(*row, "◄" * (row[0] == settings.unlike)) for row in report.rejected])
    notes.append(f"threshold by {target.kind}, chosen on {len(report.chosen_on.confidence)} tracks")
    edges = np.linspace(0, 1, BINS + 1)
    sets = {"tuning": report.chosen_on} | ({"production": report.production} if report.production else {})
    plots["Confidences"] = Plot("confidence", "share of tracks", {
        name: ((edges[1:] + edges[:-1]) / 2, np.histogram(one.confidence, edges)[0] / len(one.confidence))
        for name, one in sets.items()})  # fmt: skip
    shares = ("abstained", "risk", "risk before", "errors removed", "emitted as parents", "wrong among parents")
    return Evaluation("tuning", ["all"], "set of tracks", lambda _: values, dict.fromkeys({*values} - {*shares}, ""),
                      tables=tables, plots=plots, notes=notes)  # fmt: skip
