"""Variables in the texts of a file: expanded, with a default, missing, escaped; secrets are masked."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid import errors
from edgevid.errors import FileFormatError, InputError, masked
from edgevid.files.folders import expanded

PATH = Path("a.toml")


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_HIDDEN", set())


def test_variables_are_replaced_in_every_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_NAME", "gate")
    monkeypatch.setenv("NONE", "")
    monkeypatch.delenv("ABSENT", raising=False)
    mistakes: list[FileFormatError] = []
    values = {
        "source": "rtsp://${HOST_NAME}:${PORT:-554}/${NONE}",
        "rows": [{"a": "${ABSENT:-}x"}, {"a": 3}],
        "plain": "$HOST_NAME $${HOST_NAME} ${",
        "empty": "${NONE:-default}",
    }
    assert expanded(values, PATH, mistakes) == {
        "source": "rtsp://gate:554/",
        "rows": [{"a": "x"}, {"a": 3}],
        "plain": "$HOST_NAME ${HOST_NAME} ${",
        "empty": "default",
    }
    assert not mistakes


def test_each_missing_variable_is_a_mistake_at_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABSENT", raising=False)
    mistakes: list[FileFormatError] = []
    expanded({"a": {"b": "${ABSENT}"}, "row": [{"c": "${ABSENT}"}], "l": ["${ABSENT}"]}, PATH, mistakes)
    assert [one.key for one in mistakes] == ["a.b", "row 1.c", "l"]
    assert str(mistakes[0]) == (
        "a.toml: a.b: expected the environment variable 'ABSENT' to be set (or write ${ABSENT:-default}), it is not"
    )


def test_the_values_of_secret_variables_are_masked_in_every_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_TOKEN", "abcd1234")
    monkeypatch.setenv("CAMERA_HOST", "gate-7")
    assert expanded("http://${CAMERA_HOST}/${CAMERA_TOKEN}/1", PATH, []) == "http://gate-7/abcd1234/1"
    assert masked("http://gate-7/abcd1234/1") == "http://gate-7/***/1"
    assert str(InputError("no stream abcd1234 on gate-7")) == "no stream *** on gate-7"
