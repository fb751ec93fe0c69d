"""Every TensorRT name that edgevid uses, held against the real bindings of 10.3, 10.13, 10.16 and 11.4.

tests/tensorrt_names.py reads the table from the wheels. No stand-in that agrees with whatever is called.
"""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
TABLE = TESTS / "support" / "tensorrt_names.json"
PACKAGE = TESTS.parent / "edgevid"
SOURCES = [
    PACKAGE / "optimize" / "builder" / "engine.py",
    *(PACKAGE / "runtime" / "tensorrt" / f"{name}.py" for name in ("engine", "session")),
]

RECEIVERS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "fault": "ParserError",
    "profile": "IOptimizationProfile",
    "tensor": "ITensor",
    "layer": "ILayer",
    "cache": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "runtime_config": "IRuntimeConfig",
    "runtime_cache": "IRuntimeCache",
}
"""Variables, and attributes after an underscore, by what they hold in those sources."""
RTX_ONLY = {
    *("num_compute_capabilities", "set_compute_capability", "ComputeCapability"),
    *("create_runtime_config", "create_runtime_cache", "set_runtime_cache", "IRuntimeCache", "deserialize"),
}
"""Reached for tensorrt-rtx alone; held against the installed tensorrt_rtx."""


@cache
def table() -> dict[str, dict[str, str]]:
    """class -> member -> versions that have it, "1101"; member "" is the class itself."""
    found = json.loads(TABLE.read_text())["classes"]
    return {
        name: {member: mask for mask, members in groups.items() for member in members.split(" ")}
        for name, groups in found.items()
    }


def used() -> set[tuple[str, str, str]]:
    """(class, member, where) of every use of a known receiver; the class "" stands for the module."""
    found = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            place = f"{source.name}:{node.lineno}"
            root = node.value
            if isinstance(root, ast.Name) and root.id == "trt":
                found.add((node.attr, "", place))
            elif isinstance(root, ast.Attribute) and isinstance(root.value, ast.Name) and root.value.id == "trt":
                found.add((root.attr, node.attr, place))
            else:
                name = getattr(root, "id", getattr(root, "attr", "")).removeprefix("_")
                if name in RECEIVERS:
                    found.add((RECEIVERS[name], node.attr, place))
    return found


def test_the_table_is_of_the_versions_that_are_promised() -> None:
    versions = json.loads(TABLE.read_text())["versions"]
    assert [v.rsplit(".", 1)[0] if v.count(".") > 2 else v for v in versions] == [
        "10.3.0", "10.13.3", "10.16.1", "11.4.0",
    ]  # fmt: skip
    # The table knows what TensorRT 11 took away, so that it can tell.
    assert table()["BuilderFlag"]["FP16"] == "1110"
    assert table()["IInt8Calibrator"][""] == "1110"


def test_every_name_is_in_every_version() -> None:
    names = used()
    assert len(names) > 30
    wrong = []
    for cls, member, place in sorted(names):
        if cls in RTX_ONLY or member in RTX_ONLY or (cls, member) == ("__version__", ""):
            continue
        if table().get(cls, {}).get(member) != "1111":
            wrong.append(f"{place}: {cls}.{member}: {table().get(cls, {}).get(member, 'in none')}")
    assert wrong == []


OWN = {"write"}
"""Methods of edgevid's own objects in those sources that share their name with one of TensorRT's."""


def test_no_attribute_of_any_object_is_one_that_only_some_versions_have() -> None:
    """Also where the receiver's name tells nothing."""
    wrong = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            attr = getattr(node, "attr", None)
            masks = {members[attr] for members in table().values() if attr in members} if attr else set()
            if masks and "1111" not in masks and attr not in RTX_ONLY | OWN:
                wrong.append(f"{source.name}:{node.lineno}: {attr}")
    assert wrong == []


def test_names_reached_by_getattr_are_known_to_be_newer() -> None:
    text = "\n".join(s.read_text() for s in SOURCES)
    assert '"SAME_COMPUTE_CAPABILITY", None' in text
    assert table()["HardwareCompatibilityLevel"]["SAME_COMPUTE_CAPABILITY"] == "0111"


def test_the_rtx_package_has_every_name_too() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="pip install 'edgevid[tensorrt-rtx]'")
    missing = []
    for cls, member, place in sorted(used()):
        holder = trt if member == "" else getattr(trt, cls, None)
        if not hasattr(holder, member or cls):
            missing.append(f"{place}: {cls}.{member}")
    assert missing == []
    assert hasattr(trt.ComputeCapability, "SM86")
