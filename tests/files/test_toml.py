"""TOML: what is written reads back the same, and a mistake is named by file, key, expected and got."""

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
    with pytest.raises(TypeError, match="a text, number, flag or list"):
        toml_value(object())


def test_a_table_without_values_is_not_written() -> None:
    assert toml_table("a", {}) == toml_table("a", {"key": None}) == []
    assert toml_table("a", {"key": 1, "other": None}, comment="why") == ["", "[a]  # why", "key = 1"]


def test_a_mistake_is_named_by_file_key_expected_and_got(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[table]\nkey = 'many'\ncolour = 1\n")
    table = read_toml(path).table("table")
    with pytest.raises(FileFormatError, match=r"a\.toml: table\.key: expected a whole number.*, got 'many'"):
        table.integer("key")
    with pytest.raises(FileFormatError, match="did you mean 'color'"):
        table.done(also=("color",))


def test_a_missing_key_is_named_with_the_misspelled_one(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("image_sze = [1, 2]\nother = 1\n")
    with pytest.raises(FileFormatError) as caught:
        read_toml(path).numbers("image_size", count=2)
    assert str(caught.value) == (
        f"{path}: image_size: expected a list of 2 numbers, it is missing; found 'image_sze'; "
        "did you mean 'image_size'?"
    )
    with pytest.raises(FileFormatError, match=r"size: expected a text, it is missing$"):
        read_toml(path).text("size")


def test_an_unknown_key_is_compared_with_optional_ones_too(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("dwel_s = 30\n")
    top = read_toml(path)
    assert "dwell_s" not in top
    top.text("name", "")
    with pytest.raises(FileFormatError) as caught:
        top.done()
    assert str(caught.value) == (
        f"{path}: dwel_s: expected only dwell_s, name, got an unknown key; did you mean 'dwell_s'?"
    )


@pytest.mark.parametrize("text", ["[[zones]]\nname = 'secret'\n", "[zones]\nname = 'secret'\n"])
def test_an_unknown_table_is_named_without_its_contents(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    top = read_toml(path)
    top.tables("zone", optional=True)
    with pytest.raises(FileFormatError) as caught:
        top.done()
    assert str(caught.value) == (
        f"{path}: zones: expected only zone, got an unknown table; did you mean 'zone'?"
    )


def test_a_file_that_cannot_be_read_is_told_from_one_that_is_no_toml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_toml(tmp_path / "none.toml")
    path = tmp_path / "bad.toml"
    for text in ("a = ", f"a = {2**63}", "a = " + "[" * 10_000):
        path.write_text(text)
        with pytest.raises(FileFormatError, match="the whole file: expected TOML"):
            read_toml(path)
