"""A recipe's table [clip]."""

from __future__ import annotations

from pathlib import Path

from edgevid.actions.clip_buffer import ClipSpec
from edgevid.actions.clip_section import ClipSection, read_spec
from edgevid.files.toml import read_toml


def test_a_spec_survives_its_recipe(tmp_path: Path) -> None:
    expected = ClipSpec(steps=20, rate_hz=15, region=(0.1, 0, 0.9, 0.5), policy="union")
    path = tmp_path / "recipe.toml"
    path.write_text(
        "\n".join(ClipSection(expected).toml()).replace('layout = "NTCHW"\nactivation = "softmax"\n', "")
    )
    read = read_spec(read_toml(path).table("clip"), width=1, height=1)
    assert read == expected
    assert read.digest == expected.digest
