"""Policy files: written, read back, and each mistake named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid.abstain.file import PolicyFile, Tuned, read_policy, write_policy
from edgevid.abstain.policy import Settings
from edgevid.errors import FileFormatError, InputError
from edgevid.speed.abstain import SpeedPolicy

HASH = "0" * 63 + "a"
GOOD = f"""
format = "edgevid-policy 1"
task = "action"
names = ["walk", "run"]
model_sha256 = "{HASH}"
[decide]
threshold = 0.7
[decide.per_class]
run = 0.8
[evidence]
aggregate = "vote"
[speed]
max_sigma_kmh = 3.6
[tuned]
quantiles = [0.1, 0.5, 1.0]
abstain_rate = 0.2
tracks = 300
[made]
by = "hand"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_a_file_becomes_a_policy(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    read = read_policy(path)
    assert read.settings == Settings(threshold=0.7, per_class={"run": 0.8}, aggregate="vote")
    assert read.speed == SpeedPolicy(1.0, 0.05)
    assert read.tuned == Tuned((0.1, 0.5, 1.0), 0.2, 300)
    policy = read_policy(path, names=["walk", "run"], model_sha256=HASH).policy()
    assert policy.names == ("walk", "run")
    assert policy.task == "action"


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    settings = Settings(
        threshold=0.8936464786529541, per_class={'a "b"': 0.5}, margin=0.1, stale_s=3.0, min_observations=2,
        temperature=1.3, memory_s=5.0, aggregate="sequential",
    )  # fmt: skip
    made = {"by": "ünï\\code", "n": 3, "risk": 0.02}
    whole = PolicyFile(('a "b"', "é"), settings, "t", HASH, SpeedPolicy(0.5, 0.1), Tuned((0, 0.5, 1), 0.3, 9), made)
    write_policy(tmp_path / "new" / "p.toml", whole)
    read = read_policy(tmp_path / "new" / "p.toml")
    assert read.settings == settings
    assert (read.names, read.task, read.model_sha256, read.tuned, read.made) == (
        whole.names, "t", HASH, whole.tuned, made,
    )  # fmt: skip
    assert read.speed is not None
    assert read.speed.max_sigma_mps == pytest.approx(0.5)


def test_another_model_or_other_classes_are_rejected(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(FileFormatError, match=r"model_sha256.*tune again"):
        read_policy(path, model_sha256="b" * 64)
    with pytest.raises(FileFormatError, match=r"names.*the recognizer's classes"):
        read_policy(path, names=["run", "walk"])
    unbound = write(tmp_path, GOOD.replace(f'model_sha256 = "{HASH}"', ""))
    assert read_policy(unbound, model_sha256="b" * 64).names == ("walk", "run")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("edgevid-policy 1", "edgevid-policy 9", "format"),
        ('["walk", "run"]', "[]", "names"),
        ('["walk", "run"]', '["walk", "walk"]', "names"),
        ('["walk", "run"]', "[1, 2]", "names"),
        (HASH, "abc", "model_sha256"),
        ("threshold = 0.7", "", "decide.threshold"),
        ("threshold = 0.7", "threshold = 7", "decide.threshold"),
        ("threshold = 0.7", "threshold = nan", "decide.threshold"),
        ("threshold = 0.7", 'threshold = "high"', "decide.threshold"),
        ("threshold = 0.7", "threshold = 0.7\nmargn = 0.1", "decide.margn.*did you mean 'margin'"),
        ("threshold = 0.7", "threshold = 0.7\nmin_observations = 0", "decide.min_observations"),
        ("run = 0.8", "swim = 0.8", "decide.per_class.swim"),
        ("run = 0.8", "run = -1", "decide.per_class.run"),
        ('"vote"', '"voted"', "evidence.aggregate.*did you mean 'vote'"),
        ('"vote"', '"vote"\ntemperature = 0', "evidence.temperature"),
        ("max_sigma_kmh = 3.6", "max_sigma_mps = 1", "speed"),
        ("[0.1, 0.5, 1.0]", "[0.5, 0.1, 1.0]", "tuned.quantiles"),
        ("[0.1, 0.5, 1.0]", "[0.1, 1.0]", "tuned.quantiles"),
        ("abstain_rate = 0.2", "abstain_rate = 2", "tuned.abstain_rate"),
        ('by = "hand"', "by = []", "made.by"),
        ("[speed]", "[sped]", "sped"),
        ("names =", "names", "whole file"),
    ],
)
def test_each_error_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(FileFormatError, match=message):
        read_policy(write(tmp_path, GOOD.replace(old, new)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.toml: there is no such file"):
        read_policy(tmp_path / "absent.toml")
