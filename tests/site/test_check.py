"""The doctor's look at a site file and at a camera: each part against the others, secrets hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rtsp_server import free_port

from edgevid import cli
from edgevid.site.check import check_site
from edgevid.site.check_camera import Finding
from edgevid.video.writer import VideoWriter

CALIBRATION = Path(__file__).resolve().parents[2] / "calibration" / "camera" / "gantry_road.toml"
CALIBRATED = 'calibration = "gate.toml"\n'
SITE = """source = "{source}"
[detect]
model = "street-nano"
classes = ["person", "car"]
[camera]
calibration = "gate.toml"
[[zone]]
name = "road"
points = [[60, 60], [600, 60], [600, 340], [60, 340]]
[[zone]]
name = "lane"
ground = true
points = [[0, 0], [3.5, 0], [3.5, 20], [0, 20]]
[[line]]
name = "gate"
start = [40, 200]
end = [620, 200]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A good site on a short clip."""
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        for n in range(5):
            writer.write(np.full((360, 640, 3), 90, np.uint8), n / 25)
    (tmp_path / "gate.toml").write_text(CALIBRATION.read_text())
    path = tmp_path / "site.toml"
    path.write_text(SITE.format(source=tmp_path / "clip.mp4"))
    return path


def by_subject(report: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in report}


def test_a_good_site_is_ready(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = by_subject(check_site(site))
    assert {finding.ok for finding in found.values()} == {True}
    assert found["model"].state == "street-nano: person, car"
    assert found["source"].state.endswith("clip.mp4: 640x360")
    assert "made on 640x360, 15 points, median error 1" in found["calibration"].state
    assert found["zones and lines"].state == "3 of 3 lie in the image"
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--site", str(site)])
    assert stop.value.code == 0
    assert "ready to run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "what", "state", "remedy"),
    [
        ('"car"]', '"cart"]', "model", "street-nano has no class 'cart'; did you mean 'car'? It has: pers", "models"),
        ("street-nano", "street-nono", "model", "street-nono", "edgevid models list"),
        ("[600, 340]", "[900, 340]", "zone 'road'", "reaches to (900, 340), the image is 640x360", "draw it"),
        ("[620, 200]", "[20, 2000]", "line 'gate'", "reaches to (20, 2000)", "[camera] size"),
        ("[3.5, 0], [3.5, 20], [0, 20]", "[0, -600], [9, -600]", "zone 'lane'", "", "meters"),
        (
            'calibration = "gate.toml"',
            'calibration = "gate.toml"\nsize = [640, 480]',
            "zones and lines",
            "aspect",
            "draw",
        ),
        ('calibration = "gate.toml"', 'calibration = "no.toml"', "file", "an existing file", "docs/site.md"),
        ("clip.mp4", "clap.mp4", "source", "there is no such file", "check the path"),
        ('["person"', '["person', "file", "expected TOML", "correct the file"),
    ],
)
def test_each_mistake_is_named_with_its_remedy(
    site: Path, old: str, new: str, what: str, state: str, remedy: str
) -> None:
    assert old in site.read_text()
    site.write_text(site.read_text().replace(old, new))
    found = by_subject(check_site(site))[what]
    assert found.ok is False
    assert state in found.state
    assert remedy in found.remedy


def test_a_zone_drawn_on_another_size_lies_where_it_lay(site: Path) -> None:
    text = site.read_text().replace("[600, 340]", "[1200, 700]").replace("[640, 360]", "[1280, 720]")
    site.write_text(text.replace('calibration = "gate.toml"', 'calibration = "gate.toml"\nsize = [1280, 720]'))
    assert by_subject(check_site(site))["zones and lines"].state == "3 of 3 lie in the image"


def test_a_policy_of_other_classes_does_not_fit(site: Path) -> None:
    from edgevid.abstain.file import PolicyFile, write_policy
    from edgevid.abstain.policy import Settings

    write_policy(site.parent / "policy.toml", PolicyFile(("walk", "run"), Settings(), task="class"))
    site.write_text('policy = "policy.toml"\n' + site.read_text())
    found = by_subject(check_site(site))["policy"]
    assert found.ok is False
    assert "walk" in found.state
    assert "edgevid tune" in found.remedy


def test_a_password_that_others_may_read_is_told_and_never_shown(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"rtsp://admin:hunter2@127.0.0.1:{free_port()}/cam"
    site.write_text(SITE.format(source=address))
    site.chmod(0o644)
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--site", str(site)])
    assert stop.value.code == 1
    printed = "".join(capsys.readouterr())
    assert "chmod 600" in printed
    assert "refused" in printed
    assert "hunter2" not in printed
    site.chmod(0o600)
    assert by_subject(check_site(site))["permissions"].ok is True


def test_every_mistake_of_the_file_is_a_line_with_one_remedy(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.write_text(site.read_text().replace("[detect]", "[detect]\nscore = 3\ndevcie = 'cpu'"))
    states = [finding.state for finding in check_site(site)]
    assert states[0] == "site.toml: detect.score: expected a number from 0 to 1, got 3"
    assert states[1].startswith("site.toml: detect.devcie: expected only ")
    assert states[1].endswith("did you mean 'device'?")
    with pytest.raises(SystemExit):
        cli.main(["doctor", "--site", str(site)])
    printed = capsys.readouterr().out
    assert printed.count("docs/site.md") == 1
    assert "ready" not in printed


def test_a_password_in_a_variable_is_none_in_the_file(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_PASSWORD", "hunter22")
    for source in ("rtsp://user:${GATE_PASSWORD}@127.0.0.1:1/a", "http://127.0.0.1:1/a?token=${GATE_PASSWORD}"):
        site.write_text(f'source = "{source}"\n')
        site.chmod(0o644)
        found = check_site(site, watch_s=0.1)
        assert "permissions" not in by_subject(found)
        assert "hunter22" not in str(found)


def test_a_policy_of_speeds_alone_is_no_policy_of_classes(site: Path) -> None:
    from edgevid.site.build import build_pipeline, load_site

    (site.parent / "p.toml").write_text('format = "edgevid-policy 1"\n[speed]\nmax_sigma_kmh = 3.6\n')
    site.write_text('policy = "p.toml"\n' + site.read_text())
    assert by_subject(check_site(site))["policy"].state == "p.toml limits speeds"
    loaded = load_site(site)
    assert loaded.policy is not None
    assert loaded.policy.speed is not None
    pipeline = build_pipeline(loaded, (640, 360))
    pipeline.close()
    assert pipeline.class_policy.sha256 == ""  # the detector's own, of no file
    own = pipeline.detector.recipe.decode.class_thresholds
    assert list(pipeline.class_policy.settings.per_class.values()) == list(own)
