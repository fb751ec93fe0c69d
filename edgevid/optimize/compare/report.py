"""A comparison as one self-contained HTML page: result, metrics, the worst frames side by side."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Literal

import numpy as np

from edgevid.errors import InputError
from edgevid.files.atomic import check_file, write_atomic
from edgevid.optimize.agreement import FramePair, TopClass
from edgevid.optimize.compare.gate import ParityReport, percent
from edgevid.optimize.compare.tasks import MIN_JOINT_SCORE
from edgevid.optimize.conditions import as_rows
from edgevid.types import Array, Detections
from edgevid.video.images import resize_area, to_jpeg

PAGE = Path(__file__).with_name("report.html")  # The template of the page, dark or light as the reader's system
MIN_DRIFT = 0.1  # A score that changed by at least this much is written next to its box
WIDTH = 960  # Images in the page are at most this wide, in pixels
POINTS = 1500  # Most points of the plot of scores


def check_target(path: str | Path) -> Path:
    """The path, checked before any work; InputError where no report can be written there."""
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise InputError(f"report: expected a file that ends in .html, got {path}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"report: {path} cannot be written, there is no folder {path.absolute().parent}")
    check_file(path)
    return path


def write_report(report: ParityReport, path: str | Path, found: Mapping[str, Any] | None = None) -> Path:
    """Writes the report; `found` are the conditions of the measurement."""
    path = check_target(path)
    write_atomic(path, page(report, found or {}))
    return path


def page(report: ParityReport, found: Mapping[str, Any]) -> str:
    """The HTML of the whole page; it loads nothing from elsewhere."""
    a, b = (escape(name) for name in report.names)
    worst = [pair for pair in report.worst if pair.severity > (0.0, 0.005)]
    details, state = report.task.details.items(), "passed" if report.passed else "rejected"
    kinds = {"matched": "matched", "missed": "missed (only A)", "extra": "extra (only B)"}
    words = kinds if report.task.task in ("detect", "pose") and worst else {}
    words |= {"absent": "absent here"} if words and report.task.task == "detect" else {}
    legend = "".join(f"<i class={k}></i>{w}" for k, w in words.items())
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=f"{b} against {a}",
        state=state,
        verdict=state.capitalize(),
        sentence=escape(report.summary()),
        a=a,
        b=b,
        cards=_cards(report),
        notes="".join(f"<p class=note>{escape(note)}</p>" for note in report.notes),
        legend=f"<p class=legend>{legend}</p>" if legend else "",
        worst="".join(_frame(pair, n, report) for n, pair in enumerate(worst))
        or "<p class=quiet>No frame differs.</p>",
        figures=_rows((k, f"{v:.4f}" if isinstance(v, float) else str(v)) for k, v in details),
        scatter=_scatter(report),
        outputs=_outputs(report),
        conditions=_rows(as_rows(dict(found))),
    )


def _cards(report: ParityReport) -> str:
    details = report.task.details
    what = f"of {report.task.count} {report.task.unit} agree{report.task.condition}"
    cards = [
        (percent(report.agreement), what, _bar(report)),
        (f"{report.identical_frames} of {report.frames}", "identical frames", ""),
    ]
    if report.task.task == "detect":
        missed = details["boxes of the reference"] - details["matched at IoU 0.5"]
        extra = details["boxes of the candidate"] - details["matched at IoU 0.5"]
        drift, largest = details["score drift, mean absolute"], details["score drift, largest"]
        crossings = details["threshold crossings"]
        cards += [
            (f"{missed} missed, {extra} extra", f"{crossings} of them only crossed the score threshold", ""),
            (percent(details["agreement at IoU 0.9"]), "agreement at IoU 0.9", ""),
            (f"{drift:.3f}", f"mean absolute score drift, largest {largest:.2f}", ""),
        ]
    return "".join(
        f"<div class=card><b>{escape(big)}</b><span>{escape(small)}</span>{extra}</div>" for big, small, extra in cards
    )


def _bar(report: ParityReport) -> str:
    """Agreement and its floor, on a scale that starts where the two can be distinguished."""
    low = min(report.floor.value, report.agreement, 0.99)
    start = max(0.0, low - 1.5 * (1 - low))
    share, mark = ((v - start) / (1 - start) * 100 for v in (report.agreement, report.floor.value))
    return (
        f'<div class=bar><i style="width:{share:.2f}%"></i><u style="left:{mark:.2f}%"></u></div>'
        f"<span>floor {percent(report.floor.value)}, {escape(report.floor.source)}</span>"
    )


def _frame(pair: FramePair, number: int, report: ParityReport) -> str:
    wide, high = pair.frame.frame.size
    left, right = marks(pair, report.classes)
    source = f'<image id="p{number}" width="{wide}" height="{high}" href="{_jpeg(pair.frame.image)}"/>'
    sides = []
    for title, drawn, image, what in (
        ("A", left, source, pair.reference),
        ("B", right, f'<use href="#p{number}"/>', pair.candidate),
    ):
        top = f" {what.name} {what.probability:.2f}" if isinstance(what, TopClass) else ""
        name = report.names[0 if title == "A" else 1]
        sides.append(
            f"<figure><figcaption><b>{title}</b> {escape(name)}<em>{escape(top)}</em></figcaption>"
            f'<svg viewBox="0 0 {wide} {high}" role="img">{image}'
            f"{''.join(_mark(m, wide, high) for m in drawn)}</svg></figure>"
        )
    head = f"<h3>{escape(pair.name)} <small>{escape(pair.difference)}</small></h3>"
    return f"<article>{head}<div class=pair>{''.join(sides)}</div></article>"


def _mark(mark: Mark, wide: int, high: int) -> str:
    x1, y1, x2, y2 = mark.box
    text = ""
    if mark.label:
        size = max(wide, high) / 48
        letters = 0.6 * size * len(mark.label)  # the browser scales its font to this length
        length = letters + 0.6 * size
        x = min(max(x1, 0), max(wide - length, 0))
        y = y1 if y1 >= 1.3 * size else y1 + 1.3 * size
        text = (
            _rect("plate", x, y - 1.3 * size, length, 1.3 * size)
            + f'<text x="{x + 0.3 * size:.1f}" y="{y - 0.35 * size:.1f}" font-size="{size:.1f}" '
            f'textLength="{letters:.1f}" lengthAdjust="spacingAndGlyphs">' + f"{escape(mark.label)}</text>"
        )
    tooltip = f"<title>{escape(mark.tooltip)}</title>"
    under = _rect("under", x1, y1, x2 - x1, y2 - y1) if mark.kind == "absent" else ""  # visible on white too
    return f'<g class="{mark.kind}">{tooltip}{under}{_rect("box", x1, y1, x2 - x1, y2 - y1)}{text}</g>'


def _rect(kind: str, x: float, y: float, wide: float, high: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"/>'


def _rows(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in pairs)


def _scatter(report: ParityReport) -> str:
    """Scores of the matched boxes, A to the right and B upwards: on the diagonal nothing changed."""
    scores = report.task.scores
    if scores is None or not len(scores):
        return ""
    step = -(-len(scores) // POINTS)
    dots = "".join(
        f'<circle cx="{20 + 200 * x:.1f}" cy="{210 - 200 * y:.1f}" r="1.8"/>' for x, y in scores[::step].tolist()
    )
    return (
        '<figure class=scatter><svg viewBox="0 0 230 236" role="img">'
        '<path d="M20 10V210H220"/><path class=diagonal d="M20 210L220 10"/>'
        f'{dots}<text x="120" y="230">score in A</text>'
        '<text x="-110" y="12" transform="rotate(-90)">score in B</text>'
        "</svg><figcaption>Scores of the matched boxes</figcaption></figure>"
    )


def _outputs(report: ParityReport) -> str:
    if not report.outputs:
        return "<p class=quiet>The models have different outputs, so only their results were compared.</p>"
    head = ("output", "largest |a−b|", "mean |a−b|", "rms of a", "mean cosine", "min cosine", "NaN or inf")
    rows = [
        f"<tr><th>{escape(o.name)}</th>" + "".join(
            f"<td>{cell}</td>" for cell in (
                f"{o.max_abs:.4g}", f"{o.mean_abs:.4g}", f"{o.scale:.4g}",
                f"{o.cosine:.6f}", f"{o.min_cosine:.6f}", o.non_finite,
            )
        ) + "</tr>"
        for o in report.outputs
    ]  # fmt: skip
    return (
        "<div class=wide><table class=grid><thead><tr>"
        + "".join(f"<th>{h}</th>" for h in head)
        + f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _jpeg(image: Array) -> str:
    """The image as a data URL, at most WIDTH wide."""
    if image.shape[1] > WIDTH:
        image = resize_area(image, (WIDTH, max(1, round(image.shape[0] * WIDTH / image.shape[1]))))
    return "data:image/jpeg;base64," + base64.b64encode(to_jpeg(image, qscale=3)).decode()


@dataclass(frozen=True, slots=True)
class Mark:
    """One box or joint on one model's image."""

    kind: Literal["matched", "missed", "extra", "absent"]
    """missed: only the reference has it; extra: only the candidate; absent: the other model has it."""
    box: tuple[float, ...]  # x1, y1, x2, y2 in frame pixels; a joint is a small square around its position
    label: str  # Written next to it; may be empty
    tooltip: str  # Shown when the pointer rests on it


