"""Rows that wait for the thread of a sink: bounded, and none lost by an error."""

from __future__ import annotations

import pytest
from result_samples import sample_result

from edgevid.output.rows import ObjectRows
from edgevid.types import Header


def test_rows_that_could_not_be_written_come_first_and_too_many_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, result = ObjectRows(), sample_result()[1]
    object.__setattr__(result, "utc", 0.0)
    rows.add(result, Header("gate"))
    taken = rows.take()
    rows.add(result, Header("yard"))
    rows.give_back(taken)
    assert [row["camera"] for row in rows.take()] == ["gate", "gate", "yard", "yard"]
    monkeypatch.setattr("edgevid.output.rows.MOST_ROWS", 3)
    rows.add(result, Header("gate"))
    rows.add(result, Header("gate"))
    assert len(rows.take()) == 2
    assert rows.notes() == ["2 rows of objects were dropped: it was too slow"]
