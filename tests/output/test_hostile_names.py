"""Hostile texts as names of classes, cameras, places, tasks and files: they are data in every output."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import tempfile
import urllib.request
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from event_samples import an_event
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from result_samples import sample_result

from edgevid.errors import log, visible
from edgevid.files import fill_page
from edgevid.files.cells import FORMULA, cell_text, csv_rows, csv_text
from edgevid.files.folders import camera_spool, file_name
from edgevid.output.dataset import DatasetSink
from edgevid.output.metrics import Metrics
from edgevid.output.mqtt import Entities, topic_part
from edgevid.output.overlay import Overlay
from edgevid.output.records import json_line, read_jsonl
from edgevid.output.review import ReviewSink
from edgevid.output.sinks import CsvSink, EventCsv, EventLines, JsonLines
from edgevid.output.tables import SqliteSink, read_database
from edgevid.output.timeline import Span, read_timeline, write_timeline
from edgevid.run.loop import Summary
from edgevid.types import Header, Reason
from edgevid.types.table import html_table

PLANTED = [
    "[bold]x[/]", "[link=http://evil.test]x", "\x1b]0;x\x07", "\x1b[2J", "a\r\nERROR forged", "\u202egnp.exe",
    "\u2066x",
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "</script><script>", "=cmd|' /C calc'!A0",
    "+1", "-2+3",
    "@SUM(1)", "\t=1", "\r=1", "'=1", "''=1", "../../etc/passwd", "a/b", "a\\b", "NUL", "con.txt", ".", "..", "", " ",
    "x" * 5000, "é" * 300, "a+b", "a#b", 'a"b', "a\\", "\x00", "\x85", "\udcff.mp4", "$title",
    "{{x}}", "%s%n", "a,b;c\td",
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(PLANTED), st.text(st.characters(exclude_categories=()), max_size=30))
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@QUICK
@given(TEXTS)
def test_one_line_without_commands(text: str) -> None:
    assert not UNSEEN.search(visible(text))
    assert visible(visible(text)) == visible(text)
    record = log.makeRecord("edgevid", 30, "", 0, "%s: lost", (text,), None)
    assert log.filter(record)
    assert not UNSEEN.search(record.getMessage())


@QUICK
@given(st.lists(TEXTS, min_size=1, max_size=4), st.floats(allow_nan=False, allow_infinity=False, width=16))
def test_cells_are_no_formulas_and_come_back(texts: list[str], number: float) -> None:
    if sys.version_info < (3, 11):  # whose csv takes no NUL
        texts = [text.replace("\0", "") for text in texts]
    written = csv_text([["n", *map(str, range(len(texts)))], [number, *texts]])
    raw = list(csv.reader(io.StringIO(written, newline="")))
    assert float(raw[1][0]) == pytest.approx(number, abs=1e-9)
    for cell in raw[1][1:]:
        assert not re.match(FORMULA.removeprefix("'*"), cell) or re.fullmatch(r"[+-][\d.]+(e[+-]?\d+)?", cell)
    assert list(map(cell_text, raw[1][1:])) == texts
    (row,) = csv_rows(io.StringIO(written, newline=""))
    assert [row[str(n)] for n in range(len(texts))] == texts


@QUICK
@given(TEXTS, TEXTS)
def test_names_of_files_and_topics_are_single_short_and_distinct(text: str, other: str) -> None:
    for make in (file_name, topic_part):
        name = make(text)
        assert name == make(text)
        assert (name == make(other)) == (text == other)
        assert not set("/+#\0") & set(name)
        assert 0 < len(name.encode()) < 500
    name = file_name(text)
    assert len(name.encode()) < 100
    assert name not in (".", "..")
    assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name)
    assert camera_spool(text).name == name


@QUICK
@given(TEXTS, TEXTS)
def test_topics_and_messages_of_home_assistant(camera: str, place: str) -> None:
    found = Entities("edgevid", camera)
    found.update(replace(an_event(1, place=place, count=1), kind="enter"))
    for topic in (*found.states, *found.configs):
        assert not {*"+#"} & {*topic}
        assert not UNSEEN.search(topic)
    for state in (*found.states.values(), *found.configs.values()):
        assert json.loads(json_line(state).encode()) == state


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(" ".join([tag, *(name for name, _ in attrs)]))


@QUICK
@given(TEXTS)
def test_pages_have_the_tags_of_a_page_without_it(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "a.html"
        template.write_text("<title>$title</title><script>$common</script><script>const data = $data;</script>")
        pages = [fill_page(template, one, {one: [one]}) for one in (text, "plain")]
    assert Tags(pages[0]).found == Tags(pages[1]).found
    tables = [html_table(one, [{one: one}], 1) for one in (text, "plain")]
    assert Tags(tables[0]).found == Tags(tables[1]).found


@settings(QUICK, max_examples=8)
@given(TEXTS, TEXTS, TEXTS)
@example("\udcff", "\0", "a/b")
@example("=1", "'=1", "../x")
def test_every_sink_takes_it_and_gives_it_back(camera: str, name: str, task: str) -> None:
    frame, result = sample_result(2, (64, 48))
    task = task or "task"
    verdicts = {task: result.verdicts["action"]}
    verdicts[task].reason[1] = Reason.LOW_CONFIDENCE
    result = replace(
        result, verdicts=verdicts, scores={}, names={"class": (name,), task: ("walk", name)},
    )  # fmt: skip
    event = replace(an_event(1, class_name=name, place=name), camera=camera)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        sinks = [
            JsonLines(path / "a.jsonl"), CsvSink(path / "a.csv"), EventLines(path / "e.jsonl"),
            EventCsv(path / "e.csv"),
            ReviewSink(path / "review"), DatasetSink(path / "coco", "coco"), DatasetSink(path / "yolo", "yolo"),
        ]  # fmt: skip
        utf8 = not re.search("[\ud800-\udfff]", camera + name + task)
        sinks += [SqliteSink(path / "a.db", records=True)] if utf8 else []
        for sink in sinks:
            if hasattr(sink, "open"):
                sink.open(Header(camera, source=name))
            if hasattr(sink, "write"):
                sink.write(frame, result)
            if hasattr(sink, "send"):
                sink.send([event])
            sink.close()
        (line,) = read_jsonl(path / "a.jsonl")
        assert line["objects"][0]["class"] == name
        if utf8 and (sys.version_info >= (3, 11) or "\0" not in camera + name + task):
            for file in ("a.csv", "e.csv"):
                with (path / file).open(newline="", encoding="utf-8") as opened:
                    assert next(row["class_name"] for row in csv_rows(opened)) == name
            assert read_database(path / "a.db")[0]["class_name"] == (name or None)
        inside = {one.relative_to(path).parts[0] for one in path.rglob("*")}
        assert inside <= {
            "a.jsonl",
            "a.csv",
            "e.jsonl",
            "e.csv",
            "review",
            "coco",
            "yolo",
            "a.db",
            "a.db-wal",
            "a.db-shm",
        }
        assert len([*(path / "review").iterdir()]) == 2


@QUICK
@given(TEXTS)
def test_timelines_come_back(label: str) -> None:
    label = " ".join(visible(label).split()) or "walk"
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".csv", ".vtt", ".eaf"):
            path = Path(folder) / f"a{suffix}"
            write_timeline(path, [Span(0.0, 1.5, label, "action 1")])
            (span,) = read_timeline(path)
            assert span == Span(0.0, 1.5, label, "action 1"), suffix


def test_metrics_and_the_overlay_take_every_name() -> None:
    pytest.importorskip("prometheus_client")
    summary, source = Summary(), SimpleNamespace(dropped=0, damaged=0, corrupted=0, reconnections=0)
    frame, result = sample_result(2, (64, 48))
    with Metrics("127.0.0.1:0", source, summary) as metrics:
        for number, name in enumerate(PLANTED):
            hostile = replace(result, names={"class": (name,), "action": ("walk", name)})
            one = Metrics("", source, summary, page=metrics)
            one.open(Header(f"{number} {name}"))
            one.write(frame, hostile)
            summary.add(hostile)
            summary.add_event(an_event(number, class_name=name))
            assert Overlay().draw(frame, hostile).shape == frame.image.shape
        text = urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics").read().decode()
    for line in text.split("\n"):
        assert not line or re.match(r"# |edgevid_\w+(\{.*\})? [\d.e+-]+$|edgevid_\w+(\{.*\})? \+Inf$", line), line
    assert np.isfinite(frame.image).all()
