"""`--json FILE|-`: a file next to the terminal's table, or JSON alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgevid.cli.output_files import write_json


def test_json_goes_to_a_file_or_alone_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write_json({"a": 1}, None)
    assert capsys.readouterr().out == ""
    assert write_json({"a": 1}, tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) == {"a": 1}
    assert "found.json" in capsys.readouterr().err.replace("\n", "")
    assert not write_json({"a": "ä"}, Path("-"))
    assert json.loads(capsys.readouterr().out) == {"a": "ä"}
