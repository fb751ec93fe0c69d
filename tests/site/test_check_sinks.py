"""The doctor's look at the sinks of a site: one sentence each, nothing written, nobody disturbed."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from brokers import Listener, broker, certificate, free_port, program, running

from edgevid.output.mqtt import MqttSink
from edgevid.output.tables import SqliteSink
from edgevid.site.check import check_sink, check_site
from edgevid.site.check_camera import Finding
from edgevid.site.file import read_site
from edgevid.types import Header


def findings(folder: Path, text: str) -> list[Finding]:
    """What is found about the sinks of a site."""
    (folder / "gate.toml").write_text('source = "a.mp4"\n' + text)
    found: list[Finding] = []
    for table in read_site(folder / "gate.toml").sinks:
        check_sink(found, table, "gate")
    return found


def table(kind: str, **keys: str) -> str:
    return f'[[sink]]\ntype = "{kind}"\n' + "".join(f"{key} = {json.dumps(v)}\n" for key, v in keys.items())


def test_paths_that_can_be_written_are_not(tmp_path: Path) -> None:
    SqliteSink(tmp_path / "old.db").close()
    before = sorted(tmp_path.iterdir())
    kinds = {"events": "e.jsonl", "csv": "a.csv", "sqlite": "old.db", "parquet": "p/q", "coco": "frames"}
    found = findings(tmp_path, "".join(table(kind, path=path) for kind, path in kinds.items()))
    assert [one.subject for one in found] == [f"sink {kind}" for kind in kinds]
    assert all(one.ok for one in found)
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "gate.toml"])


@pytest.mark.parametrize(
    ("kind", "path", "message"),
    [
        ("events", "none/e.jsonl", "the folder .*none does not exist; create it first"),
        ("events", ".", "it is a folder; choose a file name"),
        ("parquet", "gate.toml", "it is a file; choose a folder"),
        ("sqlite", "text.db", "cannot be used as a database: file is not a database"),
        ("jsonl", "/proc/a.jsonl", "cannot be written|0 MB are free on its disk"),
    ],
)
def test_a_path_that_cannot_be_written(tmp_path: Path, kind: str, path: str, message: str) -> None:
    (tmp_path / "text.db").write_text("a text that is longer than the header of a database " * 9)
    (one,) = findings(tmp_path, table(kind, path=path))
    assert one.ok is False
    assert one.remedy == "correct its path"
    assert re.search(message, one.state), one.state


def test_two_sinks_of_one_place_are_a_mistake_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text(
        'source = "a.mp4"\n' + table("events", path="a.jsonl") + table("events", path="./a.jsonl")
    )
    (one, *_) = check_site(tmp_path / "gate.toml")
    assert one.state.startswith("gate.toml: sink: expected another path or url in each, got ")


def test_a_broker_with_the_right_and_a_wrong_password_and_a_run_that_goes_on(tmp_path: Path) -> None:
    passwords, port = tmp_path / "passwords", free_port()
    subprocess.run([program("mosquitto_passwd", "mosquitto"), "-c", "-b", passwords, "me", "right"], check=True)
    passwords.chmod(0o644)
    with broker(port, tmp_path, "allow_anonymous false", f"password_file {passwords}"):
        service = MqttSink(f"mqtt://me:right@127.0.0.1:{port}")
        service.open(Header("gate"))
        service.send([])
        urls = [f"mqtt://me:{word}@127.0.0.1:{port}/{n}" for n, word in enumerate(("right", "wrong"))]
        good, bad = findings(tmp_path, "".join(table("mqtt", url=url) for url in urls))
        assert (good.ok, bad.ok) == (True, False)
        assert good.state.endswith("the broker takes the login")
        assert "rejects the login" in bad.state
        assert "wrong" not in bad.state
        assert service._client.is_connected()
        service.close()


def test_the_check_publishes_nothing(tmp_path: Path) -> None:
    port = free_port()
    with broker(port, tmp_path), Listener(port) as seen:
        (one,) = findings(tmp_path, table("mqtt", url=f"mqtt://127.0.0.1:{port}"))
        assert one.ok
        time.sleep(0.2)
        assert seen.messages == []


def test_redis_with_a_key_of_another_kind(tmp_path: Path) -> None:
    redis = pytest.importorskip("redis", reason='needs redis: pip install "edgevid[redis]"')
    port = free_port()
    call = [program("redis-server", "redis-server"), "--port", port, "--dir", tmp_path, "--save", ""]
    with running(call, port):
        url = f"redis://127.0.0.1:{port}"
        assert findings(tmp_path, table("redis", url=url))[0].ok
        redis.Redis(port=port).set("edgevid", "text")
        assert "no stream but a string" in findings(tmp_path, table("redis", url=url))[0].state


def test_a_web_server_whose_certificate_has_another_name(tmp_path: Path) -> None:
    pytest.importorskip("httpx", reason='needs httpx: pip install "edgevid[webhook]"')
    for name, expected in (("localhost", "answers"), ("elsewhere", "its certificate is for another name")):
        cert, key = certificate(tmp_path, name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"https://localhost:{server.server_port}/hook"
        (one,) = findings(tmp_path, table("webhook", url=url, ca=cert.name))
        server.shutdown()
        server.server_close()
        assert expected in one.state
        assert one.ok == (expected == "answers")


def test_kafka_answers_or_does_not(tmp_path: Path) -> None:
    mock = pytest.importorskip("kafka_mock", reason='needs confluent-kafka: pip install "edgevid[kafka]"')
    cluster = mock.Cluster()
    good, bad = findings(
        tmp_path, table("kafka", url=f"kafka://{cluster.address}/street") + table("kafka", url="kafka://127.0.0.1:1/a")
    )
    cluster.close()
    assert good.ok
    assert "nothing answers on this port" in bad.state


def test_a_server_that_is_away(tmp_path: Path) -> None:
    pytest.importorskip("httpx", reason='needs httpx: pip install "edgevid[webhook]"')
    (one,) = findings(tmp_path, table("frigate", url="http://127.0.0.1:1"))
    assert one.state.startswith("frigate 127.0.0.1:1: nothing answers on this port")
    assert one.remedy == "correct it, or start the server; until then events wait in the spool"
