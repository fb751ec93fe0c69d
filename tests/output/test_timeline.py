"""Timelines: CSV, WebVTT and ELAN read back as they were written; a run's activities as segments."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgevid.errors import FileFormatError, InputError
from edgevid.output.timeline import Span, TimelineSink, read_timeline, write_timeline
from edgevid.types import Detections, Frame, Reason, Result, Scores, Tracks, Verdicts

SPANS = [
    Span(0.0, 1.5, "cut & <peel>, slowly", "action 1"), Span(0.25, 3600.125, "rest"),
    Span(7325.04, 7326.0, "cut", "hand"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["a.csv", "a.vtt", "a.eaf"])
def test_a_timeline_reads_back(tmp_path: Path, name: str) -> None:
    write_timeline(tmp_path / name, reversed(SPANS))
    assert read_timeline(tmp_path / name) == SPANS
    write_timeline(tmp_path / name, [])
    assert read_timeline(tmp_path / name) == []


def test_elan_has_a_tier_for_each_track_and_webvtt_has_cues(tmp_path: Path) -> None:
    for name in ("a.eaf", "a.vtt"):
        write_timeline(tmp_path / name, SPANS)
    root = ElementTree.parse(tmp_path / "a.eaf").getroot()
    assert [tier.attrib["TIER_ID"] for tier in root.iterfind("TIER")] == ["action 1", "default", "hand"]
    assert root.find(".//TIME_SLOT").attrib == {"TIME_SLOT_ID": "ts1", "TIME_VALUE": "0"}  # type: ignore[union-attr]
    text = (tmp_path / "a.vtt").read_text()
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n<v action 1>cut &amp; &lt;peel&gt;, slowly\n\n")
    assert "02:02:05.040 --> 02:02:06.000\n" in text
    foreign = "WEBVTT - notes\r\n\r\nintro\r\n01:02.500 --> 01:03.000 align:start\r\n<b>wave</b>\r\n"
    (tmp_path / "b.vtt").write_bytes(foreign.encode())
    assert read_timeline(tmp_path / "b.vtt") == [Span(62.5, 63.0, "wave")]


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        ("a.srt", "", InputError, r"ends in .csv, .vtt, .eaf"),
        ("a.csv", "start,end\n0,1\n", FileFormatError, "start, end and label"),
        ("a.csv", "start,end,label\n2,1,x\n", FileFormatError, "ends before it starts"),
        ("a.csv", "start,end,label\nnow,1,x\n", FileFormatError, "start, end and label"),
        ("a.vtt", "1\n00:00 --> 00:01\nx\n", FileFormatError, "WEBVTT"),
        ("a.eaf", "<a>", FileFormatError, "ELAN"),
    ],
)
def test_what_is_no_timeline_is_an_error(tmp_path: Path, name: str, text: str, error: type, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=words):
        read_timeline(tmp_path / name)


def _result(time: float, probability: float, *, emitted: bool = True) -> Result:
    made = Result(
        0, time, (8, 8), Detections.empty(),
        Tracks.of(ids=[7], boxes=[[0, 0, 4, 4]], scores=[1], labels=[0], match=[0], age=[1], unseen=[0]),
        names={"action": ("walk", "fall")},
    )  # fmt: skip
    scores = Scores.of(ids=[7], values=[[1 - probability, probability]], times=[time])
    label, reason = (int(probability > 0.5), Reason.OK) if emitted else (-1, Reason.LOW_CONFIDENCE)
    verdicts = Verdicts.of(ids=[7], labels=[label], confidence=[0.9], reason=[reason])
    return dataclasses.replace(made, scores={"action": scores}, verdicts={"action": verdicts})


def test_the_activities_of_a_run_are_segments_of_what_was_emitted(tmp_path: Path) -> None:
    frame = Frame(np.zeros((8, 8, 3), np.uint8), 0.0, 0)
    with TimelineSink(tmp_path / "run.csv") as sink:
        for tenth in range(60):
            time = tenth / 10
            sink.write(frame, _result(time, 0.95 if 20 <= tenth < 40 else 0.02, emitted=tenth < 50))
    first, second, third = read_timeline(tmp_path / "run.csv")
    assert first == Span(0.0, 2.0, "walk", "action 7")
    assert second == Span(2.0, 4.0, "fall", "action 7")
    assert third == Span(4.0, 4.9, "walk", "action 7")


@pytest.mark.parametrize("text", ["1 --> 2\n<v x\n\n" * 200, "1 --> 2\n" + "<" * 60_000])
def test_cues_of_a_hostile_file_are_read_in_linear_time(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.vtt").write_text(f"WEBVTT\n\n{text}")
    start = time.process_time()
    assert [span[:2] for span in read_timeline(tmp_path / "a.vtt")] == [(1.0, 2.0)] * text.count("-->")
    assert time.process_time() - start < 2
