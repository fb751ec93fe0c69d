"""Tests of this folder have the mirror that they set, not the one of whoever runs them."""

import pytest


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEVID_MODELS_MIRROR", raising=False)
