"""`edgevid doctor`: what is installed and in use, its licenses, and whether a site file and a camera are ready."""

import ctypes
import os
import platform
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from edgevid._version import __version__
from edgevid.cli.console import print_rows, results
from edgevid.errors import module_version
from edgevid.files.toml import read_toml
from edgevid.site.check_camera import Finding


@cache
def known() -> dict[str, Any]:
    """What is known of packages: packages.toml."""
    return read_toml(Path(__file__).with_name("packages.toml"))


def findings() -> list[Finding]:
    """The report on the installation, in order."""
    from edgevid import kernels
    from edgevid.runtime.device import driver
    from edgevid.runtime.load import count_choices
    from edgevid.runtime.onnxruntime.engine import providers, version

    native, chosen = kernels.BACKEND == "native", os.environ.get("EDGEVID_KERNELS", "auto")
    ok, remedy = (native or None, "") if native or chosen == "numpy" else (False, kernels.BUILD_COMMAND)
    measured, faster = count_choices()
    runs = f"OpenVINO runs {faster} of {measured} models measured here, ONNX Runtime all others"
    chooses = (runs, bool(measured) or None, "edgevid bench MODEL --choose --data VIDEO")
    device = "found; running on a device is unverified so far: `edgevid build --data` verifies each engine"
    found = [
        Finding("edgevid", f"{__version__} on Python {platform.python_version()}", True),
        Finding("machine", f"{platform.machine()}, {os.cpu_count()} cores", True),
        Finding("kernels", f"{kernels.BACKEND} (EDGEVID_KERNELS={chosen})", ok, remedy),
        Finding("ONNX Runtime", f"{version()}: {', '.join(providers())}", True),
        Finding("on the CPU", *(chooses if module_version("openvino") else ("ONNX Runtime runs all models", True))),
        Finding("NVIDIA driver", *((device, True) if driver() else ("none found: models run on the CPU", None))),
    ]
    for module, (extra, purpose) in known()["extras"].items():
        here = module_version(module, unstated="installed")
        remedy = "" if here else f'pip install "edgevid[{extra}]"'
        found.append(Finding(module, here or f"not installed ({purpose})", bool(here) or None, remedy))
    return found


def command(site: Path | None, source: str, licenses: bool, seconds: float) -> None:
    """Show what is installed and in use, or check a site file or a camera, with remedies.

    The exit status is 1 if something must be fixed."""
    console = results(soft_wrap=False)
    if licenses:
        _print_licenses(console)
        return
    if site is None and not source:
        report = findings()
        rows = [(MARKS[ok], name, state, Text(remedy, "cyan")) for name, state, ok, remedy in report]
        heads = ("", "subject", "state", "to change it")
        print_rows(console, heads, rows, text=heads)
    else:
        from edgevid.site.check import check_site
        from edgevid.site.check_camera import check_camera

        if site is not None:
            report = check_site(site, source=source, watch_s=seconds)
        else:
            report = check_camera(source, watch_s=seconds).findings
        _print_steps(console, report)
    if any(finding.ok is False for finding in report):
        sys.exit(1)


def _print_licenses(console: Console) -> None:
    packages = installed()
    rows = []
    for one in packages:
        bundled = "\n".join(f"{', '.join(names)}: {kind}" for kind, names in one.bundled.items())
        rows.append((one.name, one.version, one.license, bundled))
    heads = ("package", "version", "license", "bundled in its wheel")
    print_rows(console, heads, rows, text=heads)
    console.print("\nedgevid itself: Apache-2.0; `edgevid models list` shows the licenses of the models.")
    parts_of = gpl_parts(packages).items()
    gpl = [name if parts == [name] else f"{', '.join(parts)} (in {name})" for name, parts in parts_of]
    remedy = " LICENSES.md tells how to do without." if gpl else ""
    console.print(f"GPL or AGPL code installed: {'; '.join(gpl) or 'none'}.{remedy}", markup=False)


MARKS = {True: Text("✓", "green"), False: Text("✗", "red"), None: Text("–", "dim")}


def _print_steps(console: Console, report: list[Finding]) -> None:
    """The findings, then what to do, in order."""
    rows = [(MARKS[ok], subject, state) for subject, state, ok, _ in report]
    print_rows(console, ("", "subject", "state"), rows, text=("subject", "state"))
    must = [f for f in report if f.ok is False and f.remedy]
    for title, chosen in (("to fix", must), ("to consider", [f for f in report if f.ok is None and f.remedy])):
        if chosen:
            console.print(f"\n[bold]{title}[/]")
            for number, finding in enumerate(chosen, 1):
                line = f"  {number}. {escape(finding.subject)}: [cyan]{escape(finding.remedy)}[/]"
                console.print(line, soft_wrap=True)
    if not must:
        console.print("\n[green]ready to run[/]")


