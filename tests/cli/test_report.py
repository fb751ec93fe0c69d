"""`edgevid report`, `query` and `forget` as typed: what they print and write; bad input is one sentence."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path

import pytest
from report_samples import Day, write

from edgevid import cli

pytest.importorskip("duckdb")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEVID_SPOOL", str(tmp_path / "spool"))
    day = Day()
    for track in range(40):
        day.vehicle(track, 2.0 * track, 50.0 + track, class_name="=car" if track == 39 else "car")
    write(tmp_path / "street.db", day)


def edgevid(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    return int(stop.value.code or 0)


def test_a_report_in_the_terminal_as_html_and_as_csv(capsys: pytest.CaptureFixture[str]) -> None:
    assert edgevid("report", "street.db", "--out", "a.html", "--csv", "tables", "--timezone", "Europe/Berlin") == 0
    out, err = capsys.readouterr()
    assert "gate forward" in out
    assert "By interval" not in out
    assert "Speeds, km/h" in out
    assert "written: a.html" in err
    assert Path("a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    rows = list(csv.DictReader(Path("tables/counts.csv").read_text().splitlines()))
    assert (rows[0]["start"], rows[0]["class"]) == ("2026-01-31T13:00:00.000+01:00", "'=car")
    assert {row["observed"] for row in rows} == {"1.0"}
    assert edgevid("report", "street.db", "--out", "a.html") == 2
    assert "--force overwrites" in capsys.readouterr().err
    assert edgevid("report", "street.db", "--csv", "tables") == 2
    assert edgevid("report", "street.db", "--every", "1m", "--unit", "mph") == 0
    out = capsys.readouterr().out
    assert "By interval" in out
    assert "Speeds, mph" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("street.db", "--every", "0"), "expected a time that divides a day"),
        (("street.db", "--every", "7m"), "such as 15m, 1h or 1d, got '7m'"),
        (("street.db", "--timezone", "Berlin"), "a name such as Europe/Berlin"),
        (("street.db", "--unit", "knots"), "expected one of km/h"),
        (("street.db", "--out", "a.pdf"), "expected a name that ends in .html"),
        (("street.db", "--camera", "gat"), "did you mean 'gate'"),
        (("none.db",), "cannot be read: No such file"),
        (("other.db",), "expected a database of edgevid"),
        (("street.db", "--calibration", "none.toml", "--out", "b.html"), "none.toml"),
    ],
    ids=["zero", "seven", "zone", "unit", "pdf", "camera", "no file", "other database", "no calibration"],
)
def test_bad_input_is_one_sentence(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    sqlite3.connect("other.db").close()
    with sqlite3.connect("other.db") as base:
        base.execute("CREATE TABLE notes (text TEXT)")
    assert edgevid("report", *arguments) == 2
    err = capsys.readouterr().err
    assert words in err.replace("\n", " ")
    assert err.count("\n") == 1


def test_a_query_prints_writes_and_only_reads(capsys: pytest.CaptureFixture[str]) -> None:
    count = "SELECT kind, count(*) AS n, min(utc) AS first FROM events GROUP BY kind ORDER BY kind"
    assert edgevid("query", "street.db", count) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["kind", "n", "first"]
    assert lines[1].split() == ["cross", "40", "2026-01-31", "12:00:00"]
    assert edgevid("query", "street.db", count, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)[0] == {"kind": "cross", "n": 40, "first": "2026-01-31 12:00:00"}
    assert edgevid("query", "street.db", "SELECT 1 WHERE false", "--json", "none.json") == 0
    assert json.loads(Path("none.json").read_text()) == []
    assert edgevid("query", "street.db", "SELECT class_name FROM events ORDER BY 1 LIMIT 1", "--csv", "a.csv") == 0
    assert Path("a.csv").read_text() == "class_name\n'=car\n"
    assert edgevid("query", "street.db", "SELECT range FROM range(1001)") == 0
    assert "the first 1000 rows" in capsys.readouterr().err
    before = Path("street.db").read_bytes()
    for sql, words in {
        "DELETE FROM events": "it only reads", "SELECT speed FROM events": '"speed" not found',
        "COPY events TO 'b.csv'": "expected one SELECT, got COPY",
    }.items():  # fmt: skip
        assert edgevid("query", "street.db", sql) == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.count("\n") == 1
    assert edgevid("query", "street.db", count, "--csv", "c.csv", "--json", "c.json") == 2
    assert Path("street.db").read_bytes() == before


def test_forget_counts_first_and_deletes_with_yes(capsys: pytest.CaptureFixture[str]) -> None:
    assert edgevid("forget", "street.db", "--track", "3") == 0
    out = capsys.readouterr().out
    assert "street.db: 2 events\n" in out
    assert "Nothing was deleted: add --yes" in out
    assert edgevid("forget", "street.db", "--track", "3", "--yes") == 0
    out = capsys.readouterr().out
    assert "street.db: 2 events deleted" in out
    assert "Not reached: what brokers" in out
    assert edgevid("forget", "street.db", "--before", "30d", "--camera", "yard", "--yes") == 0
    assert "street.db: nothing" in capsys.readouterr().out
    assert edgevid("forget", "street.db", "--before", "30d", "--yes") == 0
    assert "1 runs, 78 events deleted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected what to forget"),
        (("--before", "yesterday"), "--before: expected a time such as 2026-01-31T12:00:00Z or 30d, got 'yesterday'"),
        (("--track", "one"), "one"),
    ],
    ids=["nothing", "no time", "no track"],
)
def test_what_forget_cannot_understand(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert edgevid("forget", "street.db", *arguments) == 2
    assert words in capsys.readouterr().err
