"""Every measured figure of README and site is in a committed result, and what is not measured says what it is.

A figure is a decimal number, or a number with a unit. On a page it has to be a number, as rounded as it stands, of one
of the results that the page names: by `<!-- table NAME -->`, `NAME.json` or `benchmarks/NAME.py`. figures.toml lists
the other ones of each page, by the words around them and why they need no result: a setting, a version, a definition.
"""

from __future__ import annotations

import bisect
import json
import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from edgevid.files.toml import read_toml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
UNIT = r"(?: ?%| (?:ms|s|km/h|MB|GB|fps|px|pixels?|points?|times|hours?|minutes?|seconds?|µs|of \d+|HOTA)\b|x\b)"
FIGURE = re.compile(
    rf"(?<![\w.,/-])(\d[\d,]*(?:\.\d+)?)(?:(?={UNIT})|(?<=\.\d)(?=\D)|(?<=\.\d\d)(?=\D)|(?<=\.\d\d\d)(?=\D))"
)
GENERATED = re.compile(
    r"<!-- (table|results).*?<!-- end -->|^ *```.*?^ *```|`[^`\n]*`|\]\([^)]*\)", re.DOTALL | re.MULTILINE
)
VERSION = re.compile(
    r"(?:Python|TensorRT(?:-RTX)?|JetPack|CUDA|Runtime|OpenVINO|onnxruntime(?:-\w+)*|Ultralytics|supervision|trackers|"
    r"Frigate|nvcc|NVRTC|MQTT|mosquitto|TOML|pycuda|bindings|TrackEval`?|arXiv|DeepStream|capability)"
    r"[ `(]+\d[\d.x]*(?:(?:,| to| and|, and| or) \d+\.[\d.x]+)*|\d+\.\d+\.\d[\d.]*"
)
REASONS = {
    "setting": "a default, limit or threshold of the code",
    "versions": "versions of other programs and devices",
    "definition": "a constant of a method or of the example that explains it",
    "quoted": "another project's figure, with its source",
    "derived": "computed from numbers of the named result",
    "open": "measured, without a committed result",
}


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, str):
        yield from (float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*(?:\.\d+)?", value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        yield abs(float(value))


@cache
def results() -> dict[str, list[float]]:
    """The numbers of each committed result, sorted."""
    paths = (ROOT / "benchmarks" / "results").glob("*.json")
    return {path.stem: sorted(set(numbers(json.loads(path.read_text())))) for path in paths}


def sources(text: str) -> set[str]:
    """The results that a page names; a script's are those whose names begin with its own."""
    named = set(re.findall(r"<!-- table (\w+)", text)) | set(re.findall(r"\b(\w+)\.json\b", text))
    scripts = set(re.findall(r"\b(\w+)\.py\b", text))
    return {name for name in results() if name in named or any(f"{name}_".startswith(f"{one}_") for one in scripts)}


def is_in(figure: str, found: list[float]) -> bool:
    """Whether a sorted number rounds to a figure, as it is, as a share, in thousandths or in thousands."""
    value, half = float(figure.replace(",", "")), 0.5 * 10.0 ** -len(figure.partition(".")[2])
    for scale in (1, 100, 1000, 0.001):
        at = bisect.bisect_left(found, (value - half) / scale - 1e-9)
        if at < len(found) and found[at] <= (value + half) / scale + 1e-9:
            return True
    return False


def plain(text: str) -> str:
    """A page's prose on one line: without generated tables, code, links and versions."""
    return VERSION.sub("`", " ".join(GENERATED.sub(" ` ", text).split()))


def unexplained(text: str, excused: dict[str, str]) -> list[str]:
    """The figures of a page that none of its results has, each with the words around it."""
    found = sorted({number for name in sources(text) for number in results()[name]})
    prose = plain(text)
    spots = [span for words in excused for span in spans(prose, words)]
    return [
        prose[max(0, m.start() - 60) : m.end() + 20]
        for m in FIGURE.finditer(prose)
        if not is_in(m[1], found) and not any(a <= m.start() < b for a, b in spots)
    ]


def spans(prose: str, words: str) -> list[tuple[int, int]]:
    return [m.span() for m in re.finditer(re.escape(words), prose)]


OPEN = 7
EXCUSED: dict[str, dict[str, str]] = read_toml(Path(__file__).with_name("figures.toml"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_figure_has_a_result(page: Path) -> None:
    assert unexplained(page.read_text(), EXCUSED.get(page.name, {})) == []


def test_figures_without_a_result_become_fewer() -> None:
    """Measure again those that are "open", or take them out; no new ones are added."""
    assert sum(reason == "open" for words in EXCUSED.values() for reason in words.values()) <= OPEN


def test_the_list_of_other_figures_is_of_words_that_are_there() -> None:
    for name, excused in EXCUSED.items():
        page = ROOT / name if name == "README.md" else ROOT / "docs" / name
        prose = plain(page.read_text())
        assert not [words for words in excused if words not in prose], name
        assert set(excused.values()) <= REASONS.keys(), name


def test_a_figure_without_a_result_is_found() -> None:
    text = "Measured (`whole_frame.json`): 123.45 ms, and 7 settings.\n\n<!-- table x -->\n99.9 ms\n<!-- end -->\n"
    assert unexplained(text, {}) == ["Measured ( ` ): 123.45 ms, and 7 settings."]
    assert unexplained(text, {"123.45 ms": "example"}) == []
