"""Rows that wait for the thread of a sink: bounded, and none lost by an error."""

from __future__ import annotations

import pytest
from result_samples import sample_result

from edgevid.output.tables import ObjectRows
from edgevid.types import Header


class Rows(ObjectRows):
    def close(self) -> None:
        raise AssertionError


def test_rows_that_could_not_be_written_come_first_and_too_many_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, result = Rows(records=True), sample_result()[1]
    rows.open(Header("gate"))
    rows._write(None, result)  # type: ignore[arg-type]
    taken = rows._taken()
    rows.open(Header("yard"))
    rows._write(None, result)  # type: ignore[arg-type]
    rows._add(taken, again=True)
    assert [row["camera"] for row in rows._taken()] == ["gate", "gate", "yard", "yard"]
    monkeypatch.setattr("edgevid.output.tables.MOST_ROWS", 3)
    for _ in range(2):
        rows._write(None, result)  # type: ignore[arg-type]
    assert len(rows._taken()) == 2
    assert rows.notes() == ["2 rows of objects were dropped: it was too slow"]