class Package(NamedTuple):
    """An installed package and its licenses."""

    name: str
    version: str
    license: str
    bundled: dict[str, list[str]]  # By license, the libraries in the wheel; those with conditions on the source first


def installed() -> list[Package]:
    """The installed packages among those that edgevid uses, and what those need in turn."""
    names = [name for first in known()["packages"] for name in (first, *known()["others"].get(first, ()))]
    found: dict[str, Package] = {}
    for name in names:  # grows as it goes
        if name not in found and (dist := next(iter(metadata.distributions(name=name)), None)):
            found[name] = package(dist)
            needs = [one for one in dist.requires or () if "extra ==" not in one]
            names += [re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", one)[0].lower()) for one in needs]
    return list(found.values())


def package(dist: metadata.Distribution) -> Package:
    """What a distribution's metadata, files and notices say."""
    found: dict[str, list[str]] = {}
    names = sorted({name for path in dist.files or () if (name := _library(path.name))} - {""})
    inside = any(".libs/" in str(path) or path.name.endswith(".dylib") for path in dist.files or ())
    for name in names if inside else ():
        kinds = (kind for part, kind in known()["libraries"].items() if re.fullmatch(part, name.rstrip("-_")))
        found.setdefault(next(kinds, "license not known"), []).append(name)
    if found.pop("FFmpeg", None) or dist.metadata["Name"] == "av":
        stated, gpl = _ffmpeg(dist)
        found.setdefault(stated, []).append("FFmpeg")
        if gpl - set(names):
            found.setdefault("GPL-2.0-or-later", []).extend(sorted(gpl - set(names)))
    for name, kind in _notices(dist):
        if name not in found.setdefault(kind, []):
            found[kind].append(name)
    order = sorted(found, key=lambda kind: (not re.match("GPL|LGPL|MPL", kind), kind))
    return Package(dist.metadata["Name"], dist.version, _own(dist), {kind: found[kind] for kind in order})


def gpl_parts(packages: list[Package]) -> dict[str, list[str]]:
    """By package, what is GPL in it, itself included; GPL with an exception for its users does not count."""
    found = dict[str, list[str]]()
    for one in packages:
        for kind, names in [(one.license, [one.name]), *one.bundled.items()]:
            if re.match("A?GPL", kind) and "exception" not in kind:
                found.setdefault(one.name, []).extend(names)
    return found


def _ffmpeg(dist: metadata.Distribution) -> tuple[str, set[str]]:
    """The license that the FFmpeg of a package states, and the GPL libraries that it was configured with."""
    if dist.metadata["Name"] == "av":
        from edgevid.video.writer import ffmpeg_meta

        stated, configuration = ffmpeg_meta()
    else:
        file = next(path for path in dist.files or () if path.name.startswith("libavcodec"))
        try:
            library = ctypes.CDLL(str(dist.locate_file(file)))
        except OSError:
            return "license not known", set()
        library.avcodec_license.restype = library.avcodec_configuration.restype = ctypes.c_char_p
        stated, configuration = library.avcodec_license().decode(), library.avcodec_configuration().decode()
    return stated, set(re.findall(r"--enable-lib(x264|x265|xvid|vidstab|rubberband)\b", configuration))


def _own(dist: metadata.Distribution) -> str:
    meta: Any = dist.metadata
    classifiers = [c for c in meta.get_all("Classifier") or () if c.startswith("License ::")]
    stated = meta.get("License-Expression") or meta.get("License") or ""
    if (not stated or len(stated) > 60) and "License-Expression" not in meta and classifiers:
        stated = classifiers[0].rpartition(" :: ")[2]
    return stated.strip() or "not stated"


def _library(file: str) -> str:
    """ "x264" of libx264-d6533a8d.so.165 or libx264.165.dylib; "" of any other file."""
    match = re.match(r"lib([A-Za-z][\w+-]*?)[-_.][\d.a-f-]*\.?(so|dylib)\b", file)
    return match[1] if match else ""


def _notices(dist: metadata.Distribution) -> list[tuple[str, str]]:
    """(Project, license) from the notices in the wheel: their lines `Name:` and `License:`."""
    found: list[tuple[str, str]] = []
    for path in dist.files or ():
        if not re.search(r"(?i)licen[sc]e|notice|copying", path.name) or path.suffix in (".py", ".pyc"):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        found += re.findall(r"(?m)^Name: (.+)\n(?:.*\n)*?License: (.+)$", text)
    return found
