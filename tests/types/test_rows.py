"""Rows: the same values, row by row, as the tables give one at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from result_samples import random_result, sample_result

from edgevid.types import Reason, Result
from edgevid.types.rows import flat_kinds, flat_rows, object_rows, speed_rows


def value(row: Any) -> dict[str, Any]:
    if row.reason is not Reason.OK:
        return {"reason": row.reason.name}
    made = {"mps": round(row.mps, 4), "sigma_mps": round(row.sigma, 4)}
    return made | ({"heading_deg": round(row.heading, 1)} if math.isfinite(row.heading) else {})


def one_by_one(result: Result) -> list[dict[str, Any]]:
    """The objects as the schema defines them, from the rows of the tables and `display_speeds`."""
    speeds, rows = result.display_speeds(), []
    for track in result.tracks:
        row: dict[str, Any] = {
            "id": track.id, "box": [round(v, 2) for v in track.box], "class": result.class_name(track.label),
            "score": round(track.score, 4), "detected": track.match >= 0, "age_s": round(track.age, 3),
        }  # fmt: skip
        speed = speeds[track.id]
        row["speed"] = value(speed)
        if speed.reason is Reason.OK:
            row["speed"] = {"kind": speed.kind, **row["speed"], "age_s": round(speed.age_s, 4)}
        for task, table in result.verdicts.items():
            verdict = next(v for v in table if v.id == track.id)
            label = {"label": result.class_name(verdict.label, task)}
            if verdict.label < 0:
                label = {"reason": verdict.reason.name}
            row["verdicts"] = {task: label | {"confidence": round(verdict.confidence, 4)}}
        rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_what_the_tables_say_one_by_one(seed: int) -> None:
    result = random_result(30, seed)
    assert object_rows(result) == one_by_one(result)
    for table in (result.speeds.smoothed, result.speeds.track_speeds):
        expected = [{"id": row.id, "time_s": round(row.time, 4), **value(row)} for row in table]
        assert speed_rows(table) == expected


def test_every_value_is_plain_python() -> None:
    for row in flat_rows(random_result(8, 1)):
        assert {type(cell) for cell in row.values()} <= {int, float, str, bool, type(None)}


def test_an_unknown_standard_error_has_no_key() -> None:
    result = sample_result()[1]
    result.speeds.live.sigma[0] = np.nan
    assert "sigma_mps" not in object_rows(result)[0]["speed"]


def test_flat_rows_have_the_same_keys_and_none_where_there_is_no_value() -> None:
    result = sample_result()[1]
    first, second = flat_rows(result)
    assert list(first) == list(second) == list(flat_kinds(result))
    assert (first["tracker_id"], first["x_min"], first["class_name"], first["frame"]) == (1, 64.0, "person", 4)
    assert (first["speed_mps"], first["speed_sigma_mps"], first["speed_reason"]) == (10.0, 0.5, None)
    assert (first["action"], first["action_confidence"], first["action_reason"]) == ("run", 0.8, None)
    assert (second["speed_mps"], second["speed_reason"]) == (None, "OFF_PLANE")
    assert (second["action"], second["action_reason"]) == (None, "TOO_SMALL")
