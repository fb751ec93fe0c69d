"""Sinks: MOTChallenge text, and places that cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from result_samples import sample_result

from edgevid.errors import SourceError
from edgevid.output.sinks import JsonLines, MotText


def test_mot_text_counts_frames_from_one_and_leaves_out_what_was_not_seen(tmp_path: Path) -> None:
    frame, result = sample_result()
    result.tracks.match[1] = -1
    with MotText(tmp_path / "out.txt") as sink:
        sink.write(frame, result)
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["5", "1"]]
    assert lines[0].startswith("5,1,64.00,108.00,64.00,180.00,0.9000")


def test_a_place_that_cannot_be_written_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be written"):
        JsonLines(tmp_path / "no" / "out.jsonl")
