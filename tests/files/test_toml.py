"""TOML: what is written reads back the same."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from edgevid.errors import FileFormatError, InputError
from edgevid.files.toml import read_toml, toml_table, toml_value, tomllib

VALUES = {
    "text": 'a "quoted" \\ line\nand another\r\t\x7f\x01 é 人',
    "empty": "",
    "list": [[1, 2.5], []],
    "flag": True,
    "whole": -(2**63),
    "tiny": 1e-300,
    "endless": math.inf,
    "with a space": 1,
    "dotted.key": "x",
}


def test_what_is_written_reads_back_the_same() -> None:
    lines = [*toml_table("", VALUES), *toml_table("a.b", VALUES), *toml_table("[row]", {"x": 1})]
    lines += toml_table("[row]", {"x": 2}, comment="the second of two")
    read = tomllib.loads("\n".join(lines))
    assert read.pop("row") == [{"x": 1}, {"x": 2}]
    assert read.pop("a") == {"b": VALUES}
    assert read == VALUES


def test_values_of_numpy_paths_and_tuples_are_written_plainly() -> None:
    assert toml_value((np.float32(0.5), np.int64(3), np.bool_(False))) == "[0.5, 3, false]"
    assert toml_value(np.array([[1.0, 2.0]])) == "[[1.0, 2.0]]"
    assert toml_value(Path("a/b")) == '"a/b"'
    with pytest.raises(TypeError, match="TOML item"):
        toml_value(object())


def test_a_table_without_values_is_not_written() -> None:
    assert toml_table("a", {}) == toml_table("a", {"key": None}) == []
    assert toml_table("a", {"key": 1, "other": None}, comment="why") == ["", "[a]  # why", "key = 1"]


def test_a_file_that_cannot_be_read_is_told_from_one_that_is_no_toml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_toml(tmp_path / "none.toml")
    path = tmp_path / "bad.toml"
    for text in ("a = ", f"a = {2**63}", "a = " + "[" * 10_000):
        path.write_text(text)
        with pytest.raises(FileFormatError, match="the whole file: expected TOML"):
            read_toml(path)


@pytest.mark.parametrize("text", [
    "a" + ".a" * 300_000 + " = 1", "[a" + ' . "a,=b"' * 10_000 + "]", "1" + ".1" * 64 + " = 1",
    'a = { b = """x\ny""", c' + ".'a'" * 64 + " = 1 }", "a.b " * 500_000,
])  # fmt: skip
def test_a_key_of_many_parts_is_no_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(FileFormatError, match="a key of more than 64 parts"):
        read_toml(tmp_path / "a.toml")  # hours, without the limit


@pytest.mark.parametrize("text", [
    "a" + ".a" * 60 + " = 1", "a = [" + "1.5, " * 3000 + "]", "#" + " a. b" * 300, "a = '" + "a. b" * 300 + "'",
    'a = """\\"""' + ".a" * 300 + '"""', "a = '''\n" + "a.b " * 300 + "'''", f'a = "{"." * 300}"',
])  # fmt: skip
def test_dots_that_are_no_parts_of_a_key_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    assert len(read_toml(tmp_path / "a.toml")) == (not text.startswith("#"))


@pytest.mark.parametrize("text", ['"\\' * 100_000, '"""\\' * 50_000, "'\n\"\n" * 50_000, "'''" * 50_001])
def test_what_is_no_toml_is_found_in_linear_time(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(FileFormatError, match="the whole file: expected TOML"):
        read_toml(tmp_path / "a.toml")
