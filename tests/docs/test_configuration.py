"""docs/configuration.md: every environment variable is on the page, and none that is not in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgevid.cli.report import FILES
from edgevid.errors import FileFormatError
from edgevid.site import read_site

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()


def variables() -> set[str]:
    """Those that Python code names in a string, and CMake in an option."""
    found: set[str] = set()
    for folder in ("edgevid", "engines", "tests", "benchmarks", "demos"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= set(re.findall(r"[\"'](EDGEVID_[A-Z_]+)[\"'=]", path.read_text()))
    cmake = (ROOT / "CMakeLists.txt").read_text()
    return found | set(re.findall(r"^(?:option|set)\((EDGEVID_[A-Z_]+)", cmake, re.MULTILINE))


def test_the_page_has_every_variable_and_no_other() -> None:
    assert set(re.findall(r"EDGEVID_[A-Z_]+", PAGE)) == variables()


def test_the_page_has_every_schema() -> None:
    assert re.findall(r"`edgevid schema (\w+)` \|", PAGE) == list(FILES)


def test_the_mistakes_of_the_page_are_those_of_such_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(
        "[detect]\nscore = 3\n[[zone]]\nname = 'a'\npoints = [[0, 0], [9, 0], [9, 9]]\ndwel_s = 3\n"
        "[[line]]\nname = 'b'\nstart = [0, 0]\n"
    )
    with pytest.raises(FileFormatError) as caught:
        read_site(path)
    printed = f"edgevid: {caught.value}".replace(str(path), path.name).splitlines()
    shown = PAGE.split("```\n")[1].splitlines()
    assert printed == shown
