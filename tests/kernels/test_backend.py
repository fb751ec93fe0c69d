"""Which twin is chosen, and what is said when the compiled one is missing or old."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgevid import kernels
from edgevid.errors import InputError, NativeKernelsError
from edgevid.kernels import reference


def complete() -> SimpleNamespace:
    return SimpleNamespace(**dict.fromkeys(reference.__all__))


def pretend(monkeypatch: pytest.MonkeyPatch, choice: str, found: Any) -> None:
    def answer(name: str) -> Any:
        if found is None:
            raise ImportError("no such file")
        return found

    monkeypatch.setenv("EDGEVID_KERNELS", choice)
    monkeypatch.setattr(importlib, "import_module", answer)


@pytest.mark.parametrize("choice", ["auto", "native"])
def test_a_complete_build_is_used(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    found = complete()
    pretend(monkeypatch, choice, found)
    assert kernels._load() is found


def test_numpy_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "numpy", complete())
    assert kernels._load() is reference


def test_a_missing_build(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "auto", None)
    assert kernels._load() is reference
    pretend(monkeypatch, "native", None)
    with pytest.raises(NativeKernelsError, match="pip install"):
        kernels._load()


def test_an_old_build_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    old = complete()
    del old.letterbox
    pretend(monkeypatch, "native", old)
    with pytest.raises(NativeKernelsError, match=r"they lack letterbox.*pip install"):
        kernels._load()
    pretend(monkeypatch, "auto", old)
    with pytest.warns(RuntimeWarning, match="older than this edgevid"):
        assert kernels._load() is reference


def test_an_unknown_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "fast", complete())
    with pytest.raises(InputError, match="expected auto, native or numpy, got 'fast'"):
        kernels._load()


def test_no_two_headers_of_a_namespace_define_one_name() -> None:
    """The linker takes either for both: a vector of the larger one then writes past the buffers of the smaller one."""
    folder = Path(__file__).resolve().parents[2] / "edgevid" / "kernels"
    texts = [path.read_text() for path in sorted(folder.glob("*.hpp"))]
    found = [
        (space, name)
        for text in texts
        for space in re.findall(r"^namespace (edgevid[\w:]*) \{$", text, re.MULTILINE)
        for name in re.findall(r"^(?:struct|class) (\w+)[^;]*?\{", text, re.MULTILINE)
    ]
    assert len(found) > 20
    assert [one for one in set(found) if found.count(one) > 1] == []
