"""`edgevid migrate`: older records and databases become today's."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from edgevid import cli
from edgevid.output import tables
from edgevid.output.records import SCHEMA, read_jsonl
from edgevid.output.tables import SqliteSink

OLDEST = {
    "schema": "edgevid.result/1", "frame": 0, "time_s": 0.0, "size": [64, 48], "ms": {"detect": 1.0},
    "objects": [{"id": 1, "box": [0, 0, 9, 9], "class": "car", "score": 0.9, "seen": True, "age_s": 0.0,
                 "speed": {"mps": 3.0, "sigma_mps": 0.1}}],
}  # fmt: skip


def migrate(*paths: Path) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["migrate", *map(str, paths)])
    return int(stop.value.code or 0)


def test_older_records_become_todays_and_are_read_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(OLDEST) + "\n" + json.dumps(OLDEST | {"schema": "edgevid.result/2"}) + '\n{"torn')
    before = list(read_jsonl(path))
    assert migrate(path) == 0
    assert list(read_jsonl(path)) == before
    first = json.loads(path.read_text().splitlines()[0])
    assert first["schema"] == SCHEMA
    assert first["timings_ms"] == {"detect": 1.0}
    assert first["objects"][0]["detected"] is True
    assert first["objects"][0]["speed"] == {"kind": "live", "mps": 3.0, "sigma_mps": 0.1, "age_s": 0.0}
    assert "torn" not in path.read_text()
    assert migrate(path) == 0
    assert "of today's version" in capsys.readouterr().err


def test_an_older_database_gets_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteSink(tmp_path / "a.db").close()
    monkeypatch.setattr(tables, "SCRIPTS", (*tables.SCRIPTS, "ALTER TABLE runs ADD COLUMN more TEXT;"))
    assert migrate(tmp_path / "a.db") == 0
    with sqlite3.connect(tmp_path / "a.db") as base:
        assert "more" in [row[1] for row in base.execute("PRAGMA table_info(runs)")]


def test_what_cannot_be_migrated_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("text\n")
    assert migrate(tmp_path / "a.txt") == 2
    assert "expected JSON" in capsys.readouterr().err
    assert migrate(tmp_path / "none") == 2
    assert "there is no such file" in capsys.readouterr().err
