"""Planted secrets are searched for in every output, every log, and the command lines of all processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from numbered_clips import clip
from web_server import file_server, serving

SECRETS = {
    "CAMERA_PASSWORD": "hunter2-of-camera", "BROKER_PASSWORD": "hunter2-of-broker",
    "HOOK_SECRET": "whsec_aHVudGVyMg==", "HOOK_TOKEN": "hunter2-of-hook", "API_KEY": "hunter2-of-redis",
}  # fmt: skip
SITE = """
source = "http://admin:${CAMERA_PASSWORD}@HOST/a.mp4?token=${HOOK_TOKEN}"
[camera]
name = "gate"
[detect]
model = "street-nano"
[[sink]]
type = "webhook"
url = "http://hook:${HOOK_TOKEN}@127.0.0.1:9/a?key=${API_KEY}"
secret = "${HOOK_SECRET}"
[[sink]]
type = "mqtt"
url = "mqtt://gate:${BROKER_PASSWORD}@127.0.0.1:9"
[[sink]]
type = "redis"
url = "redis://gate:${API_KEY}@127.0.0.1:9"
"""


def command_lines() -> str:
    """Those of every process that this user may read."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(found)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_no_output_and_no_command_line_has_a_secret(tmp_path: Path) -> None:
    for package in ("httpx", "redis", "paho.mqtt"):
        pytest.importorskip(package)
    site, out = tmp_path / "site" / "gate.toml", tmp_path / "out"
    site.parent.mkdir()
    out.mkdir()
    environment = {**os.environ, **SECRETS, "XDG_STATE_HOME": str(out), "EDGEVID_CACHE": str(out / "cache")}
    environment.pop("EDGEVID_SPOOL", None)
    with serving(file_server(clip(30))) as address:
        site.write_text(SITE.replace("HOST", address.removeprefix("http://")))
        options = ["--jsonl", "a.jsonl", "--csv", "a.csv", "--events", "e.jsonl", "--sqlite", "a.db", "--record", "rec"]
        options += ["--mot", "a.txt", "--parquet", "pq", "--coco", "coco", "--yolo", "yolo", "--timeline", "t.csv"]
        options += ["--health", "health", "--out", "a.mp4"]
        code = "import sys; from edgevid.cli import main; sys.exit(main(sys.argv[1:]))"
        source = f"http://admin:{SECRETS['CAMERA_PASSWORD']}@{address.removeprefix('http://')}/a.mp4"
        done = []
        for arguments in (
            ["-v", "run", "--site", str(site), *options],
            ["-v", "run", source.replace("a.mp4", "b"), "--jsonl", "/nowhere/a.jsonl"],
        ):  # fmt: skip
            process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments], cwd=out, env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            began, seen = time.monotonic(), ""
            while process.poll() is None and time.monotonic() - began < 90:
                if str(site) in arguments:  # a secret that was typed is masked once the program has begun
                    seen += command_lines()
                time.sleep(0.3)
            text, _ = process.communicate(timeout=30)
            done.append((arguments, process.returncode, text + seen))
    assert done[0][1] == 0, done[0][2][:2000]
    texts = {str(arguments): text for arguments, _, text in done}
    texts |= {str(path): path.read_bytes().decode("latin-1") for path in out.rglob("*") if path.is_file()}
    assert len(texts) > 16
    leaks = [(place, name) for place, text in texts.items() for name, secret in SECRETS.items() if secret in text]
    assert not leaks
    assert "hunter2" not in "".join(texts.values())
