"""[[sink]] tables: each type's sink, files that are continued, and mistakes in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from event_samples import an_event
from result_samples import sample_result

from edgevid.errors import FileFormatError, InputError, SourceError, masked
from edgevid.output.records import read_events, read_jsonl
from edgevid.output.sinks import CsvSink, EventCsv, EventLines, JsonLines, MotText, SegmentedSink
from edgevid.output.tables import SqliteSink
from edgevid.site.file import read_site
from edgevid.site.tables import build_sinks
from edgevid.types import Header


def site(folder: Path, text: str) -> Path:
    path = folder / "gate.toml"
    path.write_text('source = "a.mp4"\n' + text)
    return path


def table(kind: str, path: str, more: str = "") -> str:
    return f'[[sink]]\ntype = "{kind}"\npath = "{path}"\n{more}\n'


def test_any_number_of_sinks_next_to_the_file(tmp_path: Path) -> None:
    kinds = [("jsonl", "a.jsonl"), ("csv", "a.csv"), ("mot", "a.txt"), ("events", "e.jsonl"), ("events", "e.csv")]
    text = "".join(table(*kind) for kind in kinds) + table("sqlite", "a.db", "records = true")
    text += table("jsonl", "b.jsonl", "segment_s = 60\nmax_disk_gb = 1")
    read = read_site(site(tmp_path, text))
    assert read.name == "gate"
    sinks = build_sinks(read.sinks, sync_s=0)
    assert [type(sink) for sink in sinks] == [
        JsonLines, CsvSink, MotText, EventLines, EventCsv, SqliteSink, SegmentedSink,
    ]  # fmt: skip
    assert all(sink.path.parent == tmp_path for sink in sinks)
    assert hasattr(sinks[5], "write")
    assert sinks[6].max_disk_bytes == 10**9
    for sink in sinks:
        sink.close()


def test_a_limit_of_segments_needs_segments(tmp_path: Path) -> None:
    expected = r"sink 1\.jsonl\.segment_s: expected seconds, such as 600, as max_disk_gb .*, it is missing"
    with pytest.raises(InputError, match=expected):
        read_site(site(tmp_path, table("jsonl", "b.jsonl", "max_disk_gb = 1")))


def test_a_restarted_service_continues_its_files(tmp_path: Path) -> None:
    text = table("jsonl", "a.jsonl") + table("csv", "a.csv") + table("events", "e.jsonl") + table("events", "e.csv")
    tables = read_site(site(tmp_path, text)).sinks
    for number in range(2):
        records, rows, *events = sinks = build_sinks(tables)
        for sink in sinks:
            getattr(sink, "open", id)(Header("gate"))
        for sink in events:
            sink.send([an_event(0), an_event(number)] if number else [an_event(0)])  # one comes again
        records.write(*sample_result())
        rows.write(*sample_result())
        for sink in sinks:
            sink.close()
        for name in ("a.jsonl", "e.csv"):
            with (tmp_path / name).open("a") as file:
                file.write('{"torn')
    assert len(list(read_jsonl(tmp_path / "a.jsonl"))) == 2
    assert [event.id for event in read_events(tmp_path / "e.jsonl")] == [an_event(0).id, an_event(1).id]
    lines = (tmp_path / "e.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[:3]] == ["id", an_event(0).id, an_event(1).id]
    assert (tmp_path / "a.csv").read_text().count("x_min") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table("sqlit", "a"), r"sink 1\.type: expected one of 'coco', .*, got 'sqlit'; did you mean 'sqlite'"),
        ('[[sink]]\ntype = "sqlite"\npat = "a.db"\n', r"sink 1\.path: .*missing; found 'pat'; did you mean"),
        (table("events", "a", "records = true"), r"sink 1\.records: expected only path, type"),
        (
            '[[sink]]\ntype = "mqtt"\nurl = "http://gate:hunter2@broker"\n',
            r"sink 1\.url: expected an address such as mqtts://HOST/TOPIC, got 'http://\*\*\*:\*\*\*@broker'$",
        ),
        (
            '[[sink]]\ntype = "redis"\nurl = "redis://broker"\nca = "none.pem"\n',
            r"sink 1\.ca: expected an existing file, relative to the site file, got 'none\.pem'$",
        ),
        (table("jsonl", "a", "segment_s = -1"), r"sink 1\.segment_s: expected a number of at least 0, got -1"),
    ],
)
def test_each_mistake_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        read_site(site(tmp_path, text))


def test_a_read_only_folder_is_one_sentence(tmp_path: Path) -> None:
    tables = read_site(site(tmp_path, table("events", "none/e.jsonl"))).sinks
    with pytest.raises(SourceError, match="cannot be written: No such file or directory; choose another place"):
        build_sinks(tables)


def test_servers_with_secrets_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paho.mqtt.client", reason='needs paho-mqtt: pip install "edgevid[mqtt]"')
    monkeypatch.setenv("MQTT_PASSWORD", "hunter2@/x")
    text = '[[sink]]\ntype = "mqtt"\nurl = "mqtt://gate:${MQTT_PASSWORD}@broker/street"\ndiscovery = ""\n'
    pytest.importorskip("httpx", reason='needs httpx: pip install "edgevid[webhook]"')
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    text += '[[sink]]\ntype = "webhook"\nurl = "https://example.org/hook"\nsecret = "${HOOK_SECRET}"\n'
    pytest.importorskip("redis", reason='needs redis: pip install "edgevid[redis]"')
    text += '[[sink]]\ntype = "redis"\nurl = "redis://redis.local/2"\nstream = "events"\n'
    pytest.importorskip("confluent_kafka", reason='needs confluent-kafka: pip install "edgevid[kafka]"')
    text += '[[sink]]\ntype = "kafka"\nurl = "kafka://kafka.local/street"\nmechanism = "SCRAM-SHA-256"\n'
    sink, hook, stream, topic = build_sinks(read_site(site(tmp_path, text)).sinks)
    assert topic.name == "kafka kafka.local:9092/street"
    assert stream.name == "redis redis.local:6379/2 events"
    stream.close()
    assert (hook.name, hook._key) == ("webhook example.org:443", b"s3cret")
    hook.close()
    assert (sink.name, sink._server.password) == ("mqtt broker:1883/street", "hunter2@/x")
    assert "hunter2" not in masked("the broker rejects hunter2@/x")
