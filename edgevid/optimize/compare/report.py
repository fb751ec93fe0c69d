"""A comparison as one self-contained HTML page, drawn by its own script: result, metrics, the worst frames side by
side."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.files.atomic import write_atomic
from edgevid.files.page import fill_page
from edgevid.optimize.agreement import FramePair, OutputParity, TopClass
from edgevid.optimize.compare.gate import ParityReport
from edgevid.optimize.compare.tasks import MIN_JOINT_SCORE
from edgevid.optimize.conditions import as_rows
from edgevid.types import Array
from edgevid.video.images import resize_area, to_jpeg

PAGE = Path(__file__).with_name("report.html")  # The template of the page, dark or light as the reader's system
WIDTH = 960  # Images in the page are at most this wide, in pixels
POINTS = 1500  # Most points of the plot of scores


def write_report(report: ParityReport, path: str | Path, found: Mapping[str, Any] | None = None) -> Path:
    """Writes the report; `found` are the conditions of the measurement."""
    write_atomic(Path(path), page(report, found or {}))
    return Path(path)


def page(report: ParityReport, found: Mapping[str, Any]) -> str:
    """The HTML of the whole page; it loads nothing from elsewhere."""
    scores = report.task.scores if report.task.scores is not None else np.zeros((0, 2))
    values = report.as_dict() | {
        "classes": report.classes,
        "condition": report.task.condition,
        "figures": report.task.figures(),
        "heads": OutputParity.HEADS,
        "cells": [output.cells() for output in report.outputs],
        "conditions": list(as_rows(dict(found))),
        "scores": scores[:: -(-len(scores) // POINTS) or 1].round(4).tolist(),
        "min_joint_score": MIN_JOINT_SCORE,
        "worst": [_shown(pair) for pair in report.worst if pair.severity > (0.0, 0.005)],
    }
    return fill_page(PAGE, f"{report.names[1]} against {report.names[0]}", values)


def _shown(pair: FramePair) -> dict[str, Any]:
    """The answers of both models to a frame, and its image."""
    both = (pair.reference, pair.candidate)
    return pair.as_dict() | {
        "size": pair.frame.frame.size,
        "image": _jpeg(pair.frame.image),
        "rows": pair.rows.tolist() if pair.rows is not None else [],
        "tops": [f"{one.name} {one.probability:.2f}" for one in both if isinstance(one, TopClass)],
        "joints": [one.tolist() for one in both if isinstance(one, np.ndarray)],
    }


def _jpeg(image: Array) -> str:
    """The image as a data URL, at most WIDTH wide."""
    if image.shape[1] > WIDTH:
        image = resize_area(image, (WIDTH, max(1, round(image.shape[0] * WIDTH / image.shape[1]))))
    return "data:image/jpeg;base64," + base64.b64encode(to_jpeg(image, qscale=3)).decode()
