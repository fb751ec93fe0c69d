"""Records: every value or its reason, never NaN; read back with the schema checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from result_samples import random_result, sample_result

from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.output import records
from edgevid.output.records import as_json, as_line, read_jsonl
from edgevid.output.sinks import JsonLines


def test_json_says_values_and_reasons_and_never_nan() -> None:
    line = as_json(sample_result()[1])
    first, second = line["objects"]
    assert first["speed"] == {
        "kind": "live", "mps": 10.0, "sigma_mps": 0.5, "heading_deg": 90.0, "age_s": 0.0,
    }  # fmt: skip
    assert first["verdicts"]["action"] == {"label": "run", "confidence": 0.8}
    assert second["speed"] == {"reason": "OFF_PLANE"}
    assert second["verdicts"]["action"] == {"reason": "TOO_SMALL", "confidence": 0.8}
    assert line["track_speeds"][0]["id"] == 1
    assert "NaN" not in json.dumps(line, allow_nan=False)


def test_lines_are_read_back_and_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    with JsonLines(path) as sink:
        for _ in range(3):
            sink.write(*sample_result())
        assert len(path.read_text().splitlines()) == 3  # on disk before the sink is closed
    path.write_text(path.read_text() + '{"schema": "edgevid.res')
    assert [one["frame"] for one in read_jsonl(path)] == [4, 4, 4]


def test_a_damaged_or_foreign_record_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    path.write_text('{"schema": "other/1"}\n')
    with pytest.raises(FileFormatError, match=r"line 1: schema: expected edgevid\.result/3"):
        list(read_jsonl(path))
    path.write_text("nonsense\n")
    with pytest.raises(FileFormatError, match="line 1"):
        list(read_jsonl(path))


def test_records_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "seen.jsonl").write_bytes(b'{"schema": "\xff"}\n')
    with pytest.raises(FileFormatError, match="line 1: expected JSON"):
        list(read_jsonl(tmp_path / "seen.jsonl"))
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_jsonl(tmp_path / "gone.jsonl"))


def test_a_line_is_the_same_with_and_without_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    results = [random_result(20, seed) for seed in range(5)]
    lines = [as_line(result) for result in results]
    monkeypatch.setattr(records, "orjson_dumps", None)
    for result, line in zip(results, lines, strict=True):
        assert json.loads(line) == json.loads(as_line(result)) == as_json(result)
        assert line.endswith("\n")


def test_a_box_that_is_no_number_is_rejected() -> None:
    """orjson would write null, which no reader of the schema expects."""
    result = sample_result()[1]
    result.tracks.boxes[1, 2] = np.nan
    with pytest.raises(InputError, match=r"record: expected finite boxes, got .*nan.* for track 2"):
        as_line(result)
