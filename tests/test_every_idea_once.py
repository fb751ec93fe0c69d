"""One idea is written once: each of these is defined in one file, and everything else imports it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgevid"

HOMES = {
    "atomic write": (r"os\.(?:replace|rename|fsync)\(|\bmkstemp\b|NamedTemporaryFile", "files/atomic.py"),
    "TOML reader": (r"\btomllib\b|import tomli\b", "files/toml.py"),
    "TOML writer": (r"def _?toml_\w+\(|def _?toml\((?!self)|def _?quoted?\(", "files/toml.py"),
    "SHA-256": (r"hashlib\.(?:sha256|new|file_digest)", "files/digest.py"),
    "cache folder": (r"XDG_CACHE_HOME", "files/folders.py"),
    "download": (r"\burlopen\b|\bOpenerDirector\(", "models/download.py"),
    "HTTP client of streams": (r"\bbuild_opener\(", "video/http.py"),
    "processor name": (r"/proc/cpuinfo", "runtime/processor.py"),
    "ONNX Runtime session": (r"\bInferenceSession\(", "runtime/onnxruntime/engine.py"),
    "agreement": (
        r"\b2(?:\.0)? \* (?:\w+\.)?matched\b|/ \((?:len\()?a\)? \+ (?:len\()?b\)?\)",
        "optimize/compare/tasks.py",
    ),
    "minimum agreement": (r"(?:int8\W+|floor\w* *[:=] *)0\.97\b", "optimize/agreement.py"),
    "models taking turns": (r"\brange\(-?warm\w*", "runtime/processor.py"),
    "aspect check": (r"SAME_ASPECT = |abs\(\w+ / \w+ - 1(?:\.0)?\)", "types/frame.py"),
    "km/h of 1 m/s": (r"\b3\.6\b", "types/tables.py"),
    "camera from a homography": (r"def \w*_from_homography\(|\w*focal\w* = [^#\n]*sqrt\(", "speed/homography.py"),
    "inverse of a homography": (r"linalg\.inv\((?:\w+\.)*(?:h|homography)\)", "speed/homography.py"),
    "suggestion for a misspelling": (r"\bget_close_matches\(", "errors.py"),
    "masked passwords": (r":\*\*\*@", "errors.py"),
}
"""What is written once: a pattern that every copy of it would hold, and its one home."""


def offenders(pattern: str, home: str) -> list[str]:
    """The lines outside of `home` that match, as `file:line: text`; comments and docstrings count."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name == home:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{name}:{number}: {line.strip()}")
    return found


@pytest.mark.parametrize("idea", HOMES)
def test_is_written_once(idea: str) -> None:
    """The pattern is in its home, where it shows that it matches at all, and nowhere else."""
    pattern, home = HOMES[idea]
    assert re.search(pattern, (PACKAGE / home).read_text())
    assert not offenders(pattern, home)
