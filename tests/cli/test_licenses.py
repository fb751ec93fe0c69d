"""Licenses: every package that edgevid uses, and what its wheel bundles, as its own files say."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from edgevid import cli
from edgevid.cli.doctor import Package, gpl_parts, installed, known, package
from edgevid.files.toml import read_toml

ROOT = Path(__file__).resolve().parents[2]


def distribution(folder: Path, files: dict[str, str], meta: str) -> metadata.Distribution:
    info = folder / "thing-1.0.dist-info"
    files = {f"{info.name}/METADATA": f"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n{meta}\n", **files}
    files[f"{info.name}/RECORD"] = "".join(f"{name},,\n" for name in files)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return metadata.PathDistribution(info)


def test_every_package_of_pyproject_is_listed() -> None:
    project = read_toml(ROOT / "pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(one for extra in extras if extra != "dev" for one in extras[extra])]
    assert {re.split(r"[<>=\[; ]", one)[0] for one in needed} - {"edgevid"} <= set(known()["packages"])


def test_libraries_and_notices_of_a_wheel_are_read(tmp_path: Path) -> None:
    files = {
        "thing.libs/libx264-d6533a8d.so.165": "",
        "thing.libs/libSvtAv1Enc-9393c086.so.4.1.0": "",
        "thing.libs/libmystery.3-00ff.so": "",
        "thing/core.abi3.so": "",
        "thing-1.0.dist-info/licenses/LICENSE.txt": "Name: OpenThing\nFiles: x\nLicense: BSD-3-Clause\n",
    }
    one = package(distribution(tmp_path, files, "License-Expression: MIT"))
    assert one == Package(
        "thing", "1.0", "MIT",
        {
            "GPL-2.0-or-later": ["x264"],
            "BSD-3-Clause": ["SvtAv1Enc", "OpenThing"],
            "license not known": ["mystery"],
        },
    )  # fmt: skip
    assert next(iter(one.bundled)) == "GPL-2.0-or-later"  # what has conditions comes first


def test_a_long_license_text_gives_way_to_its_classifier(tmp_path: Path) -> None:
    meta = f"License: {'Permission is granted ' * 9}\nClassifier: License :: OSI Approved :: MIT License"
    assert package(distribution(tmp_path, {}, meta)).license == "MIT License"


def test_gpl_is_named_with_its_package_and_exceptions_do_not_count() -> None:
    found = [
        Package("a", "1", "MIT", {"GPL-2.0-or-later": ["x264"], "LGPL-2.1-or-later": ["geos"]}),
        Package("b", "1", "AGPL-3.0", {}),
        Package("c", "1", "MIT", {"GPL-3.0-or-later WITH GCC-exception-3.1": ["gfortran"]}),
    ]
    assert gpl_parts(found) == {"a": ["x264"], "b": ["b"]}


def test_what_is_installed_here_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    found = {one.name: one for one in installed()}
    assert {"numpy", "onnxruntime", "av"} <= set(found)
    assert {"protobuf", "pydantic_core", "annotated-types"} <= set(found)  # which no list of ours names
    assert len(found) == len(installed())
    av = found["av"].bundled
    files = [path.name for path in metadata.files("av") or ()]
    assert any("FFmpeg" in names for names in av.values())
    bundles_x264 = any(name.startswith("libx264") for name in files)
    assert not bundles_x264 or "x264" in av["GPL-2.0-or-later"]
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--licenses"])
    printed = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    assert "edgevid itself: Apache-2.0" in printed
    assert ("x264, x265 (in av)" in printed) is bundles_x264
