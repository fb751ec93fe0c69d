"""One idea is written once: each of these is defined in one file, and everything else imports it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgevid"

HOMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "atomic write": (r"os\.(?:replace|rename|fsync)\(|\bmkstemp\b|NamedTemporaryFile", ("files/atomic.py",)),
    "TOML reader": (r"\btomllib\b|\btomli\b", ("files/toml.py",)),
    "TOML writer": (r"def _?(?:\w+_)?toml(?:_\w+)?\(", ("files/toml.py",)),
    "SHA-256": (r"\bhashlib\b|sha256\(\)", ("files/digest.py",)),
    "cache folder": (r"XDG_CACHE_HOME|\.cache/", ("files/folders.py",)),
    "download": (r"\burlopen\b|\burllib\.request\b", ("models/download.py",)),
    "processor name": (r"/proc/cpuinfo|platform\.processor\(", ("runtime/processor.py",)),
    "ONNX Runtime session": (r"\bInferenceSession\b", ("runtime/onnxruntime/",)),
    "agreement 2M/(A+B)": (
        r"\b2(?:\.0)? \* (?:\w+\.)?(?:m|matched|alike)\b[^\n]* / ",
        ("optimize/agreement.py",),
    ),
    "default floor of agreement": (r"(?<![\d.])0\.97\b", ("optimize/agreement.py",)),
    "aspect check": (r"\baspect\b[^\n]*(?:differ|expected|!=|>|<)|abs\([^\n]*aspect", ("site/", "speed/")),
    "camera from a homography": (
        r"def \w*(?:focal|camera)_from_homography\(|def implied_camera\(",
        ("speed/",),
    ),
}
"""What is written once: a pattern that every copy of it would hold, and its one home."""


def offenders(pattern: str, homes: tuple[str, ...]) -> list[str]:
    """The lines outside of `homes` that match, as `file:line: text`; comments and docstrings count."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(homes):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{name}:{number}: {line.strip()}")
    return found


@pytest.mark.parametrize("idea", HOMES)
def test_is_written_once(idea: str) -> None:
    pattern, homes = HOMES[idea]
    assert not offenders(pattern, homes)


@pytest.mark.parametrize("idea", HOMES)
def test_has_its_home(idea: str) -> None:
    """A pattern that matches nothing at home would guard nothing."""
    pattern, homes = HOMES[idea]
    texts = [
        p.read_text()
        for home in homes
        for p in sorted(PACKAGE.glob(f"{home}**/*.py" if home.endswith("/") else home))
    ]
    assert any(re.search(pattern, text) for text in texts)
