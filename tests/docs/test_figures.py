"""Every measured figure of README and site is in a committed result, and what is not measured says what it is.

A figure is a decimal number, or a number with a unit. On a page it has to be a number, as rounded as it stands, of one
of the results that its section names, or the page before its first section: by `<!-- table NAME -->`, `NAME.json` or
`benchmarks/NAME.py`. figures.toml lists the other ones of each page, by the words around them and why they need no
result: a setting, a version, a definition.
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
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("engines/*/CARD.md"))]
UNIT = (
    r"(?: ?%| (?:ms|s|km/h|[kM]B|GB|[MG]iB|Mbit/s|fps|px|pixels?|points?|times|hours?|minutes?|µs|ns|"
    r"(?:micro|milli)?seconds?|of \d+|HOTA|(?:results|images|frames|events)/s|[mck]m|degrees?)\b|x\b)"
)
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
    "earlier": "of an earlier commit of the named result",
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


WHOLE = {"detector.md", "field.md", "speed.md"}
"""Pages whose sections may take their figures from any result of the page."""


def sections(page: Path) -> list[str]:
    """What stands before a page's first section, and its sections; of a card without its model's own numbers."""
    text = page.read_text()
    if page.name == "CARD.md":
        text = re.sub(r"^- (?:File|From|Input|Classes):? .*$", "", text, flags=re.MULTILINE)
    return [text] if page.name in WHOLE else re.split(r"^(?=## )", text, flags=re.MULTILINE)


def unexplained(parts: list[str], excused: dict[str, str]) -> list[str]:
    """The figures of a page that none of its section's results has, each with the words around it."""
    lacking = []
    for part in parts:
        found = sorted({number for name in sources(part) | sources(parts[0]) for number in results()[name]})
        prose = plain(part)
        spots = [span for words in excused for span in spans(prose, words)]
        lacking += [
            prose[max(0, m.start() - 60) : m.end() + 20]
            for m in FIGURE.finditer(prose)
            if not is_in(m[1], found) and not any(a <= m.start() < b for a, b in spots)
        ]
    return lacking


def spans(prose: str, words: str) -> list[tuple[int, int]]:
    return [m.span() for m in re.finditer(re.escape(words), prose)]


OPEN = 7
EXCUSED: dict[str, dict[str, str]] = read_toml(Path(__file__).with_name("figures.toml"))


def name_of(page: Path) -> str:
    return page.name if page.name != "CARD.md" else f"{page.parent.name}/CARD.md"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_figure_has_a_result(page: Path) -> None:
    assert unexplained(sections(page), EXCUSED.get(name_of(page), {})) == []


def test_figures_without_a_result_become_fewer() -> None:
    """Measure again those that are "open", or take them out; no new ones are added."""
    assert sum(reason == "open" for words in EXCUSED.values() for reason in words.values()) <= OPEN


def test_the_list_of_other_figures_is_of_words_that_are_there() -> None:
    pages = {name_of(page): page for page in PAGES}
    assert EXCUSED.keys() <= pages.keys()
    for name, excused in EXCUSED.items():
        prose = "\n".join(map(plain, sections(pages[name])))
        assert not [words for words in excused if words not in prose], name
        assert set(excused.values()) <= REASONS.keys(), name


def test_a_figure_without_a_result_is_found() -> None:
    text = "Measured (`whole_frame.json`): 123.45 ms, and 7 settings.\n\n<!-- table x -->\n99.9 ms\n<!-- end -->\n"
    assert unexplained([text], {}) == ["Measured ( ` ): 123.45 ms, and 7 settings."]
    assert unexplained([text], {"123.45 ms": "example"}) == []


def test_a_result_of_another_section_does_not_count() -> None:
    """Else one of the numbers of a long page's results is like every figure."""
    share = "A share of 12.9 times.\n"
    assert unexplained([share], {}) == [share.strip()]
    assert unexplained([share + "`benchmarks/whole_frame.py`"], {}) == []
    assert unexplained(["`benchmarks/whole_frame.py`", share], {}) == []
    assert unexplained(["", "`benchmarks/whole_frame.py`", share], {}) == [share.strip()]