def marks(pair: FramePair, names: tuple[str, ...]) -> tuple[list[Mark], list[Mark]]:
    """The marks on the reference's image and on the candidate's."""
    if isinstance(pair.reference, Detections):
        return _of_boxes(pair, names)
    if isinstance(pair.reference, np.ndarray):
        return _of_joints(pair)
    return [], []


def _of_boxes(pair: FramePair, names: tuple[str, ...]) -> tuple[list[Mark], list[Mark]]:
    a, b, rows = pair.reference, pair.candidate, pair.rows
    assert rows is not None
    left, right = list[Mark](), list[Mark]()
    for i, j in rows:
        before, after = float(a.scores[i]), float(b.scores[j])
        name = _name(names, int(a.labels[i]))
        tooltip = f"{name}: {before:.2f} and {after:.2f}"
        drifted = abs(after - before) >= MIN_DRIFT
        left.append(Mark("matched", tuple(a.boxes[i].tolist()), f"{before:.2f}" if drifted else "", tooltip))
        right.append(Mark("matched", tuple(b.boxes[j].tolist()), f"{after:.2f}" if drifted else "", tooltip))
    sides: tuple[tuple[Detections, Array, Literal["missed", "extra"], list[Mark], list[Mark]], ...]
    sides = ((a, rows[:, 0], "missed", left, right), (b, rows[:, 1], "extra", right, left))
    for table, matched, kind, here, there in sides:
        for k in np.setdiff1d(np.arange(len(table)), matched):
            label = f"{_name(names, int(table.labels[k]))} {float(table.scores[k]):.2f}"
            box = tuple(table.boxes[k].tolist())
            here.append(Mark(kind, box, label, f"{kind}: {label}"))
            there.append(Mark("absent", box, "", f"absent here: {label}"))
    return left, right


def _of_joints(pair: FramePair) -> tuple[list[Mark], list[Mark]]:
    assert pair.rows is not None
    side = max(pair.frame.frame.size) / 120
    matched = set(pair.rows[:, 0].tolist())

    def made(points: Array, kind: Literal["missed", "extra"]) -> list[Mark]:
        return [
            Mark("matched" if k in matched else kind, (x - side, y - side, x + side, y + side), "",
                 f"joint {k}: {s:.2f}")
            for k, (x, y, s) in enumerate(points.tolist())
            if k in matched or s >= MIN_JOINT_SCORE
        ]  # fmt: skip

    return made(pair.reference, "missed"), made(pair.candidate, "extra")


def _name(names: tuple[str, ...], label: int) -> str:
    return names[label] if 0 <= label < len(names) else f"class {label}"
